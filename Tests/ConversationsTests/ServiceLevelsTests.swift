import Kernel
import Testing

@testable import Conversations

@Suite struct ServiceLevelsTests {
    private func at(_ seconds: Int64) -> Timestamp { Timestamp(seconds: seconds) }

    @Test func aClockWarnsThenBreaksOnceEach() {
        var levels = ServiceLevels()
        levels.began(.firstAnswer, dueAt: at(100), warnAt: at(70))
        #expect(levels.next == at(70))
        #expect(levels.timePassed(at(69)).isEmpty)
        #expect(levels.timePassed(at(70)).map(\.stage) == [.warned])
        #expect(levels.timePassed(at(71)).isEmpty)
        #expect(levels.next == at(100))
        #expect(levels.timePassed(at(100)).map(\.stage) == [.breached])
        #expect(levels.timePassed(at(500)).isEmpty)
        #expect(levels.next == nil)
        #expect(levels.breaches == [.firstAnswer])
    }

    @Test func whatWasMetInTimeIsNeverTold() {
        var levels = ServiceLevels()
        levels.began(.nextAnswer, dueAt: at(100), warnAt: at(70))
        levels.met(.nextAnswer)
        #expect(levels.timePassed(at(1000)).isEmpty)
        #expect(levels.breaches.isEmpty)
    }

    @Test func aRunningClockIsNotBegunAnewAndABrokenPromiseStaysOnRecord() {
        var levels = ServiceLevels()
        levels.began(.nextAnswer, dueAt: at(100), warnAt: at(70))
        levels.began(.nextAnswer, dueAt: at(200), warnAt: at(170))
        #expect(levels.clocks[.nextAnswer]?.dueAt == at(100))
        _ = levels.timePassed(at(100))
        levels.met(.nextAnswer)
        levels.began(.nextAnswer, dueAt: at(300), warnAt: at(270))
        #expect(levels.clocks[.nextAnswer]?.stage == .running)
        #expect(levels.breaches == [.nextAnswer])
    }

    @Test func whoComesBackLateIsToldTheBreachOnly() {
        var levels = ServiceLevels()
        levels.began(.resolution, dueAt: at(100), warnAt: at(70))
        #expect(levels.timePassed(at(5000)).map(\.stage) == [.breached])
    }

    @Test func whatIsStoredIsWhatIsRead() {
        var levels = ServiceLevels()
        levels.began(.firstAnswer, dueAt: at(100), warnAt: at(70))
        levels.began(.resolution, dueAt: at(1000), warnAt: at(970))
        _ = levels.timePassed(at(100))
        #expect(ServiceLevels(json: levels.json) == levels)
        #expect(ServiceLevels(json: "") == ServiceLevels())
    }
}
