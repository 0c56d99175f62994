import Kernel
import Plans
import TestSupport
import Testing

/// Random histories against a naive record of them. A life of the machine ends without its last turn, now and then, as when a change could not be stored; what is
/// read back is what was written until then.
@Suite struct UsageModelTests {
    /// What is on disk.
    private struct Disk {
        var meters: [PlanResource: [CivilDate: Usage.Meter]] = [:]
        var told: [String] = []
    }

    private struct Naive {
        var used: [PlanResource: Int] = [:]
        var limits: [PlanResource: Int] = [:]
        var standing: [PlanResource: Int] = [:]
    }

    private static func period(_ number: Int) -> Period {
        let first = YearMonth(year: 2026, month: 1).firstDay + 31 * number
        return Period(first: first, start: first.start, end: (first + 31).start)
    }

    private func revived(_ disk: Disk, _ naive: Naive, _ plan: PlanType, in number: Int) -> Usage {
        // As `UsageMeter` does: the last period that was written about, and from there to the present one.
        let written = disk.meters.values.flatMap(\.keys).max() ?? Self.period(number).first
        let last = (0...number).map(Self.period).first { $0.first == written } ?? Self.period(number)
        var meters: [PlanResource: Usage.Meter] = [:]
        for (resource, rows) in disk.meters {
            guard let latest = rows.keys.max(), var meter = rows[latest] else { continue }
            if latest != last.first {
                if resource.isMetered { continue }
                meter.version = 0
            }
            meters[resource] = meter
        }
        var usage = Usage(plan: plan, limits: PlanLimits(naive.limits), period: last, meters: meters)
        for (resource, count) in naive.standing { usage.stands(resource, count) }
        usage.periodIs(Self.period(number))
        return usage
    }

    @Test(arguments: 0..<40) func neverAboveTheLimitAndEachThresholdOnce(round: Int) {
        var random = SeededGenerator.fresh("neverAboveTheLimitAndEachThresholdOnce(\(round))")
        let metered = PlanResource.allCases.filter(\.isMetered)
        let standing = PlanResource.allCases.filter { !$0.isMetered }
        func limits(_ random: inout SeededGenerator) -> [PlanResource: Int] {
            var limits: [PlanResource: Int] = [:]
            for resource in PlanResource.allCases where Int.random(in: 0..<6, using: &random) > 0 {
                limits[resource] = .random(in: 0...12, using: &random)
            }
            return limits
        }
        var (disk, naive, number, plan) = (Disk(), Naive(), 0, PlanType.free)
        naive.limits = limits(&random)
        for resource in standing { naive.standing[resource] = 0 }
        var usage = revived(disk, naive, plan, in: number)

        for step in 0..<600 {
            // One turn: several things may happen in it, and all of it is written or nothing.
            let (usageBefore, naiveBefore, numberBefore, planBefore) = (usage, naive, number, plan)
            switch Int.random(in: 0..<12, using: &random) {
            case 0 where Int.random(in: 0..<4, using: &random) == 0:
                number += 1
                usage.periodIs(Self.period(number))
                naive.used = [:]
            case 1 where number > 0:
                // A clock that was put back.
                usage.periodIs(Self.period(number - 1))
            case 2:
                plan = PlanType.allCases.randomElement(using: &random)!
                naive.limits = limits(&random)
                usage.planIs(plan, PlanLimits(naive.limits))
            case 3, 4:
                let resource = standing.randomElement(using: &random)!
                let count = max(0, naive.standing[resource]! + .random(in: -2...2, using: &random))
                naive.standing[resource] = count
                usage.stands(resource, count)
            default:
                let resource = metered.randomElement(using: &random)!
                let count = Int.random(in: 0...4, using: &random)
                let used = naive.used[resource, default: 0]
                let fits = naive.limits[resource].map { used + count <= $0 } ?? true
                switch usage.reserve(resource, count, operation: count == 0 ? nil : "\(step)") {
                case .ok:
                    #expect(fits || count == 0, "step \(step): \(count) of \(resource) were given with \(used) used")
                    // The action that it was for fails, within the turn.
                    if Bool.random(using: &random) {
                        naive.used[resource] = used + count
                        #expect(usage.reserve(resource, count, operation: count == 0 ? nil : "\(step)") == .ok, "a repetition takes nothing")
                    } else {
                        usage.giveBack(resource, count, operation: count == 0 ? nil : "\(step)")
                    }
                case .denied(let denial):
                    #expect(!fits, "step \(step): \(count) of \(resource) were denied with \(used) used")
                    #expect(denial.limit == naive.limits[resource] && denial.used == used)
                }
            }
            for resource in metered {
                #expect(usage.used(resource) == naive.used[resource, default: 0], "step \(step), \(resource)")
            }
            for resource in standing { #expect(usage.used(resource) == naive.standing[resource]) }

            if Int.random(in: 0..<15, using: &random) == 0 {
                // Not stored: this life is over. What was told in it was told to nobody.
                (usage, naive, number, plan) = (usageBefore, naiveBefore, numberBefore, planBefore)
                usage = revived(disk, naive, plan, in: number)
            }
            let effects = usage.takeEffects()
            for resource in effects.written { disk.meters[resource, default: [:]][usage.period.first] = usage.written(resource) }
            for alert in effects.alerts {
                let name = "\(alert.resource.rawValue) \(alert.period.first) \(alert.threshold)"
                #expect(!disk.told.contains(name), "step \(step): \(name) was told twice")
                #expect(alert.used * 100 >= alert.limit * alert.threshold)
                disk.told.append(name)
            }
            // As soon as it is reached: nothing stands at a threshold of which nobody was told, then or in an earlier period.
            for resource in metered {
                guard let limit = naive.limits[resource], case let used = naive.used[resource, default: 0], used > 0 else { continue }
                for threshold in Usage.thresholds where used * 100 >= limit * threshold {
                    #expect(disk.told.contains("\(resource.rawValue) \(usage.period.first) \(threshold)"), "step \(step): \(resource) \(threshold)")
                }
            }
        }
    }
}
