import Jobs
package import Kernel
package import Plans
package import Scheduling
import Storage
import Wire

extension Zone: CivilClock {
    package func date(of time: Timestamp) -> CivilDate { CivilDate(days: Int32(day(of: time).number)) }
    package func start(of date: CivilDate) -> Timestamp { start(of: CivilDay(Int(date.days))) }
}

/// The usage of one business, run in the turns of its cell: brings the machine up to what it is now, and writes down and tells what follows.
struct UsageMeter {
    private let tenant: TenantID
    private let catalogue: PlanCatalogue
    private let account: @Sendable (TenantID) -> AccountStanding
    private var usage: Usage
    private var zone: Zone
    /// The plan that is being written: what the account says still is the one before.
    private var announced: PlanType?

    init(
        tenant: TenantID,
        rows: [MeterRow],
        clients: Int,
        zone: Zone,
        now: Timestamp,
        catalogue: PlanCatalogue,
        account: @escaping @Sendable (TenantID) -> AccountStanding
    ) {
        self.tenant = tenant
        self.catalogue = catalogue
        self.account = account
        self.zone = zone
        let standing = account(tenant)
        let present = Period.containing(now, anchoredAt: standing.anchor, zone)
        var period = present
        // The period that was last written about: what was told there goes over into this one, and a clock that was put back makes none anew.
        if let latest = rows.map(\.period).max(), latest != present.first {
            let next = Period.containing(zone.start(of: latest + 32), anchoredAt: standing.anchor, zone)
            if abs(present.first - latest) <= Period.dayOfAnotherZone {
                period = present.known(as: latest, start: zone.start(of: latest))
            } else {
                period = Period(first: latest, start: zone.start(of: latest), end: latest < present.first ? present.start : next.start)
            }
        }
        var meters: [PlanResource: Usage.Meter] = [:]
        for row in rows where row.period == period.first || !row.resource.isMetered {
            var meter = row.meter
            if row.period != period.first { meter.version = 0 }
            meters[row.resource] = meter
        }
        usage = Usage(plan: standing.plan, limits: catalogue[standing.plan], period: period, meters: meters)
        usage.stands(.clients, clients)
    }

    static func rows(of tenant: TenantID, from store: any Store) async throws(Refusal) -> [MeterRow] {
        try await store.rows(
            .select(from: UsageTables.meters, "WHERE tenant_id = ? ORDER BY period, resource", [.id(tenant)], tenant: tenant).forDeciding
        ).compactMap { MeterRow($0) }
    }

    // MARK: In a turn

    /// To be called first in every turn that looks at it.
    mutating func isNow(_ now: Timestamp, zone: Zone, services: Int, staff: Int, customers: Int) {
        let standing = account(tenant)
        if standing.plan == announced { announced = nil }
        let plan = announced ?? standing.plan
        usage.planIs(plan, catalogue[plan])
        usage.stands(.services, services)
        usage.stands(.staff, staff)
        usage.stands(.users, standing.users)
        usage.stands(.customers, customers)
        guard now >= usage.period.end || zone !== self.zone else { return }
        let fresh = Period.containing(now, anchoredAt: standing.anchor, zone)
        // Under another zone the anchor may be another day, and it may still, or already, be the month beside. What was used of the same one stays used.
        let isSame = zone !== self.zone && abs(fresh.first - usage.period.first) <= Period.dayOfAnotherZone
        self.zone = zone
        usage.periodIs(isSame ? fresh.known(as: usage.period.first, start: zone.start(of: usage.period.first)) : fresh)
    }

    /// It is this plan from this turn on, whose change says so.
    mutating func planIs(_ plan: PlanType) {
        announced = plan
        usage.planIs(plan, catalogue[plan])
    }

    /// Whose the business is.
    var owner: UserID? { account(tenant).owner }

    var periodEnd: Timestamp { usage.period.end }
    var json: [UInt8] { usage.json() }

    /// What is above the limit, as after a change to a smaller plan.
    var over: [String] {
        PlanResource.allCases.filter { resource in usage.limits[resource].map { usage.used(resource) > $0 } ?? false }.map(\.rawValue)
    }

    /// `nil` where there is no limit.
    func left(_ resource: PlanResource) -> Int? { usage.left(resource) }

    func refusal(_ resource: PlanResource) -> Refusal {
        .planLimit(usage.denial(resource), plan: usage.plan, upgradeTo: catalogue.upgrade(from: usage.plan, for: resource))
    }

    /// What the calendar may make in the turn that comes.
    var allowance: Allowance {
        var left: [Allowance.Thing: Int] = [:]
        for thing in Allowance.Thing.allCases { left[thing] = usage.left(PlanResource(thing)) }
        let (usage, catalogue) = (usage, catalogue)
        return Allowance(left: left) { thing in
            let resource = PlanResource(thing)
            return .planLimit(usage.denial(resource), plan: usage.plan, upgradeTo: catalogue.upgrade(from: usage.plan, for: resource))
        }
    }

    /// Counts what the calendar has made within what it was lent.
    mutating func made(_ counts: [Allowance.Thing: Int]) {
        for (thing, count) in counts {
            switch PlanResource(thing) {
            // These are counted by what there is, when it is looked at.
            case .services, .staff, .users, .customers: break
            case .clients: clientsChanged(by: count)
            case let resource:
                guard case .ok = usage.reserve(resource, count) else { preconditionFailure("more was made than was lent") }
            }
        }
    }

