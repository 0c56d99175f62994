extension ClientCommand {
    /// The command as a client sends it, without a line end.
    package var bytes: [UInt8] {
        var writer = JSONWriter()
        writer.object { write(into: &$0) }
        return writer.bytes
    }

    /// A frame of several commands.
    package static func encode(_ commands: [ClientCommand]) -> [UInt8] { Array(commands.map(\.bytes).joined(separator: [UInt8(ascii: "\n")])) }

    private func write(into writer: inout JSONWriter) {
        if id != 0 { writer.field("id", id) }
        switch self {
        case .connect(_, let request): writer.object("connect") { request.write(into: &$0) }
        case .subscribe(_, let request): writer.object("subscribe") { request.write(into: &$0) }
        case .unsubscribe(_, let channel): writer.object("unsubscribe") { $0.field("channel", channel) }
        case .publish(_, let channel, let data):
            writer.object("publish") {
                $0.field("channel", channel)
                $0.field("data", data)
            }
        case .presence(_, let channel): writer.object("presence") { $0.field("channel", channel) }
        case .presenceStats(_, let channel): writer.object("presence_stats") { $0.field("channel", channel) }
        case .history(_, let request): writer.object("history") { request.write(into: &$0) }
        case .rpc(_, let method, let data):
            writer.object("rpc") {
                $0.present("method", method)
                $0.field("data", data)
            }
        case .send(_, let data): writer.object("send") { $0.field("data", data) }
        case .refresh(_, let token): writer.object("refresh") { $0.field("token", token) }
        case .subRefresh(_, let channel, let token):
            writer.object("sub_refresh") {
                $0.present("channel", channel)
                $0.field("token", token)
            }
        case .ping: writer.object("ping") { _ in }
        case .pong: break
        }
    }
}

extension ConnectRequest {
    fileprivate func write(into writer: inout JSONWriter) {
        writer.present("token", token)
        writer.present("data", data)
        if !subs.isEmpty {
            writer.object("subs") {
                for (channel, request) in subs.sorted(by: { $0.key < $1.key }) { $0.object(channel) { request.write(into: &$0) } }
            }
        }
        writer.present("name", name)
        writer.present("version", version)
        if !headers.isEmpty {
            writer.object("headers") {
                for (name, value) in headers.sorted(by: { $0.key < $1.key }) { $0.field(name, value) }
            }
        }
    }
}

extension SubscribeRequest {
    fileprivate func write(into writer: inout JSONWriter) {
        writer.present("channel", channel)
        writer.present("token", token)
        writer.present("recover", recover)
        writer.present("epoch", since.epoch)
        writer.present("offset", since.offset)
        writer.present("data", data)
        writer.present("positioned", positioned)
        writer.present("recoverable", recoverable)
        writer.present("join_leave", joinLeave)
        writer.present("delta", delta)
        writer.present("flag", rejectsUnrecovered ? 2 : 0)
    }
}

extension HistoryRequest {
    fileprivate func write(into writer: inout JSONWriter) {
        writer.field("channel", channel)
        writer.present("limit", limit)
        if let since {
            writer.object("since") {
                $0.present("offset", since.offset)
                $0.present("epoch", since.epoch)
            }
        }
        writer.present("reverse", reverse)
    }
}

// MARK: Fields

/// Fields as proto3 writes JSON: those that have their default are left out.
extension JSONWriter {
    mutating func present(_ name: String, _ value: String) { if !value.isEmpty { field(name, value as String?) } }
    mutating func present(_ name: String, _ value: Bool) { if value { field(name, value) } }
    mutating func present<Number: BinaryInteger>(_ name: String, _ value: Number) { if value != 0 { field(name, value) } }
    mutating func present(_ name: String, _ value: JSON) { if !value.isNull { field(name, value) } }
    mutating func present(_ name: String, raw json: [UInt8]?) { if let json { field(name, raw: json) } }
    mutating func object(_ name: String, _ members: (inout JSONWriter) -> Void) { field(name, object: members) }
}
