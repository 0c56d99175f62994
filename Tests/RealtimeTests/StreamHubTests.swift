import Kernel
import NIOCore
import NIOEmbedded
import Realtime
import Testing
import Wire

@Suite struct StreamHubTests {
    /// Keeps what it is given, on its loop.
    final class Screen: Subscriber {
        var shown: [String] = []
        var flushes = 0
        var frames = 0
        var deliveries: [String] = []

        private var isDirty = false
        /// Whether this is the first thing since the last flush.
        private func show(_ text: String) -> Bool {
            shown.append(text)
            defer { isDirty = true }
            return !isDirty
        }

        func subscribed(command id: UInt32, channel: String, _ result: SubscribeResult) -> Bool {
            let data = result.data.map { String(decoding: $0, as: UTF8.self) }
            return show(
                "subscribed \(channel) at \(result.position.offset), \(result.recovered ? "recovered \(result.publications.count)" : data ?? "nothing")"
            )
        }
        func refused(command id: UInt32, channel: String, _ error: CentrifugeError) -> Bool { show("refused \(channel) \(error.code)") }
        func deliver(_ message: inout PreparedMessage, _ delivery: Delivery) -> Bool {
            var parser = WebSocketFrameParser(role: .client)
            parser.append(message.frame(for: nil))
            guard case .text(let json)? = try? parser.next(), let replies = try? CentrifugeReply.decode(json) else {
                return show("broken frame")
            }
            let wasDirty = isDirty
            for case .push(.join(let channel, let info)) in replies { _ = show("\(channel) joined \(info.user)") }
            for case .push(.leave(let channel, let info)) in replies { _ = show("\(channel) left \(info.user)") }
            for case .push(.publication(let channel, let publication)) in replies {
                _ = show("\(channel) \(publication.offset.map(String.init) ?? "-") \(String(decoding: publication.data, as: UTF8.self))")
            }
            frames += 1
            deliveries.append("\(delivery.kind) \(delivery.offsets.map { "\($0)" } ?? "-")")
            return !wasDirty
        }
        func flush() {
            flushes += 1
            isDirty = false
        }
    }

    let loop = EmbeddedEventLoop()
    let hub: StreamHub
    let tenant = TenantID(UniqueID(high: 1, low: 1))
    let other = TenantID(UniqueID(high: 1, low: 2))
    let clock = ManualEnvironment()

    init() { hub = StreamHub(loops: [loop], environment: clock.environment) }

    private func key(_ channel: String = "c") -> StreamKey { StreamKey(tenant: tenant, channel: channel) }
    private func publish(_ texts: String..., on channel: String = "c", tenant: TenantID? = nil) {
        hub.publish(texts.map { Event(channel: channel, payload: Array("\"\($0)\"".utf8)) }, tenant: tenant ?? self.tenant)
        hub.wake()
    }
    private func subscribe(_ id: ConnectionID, isTold: Bool = false, since: StreamPosition? = nil, snapshot: String? = "\"s\"") {
        hub.subscribe(
            id,
            on: loop,
            to: key(),
            command: 1,
            info: ClientInfo(user: "u\(id.value)", client: "c\(id.value)"),
            isTold: isTold,
            since: since,
            snapshot: snapshot.map { Array($0.utf8) }
        )
    }

    @Test func aSubscriberSeesItsSnapshotAndThenExactlyWhatFollows() {
        let screen = Screen()
        let id = hub.attach(screen, on: loop)
        publish("before")
        subscribe(id)
        publish("after", "that")
        loop.run()
        #expect(screen.shown == ["subscribed c at 0, \"s\"", "c 1 \"after\"", "c 2 \"that\""])
        #expect(screen.flushes == 1, "one flush for all of a turn")
        #expect(screen.frames == 1, "what came together on one stream travels together")
    }

    @Test func aSubscriberKnowsOfEachMessageWhetherItMayBeLeftOut() {
        let screen = Screen()
        let id = hub.attach(screen, on: loop)
        subscribe(id)
        publish("1", "2")
        hub.publishUnstored(Event(channel: "c", payload: Array("\"typing\"".utf8)), tenant: tenant)
        publish("3")
        loop.run()
        #expect(screen.deliveries == ["ordered 1...2", "lossy -", "ordered 3...3"], "and what may be stands in a message of its own")
    }

