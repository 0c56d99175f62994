package import Kernel

// The machine that says how much of its plan a business has used (research/scheduling.md C). No I/O; the time comes in as the period that it is.
//
//     reserve(n) ──▶ ok: counted, in the very turn that makes what is counted, and written in the same change
//                └─▶ denied {limit, used, resets at}: nothing is counted
//     giveBack   ◀── what it was for has failed within that turn
//
// There is no "check, then increment": both are one step. A change that cannot be stored ends the life of the whole live state, and what is read back is what is on
// disk; so a unit is never counted for something that does not exist, nor the other way round.
//
// What is metered (appointments, messages) starts at 0 in each period. What stands (services, clients, …) is counted by what there is, whoever makes or removes it.
// A cancelled appointment gives nothing back: the unit was for having booked. A change of plan moves the limit at once, up or down, and no count.
//
// Invariants
// 1. By `reserve` no count comes to stand above the limit that counts then. It may stand above one that was lowered since: then nothing more is given, and
//    nothing is taken away.
// 2. Each (resource, period, threshold) is told at most once; and once as soon as it is reached.
// 3. A period never gives way to an earlier one: a clock or a zone that is put back gives no second month.
package struct Usage: Sendable {
    /// Percentages of a limit at which the business is told, in order.
    package static let thresholds = [80, 100]
    /// Operations whose repetition is known.
    static let maxOperations = 1000

    package struct Meter: Sendable, Equatable {
        package var used = 0
        /// The highest threshold that was told in this period; 0 for none.
        package var told = 0
        package var version: Int64 = 0

        package init(used: Int = 0, told: Int = 0, version: Int64 = 0) {
            self.used = used
            self.told = told
            self.version = version
        }
    }

    package struct Denial: Sendable, Equatable {
        package let resource: PlanResource
        package let limit: Int
        package let used: Int
        /// `nil` for what stands: only removing some, or another plan, makes room.
        package let resetsAt: Timestamp?

        package init(resource: PlanResource, limit: Int, used: Int, resetsAt: Timestamp?) {
            self.resource = resource
            self.limit = limit
            self.used = used
            self.resetsAt = resetsAt
        }
    }

    package enum Outcome: Sendable, Equatable {
        case ok
        case denied(Denial)
    }

    package struct Alert: Sendable, Equatable {
        package let resource: PlanResource
        package let threshold: Int
        package let used: Int
        package let limit: Int
        package let period: Period
    }

    /// What has happened since it was last taken.
    package struct Effects: Sendable, Equatable {
        /// Whose meters have to be written.
        package var written: Set<PlanResource> = []
        /// Whose figures are others than before.
        package var moved: Set<PlanResource> = []
        package var alerts: [Alert] = []
        package var isNewPeriod = false

        package init() {}

        package var isEmpty: Bool { written.isEmpty && moved.isEmpty && alerts.isEmpty && !isNewPeriod }
    }

    package private(set) var plan: PlanType
    package private(set) var limits: PlanLimits
    package private(set) var period: Period
    private var meters: [PlanResource: Meter]
    private var operations: [String: (resource: PlanResource, count: Int)] = [:]
    private var operationsInOrder: [String] = []
    private var effects = Effects()

    /// - Parameters:
    ///   - meters: of this period; what stands has the threshold that was told there, and how many there are comes by `stands`.
    package init(plan: PlanType, limits: PlanLimits, period: Period, meters: [PlanResource: Meter] = [:]) {
        self.plan = plan
        self.limits = limits
        self.period = period
        self.meters = meters
    }

    package func meter(_ resource: PlanResource) -> Meter { meters[resource] ?? Meter() }
    package func used(_ resource: PlanResource) -> Int { meter(resource).used }
    /// `nil` where there is no limit.
    package func left(_ resource: PlanResource) -> Int? { limits[resource].map { max(0, $0 - used(resource)) } }
    package func resetsAt(_ resource: PlanResource) -> Timestamp? { resource.isMetered ? period.end : nil }

    package func denial(_ resource: PlanResource) -> Denial {
        Denial(resource: resource, limit: limits[resource] ?? .max, used: used(resource), resetsAt: resetsAt(resource))
    }

    // MARK: Facts

    /// It is this period now.
    package mutating func periodIs(_ now: Period) {
        // Invariant 3. The same one may have other bounds, when the zone has changed.
        guard now.first > period.first else {
            if now.first == period.first { period = now }
            return
        }
        period = now
        effects.isNewPeriod = true
        operations = [:]
        operationsInOrder = []
        for resource in PlanResource.allCases {
            var meter = meter(resource)
            if resource.isMetered {
                guard meter.used > 0 || meter.told > 0 else { continue }
                effects.moved.insert(resource)
                meter = Meter()
            } else {
                // What stands above a threshold has been told of it: it is told again only when it gets there again.
                meter.told = Self.thresholds.last { reached($0, meter.used, limits[resource]) } ?? 0
                meter.version = 0
                if meter.told > 0 { effects.written.insert(resource) }
            }
            meters[resource] = meter
        }
    }

    /// It is this plan now.
    package mutating func planIs(_ plan: PlanType, _ limits: PlanLimits) {
        guard plan != self.plan || limits != self.limits else { return }
        self.plan = plan
        self.limits = limits
        effects.moved.formUnion(PlanResource.allCases)
        for resource in PlanResource.allCases { tell(resource) }
    }

    /// So many there are now of what stands.
    package mutating func stands(_ resource: PlanResource, _ count: Int) {
        precondition(!resource.isMetered, "\(resource) is counted by the period")
        guard used(resource) != count else { return }
        meters[resource, default: Meter()].used = count
        effects.moved.insert(resource)
        tell(resource)
    }

    /// Takes so many, all of them or none.
    /// - Parameter operation: what they are for; the same one a second time takes nothing more.
    package mutating func reserve(_ resource: PlanResource, _ count: Int = 1, operation: String? = nil) -> Outcome {
        precondition(count >= 0, "so many cannot be taken")
        if let operation, operations[operation] != nil { return .ok }
        if let left = left(resource), count > left { return .denied(denial(resource)) }
        guard count > 0 else { return .ok }
        add(count, to: resource)
        if let operation {
            operations[operation] = (resource, count)
            operationsInOrder.append(operation)
            if operationsInOrder.count > Self.maxOperations { operations[operationsInOrder.removeFirst()] = nil }
        }
        tell(resource)
        return .ok
    }

    /// What was taken is not used after all: within the turn that took it, or where whoever asks has it in writing that it was taken, and strikes that out.
    package mutating func giveBack(_ resource: PlanResource, _ count: Int = 1, operation: String? = nil) {
        if let operation {
            guard operations.removeValue(forKey: operation) != nil else { return }
            operationsInOrder.removeAll { $0 == operation }
        }
        add(-min(count, used(resource)), to: resource)
    }

    private mutating func add(_ count: Int, to resource: PlanResource) {
        guard count != 0 else { return }
        meters[resource, default: Meter()].used += count
        effects.moved.insert(resource)
        if resource.isMetered { effects.written.insert(resource) }
    }

    // MARK: Thresholds

    private func reached(_ threshold: Int, _ used: Int, _ limit: Int?) -> Bool {
        guard let limit, used > 0 else { return false }
        return used * 100 >= limit * threshold
    }

    /// Invariant 2.
    private mutating func tell(_ resource: PlanResource) {
        let (used, limit) = (used(resource), limits[resource])
        for threshold in Self.thresholds where threshold > meter(resource).told && reached(threshold, used, limit) {
            meters[resource, default: Meter()].told = threshold
            effects.written.insert(resource)
            effects.alerts.append(Alert(resource: resource, threshold: threshold, used: used, limit: limit ?? 0, period: period))
        }
    }

    // MARK: What follows

    package mutating func takeEffects() -> Effects {
        defer { effects = Effects() }
        return effects
    }

    /// The meter as it is to be written: a version later than before.
    package mutating func written(_ resource: PlanResource) -> Meter {
        meters[resource, default: Meter()].version += 1
        return meter(resource)
    }
}
