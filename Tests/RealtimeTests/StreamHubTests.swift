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

        func subscribed(command id: UInt32?, _ subscriptions: [Subscribed]) -> Bool {
            let words = subscriptions.map { subscription in
                let result = subscription.result
                let data = result.data.map { String(decoding: $0, as: UTF8.self) } ?? "nothing"
                return "\(subscription.channel) at \(result.position.offset), \(result.recovered ? "recovered \(result.publications.count)" : data)"
            }
            return show("\(id == nil ? "placed in" : "subscribed") \(words.joined(separator: "; "))")
        }
        func refused(command id: UInt32?, _ error: CentrifugeError) -> Bool { show("refused \(error.code)") }
        func fellBehind(on channel: String) -> Bool { show("\(channel) fell behind") }
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
    private func info(_ id: ConnectionID) -> ClientInfo { ClientInfo(user: "u\(id.value)", client: "c\(id.value)") }
    private func subscribe(_ id: ConnectionID, isTold: Bool = false, since: StreamPosition? = nil, snapshot: String? = "\"s\"") {
        hub.subscribe(
            id,
            on: loop,
            command: 1,
            [SubscriptionRequest(key(), info: info(id), isTold: isTold, since: since)],
            snapshots: [snapshot.map { Array($0.utf8) }]
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

    @Test func whatTheServerSubscribesItToStandsAtOnceAndBeforeWhatFollows() {
        let (early, screen) = (Screen(), Screen())
        let (first, id) = (hub.attach(early, on: loop), hub.attach(screen, on: loop))
        subscribe(first)
        publish("1", "2")
        loop.run()
        guard let epoch = hub.history(HistoryRequest(channel: "c"), of: key())?.position.epoch else { return #expect(Bool(false)) }
        let requests = [
            SubscriptionRequest(key(), info: info(id), since: StreamPosition(epoch: epoch, offset: 1)), SubscriptionRequest(key("d"), info: info(id)),
        ]
        hub.subscribe(id, on: loop, command: nil, requests, snapshots: [nil, Array("\"d\"".utf8)])
        publish("3")
        publish("d1", on: "d")
        loop.run()
        #expect(screen.shown == ["placed in c at 2, recovered 1; d at 0, \"d\"", "c 3 \"3\"", "d 1 \"d1\""])
    }

    @Test func oneOfSeveralThatCannotStandLeavesNone() {
        let screen = Screen()
        let id = hub.attach(screen, on: loop)
        let gone = StreamPosition(epoch: "gone", offset: 1)
        let requests = [SubscriptionRequest(key(), info: info(id)), SubscriptionRequest(key("d"), info: info(id), since: gone)]
        hub.subscribe(id, on: loop, command: nil, requests, snapshots: [Array("\"s\"".utf8), nil])
        publish("x")
        loop.run()
        #expect(screen.shown == ["refused 100"])
        #expect(!hub.hasSubscribers(tenant) && hub.isRemembered(tenant) && !hub.isRemembered(other))
        clock.advance(by: .seconds(601))
        hub.sweep()
        #expect(hub.counters.streams == 0 && !hub.isRemembered(tenant))
    }

    @Test func aSubscriptionTakenOverIsOneAndNobodySeesItComeTwice() {
        let (watcher, screen) = (Screen(), Screen())
        let (first, id) = (hub.attach(watcher, on: loop), hub.attach(screen, on: loop))
        subscribe(first, isTold: true)
        hub.subscribe(id, on: loop, command: nil, [SubscriptionRequest(key(), info: info(id))], snapshots: [Array("\"s\"".utf8)])
        publish("1")
        loop.run()
        hub.suspend(id, key(), on: loop)
        publish("2")
        loop.run()
        subscribe(id)
        publish("3")
        loop.run()
        #expect(screen.shown == ["placed in c at 0, \"s\"", "c 1 \"1\"", "subscribed c at 2, \"s\"", "c 3 \"3\""])
        #expect(watcher.shown == ["subscribed c at 0, \"s\"", "c joined u2", "c 1 \"1\"", "c 2 \"2\"", "c 3 \"3\""])
        #expect(hub.presence(key()).count == 2)
    }

    @Test func whoWantsNoSnapshotIsToldThatItCannotRecover() {
        let screen = Screen()
        let id = hub.attach(screen, on: loop)
        let request = SubscriptionRequest(key(), info: info(id), since: StreamPosition(epoch: "gone", offset: 7), rejectsUnrecovered: true)
        hub.subscribe(id, on: loop, command: 1, [request], snapshots: [nil])
        loop.run()
        #expect(screen.shown == ["refused 112"])
    }

    @Test func ofValuesThatCameTogetherOnlyTheLastIsDelivered() {
        let screen = Screen()
        let id = hub.attach(screen, on: loop)
        let request = SubscriptionRequest(key(), delivery: .latest, info: info(id))
        hub.subscribe(id, on: loop, command: 1, [request], snapshots: [Array("\"s\"".utf8)])
        publish("1", "2", "3")
        loop.run()
        publish("4")
        loop.run()
        #expect(screen.shown == ["subscribed c at 0, \"s\"", "c 3 \"3\"", "c 4 \"4\""])
        #expect(screen.deliveries == ["latest 1...3", "latest 4...4"])
        hub.checkPositions()
        loop.run()
        #expect(screen.shown.count == 3, "nothing is missing")
    }

    @Test func theCheckFindsNothingWhereNothingIsMissing() {
        let screen = Screen()
        let id = hub.attach(screen, on: loop)
        publish("before")
        subscribe(id)
        hub.checkPositions()
        publish("1", "2")
        hub.checkPositions()
        hub.publishUnstored(Event(channel: "c", payload: Array("\"typing\"".utf8)), tenant: tenant)
        hub.checkPositions()
        loop.run()
        hub.unsubscribe(id, key(), on: loop)
        publish("3")
        subscribe(id)
        hub.checkPositions()
        loop.run()
        #expect(screen.shown.filter { $0.contains("behind") }.isEmpty && screen.shown.count == 5)
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
        #expect(screen.shown == ["refused 100", "subscribed c at 0, \"s\""])
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
