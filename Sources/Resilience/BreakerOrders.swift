package import Kernel
import Synchronization

// What people tell breakers, from the decision to what it does.
//
//     decided (a version that only grows) ──▶ the gate, in that order ──▶ on disk ──▶ carried out, in that order
//                                                                   └──▶ refused: as if nothing had been said
//
// Invariants
// 1. Orders come to the gate in the order of their versions, whichever businesses they come from: a row is written only over an older one.
// 2. What is carried out last is what is stored: an order older than one that was carried out does nothing.
// 3. Who does not run the server takes back nothing that is forced upon everybody, also while it is on its way to the disk.

/// The orders of each breaker: what stands, and what is on its way to the disk.
struct BreakerLedger: Sendable {
    /// `tenant` is `nil` for what is everybody's.
    struct Key: Hashable, Sendable {
        let tenant: TenantID?
        let dependency: Dependency

        init(_ dependency: Dependency, of tenant: TenantID) {
            self.dependency = dependency
            self.tenant = dependency.isShared ? nil : tenant
        }
    }

    private struct Standing {
        /// The newest that was carried out.
        var version: Int64 = 0
        var isForced = false
        /// On their way, the oldest first.
        var decided: [(version: Int64, isForced: Bool)] = []
    }

    private var standing: [Key: Standing] = [:]
    private var lastVersion: Int64 = 0

    /// Whether a breaker is forced, or about to be.
    func isForced(_ key: Key) -> Bool { standing[key].map { $0.decided.last?.isForced ?? $0.isForced } ?? false }

    /// - Returns: the order's version, which grows also where the clock does not.
    mutating func decided(_ order: BreakerOrder, _ key: Key, at now: Timestamp) -> Int64 {
        lastVersion = max(now.milliseconds, lastVersion + 1)
        standing[key, default: Standing()].decided.append((lastVersion, order.isForce))
        return lastVersion
    }

    /// An order is on disk, or was refused.
    /// - Returns: whether it is to be carried out.
    mutating func settled(_ version: Int64, _ key: Key, isStored: Bool) -> Bool {
        guard var entry = standing[key], let index = entry.decided.firstIndex(where: { $0.version == version }) else {
            preconditionFailure("an order is settled once, after it was decided")
        }
        let order = entry.decided.remove(at: index)
        let counts = isStored && version > entry.version
        if counts { (entry.version, entry.isForced) = (version, order.isForced) }
        standing[key] = entry
        return counts
    }

    /// What stands in the store.
    mutating func restored(_ key: Key, version: Int64, isForced: Bool) {
        lastVersion = max(lastVersion, version)
        standing[key] = Standing(version: version, isForced: isForced)
    }

    /// Versions that rows have, also those of which nothing follows any more.
    mutating func seen(_ version: Int64) { lastVersion = max(lastVersion, version) }
}

extension BreakerOrder {
    var isForce: Bool { if case .force = self { true } else { false } }
}

extension BreakerBoard {
    /// Takes an order, and carries it out once it is on disk.
    /// - Parameter isOperator: the server's own breakers stop everybody: only who runs the server forces them, or takes that back.
    /// - Parameter enqueue: gives the order to the gate, with its version; the gate calls `settle` with whether it is on disk.
    /// - Throws: `shared_dependency`.
    package func decide(
        _ order: BreakerOrder,
        on dependency: Dependency,
        of tenant: TenantID,
        isOperator: Bool,
        at now: Timestamp,
        enqueue: (_ version: Int64, _ settle: @escaping @Sendable (_ isStored: Bool) -> Void) -> Void
    ) throws(Refusal) {
        let key = BreakerLedger.Key(dependency, of: tenant)
        // Held until the gate has it: the next decision is the next at the gate.
        let isTaken = orders.turn.withLock { _ in
            let version = orders.ledger.withLock { ledger -> Int64? in
                guard isOperator || !dependency.isShared || !(order.isForce || ledger.isForced(key)) else { return nil }
                return ledger.decided(order, key, at: now)
            }
            guard let version else { return false }
            enqueue(version) { [self] isStored in
                if orders.ledger.withLock({ $0.settled(version, key, isStored: isStored) }) { carryOut(order, on: dependency, of: tenant) }
            }
            return true
        }
        guard isTaken else {
            throw Refusal(
                .forbidden,
                "shared_dependency",
                "Esta dependência é de todas as empresas; só quem opera o servidor pode forçá-la ou desfazer o que foi forçado."
            )
        }
    }

    /// Puts back what stood before the server was started.
    package func restore(_ force: CircuitBreaker.Force?, on dependency: Dependency, of tenant: TenantID, version: Int64) {
        orders.ledger.withLock { $0.restored(BreakerLedger.Key(dependency, of: tenant), version: version, isForced: force != nil) }
        if let force { carryOut(.force(force), on: dependency, of: tenant) }
    }

    package func sawOrder(version: Int64) { orders.ledger.withLock { $0.seen(version) } }
}

/// Of a board.
final class BreakerOrders: Sendable {
    /// Whose turn it is to decide. Taken before `ledger`, and never within it.
    let turn = Mutex(())
    let ledger = Mutex(BreakerLedger())
}
