import NIOCore
import TestSupport
import Testing

@testable import Wire

@Suite("Centrifuge commands")
struct CentrifugeCommandTests {
    /// Golden text, as SDKs send it, beside what it means.
    static let golden: [(String, ClientCommand)] = {
        var connect = ConnectRequest(token: "jwt", data: ["lang": "pt"], name: "js", version: "5.3")
        connect.subs = ["notices": SubscribeRequest(channel: "notices", recoveringSince: StreamPosition(epoch: "e", offset: 9))]
        connect.headers = ["x-tenant": "a"]
        var subscribe = SubscribeRequest(
            channel: "conversation:7",
            token: "t",
            recoveringSince: StreamPosition(epoch: "abc", offset: 42),
            data: ["page": 1]
        )
        subscribe.positioned = true
        subscribe.recoverable = true
        subscribe.joinLeave = true
        subscribe.delta = "fossil"
        return [
            (#"{"id":1,"connect":{}}"#, .connect(id: 1, ConnectRequest())),
            (
                #"{"id":1,"connect":{"token":"jwt","data":{"lang":"pt"},"subs":{"notices":{"channel":"notices","recover":true,"epoch":"e","offset":9}},"name":"js","version":"5.3","headers":{"x-tenant":"a"}}}"#,
                .connect(id: 1, connect)
            ),
            (#"{"id":2,"subscribe":{"channel":"queue"}}"#, .subscribe(id: 2, SubscribeRequest(channel: "queue"))),
            (
                #"{"id":2,"subscribe":{"channel":"conversation:7","token":"t","recover":true,"epoch":"abc","offset":42,"data":{"page":1},"positioned":true,"recoverable":true,"join_leave":true,"delta":"fossil"}}"#,
                .subscribe(id: 2, subscribe)
            ),
            (#"{"id":3,"unsubscribe":{"channel":"queue"}}"#, .unsubscribe(id: 3, channel: "queue")),
            (#"{"id":4,"publish":{"channel":"queue","data":[1,"é"]}}"#, .publish(id: 4, channel: "queue", data: [1, "é"])),
            (#"{"id":5,"presence":{"channel":"queue"}}"#, .presence(id: 5, channel: "queue")),
            (#"{"id":6,"presence_stats":{"channel":"queue"}}"#, .presenceStats(id: 6, channel: "queue")),
            (
                #"{"id":7,"history":{"channel":"queue","limit":-1,"since":{"offset":3,"epoch":"abc"},"reverse":true}}"#,
                .history(id: 7, HistoryRequest(channel: "queue", limit: -1, since: StreamPosition(epoch: "abc", offset: 3), reverse: true))
            ),
            (
                #"{"id":8,"rpc":{"method":"conversation.claim","data":{"conversation_id":"7"}}}"#,
                .rpc(id: 8, method: "conversation.claim", data: ["conversation_id": "7"])
            ),
            (#"{"send":{"data":"oi"}}"#, .send(id: 0, data: "oi")),
            (#"{"id":9,"refresh":{"token":"jwt2"}}"#, .refresh(id: 9, token: "jwt2")),
            (#"{"id":10,"sub_refresh":{"channel":"queue","token":"t2"}}"#, .subRefresh(id: 10, channel: "queue", token: "t2")),
            (#"{"id":4294967295,"ping":{}}"#, .ping(id: .max)),
            (#"{}"#, .pong),
        ]
    }()

    @Test("A one-way transport is opened with the connect request, bare or as a command")
    func aConnectRequestIsReadBareOrAsACommand() throws {
        var request = ConnectRequest(token: "t")
        request.subs = ["queue": SubscribeRequest(channel: "queue", recoveringSince: StreamPosition(epoch: "e", offset: 3))]
        let bare = #"{"token":"t","subs":{"queue":{"recover":true,"epoch":"e","offset":3}}}"#
        #expect(try ConnectRequest.decode(bare.bytes) == request)
        #expect(try ConnectRequest.decode(#"{"id":1,"connect":\#(bare)}"#.bytes) == request)
        #expect(try ConnectRequest.decode("{}".bytes) == ConnectRequest())
        for broken in ["", "[]", "7", #"{"token":7}"#, #"{"connect":7}"#, #"{"subs":{"queue":[]}}"#] {
            #expect(throws: CentrifugeProtocolError.self) { try ConnectRequest.decode(broken.bytes) }
        }
    }

    @Test("Bit 1 of the flag asks for an error where recovery is not possible; other bits mean nothing here")
    func theFlagAsksForAnErrorInPlaceOfASnapshot() throws {
        for (flag, rejects) in [(0, false), (1, false), (2, true), (3, true), (8, false)] {
            var request = SubscribeRequest(channel: "queue")
            request.rejectsUnrecovered = rejects
            #expect(try ClientCommand.decode(#"{"id":2,"subscribe":{"channel":"queue","flag":\#(flag)}}"#.bytes) == [.subscribe(id: 2, request)])
        }
    }

    @Test("Each command is read from its golden text, and written as it", arguments: golden)
    func eachCommandIsReadAndWritten(text: String, command: ClientCommand) throws {
        #expect(try ClientCommand.decode(text.bytes) == [command])
        #expect(String(decoding: command.bytes, as: UTF8.self) == text)
    }

    @Test("A frame may hold several, one per line; blank lines are nothing")
    func aFrameMayHoldSeveral() throws {
        let all = Self.golden.map(\.1)
        #expect(try ClientCommand.decode(ClientCommand.encode(all)) == all)
        #expect(try ClientCommand.decode("\n {\"id\":1,\"connect\":{}}\r\n\n{}\n \n".bytes) == [.connect(id: 1, ConnectRequest()), .pong])
        #expect(try ClientCommand.decode(ByteBuffer(string: "{}")) == [.pong])
    }

    @Test("Null is as good as absent, and what is unknown is passed over")
    func nullIsAsGoodAsAbsent() throws {
        #expect(
            try ClientCommand.decode(#"{"id":1,"rpc":null,"x":[{}],"connect":{"token":null,"data":null,"subs":null,"y":1}}"#.bytes) == [
                .connect(id: 1, ConnectRequest())
            ]
        )
        #expect(try ClientCommand.decode(#"{"id":1,"rpc":{"method":"m"}}"#.bytes) == [.rpc(id: 1, method: "m", data: .null)])
        #expect(
            try ClientCommand.decode(#"{"id":1,"subscribe":{"\u0063hannel":"a\u002fb"}}"#.bytes) == [
                .subscribe(id: 1, SubscribeRequest(channel: "a/b"))
            ]
        )
    }

    @Test(
        "What the protocol does not allow is a bad request",
        arguments: [
            "", "\n\n", "[]", "1", "null", "\"x\"", "{", "{}x", "{} {}", #"{"id":1}"#, #"{"id":1,"method":1,"params":{}}"#,
            #"{"id":-1,"connect":{}}"#, #"{"id":4294967296,"connect":{}}"#,
            #"{"id":1.5,"connect":{}}"#, #"{"id":"1","connect":{}}"#, #"{"connect":{}}"#, #"{"id":0,"rpc":{}}"#, #"{"id":1,"connect":[]}"#,
            #"{"id":1,"connect":true}"#,
            #"{"id":1,"connect":{"token":1}}"#, #"{"id":1,"connect":{"subs":[]}}"#, #"{"id":1,"connect":{"subs":{"a":1}}}"#,
            #"{"id":1,"connect":{"headers":{"a":1}}}"#,
            #"{"id":1,"connect":{},"rpc":{}}"#, #"{"id":1,"subscribe":{}}"#, #"{"id":1,"subscribe":{"channel":""}}"#,
            #"{"id":1,"subscribe":{"channel":"a","offset":-1}}"#,
            #"{"id":1,"subscribe":{"channel":"a","offset":1e3}}"#, #"{"id":1,"subscribe":{"channel":"a","recover":"yes"}}"#,
            #"{"id":1,"unsubscribe":{}}"#,
            #"{"id":1,"history":{"channel":"a","limit":2147483648}}"#, #"{"id":1,"history":{"channel":"a","since":3}}"#,
            #"{"id":1,"presence":{"channel":null}}"#,
            #"{"id":1,"rpc":{"method":"m","data":{"a":}}}"#, "{\"id\":1,\"rpc\":{\"data\":\"a\nb\"}}", #"{"id":1,"rpc":{"data":"\ud800"}}"#,
            "{\"id\":1,\"connect\":{}}\n{\"id\":2}",
        ]
    )
    func whatIsNotAllowedIsABadRequest(frame: String) {
        let error = #expect(throws: CentrifugeProtocolError.self) { try ClientCommand.decode(frame.bytes) }
        #expect(error?.disconnect == .badRequest && error?.reason.isEmpty == false)
    }

    @Test("A frame that is not UTF-8 is a bad request, even where nobody looks")
    func aFrameThatIsNotUTF8IsABadRequest() {
        #expect(throws: CentrifugeProtocolError.self) { try ClientCommand.decode(#"{"id":1,"connect":{},"x":""#.bytes + [0xff] + #""}"#.bytes) }
    }

    @Test("Commands in a frame are counted")
    func commandsInAFrameAreCounted() throws {
        let frame = { (count: Int) in Array([[UInt8]](repeating: "{}".bytes, count: count).joined(separator: "\n".bytes)) }
        #expect(try ClientCommand.decode(frame(ClientCommand.maxPerFrame)).count == ClientCommand.maxPerFrame)
        #expect(throws: CentrifugeProtocolError(reason: "more than 256 commands in a frame")) {
            try ClientCommand.decode(frame(ClientCommand.maxPerFrame + 1))
        }
        #expect(throws: CentrifugeProtocolError(reason: "more than 2 commands in a frame")) { try ClientCommand.decode(frame(3), max: 2) }
    }

    @Test("An id is known for every command that is answered")
    func anIDIsKnown() throws {
        for (text, command) in Self.golden where text.hasPrefix("{\"id\"") { #expect(command.id > 0) }
        #expect(ClientCommand.pong.id == 0)
    }

    @Test("An emulation request carries its frame as a string or as it is")
    func anEmulationRequestCarriesItsFrame() throws {
        let expected = EmulationRequest(session: "s", node: "n", data: "{\"id\":1}\n{}".bytes)
        #expect(try EmulationRequest.decode(#"{"session":"s","node":"n","data":"{\"id\":1}\n{}"}"#.bytes) == expected)
        #expect(
            try EmulationRequest.decode(#"{"session":"s","data":{"id":1} }"#.bytes)
                == EmulationRequest(session: "s", node: "", data: "{\"id\":1}".bytes)
        )
        for body in ["", "{}", #"{"session":1,"data":""}"#, #"{"session":"s","data":null}"#] {
            #expect(throws: CentrifugeProtocolError.self) { try EmulationRequest.decode(body.bytes) }
        }
    }

    @Test("Random damage never crashes the reader")
    func randomDamageNeverCrashes() {
        var random = SeededGenerator.fresh()
        for _ in 0..<5000 {
            var bytes = Self.golden.randomElement(using: &random)!.0.bytes
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...0x7f, using: &random)
            }
            _ = try? ClientCommand.decode(bytes)
            _ = try? CentrifugeReply.decode(bytes)
        }
    }
}
