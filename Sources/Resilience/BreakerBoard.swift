package import Kernel
import Synchronization

// All circuit breakers of the server.
//
// Those of dependencies that a business reaches with credentials of its own are the business's: its bad token must not stop anybody else. Those of what the
// server itself depends on live with the connection that they guard, and are looked at from here (research/scheduling.md E4.4).

/// What the server or a business depends on.
package enum Dependency: String, Sendable, CaseIterable {
    case whatsapp, database, gemini, redis, pipedrive, smtp

    /// One for everybody.
    package var isShared: Bool { self == .database || self == .redis || self == .smtp }
}

/// What a person tells a breaker.
package enum BreakerOrder: Sendable, Hashable {
    case reset
    case force(CircuitBreaker.Force)
}

/// A breaker, wherever it lives.
package protocol BreakerControl: Sendable {
    /// As it is now.
    var breaker: CircuitBreaker { get }
    func carryOut(_ order: BreakerOrder)
}

/// A breaker of its own, such as that of one business's dependency. Its lock is its own.
package final class TenantBreaker: BreakerControl {
    private let state: Mutex<CircuitBreaker>
    private let environment: Environment
    /// Called outside the lock, after what people see of it has changed.
    private let changed: @Sendable (_ before: CircuitBreaker.State, _ now: CircuitBreaker) -> Void

    package init(
        _ settings: CircuitBreaker.Settings,
        environment: Environment,
        changed: @escaping @Sendable (CircuitBreaker.State, CircuitBreaker) -> Void
    ) {
        state = Mutex(CircuitBreaker(settings))
        self.environment = environment
        self.changed = changed
    }

    package var breaker: CircuitBreaker { state.withLock { $0 } }
    package var now: Timestamp { environment.now() }

    package func callRequested() -> CircuitBreaker.Admission {
        let now = environment.now()
        return update { $0.callRequested(at: now) }
    }

    package func callEnded(_ generation: Int, _ verdict: CallVerdict, took: Duration) {
        let now = environment.now()
        update { $0.callEnded(generation, verdict, took: took, jitter: Double.random(in: 0...1), at: now) }
    }

    package func carryOut(_ order: BreakerOrder) { update { $0.carryOut(order) } }

    private func update<T: Sendable>(_ body: (inout CircuitBreaker) -> T) -> T {
        let (result, before, now) = state.withLock { breaker in
            let before = breaker
            let result = body(&breaker)
            return (result, before, breaker)
        }
        if before.face != now.face { changed(before.state, now) }
        return result
    }
}

extension CircuitBreaker {
    package mutating func carryOut(_ order: BreakerOrder) {
        switch order {
        case .reset: reset()
        case .force(let force): forced(force)
        }
    }

    /// What people see of it.
    fileprivate struct Face: Equatable {
        let state: State
        let failures: Int
        let openUntil: Timestamp?
        let force: Force?
    }
    fileprivate var face: Face { Face(state: state, failures: failures, openUntil: openUntil, force: force) }
}

