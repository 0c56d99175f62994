import Kernel
import TestSupport
import Testing

@testable import Tenancy

@Suite struct NumberPaceTests {
    private let one = TenantID(UniqueID(high: 1, low: 1))
    private let start = Timestamp(seconds: 1_790_000_000)

    /// A number that takes `capacity` messages in any second, and is asked for as many as there are.
    private func accepted(_ capacity: Int, seconds: Int, offered: Int, _ pace: NumberPace) -> [(accepted: Int, refused: Int)] {
        (0..<seconds).map { second in
            var (taken, refused) = (0, 0)
            for step in 0..<offered {
                let now = start + .seconds(Int64(second)) + .milliseconds(Int64(step * 1000 / offered))
                guard pace.ask(one, nil, at: now) == nil else { continue }
                if taken < capacity {
                    taken += 1
                } else {
                    refused += 1
                    pace.tooFast(one, nil, waiting: .seconds(1), at: now)
                }
            }
            return (taken, refused)
        }
    }

    @Test(arguments: [20, 80, 400]) func theLimitIsFoundAndKept(_ capacity: Int) {
        let pace = NumberPace()
        let seconds = accepted(capacity, seconds: 60, offered: 900, pace)
        let (taken, refused) = (seconds.reduce(0) { $0 + $1.accepted }, seconds.reduce(0) { $0 + $1.refused })
        #expect(refused <= 60, "\(refused) refused of \(taken)")
        #expect(taken >= capacity * 60 / 3, "\(taken) of \(capacity * 60)")
        print("\(capacity) a second: \(taken) of \(capacity * 60) taken in a minute, \(refused) refused")
    }

    @Test func whoIsNotRefusedIsNotLimited() {
        let pace = NumberPace()
        #expect((0..<5000).allSatisfy { _ in pace.ask(one, nil, at: start) == nil })
        #expect(pace.limit(one, nil) == nil)
    }

    @Test func oneNumbersLimitIsNoOthers() {
        let pace = NumberPace()
        _ = pace.ask(one, "220", at: start)
        pace.tooFast(one, "220", waiting: .seconds(1), at: start)
        #expect(pace.ask(one, "220", at: start) == start + .seconds(1))
        #expect(pace.ask(one, "110", at: start) == nil)
        #expect(pace.ask(TenantID(UniqueID(high: 1, low: 2)), "220", at: start) == nil)
    }
}
