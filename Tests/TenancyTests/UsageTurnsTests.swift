import Jobs
import Kernel
import Plans
import Scheduling
import Storage
import Synchronization
import TestSupport
import Testing
import Wire

@testable import Tenancy

/// Usage in the turns of a business: what is counted is what there is, whatever fails in between.
@Suite struct UsageTurnsTests {
    private static let plans = PlanCatalogue(plans: [
        .free: PlanLimits([.appointments: 4, .emails: 5, .services: 2]), .pro: PlanLimits([.appointments: 8]),
    ])

    /// A business that began on the 15th, whose plan a test changes.
    private final class Account: Sendable {
        private let plan = Mutex(PlanType.free)
        func isNow(_ plan: PlanType) { self.plan.withLock { $0 = plan } }
        var standing: AccountStanding {
            AccountStanding(
                plan: plan.withLock { $0 },
                anchor: Timestamp(rfc3339: "2026-01-15T12:00:00Z")!,
                businessName: "Loja",
                users: 1,
                owners: ["dona@loja.example"]
            )
        }
    }

    private func house(_ account: Account) throws -> House { try House(plans: Self.plans, account: { _ in account.standing }) }

    private func book(_ house: House, _ service: ServiceID, _ number: Int) async throws {
        try await house.book(service, in: .seconds(86_400 + number * 1800))
    }

    private func used(_ house: House, _ resource: PlanResource) async throws -> Int64? {
        let json = try JSON.parse(try await house.operations.usage(house.tenant))
        return json["resources"]?[resource.rawValue]?["used"]?.int
    }

    private func letters(_ house: House) async throws -> [String] {
        try await house.store.rows(.select(from: QueueTables.messages, "WHERE subject = 'account:usage' ORDER BY id")).compactMap {
            QueueMessage($0).content.key
        }
    }

    private func code(_ body: () async throws -> Void) async -> String? {
        do { try await body() } catch { return (error as? Refusal)?.code }
        return nil
    }

