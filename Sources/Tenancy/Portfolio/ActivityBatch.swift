package import CustomerHealth
package import Kernel
import Wire

/// Activities that are recorded in one turn, and under a key once.
package struct ActivityBatch: Sendable {
    package struct Once: Sendable {
        let mark: Mark.Key
        /// Of what was sent: another request under the same key is refused.
        let digest: String
        /// Where the request has its key.
        let field: [String]
    }

    /// Where a request of HTTP has its key.
    package static let header = ["header", "Idempotency-Key"]

    /// What became of it, as it is remembered under its key: `<digest> <how many> <line>,<line>,…`, the lines that were not recorded.
    package struct Outcome: Sendable, Equatable {
        package let recorded: Int
        package let left: Set<Int>
        /// It was recorded before, and nothing was now.
        package let isRepeat: Bool
    }

    /// Each with its line, or its place in its list.
    package let activities: [(line: Int, activity: Activity)]
    /// Lines of this batch that were wrong.
    let left: [Int]
    let once: Once?

    package init(
        _ activities: [(line: Int, activity: Activity)],
        left: [Int] = [],
        key: String? = nil,
        digest: String = "",
        keyField: [String] = header,
        _ tenant: TenantID
    ) {
        self.activities = activities
        self.left = left
        once = key.map { Once(mark: Mark.Key(tenant: tenant, scope: "atividades", key: $0), digest: digest, field: keyField) }
    }

    /// - Parameter known: what is remembered under its key.
    /// - Throws: 422 if that was something else.
    static func outcome(_ known: String, _ once: Once) throws(Refusal) -> Outcome {
        let parts = known.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
        // Before there were digests there was only how many.
        if parts.count == 1 { return Outcome(recorded: Int(known) ?? 0, left: [], isRepeat: true) }
        guard parts[0] == once.digest else {
            throw .invalid([
                .init(once.field, "já foi usada com outro corpo; use uma chave nova para cada pedido", type: "idempotency_key_reused")
            ])
        }
        let left = parts.count > 2 ? parts[2].split(separator: ",").compactMap { Int($0) } : []
        return Outcome(recorded: Int(parts[1]) ?? 0, left: Set(left), isRepeat: true)
    }

    static func text(_ outcome: Outcome, _ digest: String) -> String {
        "\(digest) \(outcome.recorded) \(outcome.left.sorted().map(String.init).joined(separator: ","))"
    }
}

extension Activity {
    /// The same for what says the same, at whichever door and however it was written.
    static func digest(_ activities: [Activity]) -> String {
        var digest = RequestDigest()
        for activity in activities {
            var writer = JSONWriter()
            writer.array {
                $0.int(activity.customer)
                if let at = activity.at { $0.int(at.milliseconds) } else { $0.null() }
                switch activity.content {
                case .login(let name, let email):
                    $0.string("login")
                    for text in [name, email] { if let text { $0.string(text) } else { $0.null() } }
                case .entrada: $0.string("entrada")
                case .saida: $0.string("saida")
                case .lead: $0.string("lead")
                case .econversa(let isActive):
                    $0.string("econversa")
                    $0.bool(isActive)
                case .integrador(let name, let isActive):
                    $0.string("integrador")
                    $0.string(name)
                    $0.bool(isActive)
                }
            }
            digest.take(writer.bytes)
        }
        return digest.text
    }
}