package final class BreakerBoard: Sendable {
    private struct Key: Hashable {
        let tenant: TenantID
        let dependency: Dependency
        /// What of a business reaches it, where there are several ways: one of its numbers.
        var number: String?
    }

    private struct State {
        var own: [Key: TenantBreaker] = [:]
        var shared: [Dependency: any BreakerControl] = [:]
        var faces: [Dependency: CircuitBreaker.Face] = [:]
        /// Those whose breakers have changed since they were last taken.
        var changed: Set<TenantID> = []
        var used: Set<Dependency> = [.whatsapp]
    }

    private let state = Mutex(State())
    private let settings: [Dependency: CircuitBreaker.Settings]
    private let environment: Environment
    /// A business's breaker has come into another state.
    private let moved: Mutex<(@Sendable (TenantID, Dependency, _ from: CircuitBreaker.State, _ to: CircuitBreaker) -> Void)?> = Mutex(nil)

    package init(settings: [Dependency: CircuitBreaker.Settings] = [:], environment: Environment) {
        self.settings = settings
        self.environment = environment
    }

    package func onMoved(_ body: @escaping @Sendable (TenantID, Dependency, _ from: CircuitBreaker.State, _ to: CircuitBreaker) -> Void) {
        moved.withLock { $0 = body }
    }

    /// A dependency of the whole server, whose breaker lives elsewhere.
    package func guards(_ dependency: Dependency, _ control: any BreakerControl) {
        precondition(dependency.isShared, "\(dependency) is every business's own")
        state.withLock { state in
            state.shared[dependency] = control
            state.used.insert(dependency)
        }
    }

    /// A dependency that businesses do have.
    package func uses(_ dependency: Dependency) { state.withLock { _ = $0.used.insert(dependency) } }

    package func isUsed(_ dependency: Dependency) -> Bool { state.withLock { $0.used.contains(dependency) } }

    /// The breaker that stands between a business and what is its own. Made when first asked for; kept, as it says what happened.
    /// - Parameter number: one of several of the business's numbers, which has trouble of its own.
    package func breaker(_ dependency: Dependency, of tenant: TenantID, number: String? = nil) -> TenantBreaker {
        precondition(!dependency.isShared, "\(dependency) is the whole server's")
        let key = Key(tenant: tenant, dependency: dependency, number: number)
        return state.withLock { state in
            if let breaker = state.own[key] { return breaker }
            let breaker = TenantBreaker(settings(of: dependency), environment: environment) { [weak self] before, now in
                self?.hasChanged(tenant, dependency, before, now)
            }
            state.own[key] = breaker
            return breaker
        }
    }

    /// Whether a business's breaker lets nobody through. Unlike `breaker`, it makes none: where nothing was asked for, nothing has gone wrong.
    package func isOpen(_ dependency: Dependency, of tenant: TenantID) -> Bool {
        state.withLock { $0.own[Key(tenant: tenant, dependency: dependency)] }?.breaker.state.isOpen ?? false
    }

    private func settings(of dependency: Dependency) -> CircuitBreaker.Settings {
        if let settings = settings[dependency] { return settings }
        switch dependency {
        case .whatsapp: return .whatsapp
        case .database: return .database
        case .gemini: return .gemini
        case .redis: return .redis
        case .pipedrive: return .pipedrive
        case .smtp: return .smtp
        }
    }

    private func hasChanged(_ tenant: TenantID, _ dependency: Dependency, _ before: CircuitBreaker.State, _ now: CircuitBreaker) {
        state.withLock { _ = $0.changed.insert(tenant) }
        if before != now.state, let moved = moved.withLock({ $0 }) { moved(tenant, dependency, before, now) }
    }

    /// As a business sees them: its own, and the server's.
    package func breakers(of tenant: TenantID) -> [(dependency: Dependency, breaker: CircuitBreaker)] {
        let (own, shared) = state.withLock { state in
            (Dependency.allCases.map { state.own[Key(tenant: tenant, dependency: $0)] }, state.shared)
        }
        return zip(Dependency.allCases, own).map { dependency, control in
            (dependency, control?.breaker ?? shared[dependency]?.breaker ?? CircuitBreaker(settings(of: dependency)))
        }
    }

    /// One of the server's own; `nil` where it does not depend on that.
    package func shared(_ dependency: Dependency) -> CircuitBreaker? { state.withLock { $0.shared[dependency] }?.breaker }
    /// Those of a business's numbers, by number.
    package func numbers(_ dependency: Dependency, of tenant: TenantID) -> [(number: String, breaker: CircuitBreaker)] {
        state.withLock { state in state.own.filter { $0.key.tenant == tenant && $0.key.dependency == dependency } }
            .compactMap { key, control in key.number.map { ($0, control.breaker) } }.sorted { $0.0 < $1.0 }
    }

    /// Every breaker there is, for what is counted over all businesses.
    package var all: [(dependency: Dependency, breaker: CircuitBreaker)] {
        let (own, shared) = state.withLock { ($0.own.map { ($0.key.dependency, $0.value) }, $0.shared) }
        return own.map { ($0.0, $0.1.breaker) } + shared.map { ($0.key, $0.value.breaker) }
    }

    // MARK: Orders

    let orders = BreakerOrders()

    func carryOut(_ order: BreakerOrder, on dependency: Dependency, of tenant: TenantID) {
        guard dependency.isShared else {
            if case .reset = order {
                let numbers = state.withLock { state in
                    state.own.filter { $0.key.tenant == tenant && $0.key.dependency == dependency && $0.key.number != nil }.map(\.value)
                }
                for number in numbers { number.carryOut(.reset) }
            }
            return breaker(dependency, of: tenant).carryOut(order)
        }
        state.withLock { $0.shared[dependency] }?.carryOut(order)
    }

    // MARK: Telling

    /// The businesses that see something new since this was last asked; `nil` for all of them: something of the server's has changed.
    package func takeChanged() -> Set<TenantID>? {
        let shared = state.withLock { $0.shared }
        let faces = shared.mapValues { $0.breaker.face }
        return state.withLock { state in
            defer {
                state.changed = []
                state.faces = faces
            }
            return state.faces == faces ? state.changed : nil
        }
    }
}
