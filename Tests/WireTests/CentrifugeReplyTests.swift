import NIOCore
import Testing

@testable import Wire

@Suite("Centrifuge replies")
struct CentrifugeReplyTests {
    static let golden: [(String, CentrifugeReply)] = {
        var connect = ConnectResult(client: "c1", version: "plantao", data: #"{"server":1}"#.bytes, ping: 25, pong: true)
        connect.expiry = .after(seconds: 300)
        connect.session = "s"
        connect.node = "n"
        connect.subs = ["notices": SubscribeResult(position: StreamPosition(epoch: "e", offset: 1))]
        var subscribe = SubscribeResult(position: StreamPosition(epoch: "abc", offset: 42), data: "[]".bytes)
        var publication = Publication(
            data: #"{"text":"oi"}"#.bytes,
            offset: 42,
            info: ClientInfo(user: "7", client: "c2", connInfo: "{}".bytes, chanInfo: "1".bytes)
        )
        publication.tags = ["a": "1", "b": "2"]
        subscribe.publications = [Publication(data: "null".bytes, offset: 41), publication]
        subscribe.wasRecovering = true
        subscribe.recovered = true
        let info = ClientInfo(user: "7", client: "c2")
        return [
            (#"{"id":1,"connect":{"client":"c1"}}"#, .connect(id: 1, ConnectResult(client: "c1"))),
            (
                #"{"id":1,"connect":{"client":"c1","version":"plantao","expires":true,"ttl":300,"data":{"server":1},"subs":{"notices":{"recoverable":true,"epoch":"e","offset":1,"positioned":true}},"ping":25,"pong":true,"session":"s","node":"n"}}"#,
                .connect(id: 1, connect)
            ),
            (#"{"id":2,"subscribe":{}}"#, .subscribe(id: 2, SubscribeResult())),
            (
                #"{"id":2,"subscribe":{"recoverable":true,"epoch":"abc","publications":[{"data":null,"offset":41},{"data":{"text":"oi"},"info":{"user":"7","client":"c2","conn_info":{},"chan_info":1},"offset":42,"tags":{"a":"1","b":"2"}}],"recovered":true,"offset":42,"positioned":true,"data":[],"was_recovering":true}}"#,
                .subscribe(id: 2, subscribe)
            ),
            (#"{"id":3,"unsubscribe":{}}"#, .unsubscribe(id: 3)),
            (#"{"id":4,"publish":{}}"#, .publish(id: 4)),
            (#"{"id":5,"presence":{"presence":{}}}"#, .presence(id: 5, [:])),
            (
                #"{"id":5,"presence":{"presence":{"c1":{"user":"","client":"c1"},"c2":{"user":"7","client":"c2"}}}}"#,
                .presence(id: 5, ["c2": info, "c1": ClientInfo(user: "", client: "c1")])
            ),
            (#"{"id":6,"presence_stats":{"num_clients":3,"num_users":0}}"#, .presenceStats(id: 6, clients: 3, users: 0)),
            (
                #"{"id":7,"history":{"publications":[{"data":1,"offset":1}],"epoch":"abc","offset":1}}"#,
                .history(
                    id: 7,
                    HistoryResult(publications: [Publication(data: "1".bytes, offset: 1)], position: StreamPosition(epoch: "abc", offset: 1))
                )
            ),
            (#"{"id":8,"rpc":{"data":{"ok":true}}}"#, .rpc(id: 8, data: #"{"ok":true}"#.bytes)),
            (
                #"{"id":9,"refresh":{"client":"c1","expires":true,"ttl":60}}"#,
                .refresh(id: 9, RefreshResult(client: "c1", expiry: .after(seconds: 60)))
            ),
            (#"{"id":10,"sub_refresh":{}}"#, .subRefresh(id: 10, .never)),
            (#"{"id":11,"ping":{}}"#, .ping(id: 11)),
            (#"{"id":12,"error":{"code":103,"message":"permission denied"}}"#, .error(id: 12, .permissionDenied)),
            (#"{"id":13,"error":{"code":111,"message":"too many requests","temporary":true}}"#, .error(id: 13, .tooManyRequests)),
            (#"{}"#, .serverPing),
            (
                #"{"push":{"channel":"queue","pub":{"data":{"text":"oi"},"offset":7}}}"#,
                .push(.publication(channel: "queue", Publication(data: #"{"text":"oi"}"#.bytes, offset: 7)))
            ),
            (#"{"push":{"channel":"queue","pub":{"data":"a"}}}"#, .push(.publication(channel: "queue", Publication(data: #""a""#.bytes)))),
            (#"{"push":{"channel":"queue","join":{"info":{"user":"7","client":"c2"}}}}"#, .push(.join(channel: "queue", info))),
            (#"{"push":{"channel":"queue","leave":{"info":{"user":"7","client":"c2"}}}}"#, .push(.leave(channel: "queue", info))),
            (
                #"{"push":{"channel":"queue","unsubscribe":{"code":2500,"reason":"insufficient state"}}}"#,
                .push(.unsubscribe(channel: "queue", .insufficientState))
            ),
            (
                #"{"push":{"channel":"queue","subscribe":{"recoverable":true,"epoch":"e","offset":1,"positioned":true}}}"#,
                .push(.subscribe(channel: "queue", SubscribeResult(position: StreamPosition(epoch: "e", offset: 1))))
            ),
            (#"{"push":{"message":{"data":[1]}}}"#, .push(.message(data: "[1]".bytes))),
            (#"{"push":{"connect":{"client":"c1"}}}"#, .push(.connect(ConnectResult(client: "c1")))),
            (#"{"push":{"disconnect":{"code":3001,"reason":"shutdown"}}}"#, .push(.disconnect(.shutdown))),
            (#"{"push":{"refresh":{"expires":true,"ttl":5}}}"#, .push(.refresh(.after(seconds: 5)))),
        ]
    }()

    @Test("Each reply is written as its golden text, and read from it", arguments: golden)
    func eachReplyIsWrittenAndRead(text: String, reply: CentrifugeReply) throws {
        #expect(String(decoding: reply.bytes, as: UTF8.self) == text)
        #expect(try CentrifugeReply.decode(text.bytes) == [reply])
    }

    @Test("A frame may hold several, one per line")
    func aFrameMayHoldSeveral() throws {
        let all = Self.golden.map(\.1)
        let frame = CentrifugeReply.encode(all)
        #expect(frame.count(where: { $0 == UInt8(ascii: "\n") }) == all.count - 1)
        #expect(try CentrifugeReply.decode(ByteBuffer(bytes: frame)) == all)
    }

    @Test("A one-way transport sends the push bare")
    func aOneWayTransportSendsThePushBare() throws {
        let push = CentrifugePush.publication(channel: "booking:x", Publication(data: "1".bytes, offset: 2))
        #expect(String(decoding: push.unidirectionalBytes, as: UTF8.self) == #"{"channel":"booking:x","pub":{"data":1,"offset":2}}"#)
        #expect(try CentrifugePush.decode(push.unidirectionalBytes) == push)
        #expect(String(decoding: push.bytes, as: UTF8.self) == #"{"push":{"channel":"booking:x","pub":{"data":1,"offset":2}}}"#)
    }

    @Test("The data of a publication reaches the client byte for byte")
    func dataReachesTheClientByteForByte() throws {
        let data = #"{ "n": 1.50, "big": 123456789012345678901234567890, "a" : [ ] }"#.bytes
        let reply = CentrifugeReply.push(.publication(channel: "c", Publication(data: data, offset: 1)))
        #expect(try CentrifugeReply.decode(reply.bytes) == [reply])
    }

    @Test("What a later protocol brings is passed over, what is broken is an error")
    func whatIsUnknownIsPassedOver() throws {
        #expect(try CentrifugeReply.decode(#"{"id":1,"new":{}}"#.bytes) == [])
        #expect(try CentrifugeReply.decode(#"{"push":{"channel":"c","new":{}}}"#.bytes) == [])
        #expect(
            try CentrifugeReply.decode(#"{"id":1,"connect":{"client":"c","time":1,"ping":25}}"#.bytes) == [
                .connect(id: 1, ConnectResult(client: "c", ping: 25))
            ]
        )
        for frame in [
            "", "x", "[]", #"{"id":-1,"rpc":{}}"#, #"{"push":{"channel":"c","pub":1}}"#, #"{"push":{"channel":"c","join":{}}}"#,
            #"{"id":1,"history":{"publications":{}}}"#,
        ] {
            #expect(throws: CentrifugeProtocolError.self) { try CentrifugeReply.decode(frame.bytes) }
        }
    }

    @Test("The published codes are these")
    func thePublishedCodesAreThese() {
        #expect(CentrifugeError.all.map(\.code) == Array(100...112))
        #expect(CentrifugeError.all.filter(\.temporary).map(\.code) == [100, 111])
        #expect(CentrifugeDisconnect.all.map(\.code) == [3000, 3001, 3004, 3005, 3006] + Array(3008...3013) + Array(3500...3509))
        for disconnect in CentrifugeDisconnect.all {
            #expect(disconnect.isReconnectable == (disconnect.code < 3500))
            #expect(WebSocketCloseCode.mayTravel(disconnect.code) && disconnect.reason.utf8.count <= 123)
        }
        #expect(
            CentrifugeDisconnect(4499, "").isReconnectable && !CentrifugeDisconnect(4500, "").isReconnectable
                && CentrifugeDisconnect(1006, "").isReconnectable
        )
        #expect(CentrifugeUnsubscribe.all.map(\.isResubscribable) == [false, true, true])
    }
}

@Suite("Bare pushes")
struct BarePushTests {
    @Test("A push is bare when what is around it inside a reply is taken away")
    func aPushIsBareWithoutItsReply() {
        let pushes: [CentrifugePush] = [
            .publication(channel: "queue", Publication(data: Array(#"{"a":"}"}"#.utf8), offset: 7)), .disconnect(.shutdown),
            .join(channel: "queue", ClientInfo(user: "u", client: "c")),
        ]
        for push in pushes { #expect(Array(CentrifugePush.bare(push.bytes)) == push.unidirectionalBytes) }
    }
}
