/// What the server says, in the Centrifuge client protocol v2 (`Reply`): the answer to a command, a push, or the empty frame that asks for a pong.
///
/// All `data` and `info` are JSON text, written elsewhere and taken as it is.
package enum CentrifugeReply: Sendable, Hashable {
    case connect(id: UInt32, ConnectResult)
    case subscribe(id: UInt32, SubscribeResult)
    case unsubscribe(id: UInt32)
    case publish(id: UInt32)
    /// The clients in a channel, by client id.
    case presence(id: UInt32, [String: ClientInfo])
    case presenceStats(id: UInt32, clients: Int, users: Int)
    case history(id: UInt32, HistoryResult)
    case rpc(id: UInt32, data: [UInt8])
    case refresh(id: UInt32, RefreshResult)
    case subRefresh(id: UInt32, Expiry)
    /// The answer to a ping command.
    case ping(id: UInt32)
    case error(id: UInt32, CentrifugeError)
    case push(CentrifugePush)
    /// `{}`: the client answers with `{}`, if `pong` was set in the connect reply.
    case serverPing

    /// The command it answers; 0 for a push and a server ping.
    package var id: UInt32 {
        switch self {
        case .connect(let id, _), .subscribe(let id, _), .unsubscribe(let id), .publish(let id), .presence(let id, _), .presenceStats(let id, _, _),
            .history(let id, _), .rpc(let id, _), .refresh(let id, _), .subRefresh(let id, _), .ping(let id), .error(let id, _):
            id
        case .push, .serverPing: 0
        }
    }
}

/// What the server says by itself (`Push`). In a one-way transport it is sent bare, elsewhere inside a reply.
package enum CentrifugePush: Sendable, Hashable {
    case publication(channel: String, Publication)
    case join(channel: String, ClientInfo)
    case leave(channel: String, ClientInfo)
    case unsubscribe(channel: String, CentrifugeUnsubscribe)
    /// A server-side subscription begins.
    case subscribe(channel: String, SubscribeResult)
    case message(data: [UInt8])
    /// Only in one-way transports, in place of a connect reply.
    case connect(ConnectResult)
    case disconnect(CentrifugeDisconnect)
    case refresh(Expiry)
}

/// Whether a credential expires and in how many seconds, 0 if it does not.
package struct Expiry: Sendable, Hashable {
    package var expires: Bool
    package var ttl: UInt32

    package static let never = Expiry(expires: false, ttl: 0)
    package static func after(seconds: UInt32) -> Expiry { Expiry(expires: true, ttl: seconds) }
}

package struct ConnectResult: Sendable, Hashable {
    package var client: String
    package var version = ""
    package var expiry = Expiry.never
    package var data: [UInt8]?
    /// Server-side subscriptions, by channel.
    package var subs: [String: SubscribeResult] = [:]
    /// Seconds between the server's pings, 0 for none.
    package var ping: UInt32 = 0
    /// Whether the client answers pings.
    package var pong = false
    /// Where emulation requests go.
    package var session = ""
    package var node = ""

    package init(client: String, version: String = "", data: [UInt8]? = nil, ping: UInt32 = 0, pong: Bool = false) {
        self.client = client
        self.version = version
        self.data = data
        self.ping = ping
        self.pong = pong
    }
}

package struct SubscribeResult: Sendable, Hashable {
    package var expiry = Expiry.never
    package var recoverable = false
    package var positioned = false
    package var position = StreamPosition(epoch: "", offset: 0)
    /// What was missed, when `recovered`.
    package var publications: [Publication] = []
    /// The client had asked to recover …
    package var wasRecovering = false
    /// … and has been given all it missed.
    package var recovered = false
    package var data: [UInt8]?
    package var delta = false

    package init(position: StreamPosition? = nil, data: [UInt8]? = nil) {
        if let position {
            recoverable = true
            positioned = true
            self.position = position
        }
        self.data = data
    }
}

package struct Publication: Sendable, Hashable {
    package var data: [UInt8]
    /// Nil in a stream without positions.
    package var offset: UInt64?
    package var info: ClientInfo?
    package var tags: [String: String] = [:]
    package var delta = false

    package init(data: [UInt8], offset: UInt64? = nil, info: ClientInfo? = nil) {
        self.data = data
        self.offset = offset
        self.info = info
    }
}

package struct ClientInfo: Sendable, Hashable {
    package var user: String
    package var client: String
    package var connInfo: [UInt8]?
    package var chanInfo: [UInt8]?

    package init(user: String, client: String, connInfo: [UInt8]? = nil, chanInfo: [UInt8]? = nil) {
        self.user = user
        self.client = client
        self.connInfo = connInfo
        self.chanInfo = chanInfo
    }
}

package struct HistoryResult: Sendable, Hashable {
    package var publications: [Publication]
    package var position: StreamPosition

    package init(publications: [Publication], position: StreamPosition) {
        self.publications = publications
        self.position = position
    }
}

package struct RefreshResult: Sendable, Hashable {
    package var client: String
    package var version: String
    package var expiry: Expiry

    package init(client: String, version: String = "", expiry: Expiry) {
        self.client = client
        self.version = version
        self.expiry = expiry
    }
}
