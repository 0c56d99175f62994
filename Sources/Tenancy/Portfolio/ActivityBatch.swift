package import CustomerHealth
package import Kernel

/// Activities that are recorded in one turn, and under a key once.
package struct ActivityBatch: Sendable {
    package struct Once: Sendable {
        let mark: Mark.Key
        /// Of what was sent: another request under the same key is refused.
        let digest: String
    }

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

    package init(_ activities: [(line: Int, activity: Activity)], left: [Int] = [], key: String? = nil, digest: String = "", _ tenant: TenantID) {
        self.activities = activities
        self.left = left
        once = key.map { Once(mark: Mark.Key(tenant: tenant, scope: "atividades", key: $0), digest: digest) }
    }

    /// - Parameter known: what is remembered under its key.
    /// - Throws: 422 if that was something else.
    static func outcome(_ known: String, _ digest: String) throws(Refusal) -> Outcome {
        let parts = known.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false)
        // Before there were digests there was only how many.
        if parts.count == 1 { return Outcome(recorded: Int(known) ?? 0, left: [], isRepeat: true) }
        guard parts[0] == digest else {
            throw .invalid([
                .init(
                    ["header", "Idempotency-Key"],
                    "já foi usada com outro corpo; use uma chave nova para cada pedido",
                    type: "idempotency_key_reused"
                )
            ])
        }
        let left = parts.count > 2 ? parts[2].split(separator: ",").compactMap { Int($0) } : []
        return Outcome(recorded: Int(parts[1]) ?? 0, left: Set(left), isRepeat: true)
    }

    static func text(_ outcome: Outcome, _ digest: String) -> String {
        "\(digest) \(outcome.recorded) \(outcome.left.sorted().map(String.init).joined(separator: ","))"
    }
}
