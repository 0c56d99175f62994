package import NIOCore

extension CentrifugeReply {
    /// Reads the replies of one frame, as a client. What is unknown, as a later version of the protocol may bring, is passed over.
    package static func decode(_ frame: [UInt8]) throws(CentrifugeProtocolError) -> [CentrifugeReply] {
        var replies: [CentrifugeReply] = []
        for line in try CentrifugeProtocolError.lines(of: frame, max: .max, of: "replies") {
            if let reply = try read(CentrifugeFields(frame, in: line)) { replies.append(reply) }
        }
        return replies
    }

    package static func decode(_ frame: ByteBuffer) throws(CentrifugeProtocolError) -> [CentrifugeReply] {
        try decode(Array(frame.readableBytesView))
    }

    private static func read(_ fields: CentrifugeFields) throws(CentrifugeProtocolError) -> CentrifugeReply? {
        if fields.members.isEmpty { return .serverPing }
        if let push = try fields["push"] { return try CentrifugePush.read(push).map { .push($0) } }
        let id: UInt32 = try fields.integer("id")
        if let error = try fields["error"] {
            let code: UInt32 = try error.integer("code")
            return .error(id: id, CentrifugeError(code, try error.string("message"), temporary: try error.bool("temporary")))
        }
        if let rpc = try fields["rpc"] { return .rpc(id: id, data: rpc.raw("data") ?? Array("null".utf8)) }
        if let connect = try fields["connect"] { return .connect(id: id, try ConnectResult(connect)) }
        if let subscribe = try fields["subscribe"] { return .subscribe(id: id, try SubscribeResult(subscribe)) }
        if try fields["unsubscribe"] != nil { return .unsubscribe(id: id) }
        if try fields["publish"] != nil { return .publish(id: id) }
        if let presence = try fields["presence"] {
            return .presence(id: id, try presence.map("presence") { (_, info) throws(CentrifugeProtocolError) in try ClientInfo(info) })
        }
        if let stats = try fields["presence_stats"] {
            return .presenceStats(id: id, clients: try stats.integer("num_clients"), users: try stats.integer("num_users"))
        }
        if let history = try fields["history"] {
            return .history(id: id, HistoryResult(publications: try Publication.list(history), position: try history.position()))
        }
        if let refresh = try fields["refresh"] {
            let result = RefreshResult(client: try refresh.string("client"), version: try refresh.string("version"), expiry: try Expiry(refresh))
            return .refresh(id: id, result)
        }
        if let refresh = try fields["sub_refresh"] { return .subRefresh(id: id, try Expiry(refresh)) }
        if try fields["ping"] != nil { return .ping(id: id) }
        return nil
    }
}

extension CentrifugePush {
    /// Reads a push from a one-way transport, nil if it is of a kind unknown.
    package static func decode(_ frame: [UInt8]) throws(CentrifugeProtocolError) -> CentrifugePush? { try read(CentrifugeFields(frame)) }

    fileprivate static func read(_ fields: CentrifugeFields) throws(CentrifugeProtocolError) -> CentrifugePush? {
        let channel = try fields.string("channel")
        if let publication = try fields["pub"] { return .publication(channel: channel, try Publication(publication)) }
        if let join = try fields["join"] { return .join(channel: channel, try ClientInfo(inside: join)) }
        if let leave = try fields["leave"] { return .leave(channel: channel, try ClientInfo(inside: leave)) }
        if let unsubscribe = try fields["unsubscribe"] {
            let code: UInt32 = try unsubscribe.integer("code")
            return .unsubscribe(channel: channel, CentrifugeUnsubscribe(code, try unsubscribe.string("reason")))
        }
        if let subscribe = try fields["subscribe"] { return .subscribe(channel: channel, try SubscribeResult(subscribe)) }
        if let message = try fields["message"] { return .message(data: message.raw("data") ?? Array("null".utf8)) }
        if let connect = try fields["connect"] { return .connect(try ConnectResult(connect)) }
        if let disconnect = try fields["disconnect"] {
            let code: UInt16 = try disconnect.integer("code")
            return .disconnect(CentrifugeDisconnect(code, try disconnect.string("reason")))
        }
        if let refresh = try fields["refresh"] { return .refresh(try Expiry(refresh)) }
        return nil
    }
}

// MARK: Results

extension Expiry {
    fileprivate init(_ fields: CentrifugeFields) throws(CentrifugeProtocolError) {
        self.init(expires: try fields.bool("expires"), ttl: try fields.integer("ttl"))
    }
}

extension ConnectResult {
    fileprivate init(_ fields: CentrifugeFields) throws(CentrifugeProtocolError) {
        client = try fields.string("client")
        version = try fields.string("version")
        expiry = try Expiry(fields)
        data = fields.raw("data")
        subs = try fields.map("subs") { (_, fields) throws(CentrifugeProtocolError) in try SubscribeResult(fields) }
        ping = try fields.integer("ping")
        pong = try fields.bool("pong")
        session = try fields.string("session")
        node = try fields.string("node")
    }
}

extension SubscribeResult {
    fileprivate init(_ fields: CentrifugeFields) throws(CentrifugeProtocolError) {
        expiry = try Expiry(fields)
        recoverable = try fields.bool("recoverable")
        positioned = try fields.bool("positioned")
        position = try fields.position()
        publications = try Publication.list(fields)
        wasRecovering = try fields.bool("was_recovering")
        recovered = try fields.bool("recovered")
        data = fields.raw("data")
        delta = try fields.bool("delta")
    }
}

extension Publication {
    fileprivate init(_ fields: CentrifugeFields) throws(CentrifugeProtocolError) {
        data = fields.raw("data") ?? Array("null".utf8)
        let offset: UInt64 = try fields.integer("offset")
        self.offset = offset == 0 ? nil : offset
        info = if let info = try fields["info"] { try ClientInfo(info) } else { nil }
        tags = try fields.strings("tags")
        delta = try fields.bool("delta")
    }

    fileprivate static func list(_ fields: CentrifugeFields) throws(CentrifugeProtocolError) -> [Publication] {
        var list: [Publication] = []
        for element in try fields.elements("publications") { list.append(try Publication(element)) }
        return list
    }
}

extension ClientInfo {
    fileprivate init(_ fields: CentrifugeFields) throws(CentrifugeProtocolError) {
        user = try fields.string("user")
        client = try fields.string("client")
        connInfo = fields.raw("conn_info")
        chanInfo = fields.raw("chan_info")
    }

    /// A join or leave push wraps who joined or left.
    fileprivate init(inside fields: CentrifugeFields) throws(CentrifugeProtocolError) {
        guard let info = try fields["info"] else { throw CentrifugeProtocolError(reason: "info is missing") }
        try self.init(info)
    }
}
