package import Conversations
package import Kernel
package import Logging
import Plans
package import Resilience
package import Storage
import Synchronization
package import Telemetry

/// The tenants that are awake: loaded on first use, kept while used, put to sleep when idle, dropped when what they decided could not be stored.
package final class Tenants: Sendable {
    package struct Limits: Sendable {
        package var idleBeforeSleep = Duration.seconds(900)
        /// Tenants awake at once. Past it those idle for longest sleep sooner.
        package var awake = 2000

        package init() {}
    }

    private enum Entry {
        /// The task belongs to this entry: it ends by replacing it.
        case loading(Task<Refusal?, Never>)
        case awake(TenantCell, users: Int, lastUsed: Timestamp)
    }

    private let entries = Mutex<[TenantID: Entry]>([:])
    private let surroundings: TenantCell.Surroundings
    private let limits: Limits
    private let logger: Logger
    /// Whether clients are looking at the tenant.
    private let isWatched: @Sendable (TenantID) -> Bool
    /// The tenant's bot, or `nil` when there is no such tenant.
    private let flow: @Sendable (TenantID) async -> BotFlow?

    package init(
        _ surroundings: TenantCell.Surroundings,
        limits: Limits = Limits(),
        logger: Logger,
        isWatched: @escaping @Sendable (TenantID) -> Bool,
        flow: @escaping @Sendable (TenantID) async -> BotFlow?
    ) {
        self.surroundings = surroundings
        self.limits = limits
        self.logger = logger
        self.isWatched = isWatched
        self.flow = flow
    }

    package var awakeCount: Int { entries.withLock { $0.count } }
    /// Those that are in memory, and not those that are only being loaded.
    package var awake: [TenantID] {
        entries.withLock { entries in entries.compactMap { if case .awake = $0.value { $0.key } else { nil } } }
    }
    package var breakers: BreakerBoard? { surroundings.breakers }
    package var telemetry: Telemetry { surroundings.telemetry }
    func owner(_ tenant: TenantID) -> UserID? { surroundings.account(tenant).owner }

    /// Runs `body` with a tenant that stays awake meanwhile.
    package func use<T: Sendable>(_ tenant: TenantID, _ body: (TenantCell) async throws(Refusal) -> T) async throws(Refusal) -> T {
        let cell = try await telemetry.span("tenant.acquire") { () async throws(Refusal) in try await acquire(tenant) }
        defer { release(cell) }
        return try await body(cell)
    }

    private enum Found {
        case awake(TenantCell)
        case loading(Task<Refusal?, Never>)
    }

    private func acquire(_ tenant: TenantID) async throws(Refusal) -> TenantCell {
        var wasAwake = true
        while true {
            let found: Found = entries.withLock { entries in
                switch entries[tenant] {
                case .awake(let cell, let users, _):
                    entries[tenant] = .awake(cell, users: users + 1, lastUsed: surroundings.environment.now())
                    return .awake(cell)
                case .loading(let task): return .loading(task)
                case nil:
                    let task = Task { await self.load(tenant) }
                    entries[tenant] = .loading(task)
                    return .loading(task)
                }
            }
            switch found {
            case .awake(let cell):
                telemetry.metrics.cache.add(1, LabelValues("tenants", wasAwake ? "hit" : "miss"))
                return cell
            case .loading(let task):
                wasAwake = false
                if let refusal = await task.value { throw refusal }
            }
        }
    }

    private func release(_ cell: TenantCell) {
        entries.withLock { entries in
            guard case .awake(let present, let users, _) = entries[cell.tenant], present === cell else { return }
            entries[cell.tenant] = .awake(cell, users: users - 1, lastUsed: surroundings.environment.now())
        }
    }

    private func load(_ tenant: TenantID) async -> Refusal? {
        do throws(Refusal) {
            guard let flow = await flow(tenant) else { throw .notFound(.tenant) }
            let cell = try await TenantCell.load(tenant, flow: flow, surroundings)
            entries.withLock { $0[tenant] = .awake(cell, users: 0, lastUsed: surroundings.environment.now()) }
            return nil
        } catch {
            entries.withLock { $0[tenant] = nil }
            return error
        }
    }

    /// What the tenant decided could not be stored: its actors are dropped, and loaded anew by whoever asks next.
    package func drop(_ activation: Activation) {
        let wasAwake = entries.withLock { entries in
            guard case .awake(let cell, _, _) = entries[activation.tenant], cell.activation === activation else { return false }
            entries[activation.tenant] = nil
            return true
        }
        guard wasAwake else { return }
        // What was to be decided by time still is.
        surroundings.alarms.set(activation.tenant, at: surroundings.environment.now() + .seconds(1))
        logger.warning("a tenant's live state was dropped and will be loaded again", metadata: ["tenant": "\(activation.tenant)"])
    }

    /// Puts to sleep who has been idle for long, has nobody waiting and nobody watching. To be called now and then.
    package func sweep() async {
        let now = surroundings.environment.now()
        let idle = entries.withLock { entries in
            entries.compactMap { _, entry -> (cell: TenantCell, lastUsed: Timestamp)? in
                guard case .awake(let cell, users: 0, let lastUsed) = entry else { return nil }
                return (cell, lastUsed)
            }
        }.sorted { $0.lastUsed < $1.lastUsed }
        var tooMany = awakeCount - limits.awake
        for (cell, lastUsed) in idle where lastUsed + limits.idleBeforeSleep <= now || tooMany > 0 {
            guard !isWatched(cell.tenant), await cell.isQuiet else { continue }
            // Whatever it decided is on disk before anybody may load it again.
            await surroundings.gate.barrier()
            entries.withLock { entries in
                guard case .awake(let present, users: 0, lastUsed) = entries[cell.tenant], present === cell else { return }
                entries[cell.tenant] = nil
            }
            tooMany -= 1
        }
    }
}
