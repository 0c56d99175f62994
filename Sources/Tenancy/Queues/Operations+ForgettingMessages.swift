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
                let done = try await cell.forget(found).committed()
                if found.count < 500 || done == 0 { break }
            }
        }
    }
}
