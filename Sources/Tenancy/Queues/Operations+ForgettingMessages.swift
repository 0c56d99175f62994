import Jobs
import Kernel
import Storage

extension Operations {
    /// What was, or is to be, told about these is told no more, and nothing is left of whom it went to and what it said.
    func forgetMessages(about subjects: [String], _ cell: TenantCell) async throws(Refusal) {
        var rest = subjects[...]
        while !rest.isEmpty {
            let some = rest.prefix(100)
            rest = rest.dropFirst(100)
            let places = some.map { _ in "?" }.joined(separator: ", ")
            while true {
                let found = try await cell.readingQueues { () async throws(Refusal) in
                    try await store.rows(
                        .select(
                            from: QueueTables.messages,
                            "WHERE tenant_id = ? AND subject IN (\(places)) AND state <> 'forgotten' LIMIT 500",
                            [.id(cell.tenant)] + some.map { .text($0) },
                            tenant: cell.tenant
                        )
                    ).map(QueueMessage.init)
                }
                // What is being handed over is done with already, and stays among those that are found.
                let (done, again) = try await cell.forget(found).committed()
                if again == 0, found.count < 500 || done == 0 { break }
            }
        }
    }

    /// The same for what nobody has said whom it is about: whatever goes to one of these numbers or addresses, or names it.
    func forgetMessages(to reached: Reached, _ cell: TenantCell) async throws(Refusal) {
        // The end of a number is in any way of writing it; the rest is looked at here.
        var endings = Set(reached.numbers.map { String($0.suffix(4)) }).union(reached.emails).sorted()[...]
        while !endings.isEmpty {
            try await forgetMessages(naming: endings.prefix(50), reached, cell)
            endings = endings.dropFirst(50)
        }
    }

    private func forgetMessages(naming endings: ArraySlice<String>, _ reached: Reached, _ cell: TenantCell) async throws(Refusal) {
        let columns = ["recipient", "payload", "COALESCE(why, '')", "CAST(errors AS TEXT)"]
        let condition = endings.flatMap { _ in columns.map { "LOWER(\($0)) LIKE ? ESCAPE '\\'" } }.joined(separator: " OR ")
        let patterns = endings.flatMap { ending in
            let escaped = ending.map { "\\%_".contains($0) ? "\\\($0)" : String($0) }.joined()
            return columns.map { _ in SQLValue.text("%\(escaped)%") }
        }
        var after = QueueMessageID(UniqueID(high: 0, low: 0))
        while true {
            let seen = after
            let found = try await cell.readingQueues { () async throws(Refusal) in
                try await store.rows(
                    .select(
                        from: QueueTables.messages,
                        "WHERE tenant_id = ? AND id > ? AND state <> 'forgotten' AND (\(condition)) ORDER BY id LIMIT 500",
                        [.id(cell.tenant), .id(seen)] + patterns,
                        tenant: cell.tenant
                    )
                ).map(QueueMessage.init)
            }
            // What has just changed is looked at as it is now.
            if try await cell.forget(found.filter(reached.isNamed)).committed().again > 0 { continue }
            guard found.count == 500, let last = found.last else { return }
            after = last.id
        }
    }
}

/// How somebody is reached who is to be forgotten.
struct Reached {
    /// In their one form: digits with the country's code.
    private(set) var numbers: Set<String> = []
    /// In lower case.
    private(set) var emails: Set<String> = []

    mutating func add(_ whatsapp: String?, _ email: String?) {
        if let number = whatsapp.flatMap(PhoneNumber.canonical) { numbers.insert(number) }
        if let email = email?.lowercased(), !email.isEmpty { emails.insert(email) }
    }

    func isNamed(in message: QueueMessage) -> Bool {
        ([message.content.recipient, message.content.payload, message.why ?? ""] + message.errors.map(\.reason)).contains(where: isNamed)
    }

    /// Whether a text has one of the numbers, however it is written, or one of the addresses.
    func isNamed(in text: String) -> Bool {
        let lower = text.lowercased()
        if emails.contains(where: { lower.contains($0) }) { return true }
        return text.split { !($0.isASCII && $0.isNumber || "+ ().-".contains($0)) }.contains { part in
            let digits = part.filter { $0.isASCII && $0.isNumber }
            guard digits.count >= 8 else { return false }
            if let number = PhoneNumber.canonical(String(part)), numbers.contains(number) { return true }
            // Among other digits: without the country's code, which need not be said.
            return numbers.contains { digits.contains($0.hasPrefix("55") && $0.count > 11 ? $0.dropFirst(2) : $0[...]) }
        }
    }
}
