import Testing
import Wire

@testable import Transports

@Suite struct EventPositionsTests {
    private var positions: EventPositions {
        EventPositions([
            (channel: "queue", position: StreamPosition(epoch: "q", offset: 35)),
            (channel: "notices", position: StreamPosition(epoch: "1uxplp72x2y7", offset: 0)),
        ])
    }

    @Test func anIDHoldsThePositionsInTheOrderOfTheChannelsNames() {
        #expect(String(decoding: positions.id, as: UTF8.self) == "1uxplp72x2y7.0_q.z")
    }

    @Test func whatAnIDSaysIsReadBackForTheSameChannelsInWhateverOrder() {
        var positions = positions
        let notices = positions.advance("notices", to: .max)
        let other = positions.advance("other", to: 1)
        #expect(notices && !other)
        let read = EventPositions.positions(String(decoding: positions.id, as: UTF8.self), of: ["queue", "notices"])
        #expect(read == ["queue": StreamPosition(epoch: "q", offset: 35), "notices": StreamPosition(epoch: "1uxplp72x2y7", offset: .max)])
    }

    @Test(arguments: [
        "", "_", ".", "a.1", "a.1_", "a.1_b", "a.1_b.", "a.1_.2", "a.1_b.2_c.3", "a.1_b.-2", "a.1_b.2.3", "a.1_b.zzzzzzzzzzzzzz",
        "a.1_" + String(repeating: "b", count: 33) + ".2", "a.1_b.é",
    ]) func whatIsNoIDOfTheseChannelsSaysNothing(_ id: String) {
        #expect(EventPositions.positions(id, of: ["queue", "notices"]).isEmpty)
    }
}
