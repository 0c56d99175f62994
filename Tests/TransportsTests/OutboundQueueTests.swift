import NIOCore
import Realtime
import TestSupport
import Testing
import Wire

@testable import Transports

@Suite("What waits for a slow client") struct OutboundQueueTests {
    private static func text(_ name: String, _ bytes: Int = 10) -> PreparedMessage {
        PreparedMessage(text: Array((name + ":" + String(repeating: "x", count: max(0, bytes - name.utf8.count - 1))).utf8))
    }

    private static func drain(_ queue: inout OutboundQueue<PreparedMessage>) -> [String] {
        var names: [String] = []
        while let message = queue.next() { names.append(String(String(buffer: message.payload).prefix { $0 != ":" })) }
        return names
    }

    private static func delivery(_ channel: String, _ kind: DeliveryClass) -> Delivery { Delivery(channel: channel, kind: kind, offsets: nil) }

    @Test func inOrderWhateverTheChannel() {
        var queue = OutboundQueue<PreparedMessage>(limit: 1000)
        #expect(queue.put(Self.text("a1"), Self.delivery("a", .ordered)) == .settled)
        #expect(queue.put(Self.text("reply")) == .settled)
        #expect(queue.put(Self.text("b1"), Self.delivery("b", .ordered)) == .settled)
        #expect(queue.put(Self.text("a2"), Self.delivery("a", .ordered)) == .settled)
        #expect(queue.bytes == 40)
        #expect(Self.drain(&queue) == ["a1", "reply", "b1", "a2"])
        #expect(queue.isEmpty)
    }

    @Test func aNewerValueTakesTheOldersPlaceAtTheEnd() {
        var queue = OutboundQueue<PreparedMessage>(limit: 1000)
        _ = queue.put(Self.text("v1"), Self.delivery("v", .latest))
        _ = queue.put(Self.text("w1"), Self.delivery("w", .latest))
        // Behind the answer to a subscription, which it must not overtake.
        _ = queue.put(Self.text("reply"))
        _ = queue.put(Self.text("v2", 20), Self.delivery("v", .latest))
        #expect(queue.bytes == 40)
        #expect(Self.drain(&queue) == ["w1", "reply", "v2"])
        _ = queue.put(Self.text("v3"), Self.delivery("v", .latest))
        #expect(Self.drain(&queue) == ["v3"], "what has gone is replaced by nothing")
    }

    @Test func whatIsStaleInAMomentDoesNotWait() {
        var queue = OutboundQueue<PreparedMessage>(limit: 1000)
        #expect(queue.put(Self.text("typing"), Self.delivery("a", .lossy)) == .settled)
        #expect(queue.isEmpty)
    }

    @Test func whereThereIsNoRoomChannelsAreCutAndRepliesStay() {
        var queue = OutboundQueue<PreparedMessage>(limit: 50)
        for name in ["a1", "a2"] { _ = queue.put(Self.text(name), Self.delivery("a", .ordered)) }
        _ = queue.put(Self.text("reply"))
        _ = queue.put(Self.text("v1"), Self.delivery("v", .latest))
        #expect(queue.put(Self.text("b1", 30), Self.delivery("b", .ordered)) == .cut(["a", "b", "v"]))
        #expect(queue.bytes == 10)
        // Told, and subscribed anew, in the room that there is now.
        #expect(queue.put(Self.text("cut")) == .settled)
        #expect(queue.put(Self.text("a9"), Self.delivery("a", .ordered)) == .settled)
        #expect(Self.drain(&queue) == ["reply", "cut", "a9"])
    }

    @Test func whoDoesNotReadWhatTheyAskForIsTooSlow() {
        var queue = OutboundQueue<PreparedMessage>(limit: 25)
        #expect(queue.put(Self.text("one")) == .settled)
        #expect(queue.put(Self.text("two")) == .settled)
        #expect(queue.put(Self.text("three")) == .overflow)
    }

    @Test func aloneAnythingFits() {
        var queue = OutboundQueue<PreparedMessage>(limit: 10)
        #expect(queue.put(Self.text("snapshot", 500)) == .settled)
        #expect(queue.put(Self.text("a1"), Self.delivery("a", .ordered)) == .cut(["a"]))
        #expect(Self.drain(&queue) == ["snapshot"])
    }

    /// Against a list that is rebuilt at every step.
    @Test(arguments: [UInt64.random(in: 0 ... .max), 7, 8, 9]) func itIsWhatAPlainListWouldBe(seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        var queue = OutboundQueue<PreparedMessage>(limit: 300)
        var model: [(name: String, bytes: Int, channel: String?, kind: DeliveryClass?)] = []
        for step in 0..<3000 {
            let (name, bytes) = ("m\(step)", Int.random(in: 10...60, using: &random))
            var held: Int { model.reduce(0) { $0 + $1.bytes } }
            switch Int.random(in: 0..<10, using: &random) {
            case 0..<3:
                let next = queue.next().map { String(String(buffer: $0.payload).prefix { $0 != ":" }) }
                #expect(next == (model.isEmpty ? nil : model.removeFirst().name), "seed \(seed)")
            case 3:
                let fits = model.isEmpty || held + bytes <= 300
                #expect(queue.put(Self.text(name, bytes)) == (fits ? .settled : .overflow), "seed \(seed)")
                if fits { model.append((name, bytes, nil, nil)) }
            default:
                let channel = ["a", "b", "v"].randomElement(using: &random)!
                let kind: DeliveryClass = channel == "v" ? .latest : .ordered
                if kind == .latest { model.removeAll { $0.channel == channel } }
                let verdict = queue.put(Self.text(name, bytes), Self.delivery(channel, kind))
                if model.isEmpty || held + bytes <= 300 {
                    #expect(verdict == .settled, "seed \(seed)")
                    model.append((name, bytes, channel, kind))
                } else {
                    #expect(verdict == .cut(Set(model.compactMap(\.channel) + [channel]).sorted()), "seed \(seed)")
                    model.removeAll { $0.channel != nil }
                }
            }
            #expect(queue.bytes == held, "seed \(seed)")
        }
        #expect(Self.drain(&queue) == model.map(\.name), "seed \(seed)")
    }
}
