import Conversations
import Jobs
import Kernel
import Storage

extension Operations {
    /// A message of the queues that WhatsApp had taken did not arrive. Whoever is told only afterwards that it was taken finds that it failed.
    func deliveryFailed(_ report: StatusReport, _ cell: TenantCell) async throws(Refusal) {
        guard !report.externalID.isEmpty else { return }
        let reason = report.failure.map { "\($0.message) (\($0.code))" } ?? "o provedor não entregou a mensagem"
        try await cell.deliveryFailed(report.externalID, reason: reason).committed()
        let found = try await cell.readingQueues { () async throws(Refusal) in
            try await store.rows(
                .select(
                    from: QueueTables.messages,
                    "WHERE tenant_id = ? AND provider_id = ? AND state = 'sent'",
                    [.id(cell.tenant), .text(report.externalID)],
                    tenant: cell.tenant
                ).forDeciding
            ).map(QueueMessage.init)
        }
        try await cell.undelivered(found, reason: reason).committed()
    }
}
