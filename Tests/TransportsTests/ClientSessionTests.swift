import Realtime
import TestSupport
import Testing
import Wire

@testable import Transports

@Suite struct ClientSessionTests {
    private func connected(_ token: String = "ana 60", _ adjust: (inout SocketSettings) -> Void = { _ in }) async throws -> SessionFixture {
        let fixture = try await SessionFixture(adjust)
        try await fixture.say(#"{"id":1,"connect":{"token":"\#(token)"}}"#)
        try await fixture.heard(#"{"id":1,"connect""#)
        return fixture
    }

    // MARK: Expiry and refresh

    @Test func aConnectionGoesOnWithANewTokenAndItsPushesWithIt() async throws {
        let fixture = try await connected()
        #expect(try await fixture.written[0].contains(#""expires":true,"ttl":60"#))
        try await fixture.pass(50)
        try await fixture.say(#"{"id":2,"refresh":{"token":"ana 100"}}"#)
        #expect(try await fixture.heard(#"{"id":2,"#).contains(#""expires":true,"ttl":100"#))
        // Past the first one's end and its grace.
        try await fixture.say("{}")
        try await fixture.pass(40)
        #expect(try await fixture.closed == nil)
        try await fixture.post("ainda aqui")
        try await fixture.heard("ainda aqui")
        try await fixture.say("{}")
        try await fixture.pass(84)
        #expect(try await fixture.closed == nil, "an expired token may be replaced for 25 seconds")
        try await fixture.pass(1)
        #expect(try await fixture.closed == .expired)
    }

    @Test func anExpiredTokenIsNotTakenAndANewerOneIs() async throws {
        let fixture = try await SessionFixture()
        try await fixture.say(#"{"id":1,"connect":{"token":"ana 0"}}"#)
        #expect(try await fixture.heard(#"{"id":1,"#).contains(#""code":109"#))
        try await fixture.say(#"{"id":2,"connect":{"token":"ana 60"}}"#)
        try await fixture.heard(#"{"id":2,"connect""#)
        try await fixture.say(#"{"id":3,"refresh":{"token":"ana 0"}}"#)
        #expect(try await fixture.heard(#"{"id":3,"#).contains(#""code":109"#))
        #expect(try await fixture.closed == nil)
    }

    @Test(arguments: ["bia 60", "nonsense"]) func aTokenOfSomebodyElseOrOfNobodyEndsIt(_ token: String) async throws {
        let fixture = try await connected()
        try await fixture.say(#"{"id":2,"refresh":{"token":"\#(token)"}}"#)
        try await fixture.wait("the end") { try await fixture.closed != nil }
        #expect(try await fixture.closed == .invalidToken)
    }

    @Test func whoAsksToRefreshASubscriptionIsToldThatItDoesNotExpire() async throws {
        let fixture = try await connected()
        try await fixture.say(
            #"{"id":2,"sub_refresh":{"channel":"notices","token":"t"}}"#,
            #"{"id":3,"sub_refresh":{"token":"t"}}"#,
            #"{"id":4,"sub_refresh":{"channel":"queue","token":"t"}}"#,
            #"{"id":5,"unsubscribe":{"channel":"notices"}}"#,
            #"{"id":6,"sub_refresh":{"token":"t"}}"#
        )
        try await fixture.settle(7)
        let written = try await fixture.written
        #expect(written.contains(#"{"id":2,"sub_refresh":{}}"#) && written.contains(#"{"id":3,"sub_refresh":{}}"#))
        #expect(
            written.contains { $0.hasPrefix(#"{"id":4,"error":{"code":103"#) } && written.contains { $0.hasPrefix(#"{"id":6,"error":{"code":103"#) }
        )
    }

    // MARK: Errors

    @Test func aCommandThatCannotBeDoneIsAnErrorAndTheConnectionGoesOn() async throws {
        let fixture = try await connected { $0.maxChannels = 2 }
        let commands = [
            (102, #""subscribe":{"channel":"nothing"}"#), (0, #""subscribe":{"channel":"notices"}"#), (105, #""subscribe":{"channel":"notices"}"#),
            (0, #""subscribe":{"channel":"queue"}"#), (106, #""subscribe":{"channel":"consultores"}"#),
            (102, #""presence":{"channel":"nothing"}"#), (103, #""presence":{"channel":"consultores"}"#),
            (103, #""history":{"channel":"consultores"}"#), (103, #""publish":{"channel":"notices","data":1}"#),
            (104, #""rpc":{"method":"nothing"}"#),
            (112, #""history":{"channel":"notices","limit":1,"since":{"epoch":"foreign","offset":1}}"#), (0, #""unsubscribe":{"channel":"queue"}"#),
            (112, #""subscribe":{"channel":"queue","recover":true,"epoch":"foreign","offset":1,"flag":2}"#),
            (102, #""subscribe":{"channel":"conversation:01a00000-0000-7000-8000-000000000001"}"#), (0, #""ping":{}"#),
        ]
        // All of them in one frame.
        let lines = commands.enumerated().map { #"{"id":\#($0 + 2),\#($1.1)}"# }
        try await fixture.say(lines.joined(separator: "\n"))
        try await fixture.settle(100)
        let written = try await fixture.written
        for (index, (code, command)) in commands.enumerated() {
            let reply = written.first { $0.hasPrefix(#"{"id":\#(index + 2),"#) }
            #expect(reply?.contains(#""error":{"code":\#(code),"#) == (code != 0), "\(command): \(reply ?? "nothing")")
        }
        let replies = written.filter { $0.hasPrefix(#"{"id":"#) }
        #expect(replies.count == commands.count + 2, "each is answered once, and in its turn")
        #expect(try await fixture.closed == nil)
    }

    @Test func takingASubscriptionOverIsNotOneMore() async throws {
        let fixture = try await connected { $0.maxChannels = 1 }
        try await fixture.say(#"{"id":2,"subscribe":{"channel":"notices"}}"#, #"{"id":3,"subscribe":{"channel":"queue"}}"#)
        try await fixture.heard(#"{"id":2,"subscribe""#)
        #expect(try await fixture.heard(#"{"id":3,"#).contains(#""code":106"#))
        try await fixture.post("um")
        try await fixture.heard("um")
        #expect(try await fixture.written.filter { $0.contains("notice.created") }.count == 1)
    }

    // MARK: Endings

    @Test func whoDoesNotSayWhoItIsIsClosed() async throws {
        let fixture = try await SessionFixture()
        try await fixture.pass(9)
        #expect(try await fixture.closed == nil)
        try await fixture.pass(1)
        #expect(try await fixture.closed == .stale)
    }

    @Test(arguments: ["nonsense", #"{"id":1,"ping":{}}"#, #"{"id":1,"subscribe":{"channel":"notices"}}"#, #"{"id":1}"#])
    func whoDoesNotSpeakTheProtocolIsClosedForGood(_ frame: String) async throws {
        let fixture = try await SessionFixture()
        try await fixture.say(frame)
        #expect(try await fixture.closed == .badRequest)
    }

    @Test func whoConnectsTwiceIsClosedForGood() async throws {
        let fixture = try await connected()
        try await fixture.say(#"{"id":2,"connect":{"token":"ana 60"}}"#)
        #expect(try await fixture.closed == .badRequest)
    }

    @Test func whoDoesNotAnswerIsClosedAndWhoDoesIsNot() async throws {
        let fixture = try await connected("ana 600")
        try await fixture.pass(25)
        #expect(try await fixture.written.last == "{}")
        try await fixture.say("{}")
        try await fixture.pass(25)
        try await fixture.pass(7)
        #expect(try await fixture.closed == nil)
        try await fixture.pass(1)
        #expect(try await fixture.closed == .noPong)
    }

    @Test func whoAsksMoreThanCanWaitIsClosed() async throws {
        let fixture = try await connected { $0.maxWaitingCommands = 10 }
        try await fixture.say((2...12).map { #"{"id":\#($0),"rpc":{"method":"echo"}}"# }.joined(separator: "\n"))
        #expect(try await fixture.closed == .tooManyRequests)
    }

    @Test func whoIsBehindSubscribesAnewOrComesBack() async throws {
        let fixture = try await connected()
        try await fixture.say(#"{"id":2,"subscribe":{"channel":"queue"}}"#)
        try await fixture.heard(#"{"id":2,"subscribe""#)
        try await fixture.fellBehind(on: "consultores")
        #expect(try await fixture.closed == nil, "of a channel it does not follow")
        try await fixture.fellBehind(on: "queue")
        #expect(
            try await fixture.written.last == #"{"push":{"channel":"queue","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#
        )
        try await fixture.say(#"{"id":3,"subscribe":{"channel":"queue"}}"#)
        try await fixture.heard(#"{"id":3,"subscribe""#)
        #expect(try await fixture.closed == nil)
        try await fixture.fellBehind(on: "notices")
        #expect(try await fixture.closed == .insufficientState)
    }

    // MARK: Connecting depends on nothing

    @Test func whileTheBusinessCannotBeLoadedAClientConnectsAndIsSubscribedLater() async throws {
        let fixture = try await SessionFixture()
        fixture.shelf.become(.failing)
        try await fixture.say(#"{"id":1,"connect":{"token":"ana 60"}}"#)
        #expect(try await !fixture.heard(#"{"id":1,"connect""#).contains("subs"))
        fixture.shelf.become(.open)
        try await fixture.pass(3)
        #expect(try await fixture.heard(#""subscribe":{"#).contains(#"{"push":{"channel":"notices","subscribe":{"recoverable":true"#))
        try await fixture.post("de volta")
        try await fixture.heard("de volta")
    }

    @Test func aStoreThatHangsKeepsNobodyWaitingForLong() async throws {
        let fixture = try await SessionFixture()
        fixture.shelf.become(.hanging)
        try await fixture.say(#"{"id":1,"connect":{"token":"ana 60"}}"#, #"{"id":2,"rpc":{"method":"echo","data":"x"}}"#)
        try await fixture.wait("the proof of the token") { fixture.hub.counters.connections == 1 }
        try await fixture.pass(1)
        #expect(try await fixture.written.isEmpty)
        try await fixture.pass(1)
        #expect(try await !fixture.heard(#"{"id":1,"connect""#).contains("subs"))
        try await fixture.heard(#"{"id":2,"rpc":{"data":"x"}}"#)
        fixture.shelf.become(.open)
        try await fixture.heard(#"{"push":{"channel":"notices","subscribe":{"#)
        try await fixture.post("agora sim")
        try await fixture.heard("agora sim")
        #expect(try await fixture.written.filter { $0.contains("agora sim") }.count == 1)
    }
}
