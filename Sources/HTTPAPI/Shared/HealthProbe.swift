import Hummingbird
import Jobs
import Kernel
import Resilience
import Storage
import Synchronization
import Tenancy
import Wire

/// What `/health` tells. Found out at most once a second, however many ask: those who come while it is being found out wait for the same answer.
final class HealthProbe: Sendable {
    struct Report: Sendable {
        enum Verdict: String, Sendable { case healthy, degraded, unhealthy }

        struct Check: Sendable {
            let name: String
            /// `ok`, or a word for what is wrong.
            var status: String
            var milliseconds: Double?
            var detail: String?
            /// Without it no change gets through.
            var isVital = false
        }

        let checks: [Check]
        let at: Timestamp

        static let fine: Set<String> = ["ok", "off", "simulator"]

        var verdict: Verdict {
            let wrong = checks.filter { !Self.fine.contains($0.status) && $0.status != "paused" }
            return wrong.contains(where: \.isVital) ? .unhealthy : wrong.isEmpty ? .healthy : .degraded
        }
        var detail: String? {
            (checks.first { $0.isVital && !Self.fine.contains($0.status) } ?? checks.first { $0.status != "paused" && !Self.fine.contains($0.status) })?
                .detail
        }
        func status(_ name: String) -> String? { checks.first { $0.name == name }?.status }
    }

    private struct State {
        var latest: (report: Report, at: ContinuousClock.Instant)?
        /// Ends by putting its report into `latest`.
        var running: Task<Report, Never>?
        /// When the last change of our own was put through the gate, and how many batches there had been.
        var commits = -1
    }

    private static let isFreshFor = Duration.seconds(1)
    /// A disk that is full is not asked every second: a commit that fails costs everybody in its batch.
    private static let isKeptFor = Duration.seconds(3)
    private static let patience = Duration.seconds(2)

    private let state = Mutex(State())
    private let operations: Operations
    private let store: any ManagedStore
    private let settings: API.Settings
    private let environment: Kernel.Environment

    init(operations: Operations, store: any ManagedStore, settings: API.Settings, environment: Kernel.Environment) {
        self.operations = operations
        self.store = store
        self.settings = settings
        self.environment = environment
    }

    func report() async -> Report {
        enum Found {
            case known(Report)
            case awaited(Task<Report, Never>)
        }
        let found: Found = state.withLock { state in
            if let latest = state.latest {
                let age = ContinuousClock.now - latest.at
                if age < (latest.report.verdict == .unhealthy ? Self.isKeptFor : Self.isFreshFor) { return .known(latest.report) }
            }
            if let running = state.running { return .awaited(running) }
            let task = Task {
                let report = await self.findOut()
                self.state.withLock {
                    $0.latest = (report, .now)
                    $0.running = nil
                }
                return report
            }
            state.running = task
            return .awaited(task)
        }
        switch found {
        case .known(let report): return report
        case .awaited(let task): return await task.value
        }
    }

    private func findOut() async -> Report {
        async let path = changePath()
        async let database = database()
        async let redis = redis()
        return await Report(checks: [path, database, redis, queues()] + services(), at: environment.now())
    }

    // MARK: Each of them

    /// A change that alters nothing, all the way: decided, in the journal, on disk, released. Where others' changes have just gone that way, it only passes the gate
    /// behind them.
    private func changePath() async -> Report.Check {
        let commits = operations.gate.counters.commits
        let isBusy = state.withLock { state in
            defer { state.commits = commits }
            return state.commits >= 0 && state.commits < commits
        }
        var check = await Self.timed("change_path") { () async throws(Refusal) in try await self.operations.probe(isWritten: !isBusy) }
        check.isVital = true
        return check
    }

    private func database() async -> Report.Check {
        let operations = operations
        guard let owed = store.status.writeBehind else {
            var check = await Self.timed("database") { () async throws(Refusal) in try await operations.probeStore() }
            check.isVital = true
            return check
        }
        if let forced = forced(.database) { return forced }
        if owed.isFull { return Report.Check(name: "database", status: "journal_full", detail: "O diário local atingiu seu limite.", isVital: true) }
        let away = "O banco de dados está fora do ar ou atrasado; o diário local guarda as alterações."
        if owed.remote.isRefusing || owed.remote.breaker == "half_open" {
            return Report.Check(name: "database", status: "breaker_open", detail: away)
        }
        if owed.lag > .seconds(10) { return Report.Check(name: "database", status: "behind", detail: away) }
        var check = await Self.timed("database") { () async throws(Refusal) in try await operations.probeStore() }
        if check.status != "ok" { check.detail = away }
        return check
    }