    @Test func whatCouldNotBeStoredTakesNothing() async throws {
        let house = try house(Account())
        let service = try await house.service()
        try await book(house, service, 0)
        house.journal.fail(true)
        for number in 1..<10 { #expect(await code { try await book(house, service, number) } == "journal_unavailable") }
        house.journal.fail(false)
        #expect(try await used(house, .appointments) == 1)
        for number in 10..<13 { try await book(house, service, number) }
        #expect(await code { try await book(house, service, 13) } == "plan_limit")
        #expect(try await used(house, .appointments) == 4)
    }

    @Test func theNextMonthBeginsAtItsMidnightAlsoForWhoeverSleeps() async throws {
        let account = Account()
        let house = try house(account)
        let service = try await house.service()
        for number in 0..<4 { try await book(house, service, number) }
        let told = try await letters(house)
        // Three of four are 75 percent, and four are both thresholds at once: one letter says so.
        #expect(told.map { $0.split(separator: ":")[3] } == ["100"])
        let json = try JSON.parse(try await house.operations.usage(house.tenant))
        let end = try #require(json["period_end"]?.string.flatMap { Timestamp(rfc3339: $0) })
        house.clock.advance(by: end - house.clock.now - .milliseconds(1))
        await house.tenants.sweep()
        #expect(house.tenants.awakeCount == 0)
        #expect(await code { try await book(house, service, 20) } == "plan_limit", "to the last millisecond, and as it is read back")
        house.clock.advance(by: .milliseconds(1))
        #expect(try await used(house, .appointments) == 0)
        for number in 30..<34 { try await book(house, service, number) }
        #expect(await code { try await book(house, service, 34) } == "plan_limit")
        #expect(try await letters(house).count == 2, "once in each month")
        house.clock.advance(by: .seconds(40 * 86_400))
        await house.tenants.sweep()
        #expect(house.tenants.awakeCount == 0)
        #expect(try await used(house, .appointments) == 0, "also for whoever was asleep at midnight")
        for number in 50..<54 { try await book(house, service, number) }
        #expect(try await letters(house).count == 3)
        // A clock that is put back gives no second month.
        house.clock.advance(by: .seconds(-86_400))
        #expect(await code { try await book(house, service, 60) } == "plan_limit")
        house.clock.advance(by: .seconds(-20 * 86_400))
        await house.tenants.sweep()
        #expect(await code { try await book(house, service, 61) } == "plan_limit", "also where all is read back")
    }

    @Test func aNewPlanCountsAtOnce() async throws {
        let account = Account()
        let house = try house(account)
        let service = try await house.service()
        for number in 0..<4 { try await book(house, service, number) }
        account.isNow(.pro)
        for number in 10..<14 { try await book(house, service, number) }
        #expect(await code { try await book(house, service, 14) } == "plan_limit")
        account.isNow(.free)
        #expect(await code { try await book(house, service, 15) } == "plan_limit")
        #expect(try await change(house, to: .free, from: .pro).over == ["appointments"])
    }

    /// What the account says still is the plan before, until the change is on disk everywhere.
    @Test func aPlanCountsFromTheVeryChangeThatSaysSo() async throws {
        let account = Account()
        let house = try house(account)
        let service = try await house.service()
        for number in 0..<4 { try await book(house, service, number) }
        _ = try await change(house, to: .pro, from: .free)
        try await book(house, service, 4)
        account.isNow(.pro)
        for number in 5..<8 { try await book(house, service, number) }
        #expect(await code { try await book(house, service, 8) } == "plan_limit")
        // What could not be written was never told, and counts for nothing.
        house.journal.fail(true)
        #expect(await code { _ = try await change(house, to: .enterprise, from: .pro) } == "journal_unavailable")
        house.journal.fail(false)
        #expect(await code { try await book(house, service, 8) } == "plan_limit")
    }

    private func change(_ house: House, to plan: PlanType, from former: PlanType) async throws(Refusal) -> (usage: [UInt8], over: [String]) {
        var written = Change()
        written.marks = [Mark(Mark.Key(tenant: house.tenant, scope: "plan", key: "\(former)-\(plan)"), at: house.clock.now)]
        return try await house.operations.planChanged(
            of: house.tenant,
            to: plan,
            from: former,
            by: "Ana",
            at: house.clock.now,
            with: JointChange(written) { _ in }
        )
    }

    @Test func aBatchOfMessagesGoesInWholeOrNotAtAll() async throws {
        let house = try house(Account())
        func mail(_ number: Int, _ subject: String? = nil) -> OutgoingMessage {
            var message = OutgoingMessage(queue: .email, channel: .email, recipient: "a@b.example", runAt: house.clock.now, payload: "{}")
            message.key = "k\(number)"
            message.subject = subject
            return message
        }
        _ = try await house.operations.enqueue((0..<3).map { mail($0) }, of: house.tenant)
        #expect(await code { _ = try await house.operations.enqueue((10..<13).map { mail($0) }, of: house.tenant) } == "plan_limit")
        #expect(try await used(house, .emails) == 3)
        _ = try await house.operations.enqueue([mail(0), mail(1), mail(20), mail(21)], of: house.tenant)
        #expect(try await used(house, .emails) == 5, "what was put in before takes nothing")
        _ = try await house.operations.enqueue([mail(30, "account:letter"), mail(2)], of: house.tenant)
        #expect(await code { _ = try await house.operations.enqueue([mail(31)], of: house.tenant) } == "plan_limit")
    }

    /// What a person put in and is surely not sent takes nothing either, and counts when it is tried again.
    @Test func whatWasPutInByHandAndIsNotSentIsGivenBack() async throws {
        let house = try house(Account())
        func put(in delay: Duration = .zero) async throws -> QueueMessageID {
            let message = OutgoingMessage(queue: .email, channel: .email, recipient: "a@b.example", runAt: house.clock.now + delay, payload: "{}")
            return try await house.operations.enqueue([message], of: house.tenant)[0]
        }
        func carryOut(_ order: QueueBook.Order, _ id: QueueMessageID) async throws {
            let stored = try await house.store.rows(.select(from: QueueTables.messages, "WHERE id = ?", [.id(id)])).map { QueueMessage($0) }
            _ = try await house.tenants.use(house.tenant) { cell throws(Refusal) in
                _ = try await cell.queueReadBegan().committed()
                return try await cell.carryOut(order, on: stored).committed()
            }
        }
        func attempt(_ outcome: SendOutcome) async throws {
            let token: LeaseToken = house.clock.environment.moment().id()
            try await house.tenants.use(house.tenant) { cell throws(Refusal) in
                guard let id = await cell.offerMessage(of: .email), let claimed = try await cell.claim(id, token: token).committed(),
                    try await cell.handingOver(claimed, token: token).committed()
                else { throw .notFound(.message) }
                _ = try await cell.ended(claimed, token: token, outcome).committed()
            }
        }
        let later = try await put(in: .seconds(3600))
        #expect(try await used(house, .emails) == 1)
        try await carryOut(.cancel(reason: "x"), later)
        #expect(try await used(house, .emails) == 0)
        let now = try await put()
        try await attempt(.refused(reason: "no such address"))
        #expect(try await used(house, .emails) == 0)
        try await carryOut(.retry, now)
        try await attempt(.sent(providerID: nil))
        #expect(try await used(house, .emails) == 1)
        _ = try await put()
        try await attempt(.sent(providerID: nil))
        #expect(try await used(house, .emails) == 2, "once, when it was put in")
    }

    /// What clients are told takes of the plan when it goes out, and only if it does; without room it waits for a person.
    @Test func whatIsNotSentTakesNothingAndWhatHasNoRoomWaitsForAPerson() async throws {
        let account = Account()
        let house = try house(account)
        func add(_ names: [String]) async throws {
            let moment = house.clock.environment.moment()
            let messages = names.map { name in
                var message = OutgoingMessage(queue: .reminders, channel: .email, recipient: "\(name)@b.example", runAt: moment.now, payload: "{}")
                message.subject = "appointment:\(name)"
                return message
            }
            _ = try await house.tenants.use(house.tenant) { cell throws(Refusal) in try await cell.plannedForTest(messages, moment).committed() }
        }
        /// One attempt at whichever is due.
        func attempt(_ outcome: SendOutcome?) async throws -> (id: QueueMessageID, isHandedOver: Bool) {
            let token: LeaseToken = house.clock.environment.moment().id()
            return try await house.tenants.use(house.tenant) { cell throws(Refusal) in
                let errand = try await cell.queueReadBegan().committed()
                let findings = try await QueueBook.read(errand, of: house.tenant, rules: QueueRules(), from: house.store)
                try await cell.queueReadEnded(findings).committed()
                guard let id = await cell.offerMessage(of: .reminders), let claimed = try await cell.claim(id, token: token).committed() else {
                    throw .notFound(.message)
                }
                let goes = try await cell.handingOver(claimed, token: token).committed()
                if goes, let outcome { _ = try await cell.ended(claimed, token: token, outcome).committed() }
                return (id, goes)
            }
        }
        func forgetLiveState() async {
            house.journal.fail(true)
            _ = await code { try await add(["x"]) }
            house.journal.fail(false)
        }
        func state(_ id: QueueMessageID) async throws -> QueueMessage? {
            try await house.store.rows(.select(from: QueueTables.messages, "WHERE id = ?", [.id(id)])).first.map { QueueMessage($0) }
        }
        try await add(["a"])
        for outcome in [SendOutcome.failed(reason: "x"), .postponed(until: house.clock.now, reason: "x"), .failed(reason: "x")] {
            #expect(try await attempt(outcome).isHandedOver)
            #expect(try await used(house, .emails) == 0, "\(outcome)")
            house.clock.advance(by: .seconds(3600))
            try await house.tenants.use(house.tenant) { cell throws(Refusal) in try await cell.timePassed().committed() }
        }
        // Also where the live state was lost between the hand-over and its end.
        await forgetLiveState()
        #expect(try await attempt(.sent(providerID: nil)).isHandedOver)
        #expect(try await used(house, .emails) == 1)
        try await add(["b"])
        #expect(try await attempt(.refused(reason: "no such address")).isHandedOver)
        #expect(try await used(house, .emails) == 1)
        for name in ["c", "d", "e", "f"] {
            try await add([name])
            #expect(try await attempt(.sent(providerID: nil)).isHandedOver)
        }
        #expect(try await used(house, .emails) == 5)
        try await add(["g"])
        let (id, isHandedOver) = try await attempt(nil)
        #expect(!isHandedOver)
        let dead = try #require(try await state(id))
        #expect(dead.state == .dead && dead.why?.isEmpty == false)
        account.isNow(.pro)
        _ = try await house.tenants.use(house.tenant) { cell throws(Refusal) in
            _ = try await cell.queueReadBegan().committed()
            return try await cell.carryOut(.retry, on: [dead]).committed()
        }
        // The worker is killed while it sends: whoever tries it again is not charged a second time.
        #expect(try await attempt(nil) == (id, true))
        #expect(try await used(house, .emails) == 6)
        await forgetLiveState()
        house.clock.advance(by: .seconds(60))
        try await house.tenants.use(house.tenant) { cell throws(Refusal) in try await cell.timePassed().committed() }
        let doubtful = try #require(try await state(id))
        #expect(doubtful.state == .quarantined)
        _ = try await house.tenants.use(house.tenant) { cell throws(Refusal) in
            _ = try await cell.queueReadBegan().committed()
            return try await cell.carryOut(.retry, on: [doubtful]).committed()
        }
        #expect(try await attempt(.sent(providerID: nil)) == (id, true))
        #expect(try await used(house, .emails) == 6)
    }

    @Test(arguments: 0..<4) func anyHistoryCountsWhatThereIs(round: Int) async throws {
        var random = SeededGenerator.fresh("anyHistoryCountsWhatThereIs(\(round))")
        let account = Account()
        let house = try house(account)
        let service = try await house.service()
        var (made, number, period) = (0, 0, "")
        for step in 0..<150 {
            let json = try JSON.parse(try await house.operations.usage(house.tenant))
            if let now = json["period_start"]?.string, now != period { (made, period) = (0, now) }
            let limit = account.standing.plan == .pro ? 8 : 4
            switch Int.random(in: 0..<10, using: &random) {
            case 0:
                house.journal.fail(true)
                _ = await code { try await book(house, service, 1000 + step) }
                house.journal.fail(false)
            case 1: house.clock.advance(by: .seconds(.random(in: 0...1_000_000, using: &random)))
            case 2: account.isNow([.free, .pro].randomElement(using: &random)!)
            case 3: await house.tenants.sweep()
            default:
                number += 1
                let refused = await code { try await book(house, service, number) }
                #expect(refused == (made < limit ? nil : "plan_limit"), "step \(step): \(made) of \(limit)")
                if refused == nil { made += 1 }
            }
            let json2 = try JSON.parse(try await house.operations.usage(house.tenant))
            if json2["period_start"]?.string == period { #expect(try await used(house, .appointments) == Int64(made), "step \(step)") }
        }
        let keys = try await letters(house)
        #expect(Set(keys).count == keys.count)
    }
}

extension UsageTurnsTests {
    /// On the last evening of a month in São Paulo it is the next month already in Greenwich. Back again, nothing is given away and no month lasts two.
    @Test func aZoneThatIsChangedAtTheEndOfAMonthMakesNoMonthLongerOrTwice() throws {
        let here = try #require(Zone.named("America/Sao_Paulo"))
        let there = try #require(Zone.named("UTC"))
        let now = try #require(Timestamp(rfc3339: "2026-11-27T02:41:00Z"))
        let standing = AccountStanding(
            plan: .free,
            anchor: try #require(Timestamp(rfc3339: "2026-01-27T12:00:00Z")),
            businessName: "Loja",
            users: 1,
            owners: []
        )
        var meter = UsageMeter(tenant: TenantID(UniqueID(high: 1, low: 1)), rows: [], clients: 0, zone: here, now: now, catalogue: Self.plans) { _ in
            standing
        }
        func seen(_ zone: Zone) throws -> String {
            meter.isNow(now, zone: zone, services: 0, staff: 0, customers: 0)
            let json = try JSON.parse(meter.json)
            let used = json["resources"]?["appointments"]?["used"]?.int ?? -1
            return "\(json["period_start"]?.string ?? "-") \(json["period_end"]?.string ?? "-") \(used)"
        }
        _ = try seen(here)
        try meter.reserve(.appointments, 3)
        #expect(try seen(here) == "2026-10-27T03:00:00.000Z 2026-11-27T03:00:00.000Z 3")
        #expect(try seen(there) == "2026-11-27T00:00:00.000Z 2026-12-27T00:00:00.000Z 0", "there it is the next month")
        try meter.reserve(.appointments, 2)
        for zone in [here, there, here] { #expect(try seen(zone).hasSuffix(" 2"), "no second time, and nothing comes back") }
        #expect(meter.periodEnd <= Timestamp(rfc3339: "2026-12-27T03:00:00Z")!)
    }
}

extension TenantCell {
    /// What the turn of a calendar plans.
    fileprivate func plannedForTest(_ messages: [OutgoingMessage], _ moment: Moment) -> Pending<Void> {
        Pending(.success(()), commit(queues.assumeIsolated { $0.add(messages, moment) }))
    }
}
