package import Conversations
package import Jobs
package import Kernel
package import Logging
package import Storage

/// Sends a message to where its customer is: WhatsApp, or the simulator that stands in for it.
package protocol MessageSender: Sendable {
    /// One attempt, bounded in time.
    func send(_ order: SendOrder, tenant: TenantID) async -> SendResult
}

/// Carries out the outbox's jobs: has the desk note that an attempt begins, sends, and has it note what came of it.
package struct OutboxWorker: JobWorker {
    private let tenants: Tenants
    private let store: any Store
    private let sender: any MessageSender
    private let environment: Environment
    private let logger: Logger

    package init(tenants: Tenants, store: any Store, sender: any MessageSender, environment: Environment, logger: Logger) {
        self.tenants = tenants
        self.store = store
        self.sender = sender
        self.environment = environment
        self.logger = logger
    }

    package func attempt(_ job: Job) async -> JobProgress {
        let begun: (order: SendOrder?, job: Job)
        do throws(Refusal) {
            begun = try await tenants.use(job.tenant) { cell throws(Refusal) in
                try await bringIn(job, cell)
                return try await cell.attemptBegan(job).committed()
            }
        } catch {
            // Nothing was sent. The job is as it was, in the store too.
            var later = job
            later.runAt = environment.now() + .seconds(Int64(error.retryAfterSeconds ?? 1))
            return .again(later)
        }
        guard let order = begun.order else { return .ended }
        return await settle(begun.job, await sender.send(order, tenant: job.tenant))
    }

    /// It may have been sent, and nobody can tell: so it is not sent again.
    package func foundInterrupted(_ job: Job) async -> JobProgress {
        logger.warning("a message was being sent when the server went down; its outcome is unknown", metadata: ["job": "\(job.id)"])
        return await settle(job, .unknown)
    }

    /// Tries until it is stored: to forget that a message was sent would mean to send it twice.
    private func settle(_ job: Job, _ result: SendResult) async -> JobProgress {
        while true {
            do throws(Refusal) {
                let next = try await tenants.use(job.tenant) { cell throws(Refusal) in
                    try await bringIn(job, cell)
                    return try await cell.attemptEnded(job, result).committed()
                }
                return next.map { .again($0) } ?? .ended
            } catch {
                logger.warning("what came of a message could not be stored yet", metadata: ["job": "\(job.id)", "reason": "\(error.code)"])
                // Stopped meanwhile: the row stays `attempting`, and the next start finds it so.
                do { try await Task.sleep(for: .seconds(1)) } catch { return .ended }
            }
        }
    }

    private func bringIn(_ job: Job, _ cell: TenantCell) async throws(Refusal) {
        if let id = ConversationDesk.conversation(of: job), await !cell.has(id) {
            await cell.adopt(try await ConversationDesk.load(id, tenant: job.tenant, from: store))
        }
        if let id = ConversationDesk.message(of: job), await !cell.hasMessage(id),
            let message = try await ConversationDesk.message(id, tenant: job.tenant, from: store)
        {
            await cell.adopt(message)
        }
    }
}
