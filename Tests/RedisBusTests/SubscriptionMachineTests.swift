import NIOCore
import Testing

@testable import RedisBus

@Suite struct SubscriptionMachineTests {
    private var machine = SubscriptionMachine(Self.configuration)

    private static var configuration: RedisConfiguration {
        var configuration = RedisConfiguration(address: .unix(path: "/x"))
        configuration.maxChannels = 3
        return configuration
    }

    private func at(_ seconds: Int64) -> NIODeadline { .uptimeNanoseconds(1_000_000_000) + .seconds(seconds) }
    private mutating func heard(_ kind: String, _ channel: String, _ last: RedisReply = .integer(1)) -> [SubscriptionMachine.Output] {
        machine.replyReceived(.array([.bulk(kind.bytes), .bulk(channel.bytes), last]), at: at(0))
    }

    @Test mutating func aSubscriberIsLiveWhenItsLastChannelIsConfirmed() {
        _ = machine.connectionReady(at: at(0))
        #expect(machine.joined(1, ["a", "b"]) == [.send([["SUBSCRIBE", "a", "b"]])])
        #expect(heard("subscribe", "a") == [])
        #expect(heard("subscribe", "b") == [.live(1, again: false)])
        #expect(heard("message", "a", .bulk([7])) == [.deliver(to: [1], channel: "a", payload: [7])])
    }

    @Test mutating func aSecondOneOnTheSameChannelAsksNothing() {
        _ = machine.connectionReady(at: at(0))
        _ = machine.joined(1, ["a"])
        #expect(machine.joined(2, ["a"]) == [])
        #expect(heard("subscribe", "a") == [.live(1, again: false), .live(2, again: false)])
        #expect(machine.joined(3, ["a"]) == [.live(3, again: false)])
        #expect(machine.left(1) == [])
        #expect(heard("message", "a", .bulk([])) == [.deliver(to: [2, 3], channel: "a", payload: [])])
        #expect(machine.left(2) == [])
        #expect(machine.left(3) == [.send([["UNSUBSCRIBE", "a"]])])
        #expect(heard("message", "a", .bulk([])) == [])
    }

    @Test mutating func afterAConnectionWasLostItSaysSo() {
        #expect(machine.joined(1, ["a"]) == [])
        #expect(machine.connectionReady(at: at(0)) == [.send([["SUBSCRIBE", "a"]])])
        #expect(heard("subscribe", "a") == [.live(1, again: false)])
        machine.connectionLost()
        #expect(machine.joined(2, ["a", "b"]) == [])
        #expect(machine.connectionReady(at: at(0)) == [.send([["SUBSCRIBE", "a", "b"]])])
        #expect(heard("subscribe", "a") == [.live(1, again: true)])
        #expect(heard("subscribe", "b") == [.live(2, again: false)])
    }

    @Test mutating func aConfirmationOfAnEarlierRequestConfirmsNothing() {
        _ = machine.connectionReady(at: at(0))
        _ = machine.joined(1, ["a"])
        _ = machine.left(1)
        #expect(machine.joined(2, ["a"]) == [.send([["SUBSCRIBE", "a"]])])
        #expect(heard("subscribe", "a") == [])
        #expect(heard("unsubscribe", "a", .integer(0)) == [])
        #expect(heard("subscribe", "a") == [.live(2, again: false)])
    }

    @Test mutating func channelsAreBounded() {
        _ = machine.joined(1, ["a", "b"])
        #expect(machine.joined(2, ["c", "d"]) == [.refuse(2)])
        #expect(machine.joined(3, ["a", "c"]) == [])
        _ = machine.left(1)
        #expect(machine.joined(4, ["d"]) == [])
    }

    @Test mutating func aQuietConnectionIsAskedForASignOfLife() {
        _ = machine.connectionReady(at: at(0))
        #expect(machine.wakeUp == at(10))
        #expect(machine.timePassed(at: at(9)) == [])
        #expect(machine.timePassed(at: at(10)) == [.send([["PING"]])])
        #expect(machine.replyReceived(.array([.bulk("pong".bytes), .bulk([])]), at: at(11)) == [])
        #expect(machine.timePassed(at: at(21)) == [.send([["PING"]])])
        #expect(machine.replyReceived(.status("PONG"), at: at(22)) == [])
        #expect(machine.timePassed(at: at(32)) == [.send([["PING"]])])
        #expect(machine.timePassed(at: at(36)) == [])
        #expect(machine.timePassed(at: at(37)) == [.condemn(.silent)])
        machine.connectionLost()
        #expect(machine.wakeUp == nil)
    }

    @Test mutating func aRefusalCondemnsTheConnection() {
        _ = machine.connectionReady(at: at(0))
        #expect(machine.replyReceived(.error(RedisServerError("NOPERM channel")), at: at(0)) == [.condemn(.refused("NOPERM channel"))])
        #expect(machine.replyReceived(.integer(1), at: at(0)) == [.condemn(.violation("a message that is none"))])
    }
}