    @Test func whoAsksForItIsToldWhoComesAndGoesAndNobodyElseIs() {
        let (watcher, other, third) = (Screen(), Screen(), Screen())
        let (first, second, last) = (hub.attach(watcher, on: loop), hub.attach(other, on: loop), hub.attach(third, on: loop))
        subscribe(first, isTold: true)
        subscribe(second)
        subscribe(last)
        loop.run()
        hub.unsubscribe(second, key(), on: loop)
        hub.detach(last, on: loop)
        loop.run()
        #expect(
            watcher.shown.dropFirst() == ["c joined u\(second.value)", "c joined u\(last.value)", "c left u\(second.value)", "c left u\(last.value)"]
        )
        #expect(other.shown.count == 1 && third.shown.count == 1)
        #expect(watcher.flushes == 2)
        hub.detach(first, on: loop)
        loop.run()
        #expect(watcher.shown.count == 5, "who left is told nothing")
    }

    @Test func whoComesBackGetsWhatItMissedAndNotTheSnapshot() {
        let first = Screen()
        let stays = hub.attach(first, on: loop)
        subscribe(stays)
        publish("1", "2", "3")
        loop.run()
        guard let epoch = hub.history(HistoryRequest(channel: "c"), of: key())?.position.epoch else { return #expect(Bool(false)) }
        let screen = Screen()
        let id = hub.attach(screen, on: loop)
        #expect(hub.canRecover(key(), since: StreamPosition(epoch: epoch, offset: 1)))
        subscribe(id, since: StreamPosition(epoch: epoch, offset: 1), snapshot: nil)
        publish("4")
        loop.run()
        #expect(screen.shown == ["subscribed c at 3, recovered 2", "c 4 \"4\""])
    }

    @Test func whoCannotBeGivenEverythingGetsTheSnapshotOrIsToldToAskAgain() {
        let screen = Screen()
        let id = hub.attach(screen, on: loop)
        subscribe(id, since: StreamPosition(epoch: "gone", offset: 7), snapshot: nil)
        subscribe(id, since: StreamPosition(epoch: "gone", offset: 7))
        loop.run()
        #expect(screen.shown == ["refused c 100", "subscribed c at 0, \"s\""])
    }

    @Test func aConnectionThatLeftWhileItsSubscriptionWaitedIsNotSubscribed() {
        let screen = Screen()
        let id = hub.attach(screen, on: loop)
        hub.detach(id, on: loop)
        subscribe(id)
        publish("x")
        loop.run()
        #expect(screen.shown.isEmpty)
        #expect(hub.presence(key()).isEmpty)
        #expect(!hub.hasSubscribers(tenant))
    }

    @Test func anotherTenantsChannelOfTheSameNameIsAnotherStream() {
        let screen = Screen()
        let id = hub.attach(screen, on: loop)
        subscribe(id)
        publish("theirs", tenant: other)
        publish("ours")
        loop.run()
        #expect(screen.shown == ["subscribed c at 0, \"s\"", "c 1 \"ours\""])
    }

    @Test func whatIsNotStoredHasNoPlaceInTheStream() {
        let screen = Screen()
        let id = hub.attach(screen, on: loop)
        subscribe(id)
        hub.publishUnstored(Event(channel: "c", payload: Array("\"typing\"".utf8)), tenant: tenant)
        publish("kept")
        loop.run()
        #expect(screen.shown == ["subscribed c at 0, \"s\"", "c - \"typing\"", "c 1 \"kept\""])
        #expect(hub.history(HistoryRequest(channel: "c", limit: -1), of: key())?.publications.count == 1)
    }

    @Test func whoUnsubscribedHearsNoMoreAndIsAbsent() {
        let screen = Screen()
        let id = hub.attach(screen, on: loop)
        subscribe(id)
        loop.run()
        #expect(hub.presence(key()).keys.sorted() == ["c\(id.value)"])
        hub.unsubscribe(id, key(), on: loop)
        publish("x")
        loop.run()
        #expect(screen.shown.count == 1)
        #expect(hub.presence(key()).isEmpty)
    }

    @Test func aStreamWithoutSubscribersIsForgottenAfterAWhileAndComesBackWithAnotherEpoch() {
        let screen = Screen()
        let id = hub.attach(screen, on: loop)
        subscribe(id)
        publish("x")
        loop.run()
        let before = hub.history(HistoryRequest(channel: "c"), of: key())?.position
        hub.detach(id, on: loop)
        hub.sweep()
        #expect(hub.history(HistoryRequest(channel: "c"), of: key())?.position == before)
        clock.advance(by: .seconds(601))
        hub.sweep()
        #expect(hub.counters.streams == 0)
        let again = hub.attach(screen, on: loop)
        subscribe(again)
        loop.run()
        #expect(hub.history(HistoryRequest(channel: "c"), of: key())?.position.epoch != before?.epoch)
    }
}
