import Kernel
import NIOCore
import NIOEmbedded
import Testing
import Wire

@testable import Realtime

/// Publications that are lost on their way to a loop: what no test of the hub as a whole can bring about.
@Suite struct LoopHubTests {
    final class Screen: Subscriber {
        var shown: [String] = []
        func subscribed(command id: UInt32?, _ subscriptions: [Subscribed]) -> Bool { false }
        func refused(command id: UInt32?, _ error: CentrifugeError) -> Bool { false }
        func deliver(_ message: inout PreparedMessage, _ delivery: Delivery) -> Bool {
            shown.append("\(delivery.channel) \(delivery.offsets.map { "\($0)" } ?? "-")")
            return false
        }
        func fellBehind(on channel: String) -> Bool {
            shown.append("behind on \(channel)")
            return false
        }
        func flush() {}
    }

    let loop = EmbeddedEventLoop()
    let hub: LoopHub
    let a = Screen()
    let b = Screen()

    init() {
        hub = LoopHub(loop: loop)
        hub.attach(a, ConnectionID(1))
        hub.attach(b, ConnectionID(2))
    }

    private func key(_ channel: String) -> StreamKey { StreamKey(tenant: TenantID(UniqueID(high: 1, low: 1)), channel: channel) }
    private func subscribe(_ id: UInt64, _ channel: String, at offset: UInt64) {
        hub.put(
            .subscribed(ConnectionID(id), command: 1, [(key(channel), SubscribeResult(position: StreamPosition(epoch: "e", offset: offset)))])
        )
    }
    private func deliver(_ channel: String, _ offset: UInt64?, _ kind: DeliveryClass = .ordered) {
        hub.put(.deliver(key(channel), Array("{}".utf8), kind, offset: offset))
    }
    private func check(_ positions: (String, UInt64)...) { hub.put(.check(positions.map { (key($0.0), $0.1) })) }
    private func run() {
        hub.wake()
        loop.run()
    }

    @Test func aPublicationThatIsMissingBetweenTwoIsSeenAtOnceAndWhatFollowsItIsNotDelivered() {
        subscribe(1, "c", at: 7)
        subscribe(2, "d", at: 0)
        deliver("c", 8)
        deliver("c", 10)
        deliver("d", 1)
        run()
        #expect(a.shown == ["c 8...8", "behind on c"])
        #expect(b.shown == ["d 1...1"], "others are not disturbed")
    }

    @Test func publicationsThatAreMissingAtTheEndAreFoundByTheCheck() {
        subscribe(1, "c", at: 0)
        subscribe(2, "c", at: 0)
        deliver("c", 1)
        deliver("c", nil, .lossy)
        check(("c", 1))
        run()
        #expect(a.shown == ["c 1...1", "c -"])
        check(("c", 3), ("nobody's", 9))
        run()
        #expect(a.shown.last == "behind on c" && b.shown.last == "behind on c")
        // Told once. Whoever comes back meanwhile goes on from there.
        hub.leave(ConnectionID(1), key("c"))
        subscribe(1, "c", at: 3)
        deliver("c", 4)
        check(("c", 4))
        run()
        #expect(a.shown == ["c 1...1", "c -", "behind on c", "c 4...4"])
    }

    @Test func aSubscriptionThatBeginsElsewhereThanTheOthersAreShowsThatTheyAreBehind() {
        subscribe(1, "c", at: 5)
        subscribe(2, "c", at: 6)
        deliver("c", 7)
        run()
        #expect(a.shown == ["behind on c", "c 7...7"], "and only they")
        #expect(b.shown == ["c 7...7"])
    }
}
