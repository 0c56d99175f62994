import Kernel
import NIOCore
import NIOEmbedded
import Realtime
import TestSupport
import Testing
import Wire

@testable import Transports

/// Streams of events for who only listens, with a clock that is told the time.
@Suite struct OneWayStreamTests {
    /// A stream that nobody reads until it is asked what was said.
    private final class Listening: Sendable {
        let fixture: SessionFixture
        let body: StreamBody

        init(_ adjust: (inout SocketSettings) -> Void = { _ in }) async throws {
            let fixture = try await SessionFixture(adjust)
            self.fixture = fixture
            let registries = LoopRegistries(loops: [fixture.loop], environment: fixture.clock.environment, settings: fixture.services.settings)
            let streams = HTTPStreams(services: fixture.services, registries: registries, loops: [fixture.loop])
            async let opened = streams.follow(FollowRequest(token: "ana 60", channels: [], since: [:], lastEventID: nil))
            try await fixture.wait("the subscription") { fixture.hub.hasSubscribers(TenantID(UniqueID(high: 7, low: 1))) }
            await fixture.loop.run()
            body = try await opened
        }

        /// Lets time pass, until the loop's timer has told it.
        func pass(_ seconds: Int64) async {
            fixture.clock.advance(by: .seconds(seconds))
            await fixture.loop.advanceTime(by: .seconds(1))
        }

        /// All that was said, once it has ended.
        func everything() async -> String {
            var bytes: [UInt8] = []
            for await chunk in body.chunks { bytes += chunk }
            return String(decoding: bytes, as: UTF8.self)
        }
    }

    @Test func itEndsWhenItsTokenHasExpiredAndTheGraceIsOver() async throws {
        let listening = try await Listening()
        await listening.pass(84)
        try await listening.fixture.post("ainda")
        try await listening.fixture.wait("the notice") {
            listening.fixture.hub.history(HistoryRequest(channel: "notices"), of: listening.fixture.notices)?.position.offset == 1
        }
        // It is in the history a moment before it is on its way to the loop.
        for _ in 0..<20 {
            try await Task.sleep(for: .milliseconds(5))
            await listening.fixture.loop.run()
        }
        await listening.pass(1)
        let said = await listening.everything()
        let events = said.split(separator: "\n\n").map(String.init)
        try #require(events.count == 6, "\(events)")
        #expect(events[0].hasPrefix("retry: "))
        #expect(events[1].hasPrefix("id: ") && events[1].contains(#"data: {"connect":{"client":"#) && events[1].contains(#""subs":{"notices":{"#))
        #expect(events[2] == ":", "a comment keeps it alive")
        #expect(events[3].hasPrefix("id: ") && events[3].contains(#"data: {"channel":"notices","pub":{"data":"#))
        #expect(events[4].hasPrefix("retry: "), "not all at once")
        #expect(events[5] == #"data: {"disconnect":{"code":3005,"reason":"connection expired"}}"#)
        #expect(!listening.fixture.hub.hasSubscribers(TenantID(UniqueID(high: 7, low: 1))))
    }

    @Test func whoDoesNotReadIsSentAway() async throws {
        let listening = try await Listening { $0.maxQueuedBytes = 20_000 }
        for number in 1...60 {
            try await listening.fixture.post(String(repeating: "x", count: 2000) + " \(number)")
            await listening.fixture.loop.run()
        }
        try await listening.fixture.wait("the end") { !listening.fixture.hub.hasSubscribers(TenantID(UniqueID(high: 7, low: 1))) }
        let said = await listening.everything()
        #expect(said.hasSuffix(#"data: {"disconnect":{"code":3010,"reason":"insufficient state"}}"# + "\n\n"))
        #expect(said.contains("x 20") && !said.contains("x 60"), "nothing after that")
    }
}