    private func redis() async -> Report.Check {
        guard let ping = settings.pingRedis else { return Report.Check(name: "redis", status: "off") }
        if let forced = forced(.redis) { return forced }
        let start = ContinuousClock.now
        let isThere = await ping()
        return Report.Check(
            name: "redis",
            status: isThere ? "ok" : "unreachable",
            milliseconds: (ContinuousClock.now - start) / .milliseconds(1),
            detail: isThere ? nil : "O Redis está fora do ar; tudo continua, mas nada é repassado a outros programas."
        )
    }

    /// Alive but deaf: workers that take nothing look well from everywhere but from what waits for them.
    private func queues() -> Report.Check {
        guard let report = operations.queues?.census.report else { return Report.Check(name: "queues", status: "off") }
        let now = environment.now()
        let late = report.oldest.filter { $0.value + settings.queueIsDeafAfter <= now }.min { $0.value < $1.value }
        guard let late else { return Report.Check(name: "queues", status: "ok") }
        let seconds = (now - late.value).inMilliseconds / 1000
        return Report.Check(
            name: "queues",
            status: "deaf",
            detail: "A fila \(late.key.rawValue) tem uma mensagem que espera há \(seconds) s sem que ninguém a envie."
        )
    }

    /// Nothing is wrong with it that anybody knows of: somebody has said that it is not to be asked.
    private func forced(_ dependency: Dependency) -> Report.Check? {
        guard let force = operations.tenants.breakers?.shared(dependency)?.force, force.isOpen else { return nil }
        let detail = "Aberto à mão por \(force.by) em \(force.at): \(force.reason)"
        return Report.Check(name: dependency.rawValue, status: "breaker_open", detail: detail)
    }

    /// What businesses reach with credentials of their own. One business's trouble is shown, and makes nobody else's server unwell.
    private func services() -> [Report.Check] {
        let board = operations.tenants.breakers
        return [Dependency.whatsapp, .gemini, .pipedrive, .smtp].map { dependency in
            let open = board?.all.count { $0.dependency == dependency && $0.breaker.state.isOpen } ?? 0
            if open > 0 { return Report.Check(name: dependency.rawValue, status: "paused", detail: "circuit breakers abertos: \(open)") }
            if dependency == .whatsapp, settings.isSimulated { return Report.Check(name: "whatsapp", status: "simulator") }
            if dependency == .smtp, settings.email == "simulator" { return Report.Check(name: "smtp", status: "simulator") }
            return Report.Check(name: dependency.rawValue, status: board?.isUsed(dependency) == true ? "ok" : "off")
        }
    }

    private static func timed(_ name: String, _ body: @escaping @Sendable () async throws(Refusal) -> Void) async -> Report.Check {
        let start = ContinuousClock.now
        let first = FirstAnswer()
        // Not in a group: that would wait for the slower one, and a disk that hangs may take for ever. Whatever hangs is bounded by what the gate lets wait.
        Task {
            do throws(Refusal) {
                try await body()
                first.give(nil)
            } catch { first.give(error) }
        }
        let deadline = Task {
            guard (try? await Task.sleep(for: patience)) != nil else { return }
            first.give(Refusal(.unavailable, "timed_out", "Sem resposta em \(patience.inMilliseconds / 1000) s."))
        }
        let refusal = await first.answer()
        deadline.cancel()
        let took = (ContinuousClock.now - start) / .milliseconds(1)
        return Report.Check(name: name, status: refusal?.code ?? "ok", milliseconds: took, detail: refusal?.message)
    }
}

/// Whichever of several answers comes first.
private final class FirstAnswer: Sendable {
    private enum State {
        case open(CheckedContinuation<Refusal?, Never>?)
        case given(Refusal?)
    }
    private let state = Mutex(State.open(nil))

    func give(_ refusal: Refusal?) {
        let waiting = state.withLock { state -> CheckedContinuation<Refusal?, Never>? in
            guard case .open(let waiting) = state else { return nil }
            state = .given(refusal)
            return waiting
        }
        waiting?.resume(returning: refusal)
    }

    func answer() async -> Refusal? {
        await withCheckedContinuation { continuation in
            let given: Refusal?? = state.withLock { state in
                guard case .given(let refusal) = state else {
                    state = .open(continuation)
                    return nil
                }
                return .some(refusal)
            }
            if let given { continuation.resume(returning: given) }
        }
    }
}