    mutating func clientsChanged(by count: Int) { usage.stands(.clients, max(0, usage.used(.clients) + count)) }

    /// Takes so many of what is metered, all or none.
    /// - Throws: 402.
    mutating func reserve(_ resource: PlanResource, _ count: Int, operation: String? = nil) throws(Refusal) {
        guard case .denied = usage.reserve(resource, count, operation: operation) else { return }
        throw refusal(resource)
    }

    mutating func giveBack(_ resource: PlanResource, _ count: Int, operation: String? = nil) { usage.giveBack(resource, count, operation: operation) }

    /// What was taken at that time has come to nothing. Of an earlier period nothing can be given back.
    mutating func giveBack(_ resource: PlanResource, takenAt: Timestamp) {
        if takenAt >= usage.period.start { usage.giveBack(resource) }
    }

    // MARK: What follows

    /// Rows and news of what has happened in the turn, and what the owners are to read about it.
    mutating func settled(_ moment: Moment) -> (change: Change, letters: [OutgoingMessage]) {
        let effects = usage.takeEffects()
        var change = Change()
        guard !effects.isEmpty else { return (change, []) }
        for resource in PlanResource.allCases where effects.written.contains(resource) {
            change.rows.append(MeterRow.image(resource, usage.written(resource), usage.period, tenant: tenant, at: moment.now))
        }
        if !effects.moved.isEmpty || effects.isNewPeriod {
            let json = usage.json(only: effects.isNewPeriod ? nil : effects.moved)
            change.events.append(event("usage.changed") { $0.field("usage", raw: json) })
        }
        for alert in effects.alerts { change.events.append(event(alert)) }
        return (change, letters(effects.alerts, moment))
    }

    private func event(_ type: String, _ members: (inout JSONWriter) -> Void) -> Event {
        var writer = JSONWriter(capacity: 1024)
        writer.object {
            $0.field("type", type)
            members(&$0)
        }
        return Event(channel: "usage", payload: writer.bytes)
    }

    private func event(_ alert: Usage.Alert) -> Event {
        event("usage.alert") {
            $0.field("resource", alert.resource.rawValue)
            $0.field("threshold", alert.threshold)
            $0.field("used", alert.used)
            $0.field("limit", alert.limit)
            $0.field("plan_type", usage.plan.rawValue)
            $0.field("resets_at", usage.resetsAt(alert.resource)?.description)
            $0.field("upgrade_to", catalogue.upgrade(from: usage.plan, for: alert.resource)?.rawValue)
        }
    }

    func planChanged(from former: PlanType, by name: String, at time: Timestamp) -> Event {
        event("plan.changed") {
            $0.field("from", former.rawValue)
            $0.field("plan_type", usage.plan.rawValue)
            $0.field("changed_by", name)
            $0.field("changed_at", time.description)
            $0.field("usage", raw: usage.json())
        }
    }

    /// One to each owner for each resource: of two thresholds that were passed at once the higher one says it all.
    private func letters(_ alerts: [Usage.Alert], _ moment: Moment) -> [OutgoingMessage] {
        guard !alerts.isEmpty else { return [] }
        let standing = account(tenant)
        var highest: [PlanResource: Usage.Alert] = [:]
        for alert in alerts where alert.threshold > highest[alert.resource]?.threshold ?? 0 { highest[alert.resource] = alert }
        return highest.values.sorted { $0.resource.rawValue < $1.resource.rawValue }.flatMap { alert in
            standing.owners.map { owner in
                var writer = JSONWriter()
                writer.object {
                    $0.field("subject", subject(alert, standing))
                    $0.field("text", text(alert, standing))
                }
                var message = OutgoingMessage(
                    queue: .email,
                    channel: .email,
                    recipient: owner,
                    runAt: moment.now,
                    payload: String(decoding: writer.bytes, as: UTF8.self)
                )
                message.key = "usage:\(alert.resource.rawValue):\(alert.period.first):\(alert.threshold):\(owner)"
                message.subject = "account:usage"
                return message
            }
        }
    }

    private func subject(_ alert: Usage.Alert, _ standing: AccountStanding) -> String {
        alert.threshold >= 100
            ? "\(standing.businessName): o limite de \(alert.resource.inWords) foi atingido"
            : "\(standing.businessName): \(alert.threshold)% do limite de \(alert.resource.inWords)"
    }

    private func text(_ alert: Usage.Alert, _ standing: AccountStanding) -> String {
        let plan = usage.plan.rawValue.uppercased()
        let upgrade = catalogue.upgrade(from: usage.plan, for: alert.resource).map { " O plano \($0.rawValue.uppercased()) permite mais." } ?? ""
        let resets = usage.resetsAt(alert.resource).map { " A contagem recomeça em \(zone.text($0))." } ?? ""
        return "Sua empresa usa \(alert.used) de \(alert.limit) \(alert.resource.inWords) do plano \(plan).\(resets)\(upgrade)"
    }
}

extension PlanResource {
    init(_ thing: Allowance.Thing) {
        self =
            switch thing {
            case .appointment: .appointments
            case .client: .clients
            case .service: .services
            case .staff: .staff
            }
    }
}
