package import Conversations
package import Jobs
package import Kernel
package import Logging
package import Storage

/// Sends a message to where its customer is: WhatsApp, or the simulator that stands in for it.
package protocol MessageSender: Sendable {
    /// One attempt, bounded in time.
    func send(_ order: SendOrder, tenant: TenantID) async -> SendResult
    /// Whether the business has several numbers, each with trouble of its own.
    func hasSeveralNumbers(_ tenant: TenantID) async -> Bool
    /// Which of them something goes out from that is to go out from this one; `nil`: from whichever.
    func number(_ wanted: String?, of tenant: TenantID) async -> String?
}

extension MessageSender {
    package func hasSeveralNumbers(_ tenant: TenantID) async -> Bool { false }
    package func number(_ wanted: String?, of tenant: TenantID) async -> String? { wanted }
}

/// Carries out the outbox's jobs: has the desk note that an attempt begins, sends, and has it note what came of it.
package struct OutboxWorker: JobWorker {
    private let tenants: Tenants
    private let store: any Store
    package let path: OutboundPath
    private let environment: Environment
    private let logger: Logger

    package init(
        tenants: Tenants,
        store: any Store,
        sender: any MessageSender,
        guarding: SendGuard? = nil,
        stops: AccountStops = AccountStops(),
        accountStopped: @escaping @Sendable (TenantID, _ number: String?, Message.Failure) async -> Void = { _, _, _ in },
        environment: Environment,
        logger: Logger
    ) {
        path = OutboundPath(
            tenants: tenants,
            sender: sender,
            guarding: guarding,
            stops: stops,
            accountStopped: accountStopped,
            environment: environment,
            logger: logger
        )
        self.tenants = tenants
        self.store = store
        self.environment = environment
        self.logger = logger
    }

    package func attempt(_ job: Job) async -> JobProgress {
        let number: String?
        do throws(Refusal) { number = try await ownNumber(job) } catch { return .again(later(job, seconds: Int64(error.retryAfterSeconds ?? 1))) }
        // Before anything is written of an attempt: while the breaker is open a message waits as it is, and is not a bit older for it.
        var permit: SendGuard.Permit?
        switch path.admit(job.tenant, number) {
        case .go(let allowed): permit = allowed
        case .wait(let until): return .held(until: until)
        }
        // Whichever way this ends, the permit is given back: a probe that is forgotten would hold everybody up until its lease ends.
        defer { permit?.abandon() }
        do throws(Refusal) {
            let attempt = try await tenants.use(job.tenant) { cell throws(Refusal) in
                try await bringIn(job, cell)
                return try await cell.attemptBegan(job).committed()
            }
            switch attempt {
            case .send(let order, let begun):
                let sent = permit
                permit = nil
                let result = await path.send(order, job.tenant, number, sent)
                await meetOthers(result, job.tenant)
                return await settle(begun, result)
            case .ended: return .ended
            case .missing: return .again(later(job, seconds: 1))
            }
        } catch {
            // Nothing was sent. The job is as it was, in the store too.
            return .again(later(job, seconds: Int64(error.retryAfterSeconds ?? 1)))
        }
    }

    /// The number that a job's message goes out from, where the business has several.
    private func ownNumber(_ job: Job) async throws(Refusal) -> String? {
        guard await path.sender.hasSeveralNumbers(job.tenant) else { return nil }
        let wanted = try await tenants.use(job.tenant) { cell throws(Refusal) in
            try await bringIn(job, cell)
            return await cell.phoneNumberID(of: job)
        }
        return await path.sender.number(wanted, of: job.tenant)
    }

    /// The number that an answer names may be another contact's, who is not in memory.
    private func meetOthers(_ result: SendResult, _ tenant: TenantID) async {
        guard case .sent(_, let waID?) = result else { return }
        // Without them nothing is learnt: the number comes with the next answer again.
        _ = try? await tenants.use(tenant) { cell throws(Refusal) in
            let missing = await cell.missing([ContactIdentity(waIDs: [waID], bsuid: nil)])
            if !missing.isEmpty { await cell.adopt(try await ConversationDesk.contacts(missing, tenant: tenant, from: store)) }
        }
    }

    private func later(_ job: Job, seconds: Int64) -> Job {
        var job = job
        job.runAt = environment.now() + .seconds(seconds)
        return job
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
                let end = try await tenants.use(job.tenant) { cell throws(Refusal) in
                    try await bringIn(job, cell)
                    return try await cell.attemptEnded(job, result).committed()
                }
                switch end {
                case .ended: return .ended
                case .again(let next): return .again(next)
                // Forgotten between two turns, or gone from the store altogether.
                case .missing: throw .notFound(.message)
                }
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
