import Conversations
import HTTPAPI
import Identity
import Integrations
import Jobs
import Kernel
import Logging
import Realtime
import ServiceLifecycle
import Storage
import Tenancy

/// What runs beside the doors: alarms, and now and then the putting away of what is no longer needed.
struct Housekeeping: Service {
    let tenants: Tenants
    let alarms: AlarmClock
    let hub: StreamHub
    let presence: PresenceBook
    let operations: Operations
    let gate: Gate
    let directory: Directory
    let apiKeys: APIKeys
    /// How long each single access of a business's customers is kept.
    let customerLoginsAreKept: Duration
    let environment: Environment
    let logger: Logger

    func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                var ticks = 0
                while !Task.isCancelled {
                    for tenant in alarms.due(at: environment.now()) { group.addTask { await wake(tenant) } }
                    for person in presence.arrivals() { group.addTask { await come(person) } }
                    for person in presence.gone() { group.addTask { await leave(person) } }
                    await operations.tellBreakers()
                    ticks += 1
                    if ticks % 50 == 0 { await apiKeys.noteUse() }
                    if ticks % 400 == 0 { hub.checkPositions() }
                    if ticks % 600 == 0 {
                        await tenants.sweep()
                        hub.sweep()
                        gate.forgetOldMarks(now: environment.now())
                    }
                    if ticks % 36_000 == 0 {
                        do throws(Refusal) { try await directory.sweep() } catch {
                            logger.warning("expired logins could not be deleted", metadata: ["reason": "\(error.code)"])
                        }
                    }
                    // Hourly, for the first time when it is not busy starting any more.
                    if ticks % 36_000 == 600 { group.addTask { await forgetLogins() } }
                    try? await Task.sleep(for: .milliseconds(100))
                }
            }
        }
    }

    private func forgetLogins() async {
        let time = environment.now() - customerLoginsAreKept
        for tenant in await directory.tenants where !Task.isCancelled {
            do throws(Refusal) { _ = try await operations.forgetLogins(before: time, of: tenant.id) } catch {
                logger.warning("old accesses of customers could not be deleted", metadata: ["tenant": "\(tenant.id)", "reason": "\(error.code)"])
            }
        }
    }

    private func come(_ person: PresenceLeases.Person) async {
        do throws(Refusal) { try await operations.agentCame(person.user, person.tenant) } catch {
            logger.warning("that an agent came could not be noted", metadata: ["tenant": "\(person.tenant)", "reason": "\(error.code)"])
            try? await Task.sleep(for: .seconds(10))
            presence.arrivedStill(person)
        }
    }

    private func leave(_ person: PresenceLeases.Person) async {
        do throws(Refusal) { try await operations.agentLeft(person.user, person.tenant) } catch {
            // Once more after the grace, unless they come back.
            presence.expected(person)
            logger.warning("an agent who left could not be put offline", metadata: ["tenant": "\(person.tenant)", "reason": "\(error.code)"])
        }
    }

    private func wake(_ tenant: TenantID) async {
        do throws(Refusal) {
            try await tenants.use(tenant) { cell throws(Refusal) in
                if await cell.hasCustomers { try await cell.bringPortfolio() }
                try await cell.timePassed().committed()
            }
        } catch {
            // The alarm stands until it has been heard.
            alarms.set(tenant, at: environment.now() + .seconds(1))
            logger.warning("a tenant could not be woken", metadata: ["tenant": "\(tenant)", "reason": "\(error.code)"])
        }
    }
}

struct JobService: Service {
    let runner: JobRunner

    func run() async throws {
        // Attempts under way end by themselves: cut off, nobody would know whether their messages were sent.
        await withGracefulShutdownHandler {
            await runner.run()
        } onGracefulShutdown: {
            runner.stop()
        }
    }
}

struct QueueService: Service {
    let dispatcher: QueueDispatcher

    func run() async throws {
        // As with jobs: attempts under way end by themselves.
        await withGracefulShutdownHandler {
            await dispatcher.run()
            // It may have been told already (`QueueStop`); a service that ends before its turn ends all of them.
            try? await gracefulShutdown()
        } onGracefulShutdown: {
            dispatcher.stop()
        }
    }
}

/// Has the workers claim nothing any more as soon as the server is told to stop.
struct QueueStop: Service {
    let dispatcher: QueueDispatcher

    func run() async throws {
        try? await gracefulShutdown()
        dispatcher.stop()
    }
}

struct SignalService: Service {
    let signals: CustomerSignals

    func run() async throws { await cancelWhenGracefulShutdown { await signals.run() } }
}

struct SimulatorService: Service {
    let simulator: WhatsAppSimulator
    let statuses: SimulatedStatuses

    func run() async throws {
        await cancelWhenGracefulShutdown {
            await withDiscardingTaskGroup { group in
                group.addTask { await simulator.run() }
                group.addTask { await statuses.run() }
            }
        }
    }
}

/// The simulator's statuses, on their way in: it names the tenant where WhatsApp would name the number.
struct SimulatedStatuses {
    private let operations: Operations
    private let logger: Logger
    private let stream: AsyncStream<WhatsAppItem>
    private let continuation: AsyncStream<WhatsAppItem>.Continuation

    init(operations: Operations, logger: Logger) {
        self.operations = operations
        self.logger = logger
        (stream, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(WhatsAppSimulator.maxPendingReports))
    }

    func put(_ item: WhatsAppItem) { continuation.yield(item) }

    func run() async {
        for await item in stream {
            guard case .status(let update) = item.content, let tenant = item.phoneNumberID.flatMap({ TenantID($0) }) else { continue }
            do throws(Refusal) { try await operations.report([StatusReport(update)], tenant: tenant) } catch {
                logger.info("a simulated status was lost", metadata: ["reason": "\(error.code)"])
            }
        }
    }
}
