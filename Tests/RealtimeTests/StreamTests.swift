import Kernel
import Testing
import Wire

@testable import Realtime

@Suite struct StreamTests {
    private var limits: StreamHub.Limits {
        var limits = StreamHub.Limits()
        limits.rememberedPublications = 5
        limits.rememberedBytes = 1000
        return limits
    }

    private func stream(_ count: Int) -> Stream {
        var stream = Stream(epoch: "e")
        for number in 0..<count { _ = stream.publish(Array("\(number + 1)".utf8), limits: limits) }
        return stream
    }

    @Test func offsetsCountFromOneWithoutGaps() {
        let stream = stream(3)
        #expect(stream.position == StreamPosition(epoch: "e", offset: 3))
        #expect(stream.publications(since: StreamPosition(epoch: "e", offset: 0))?.map(\.offset) == [1, 2, 3])
    }

    @Test func whoIsUpToDateMissedNothing() {
        #expect(stream(3).publications(since: StreamPosition(epoch: "e", offset: 3)) == [])
    }

    @Test func whatIsNoLongerRememberedIsNeverAnsweredInPart() {
        let stream = stream(9)
        #expect(stream.publications(since: StreamPosition(epoch: "e", offset: 4))?.count == 5)
        #expect(stream.publications(since: StreamPosition(epoch: "e", offset: 3)) == nil)
    }

    @Test func anotherEpochOrAPositionAheadIsRefused() {
        #expect(stream(3).publications(since: StreamPosition(epoch: "f", offset: 3)) == nil)
        #expect(stream(3).publications(since: StreamPosition(epoch: "e", offset: 4)) == nil)
        #expect(stream(3).publications(since: StreamPosition(epoch: "e", offset: .max)) == nil)
    }

    @Test func ofAValueOnlyTheLatestIsGivenFromWhereverOneComes() {
        var stream = Stream(epoch: "e", delivery: .latest)
        #expect(stream.missed(since: StreamPosition(epoch: "f", offset: 7), limit: 1) == nil, "there is no value yet")
        #expect(stream.missed(since: StreamPosition(epoch: "e", offset: 0), limit: 1) == [])
        for number in 1...2000 { _ = stream.publish(Array("\(number)".utf8), limits: limits) }
        for position in [("e", 1), ("e", 1999), ("f", 7), ("", 0), ("e", 5000)] as [(String, UInt64)] {
            #expect(stream.missed(since: StreamPosition(epoch: position.0, offset: position.1), limit: 1)?.map(\.offset) == [2000])
        }
        #expect(stream.missed(since: stream.position, limit: 1) == [], "who has it needs nothing")
        #expect(stream.history(limit: -1, since: nil, reverse: false)?.map(\.offset) == [2000], "and no more than that is kept")
    }

    @Test func changesAreGivenAllOrNotAtAllAndNotTooMany() {
        let stream = stream(5)
        #expect(stream.missed(since: StreamPosition(epoch: "e", offset: 2), limit: 3)?.map(\.offset) == [3, 4, 5])
        #expect(stream.missed(since: StreamPosition(epoch: "e", offset: 1), limit: 3) == nil)
        #expect(stream.missed(since: StreamPosition(epoch: "f", offset: 5), limit: 3) == nil)
    }

    @Test func bytesAreBoundedToo() {
        var stream = Stream(epoch: "e")
        for _ in 0..<4 { _ = stream.publish(Array(repeating: 0, count: 400), limits: limits) }
        #expect(stream.publications(since: StreamPosition(epoch: "e", offset: 2))?.count == 2)
        #expect(stream.publications(since: StreamPosition(epoch: "e", offset: 1)) == nil)
        _ = stream.publish(Array(repeating: 0, count: 5000), limits: limits)
        #expect(stream.publications(since: StreamPosition(epoch: "e", offset: 4))?.count == 1, "the last one is always there")
    }

    @Test func historyGivesItsTopTheNextOrTheLast() {
        let stream = stream(4)
        #expect(stream.history(limit: 0, since: nil, reverse: false) == [])
        #expect(stream.history(limit: -1, since: nil, reverse: false)?.map(\.offset) == [1, 2, 3, 4])
        #expect(stream.history(limit: 2, since: nil, reverse: true)?.map(\.offset) == [4, 3])
        #expect(stream.history(limit: 1, since: StreamPosition(epoch: "e", offset: 2), reverse: false)?.map(\.offset) == [3])
        #expect(stream.history(limit: -1, since: StreamPosition(epoch: "e", offset: 3), reverse: true)?.map(\.offset) == [2, 1])
        #expect(stream.history(limit: 1, since: StreamPosition(epoch: "x", offset: 2), reverse: false) == nil)
    }
}
