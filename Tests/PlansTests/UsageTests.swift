import Kernel
import Plans
import Testing
import Wire

/// What a plan gives, and when a business is told.
@Suite struct UsageTests {
    private static let first = Period(
        first: CivilDate("2026-03-15")!,
        start: Timestamp(rfc3339: "2026-03-15T03:00:00Z")!,
        end: Timestamp(rfc3339: "2026-04-15T03:00:00Z")!
    )
    private static let second = Period(
        first: CivilDate("2026-04-15")!,
        start: Timestamp(rfc3339: "2026-04-15T03:00:00Z")!,
        end: Timestamp(rfc3339: "2026-05-15T03:00:00Z")!
    )

    private func usage(_ limits: [PlanResource: Int]) -> Usage { Usage(plan: .free, limits: PlanLimits(limits), period: Self.first) }

    @Test func theUnitAboveTheLimitIsDeniedWithAllThatHelps() {
        var usage = usage([.appointments: 3])
        #expect(usage.reserve(.appointments, 2) == .ok)
        #expect(
            usage.reserve(.appointments, 2)
                == .denied(.init(resource: .appointments, limit: 3, used: 2, resetsAt: Self.first.end)),
            "all or none"
        )
        #expect(usage.used(.appointments) == 2 && usage.left(.appointments) == 1)
        #expect(usage.reserve(.appointments) == .ok)
        #expect(usage.left(.appointments) == 0)
        #expect(usage.reserve(.emails, 1_000_000) == .ok, "what has no limit is counted all the same")
        #expect(usage.left(.emails) == nil && usage.used(.emails) == 1_000_000)
    }

    @Test func anOperationTakesItsUnitsOnceAndGivesThemBackOnce() {
        var usage = usage([.emails: 2])
        #expect(usage.reserve(.emails, operation: "a") == .ok)
        #expect(usage.reserve(.emails, operation: "a") == .ok)
        #expect(usage.used(.emails) == 1)
        usage.giveBack(.emails, operation: "a")
        usage.giveBack(.emails, operation: "a")
        #expect(usage.used(.emails) == 0)
        usage.giveBack(.emails, 5)
        #expect(usage.used(.emails) == 0, "no more than there was")
    }

    @Test func whatIsMeteredBeginsAnewAndWhatStandsGoesOn() {
        var usage = usage([.appointments: 2, .services: 2])
        usage.stands(.services, 2)
        _ = usage.reserve(.appointments, 2)
        #expect(usage.takeEffects().alerts.map(\.threshold) == [80, 100, 80, 100])
        usage.periodIs(Self.second)
        let effects = usage.takeEffects()
        #expect(effects.isNewPeriod && effects.alerts.isEmpty, "whoever was told of what stands is not told again by the calendar alone")
        #expect(usage.used(.appointments) == 0 && usage.used(.services) == 2)
        usage.stands(.services, 1)
        usage.stands(.services, 2)
        #expect(usage.takeEffects().alerts.isEmpty, "twice in a period is too often")
        _ = usage.reserve(.appointments, 2)
        #expect(usage.takeEffects().alerts.count == 2)
    }

    @Test func aPeriodNeverGivesWayToAnEarlierOne() {
        var usage = Usage(plan: .free, limits: PlanLimits([.emails: 1]), period: Self.second)
        #expect(usage.reserve(.emails) == .ok)
        usage.periodIs(Self.first)
        #expect(usage.period == Self.second && usage.left(.emails) == 0)
    }

    @Test func aSmallerPlanTakesNothingAwayAndGivesNothingMore() {
        var usage = usage([.appointments: 10])
        _ = usage.reserve(.appointments, 6)
        _ = usage.takeEffects()
        usage.planIs(.starter, PlanLimits([.appointments: 5]))
        #expect(usage.used(.appointments) == 6 && usage.left(.appointments) == 0)
        #expect(usage.takeEffects().alerts.map(\.threshold) == [80, 100])
        guard case .denied(let denial) = usage.reserve(.appointments) else { return #expect(Bool(false)) }
        #expect(denial.limit == 5 && denial.used == 6)
        usage.planIs(.pro, PlanLimits([.appointments: 7]))
        #expect(usage.reserve(.appointments) == .ok)
        #expect(usage.takeEffects().alerts.isEmpty, "each threshold once in a period, whatever the plans")
    }

    @Test func theSmallestLargerPlanThatHelpsIsNamed() throws {
        let catalogue = PlanCatalogue(plans: [
            .free: PlanLimits([.emails: 5]), .starter: PlanLimits([.emails: 5]), .pro: PlanLimits([.emails: 9]), .enterprise: PlanLimits(),
        ])
        #expect(catalogue.upgrade(from: .free, for: .emails) == .pro)
        #expect(catalogue.upgrade(from: .pro, for: .emails) == .enterprise)
        #expect(catalogue.upgrade(from: .enterprise, for: .emails) == nil)
        for plan in PlanType.allCases.dropLast() {
            for resource in PlanResource.allCases {
                let (limit, next) = (PlanCatalogue.standard[plan][resource], PlanCatalogue.standard.upgrade(from: plan, for: resource))
                #expect(limit != nil && next != nil, "a larger plan gives more of everything")
            }
        }
    }

    @Test func plansAreDataAndWrongDataSaysWhatIsWrong() throws {
        let changed = try PlanCatalogue.standard.changed(by: ["FREE": ["appointments": 7, "clients": .null]])
        #expect(changed[.free][.appointments] == 7 && changed[.free][.clients] == nil)
        #expect(changed[.free][.services] == PlanCatalogue.standard[.free][.services])
        #expect(changed[.pro] == PlanCatalogue.standard[.pro])
        for (wrong, said) in [
            (["gratis": .emptyObject], "gratis"), (["free": 3], "free"), (["free": ["apointments": 3]], "apointments"),
            (["free": ["emails": -1]], "free.emails"), (["free": ["emails": "5"]], "free.emails"), ([], "object"),
        ] as [(JSON, String)] {
            do {
                _ = try PlanCatalogue.standard.changed(by: wrong)
                Issue.record("\(wrong) was taken")
            } catch { #expect("\(error)".contains(said)) }
        }
    }
}
