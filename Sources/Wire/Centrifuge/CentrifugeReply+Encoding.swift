extension CentrifugeReply {
    /// The reply as the server sends it, without a line end. One line: no JSON writer of ours puts a line end in its text.
    package var bytes: [UInt8] {
        var writer = JSONWriter()
        writer.object { write(into: &$0) }
        return writer.bytes
    }

    /// A frame of several replies.
    package static func encode(_ replies: [CentrifugeReply]) -> [UInt8] { Array(replies.map(\.bytes).joined(separator: [UInt8(ascii: "\n")])) }

    private func write(into writer: inout JSONWriter) {
        if id != 0 { writer.field("id", id) }
        switch self {
        case .connect(_, let result): writer.object("connect") { result.write(into: &$0) }
        case .subscribe(_, let result): writer.object("subscribe") { result.write(into: &$0) }
        case .unsubscribe: writer.object("unsubscribe") { _ in }
        case .publish: writer.object("publish") { _ in }
        case .presence(_, let clients):
            writer.object("presence") {
                $0.object("presence") {
                    for (client, info) in clients.sorted(by: { $0.key < $1.key }) { $0.object(client) { info.write(into: &$0) } }
                }
            }
        case .presenceStats(_, let clients, let users):
            writer.object("presence_stats") {
                $0.field("num_clients", clients)
                $0.field("num_users", users)
            }
        case .history(_, let result):
            writer.object("history") {
                $0.field("publications", result.publications)
                $0.field("epoch", result.position.epoch)
                $0.field("offset", result.position.offset)
            }
        case .rpc(_, let data): writer.object("rpc") { $0.field("data", raw: data) }
        case .refresh(_, let result):
            writer.object("refresh") {
                $0.field("client", result.client)
                $0.present("version", result.version)
                $0.present(result.expiry)
            }
        case .subRefresh(_, let expiry): writer.object("sub_refresh") { $0.present(expiry) }
        case .ping: writer.object("ping") { _ in }
        case .error(_, let error):
            writer.object("error") {
                $0.field("code", error.code)
                $0.field("message", error.message)
                $0.present("temporary", error.temporary)
            }
        case .push(let push): writer.object("push") { push.write(into: &$0) }
        case .serverPing: break
        }
    }
}

extension CentrifugePush {
    /// The push inside a reply, as it travels over two-way transports and those emulated.
    package var bytes: [UInt8] { CentrifugeReply.push(self).bytes }

    /// The push bare, as it travels over one-way transports.
    package var unidirectionalBytes: [UInt8] {
        var writer = JSONWriter()
        writer.object { write(into: &$0) }
        return writer.bytes
    }

    /// A push as one-way transports send it, from its bytes inside a reply: what is between `{"push":` and the last brace.
    package static func bare<Bytes: BidirectionalCollection<UInt8>>(_ reply: Bytes) -> Bytes.SubSequence {
        reply.dropFirst(#"{"push":"#.utf8.count).dropLast()
    }

    fileprivate func write(into writer: inout JSONWriter) {
        switch self {
        case .publication(let channel, let publication):
            writer.field("channel", channel)
            writer.object("pub") { publication.write(into: &$0) }
        case .join(let channel, let info):
            writer.field("channel", channel)
            writer.object("join") { $0.object("info") { info.write(into: &$0) } }
        case .leave(let channel, let info):
            writer.field("channel", channel)
            writer.object("leave") { $0.object("info") { info.write(into: &$0) } }
        case .unsubscribe(let channel, let unsubscribe):
            writer.field("channel", channel)
            writer.object("unsubscribe") {
                $0.field("code", unsubscribe.code)
                $0.field("reason", unsubscribe.reason)
            }
        case .subscribe(let channel, let result):
            writer.field("channel", channel)
            writer.object("subscribe") { result.write(into: &$0) }
        case .message(let data): writer.object("message") { $0.field("data", raw: data) }
        case .connect(let result): writer.object("connect") { result.write(into: &$0) }
        case .disconnect(let disconnect):
            writer.object("disconnect") {
                $0.field("code", disconnect.code)
                $0.field("reason", disconnect.reason)
            }
        case .refresh(let expiry): writer.object("refresh") { $0.present(expiry) }
        }
    }
}

// MARK: Results

extension ConnectResult {
    fileprivate func write(into writer: inout JSONWriter) {
        writer.field("client", client)
        writer.present("version", version)
        writer.present(expiry)
        writer.present("data", raw: data)
        if !subs.isEmpty {
            writer.object("subs") { for (channel, result) in subs.sorted(by: { $0.key < $1.key }) { $0.object(channel) { result.write(into: &$0) } } }
        }
        writer.present("ping", ping)
        writer.present("pong", pong)
        writer.present("session", session)
        writer.present("node", node)
    }
}

extension SubscribeResult {
    fileprivate func write(into writer: inout JSONWriter) {
        writer.present(expiry)
        writer.present("recoverable", recoverable)
        writer.present("epoch", position.epoch)
        if !publications.isEmpty { writer.field("publications", publications) }
        writer.present("recovered", recovered)
        writer.present("offset", position.offset)
        writer.present("positioned", positioned)
        writer.present("data", raw: data)
        writer.present("was_recovering", wasRecovering)
        writer.present("delta", delta)
    }
}

extension Publication {
    fileprivate func write(into writer: inout JSONWriter) {
        writer.field("data", raw: data)
        if let info { writer.object("info") { info.write(into: &$0) } }
        if let offset { writer.present("offset", offset) }
        if !tags.isEmpty {
            writer.object("tags") { for (name, value) in tags.sorted(by: { $0.key < $1.key }) { $0.field(name, value) } }
        }
        writer.present("delta", delta)
    }
}

extension ClientInfo {
    fileprivate func write(into writer: inout JSONWriter) {
        writer.field("user", user)
        writer.field("client", client)
        writer.present("conn_info", raw: connInfo)
        writer.present("chan_info", raw: chanInfo)
    }
}

extension JSONWriter {
    fileprivate mutating func present(_ expiry: Expiry) {
        present("expires", expiry.expires)
        present("ttl", expiry.ttl)
    }

    fileprivate mutating func field(_ name: String, _ publications: [Publication]) {
        list(name) { for publication in publications { $0.object { publication.write(into: &$0) } } }
    }
}
