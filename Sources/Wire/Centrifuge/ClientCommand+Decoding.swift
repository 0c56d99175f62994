package import NIOCore

extension ClientCommand {
    /// Commands in one frame, at the most. An SDK that reconnects sends its subscriptions together.
    package static let maxPerFrame = 256

    /// Reads the commands of one frame, in their order. All of them must be right for any to be given.
    package static func decode(_ frame: [UInt8], max: Int = maxPerFrame) throws(CentrifugeProtocolError) -> [ClientCommand] {
        var commands: [ClientCommand] = []
        for line in try CentrifugeProtocolError.lines(of: frame, max: max, of: "commands") {
            commands.append(try ClientCommand(CentrifugeFields(frame, in: line)))
        }
        return commands
    }

    package static func decode(_ frame: ByteBuffer, max: Int = maxPerFrame) throws(CentrifugeProtocolError) -> [ClientCommand] {
        try decode(Array(frame.readableBytesView), max: max)
    }

    private static let names: Set<String> = [
        "connect", "subscribe", "unsubscribe", "publish", "presence", "presence_stats", "history", "rpc", "send", "refresh", "sub_refresh", "ping",
    ]

    private init(_ fields: CentrifugeFields) throws(CentrifugeProtocolError) {
        let id: UInt32 = try fields.integer("id")
        let named = fields.members.names.filter { Self.names.contains($0) && fields.members[$0] != nil }
        guard let name = named.first else {
            guard id == 0 else { throw CentrifugeProtocolError(reason: "command \(id) asks nothing that is known") }
            self = .pong
            return
        }
        guard named.count == 1 else { throw CentrifugeProtocolError(reason: "a command that asks several things: \(named.joined(separator: ", "))") }
        guard id != 0 || name == "send" else { throw CentrifugeProtocolError(reason: "\(name) without an id") }
        // Present, as `named` holds only members with a value.
        let request = try fields[name]!

        switch name {
        case "connect": self = .connect(id: id, try ConnectRequest(request))
        case "subscribe": self = .subscribe(id: id, try SubscribeRequest(request))
        case "unsubscribe": self = .unsubscribe(id: id, channel: try request.channel(for: name))
        case "publish": self = .publish(id: id, channel: try request.channel(for: name), data: try request.json("data"))
        case "presence": self = .presence(id: id, channel: try request.channel(for: name))
        case "presence_stats": self = .presenceStats(id: id, channel: try request.channel(for: name))
        case "history": self = .history(id: id, try HistoryRequest(request))
        case "rpc": self = .rpc(id: id, method: try request.string("method"), data: try request.json("data"))
        case "send": self = .send(id: id, data: try request.json("data"))
        case "refresh": self = .refresh(id: id, token: try request.string("token"))
        case "sub_refresh":
            // The channel is left out by centrifuge-python: whoever has one subscription can still tell.
            self = .subRefresh(id: id, channel: try request.string("channel"), token: try request.string("token"))
        default: self = .ping(id: id)
        }
    }
}

extension CentrifugeFields {
    fileprivate func channel(for command: String) throws(CentrifugeProtocolError) -> String {
        let channel = try string("channel")
        guard !channel.isEmpty else { throw CentrifugeProtocolError(reason: "\(command) without a channel") }
        return channel
    }
}

extension ConnectRequest {
    /// Reads what a one-way transport is opened with: the connect request as it is, or as a command.
    package static func decode(_ json: [UInt8]) throws(CentrifugeProtocolError) -> ConnectRequest {
        let fields = try CentrifugeFields(json)
        return try ConnectRequest(try fields["connect"] ?? fields)
    }

    fileprivate init(_ fields: CentrifugeFields) throws(CentrifugeProtocolError) {
        token = try fields.string("token")
        data = try fields.json("data")
        subs = try fields.map("subs") { (channel, fields) throws(CentrifugeProtocolError) in try SubscribeRequest(fields, channel: channel) }
        name = try fields.string("name")
        version = try fields.string("version")
        headers = try fields.strings("headers")
    }
}

extension SubscribeRequest {
    fileprivate init(_ fields: CentrifugeFields, channel: String? = nil) throws(CentrifugeProtocolError) {
        self.channel = if let channel { channel } else { try fields.channel(for: "subscribe") }
        token = try fields.string("token")
        recover = try fields.bool("recover")
        since = try fields.position()
        data = try fields.json("data")
        positioned = try fields.bool("positioned")
        recoverable = try fields.bool("recoverable")
        joinLeave = try fields.bool("join_leave")
        delta = try fields.string("delta")
        rejectsUnrecovered = try fields.integer("flag", as: Int64.self) & 2 != 0
    }
}

extension HistoryRequest {
    fileprivate init(_ fields: CentrifugeFields) throws(CentrifugeProtocolError) {
        channel = try fields.channel(for: "history")
        limit = try fields.integer("limit")
        since = try fields["since"]?.position()
        reverse = try fields.bool("reverse")
    }
}

extension EmulationRequest {
    /// Reads the body of a request. `data` is a string that holds the frame, as SDKs send it, or one command as it is.
    package static func decode(_ body: [UInt8]) throws(CentrifugeProtocolError) -> EmulationRequest {
        let fields = try CentrifugeFields(body)
        guard let raw = fields.raw("data") else { throw CentrifugeProtocolError(reason: "data is missing") }
        let data = raw.first == UInt8(ascii: "\"") ? Array(try fields.string("data").utf8) : raw
        return EmulationRequest(session: try fields.string("session"), node: try fields.string("node"), data: data)
    }
}
