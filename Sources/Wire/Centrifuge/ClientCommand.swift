/// What a client asks, in the Centrifuge client protocol v2 (centrifugal/protocol, `definitions/client.proto`: `Command`).
///
/// On the wire a command is a JSON object with an `id`, which the reply repeats, and one member named after the command. Fields left out have
/// their default: false, 0, "" or no data. A frame holds one command or several, one per line.
package enum ClientCommand: Sendable, Hashable {
    case connect(id: UInt32, ConnectRequest)
    case subscribe(id: UInt32, SubscribeRequest)
    case unsubscribe(id: UInt32, channel: String)
    case publish(id: UInt32, channel: String, data: JSON)
    case presence(id: UInt32, channel: String)
    case presenceStats(id: UInt32, channel: String)
    case history(id: UInt32, HistoryRequest)
    case rpc(id: UInt32, method: String, data: JSON)
    /// Has no reply, and so usually no id.
    case send(id: UInt32, data: JSON)
    case refresh(id: UInt32, token: String)
    case subRefresh(id: UInt32, channel: String, token: String)
    /// Asks for an empty reply. Not to be confused with `pong`.
    case ping(id: UInt32)
    /// The empty frame `{}`, in answer to the server's empty frame.
    case pong

    /// 0 for a pong.
    package var id: UInt32 {
        switch self {
        case .connect(let id, _), .subscribe(let id, _), .unsubscribe(let id, _), .publish(let id, _, _), .presence(let id, _),
            .presenceStats(let id, _), .history(let id, _), .rpc(let id, _, _), .send(let id, _), .refresh(let id, _), .subRefresh(let id, _, _),
            .ping(let id):
            id
        case .pong: 0
        }
    }
}

package struct ConnectRequest: Sendable, Hashable {
    package var token = ""
    package var data = JSON.null
    /// Server-side subscriptions to recover, by channel.
    package var subs: [String: SubscribeRequest] = [:]
    /// What the client is called and its version, for people.
    package var name = ""
    package var version = ""
    /// What a browser could not put in the HTTP request.
    package var headers: [String: String] = [:]

    package init(token: String = "", data: JSON = .null, name: String = "", version: String = "") {
        self.token = token
        self.data = data
        self.name = name
        self.version = version
    }
}

package struct SubscribeRequest: Sendable, Hashable {
    package var channel: String
    package var token = ""
    /// The client knows a position, `since`, and wants what came after it.
    package var recover = false
    package var since = StreamPosition(epoch: "", offset: 0)
    package var data = JSON.null
    package var positioned = false
    package var recoverable = false
    package var joinLeave = false
    /// Rather error 112 than a subscription that has not recovered: bit 1 of the protocol's `flag`.
    package var rejectsUnrecovered = false
    /// The delta format offered (`fossil`), or "".
    package var delta = ""

    package init(channel: String, token: String = "", recoveringSince position: StreamPosition? = nil, data: JSON = .null) {
        self.channel = channel
        self.token = token
        self.data = data
        if let position {
            recover = true
            since = position
        }
    }
}

package struct HistoryRequest: Sendable, Hashable {
    package var channel: String
    /// At most this many; 0 for only the stream's top, negative for all.
    package var limit: Int32 = 0
    package var since: StreamPosition?
    package var reverse = false

    package init(channel: String, limit: Int32 = 0, since: StreamPosition? = nil, reverse: Bool = false) {
        self.channel = channel
        self.limit = limit
        self.since = since
        self.reverse = reverse
    }
}

/// A place in a stream: `offset` counts publications within one life of the stream, which `epoch` names.
package struct StreamPosition: Sendable, Hashable {
    package var epoch: String
    package var offset: UInt64

    package init(epoch: String, offset: UInt64) {
        self.epoch = epoch
        self.offset = offset
    }
}

/// The body of `POST /emulation`: how a client of a one-way transport (SSE, HTTP stream) sends its commands.
package struct EmulationRequest: Sendable, Hashable {
    /// As told in the connect reply.
    package var session: String
    package var node: String
    /// A frame of commands.
    package var data: [UInt8]

    package init(session: String, node: String, data: [UInt8]) {
        self.session = session
        self.node = node
        self.data = data
    }
}
