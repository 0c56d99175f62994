package import Conversations
package import Jobs
package import Kernel
package import Logging
package import Storage

/// Fetches one file from where customers' files are, and keeps it.
package protocol MediaFetcher: Sendable {
    /// One attempt, bounded in time and size.
    func fetch(_ order: MediaOrder, tenant: TenantID) async -> MediaResult
}

/// Carries out the jobs that fetch what customers sent.
package struct MediaWorker: JobWorker {
    /// Files on their way at once: large, and in less of a hurry than messages.
    package static let maxConcurrent = 16

    private let tenants: Tenants
    private let store: any Store
    private let fetcher: any MediaFetcher
    private let environment: Environment
    private let logger: Logger

    package init(tenants: Tenants, store: any Store, fetcher: any MediaFetcher, environment: Environment, logger: Logger) {
        self.tenants = tenants
        self.store = store
        self.fetcher = fetcher
        self.environment = environment
        self.logger = logger
    }

    package func attempt(_ job: Job) async -> JobProgress {
        do throws(Refusal) {
            let order = try await tenants.use(job.tenant) { cell throws(Refusal) in
                try await bringIn(job, cell)
                return await cell.mediaOrder(job)
            }
            var result = MediaResult.failed("A mensagem não existe mais")
            if let order { result = await fetcher.fetch(order, tenant: job.tenant) }
            let next = try await tenants.use(job.tenant) { cell throws(Refusal) in
                try await bringIn(job, cell)
                return try await cell.mediaEnded(job, result).committed()
            }
            return next.map { .again($0) } ?? .ended
        } catch {
            // What was fetched is fetched again; the job is as it was, in the store too.
            logger.info("a file could not be fetched yet", metadata: ["job": "\(job.id)", "reason": "\(error.code)"])
            return .again(later(job, seconds: Int64(error.retryAfterSeconds ?? 1)))
        }
    }

    package func foundInterrupted(_ job: Job) async -> JobProgress { await attempt(job) }

    private func later(_ job: Job, seconds: Int64) -> Job {
        var job = job
        job.runAt = environment.now() + .seconds(seconds)
        return job
    }

    private func bringIn(_ job: Job, _ cell: TenantCell) async throws(Refusal) {
        guard let id = ConversationDesk.message(of: job), await !cell.hasMessage(id) else { return }
        if let message = try await ConversationDesk.message(id, tenant: job.tenant, from: store) { await cell.adopt(message) }
    }
}
