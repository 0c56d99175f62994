import DequeModule
package import Kernel

/// Who is next at the workers of one queue: one message of each business in turn, and of no business more at once than its share.
package struct QueueRound: Sendable {
    /// Attempts at once, of all businesses and of one.
    package let concurrency: Int
    package let perTenant: Int
    /// Businesses that may have something, each once, first come first served.
    private var ring: Deque<TenantID> = []
    /// Those in the ring, and whether they have asked again since.
    private var listed: [TenantID: Bool] = [:]
    private var running: [TenantID: Int] = [:]
    package private(set) var busy = 0

    package init(concurrency: Int, perTenant: Int) {
        self.concurrency = concurrency
        self.perTenant = perTenant
    }

    package func busy(of tenant: TenantID) -> Int { running[tenant] ?? 0 }

    /// It may have something.
    package mutating func wants(_ tenant: TenantID) {
        if listed.updateValue(true, forKey: tenant) == nil { ring.append(tenant) }
    }

    /// The business whose turn it is: one of its messages may begin.
    package mutating func next() -> TenantID? {
        guard busy < concurrency else { return nil }
        for _ in 0..<ring.count {
            let tenant = ring.removeFirst()
            ring.append(tenant)
            guard running[tenant] ?? 0 < perTenant else { continue }
            listed[tenant] = false
            running[tenant, default: 0] += 1
            busy += 1
            return tenant
        }
        return nil
    }

    /// It had nothing, unless it has asked again meanwhile.
    package mutating func hadNothing(_ tenant: TenantID) {
        ended(tenant)
        guard listed[tenant] == false else { return }
        listed[tenant] = nil
        ring.removeAll { $0 == tenant }
    }

    package mutating func ended(_ tenant: TenantID) {
        guard let count = running[tenant], count > 0 else { return }
        running[tenant] = count == 1 ? nil : count - 1
        busy -= 1
    }
}
