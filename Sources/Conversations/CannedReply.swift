package import Kernel
package import Storage
package import Wire

package enum CannedReplyKind {}
package typealias CannedReplyID = Identifier<CannedReplyKind>

/// A reply that was prepared, to be sent by its shortcut. `{{contact}}`, `{{agent}}`, `{{protocol}}` and `{{business}}` stand for what they name;
/// what is not known is left out.
package struct CannedReply: Sendable, Equatable {
    package static let maxPerTenant = 500
    package static let variables = ["contact", "agent", "protocol", "business"]

    package let id: CannedReplyID
    package internal(set) var shortcut: String
    package internal(set) var text: String
    package let createdAt: Timestamp
    package internal(set) var updatedAt: Timestamp
    package internal(set) var version: Int64 = 0

    init(id: CannedReplyID, shortcut: String, text: String, at now: Timestamp) {
        self.id = id
        self.shortcut = shortcut
        self.text = text
        createdAt = now
        updatedAt = now
    }

    package init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        id = row.id()
        shortcut = row.text()
        text = row.text()
        createdAt = row.timestamp()
        updatedAt = row.timestamp()
        version = row.integer()
    }

    mutating func image(tenant: TenantID) -> RowImage {
        version += 1
        return RowImage(
            DeskTables.cannedReplies,
            version: version,
            values: [.id(tenant), .id(id), .text(shortcut), .text(text), .timestamp(createdAt), .timestamp(updatedAt)]
        )
    }

    /// `{id, shortcut, text, created_at, updated_at}`
    package func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("id", id.description)
            $0.field("shortcut", shortcut)
            $0.field("text", text)
            $0.field("created_at", createdAt.description)
            $0.field("updated_at", updatedAt.description)
        }
    }

    package var json: [UInt8] {
        var writer = JSONWriter()
        write(to: &writer)
        return writer.bytes
    }

    func expanded(_ values: [String: String]) -> String {
        var result = ""
        var rest = text[...]
        while let open = rest.firstRange(of: "{{") {
            result += rest[..<open.lowerBound]
            rest = rest[open.upperBound...]
            guard let close = rest.firstRange(of: "}}") else {
                result += "{{"
                break
            }
            let name = rest[..<close.lowerBound].filter { !$0.isWhitespace }
            if Self.variables.contains(name) {
                result += values[name] ?? ""
            } else {
                result += "{{" + rest[..<close.upperBound]
            }
            rest = rest[close.upperBound...]
        }
        return result + rest
    }
}

extension ConversationDesk {
    func cannedReply(_ shortcut: String) throws(Refusal) -> CannedReply {
        let wanted = shortcut.lowercased()
        guard let reply = canned.values.first(where: { $0.shortcut == wanted }) else {
            throw .invalid("shortcut", message: "não há resposta pronta com este atalho")
        }
        return reply
    }

    func expand(_ reply: CannedReply, _ id: ConversationID, _ principal: Principal) -> String {
        let conversation = sessions[id]?.conversation
        return reply.expanded([
            "contact": conversation?.contactName ?? "",
            "agent": principal.name,
            "protocol": conversation?.protocolo.map(protocolText) ?? "",
            "business": activeBotFlow.variables["empresa"] ?? flow.variables["empresa"] ?? "",
        ])
    }

    package var cannedReplies: [CannedReply] { canned.values.sorted { ($0.shortcut, $0.id) < ($1.shortcut, $1.id) } }

    package func cannedReply(_ id: CannedReplyID) throws(Refusal) -> CannedReply {
        guard let reply = canned[id] else { throw .notFound(.cannedReply) }
        return reply
    }

    /// - Parameter id: of the one to change; `nil` makes one.
    package func putCannedReply(
        _ id: CannedReplyID?,
        shortcut: String?,
        text: String?,
        by principal: Principal,
        _ moment: Moment
    ) throws(Refusal) -> (CannedReply, Change) {
        let shortcut = shortcut?.lowercased()
        if let shortcut, let other = canned.values.first(where: { $0.shortcut == shortcut }), other.id != id {
            throw Refusal(.conflict, "shortcut_taken", "Já há uma resposta pronta com este atalho.", facts: ["id": other.id.description])
        }
        var reply: CannedReply
        if let id {
            let before = try cannedReply(id)
            reply = before
            if let shortcut { reply.shortcut = shortcut }
            if let text { reply.text = text }
            if reply == before { return (reply, Change()) }
            reply.updatedAt = moment.now
        } else {
            guard canned.count < CannedReply.maxPerTenant else {
                throw Refusal(.conflict, "too_many_canned_replies", "Há \(CannedReply.maxPerTenant) respostas prontas; remova alguma.")
            }
            reply = CannedReply(id: moment.id(), shortcut: shortcut ?? "", text: text ?? "", at: moment.now)
        }
        var turn = Turn(moment, by: .user(principal.user, name: principal.name), cause: "canned_reply_put")
        turn.change.rows.append(reply.image(tenant: tenant))
        canned[reply.id] = reply
        turn.change.events.append(
            event("desk", "canned.changed") {
                $0.key("canned_reply")
                reply.write(to: &$0)
            }
        )
        audit(nil, &turn)
        return (reply, turn.change)
    }

    package func removeCannedReply(_ id: CannedReplyID, by principal: Principal, _ moment: Moment) throws(Refusal) -> Change {
        let reply = try cannedReply(id)
        canned[id] = nil
        var turn = Turn(moment, by: .user(principal.user, name: principal.name), cause: "canned_reply_removed")
        turn.change.rows.append(RowImage(deleting: [.id(tenant), .id(id)], from: DeskTables.cannedReplies, version: reply.version + 1))
        turn.change.events.append(event("desk", "canned.removed") { $0.field("id", id.description) })
        audit(nil, &turn)
        return turn.change
    }

    // MARK: Settings

    /// From now on the desk is run like this. Promises already made stay as they were.
    package func govern(_ settings: DeskSettings, by principal: Principal, _ moment: Moment) -> (DeskSettings, Change) {
        var settings = settings
        settings.version = rules.version
        guard settings != rules else { return (rules, Change()) }
        var turn = Turn(moment, by: .user(principal.user, name: principal.name), cause: "settings_changed")
        turn.change.rows.append(settings.image(tenant: tenant, at: moment.now))
        rules = settings
        pool.govern(settings.assignment)
        for session in sessions.values {
            look(at: session.conversation)
            noteBot(session.conversation.id)
        }
        turn.change.events.append(
            event("desk", "settings.changed") {
                $0.key("settings")
                settings.write(to: &$0)
            }
        )
        audit(nil, &turn)
        return (rules, finish(turn))
    }

    package var deskSettings: DeskSettings { rules }

    /// Channel `desk`: how the desk is run, and the replies that are prepared.
    package func deskSnapshot() -> [UInt8] {
        var writer = JSONWriter(capacity: 4096)
        writer.object {
            $0.key("settings")
            rules.write(to: &$0)
            $0.list("canned_replies") { list in for reply in cannedReplies { reply.write(to: &list) } }
        }
        return writer.bytes
    }
}
