package import Kernel
package import Storage
package import Wire

extension Conversation {
    package init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        let id: ConversationID = row.id()
        let contact: ContactID = row.id()
        let contactName = row.text()
        let contactNumber = row.optionalText()
        let channel = row.text()
        let state = row.text()
        let consultor = row.optionalInteger()
        let queuedAt = row.optionalTimestamp()
        let offerExpiresAt = row.optionalTimestamp()
        let snoozedUntil = row.optionalTimestamp()
        let resolvedAt = row.optionalTimestamp()
        let protocolo = row.optionalInteger()
        _ = row.optionalText()
        let language = row.text()
        let bot = row.text()
        let unread = row.integer()
        let labels = row.textArray()
        let windowExpiresAt = row.optionalTimestamp()
        let lastSeq = row.integer()
        let lastMessage = row.optionalText()
        self.init(
            id: id,
            contact: contact,
            contactName: contactName,
            contactNumber: contactNumber,
            channel: channel,
            language: language,
            createdAt: row.timestamp(),
            updatedAt: row.timestamp()
        )
        self.state =
            switch (state, consultor) {
            case ("queued", _): .queued(since: queuedAt ?? createdAt)
            case ("offered", let consultor?):
                .offered(Offer(consultor: consultor, expiresAt: offerExpiresAt ?? updatedAt), since: queuedAt ?? createdAt)
            case ("active", let consultor?): .active(consultor: consultor)
            case ("snoozed", let consultor?): .snoozed(consultor: consultor, until: snoozedUntil ?? updatedAt)
            case ("resolved", _): .resolved(at: resolvedAt ?? updatedAt)
            default: .bot
            }
        self.protocolo = protocolo
        self.unread = Int(unread)
        self.labels = labels
        self.windowExpiresAt = windowExpiresAt
        self.lastSeq = lastSeq
        readBot(bot)
        self.lastMessage = lastMessage.flatMap(LastMessage.init(json:))
        phoneNumberID = row.optionalText()
        let sinceThen = row.optionalTimestamp()
        stateSince = sinceThen ?? updatedAt
        // Written before this was.
        askedAt = row.optionalTimestamp() ?? (sinceThen == nil ? queuedAt : nil)
        firstAnsweredAt = row.optionalTimestamp()
        owedSince = row.optionalTimestamp()
        levels = row.optionalText().map(ServiceLevels.init(json:)) ?? ServiceLevels()
        let satisfactionUntil = row.optionalTimestamp()
        satisfaction = row.optionalText().flatMap { Satisfaction(json: $0, until: satisfactionUntil) }
        contactUnreachableSince = row.optionalTimestamp()
        contactPausedUntil = row.optionalTimestamp()
        version = row.integer()
    }

    mutating func image(tenant: TenantID) -> RowImage {
        version += 1
        var offerExpiresAt: Timestamp?
        var snoozedUntil: Timestamp?
        var resolvedAt: Timestamp?
        switch state {
        case .offered(let offer, _): offerExpiresAt = offer.expiresAt
        case .snoozed(_, let until): snoozedUntil = until
        case .resolved(let at): resolvedAt = at
        case .bot, .queued, .active: break
        }
        return RowImage(
            ConversationTables.conversations,
            version: version,
            values: [
                .id(tenant), .id(id), .id(contact), .text(contactName), .optional(contactNumber), .text(channel), .text(state.name),
                .optional(assignee ?? offer?.consultor), .optional(waitingSince), .optional(offerExpiresAt), .optional(snoozedUntil),
                .optional(resolvedAt),
                .optional(protocolo), .optional(protocolo.map(protocolText)), .text(language), .json(botJSON), .integer(Int64(unread)),
                .textArray(labels), .optional(windowExpiresAt), .integer(lastSeq), lastMessage.map { .json($0.json) } ?? .null, .timestamp(createdAt),
                .timestamp(updatedAt), .optional(phoneNumberID), .timestamp(stateSince), .optional(askedAt), .optional(firstAnsweredAt),
                .optional(owedSince),
                .json(levels.json),
                .optional(satisfaction?.until), satisfaction.map { .json($0.json) } ?? .null, .optional(contactUnreachableSince),
                .optional(contactPausedUntil),
            ]
        )
    }

    /// The conversation as clients see it (protocol/README.md "Conversations").
    package func write(to writer: inout JSONWriter, attendant: (Int64) -> Attendant?) {
        func person(_ id: Int64, _ object: inout JSONWriter) {
            let attendant = attendant(id)
            object.field("consultor_id", id)
            object.field("user_id", attendant?.user?.description)
            object.field("name", attendant?.name)
        }
        writer.object {
            $0.field("id", id.description)
            $0.field("state", state.name)
            $0.field("owner", owner.rawValue)
            $0.field("channel", channel)
            if let phoneNumberID { $0.field("phone_number_id", phoneNumberID) }
            $0.field("contact") { contact in
                contact.field("id", self.contact.description)
                contact.field("name", contactName)
                contact.field("number", contactNumber)
                if let contactUnreachableSince { contact.field("unreachable_since", contactUnreachableSince.description) }
                if let contactPausedUntil { contact.field("templates_paused_until", contactPausedUntil.description) }
            }
            $0.field("protocol", protocolo.map(protocolText))
            $0.field("language", language)
            if let assignee { $0.field("assignee") { person(assignee, &$0) } } else { $0.field("assignee", JSON.null) }
            if let offer {
                $0.field("offer") {
                    person(offer.consultor, &$0)
                    $0.field("expires_at", offer.expiresAt.description)
                }
            } else {
                $0.field("offer", JSON.null)
            }
            $0.field("queued_at", waitingSince?.description)
            if case .snoozed(_, let until) = state { $0.field("snoozed_until", until.description) } else { $0.field("snoozed_until", JSON.null) }
            $0.field("window_expires_at", windowExpiresAt?.description)
            $0.field("unread", unread)
            $0.field("labels", strings: labels)
            if let lastMessage { $0.field("last_message", raw: lastMessage.json) } else { $0.field("last_message", JSON.null) }
            $0.field("created_at", createdAt.description)
            $0.field("updated_at", updatedAt.description)
            if case .resolved(let at) = state { $0.field("resolved_at", at.description) } else { $0.field("resolved_at", JSON.null) }
            $0.field("state_since", stateSince.description)
            $0.field("owed_since", owedSince?.description)
            $0.key("sla")
            levels.write(to: &$0)
            if let satisfaction { $0.field("satisfaction", raw: satisfaction.json) } else { $0.field("satisfaction", JSON.null) }
            $0.field("version", version)
        }
    }
}

extension Conversation {
    /// The conversation as the customer of a web chat sees it: the same members, with null or nothing in those that are not theirs. `unread` is how many of
    /// their messages nobody of the business has read.
    func writeForVisitor(to writer: inout JSONWriter, lastMessage: LastMessage?, attendant: (Int64) -> Attendant?) {
        writer.object {
            $0.field("id", id.description)
            $0.field("state", state.name)
            $0.field("owner", owner.rawValue)
            $0.field("channel", channel)
            $0.field("contact") { contact in
                contact.field("id", self.contact.description)
                contact.field("name", contactName)
                contact.field("number", JSON.null)
            }
            $0.field("protocol", protocolo.map(protocolText))
            $0.field("language", language)
            if let assignee {
                $0.field("assignee") {
                    $0.field("consultor_id", assignee)
                    $0.field("user_id", JSON.null)
                    $0.field("name", attendant(assignee)?.name)
                }
            } else {
                $0.field("assignee", JSON.null)
            }
            $0.field("offer", JSON.null)
            $0.field("queued_at", waitingSince?.description)
            $0.field("snoozed_until", JSON.null)
            $0.field("window_expires_at", JSON.null)
            $0.field("unread", unread)
            $0.field("labels", strings: [])
            if let lastMessage { $0.field("last_message", raw: lastMessage.json) } else { $0.field("last_message", JSON.null) }
            $0.field("created_at", createdAt.description)
            $0.field("updated_at", updatedAt.description)
            if case .resolved(let at) = state { $0.field("resolved_at", at.description) } else { $0.field("resolved_at", JSON.null) }
            $0.field("state_since", stateSince.description)
            $0.field("owed_since", JSON.null)
            $0.key("sla")
            ServiceLevels().write(to: &$0)
            if let satisfaction { $0.field("satisfaction", raw: satisfaction.json) } else { $0.field("satisfaction", JSON.null) }
            $0.field("version", version)
        }
    }
}

extension Conversation.Satisfaction {
    /// `{asked_at, score, answered_at}`
    fileprivate var json: String {
        var writer = JSONWriter()
        writer.object {
            $0.field("asked_at", askedAt.description)
            $0.field("score", score)
            $0.field("answered_at", answeredAt?.description)
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    fileprivate init?(json: String, until: Timestamp?) {
        guard let json = try? JSON.parse(json), let askedAt = json["asked_at"]?.string.flatMap({ Timestamp(rfc3339: $0) }) else { return nil }
        self.init(
            askedAt: askedAt,
            until: until,
            score: json["score"]?.int.map(Int.init),
            answeredAt: json["answered_at"]?.string.flatMap { Timestamp(rfc3339: $0) }
        )
    }
}

extension Conversation.LastMessage {
    fileprivate var json: String {
        var writer = JSONWriter()
        writer.object {
            $0.field("id", id.description)
            $0.field("seq", seq)
            $0.field("kind", kind)
            $0.field("direction", direction.rawValue)
            $0.field("text", text)
            $0.field("at", at.description)
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    fileprivate init?(json: String) {
        guard let json = try? JSON.parse(json), let id = json["id"]?.string.flatMap({ MessageID($0) }), let seq = json["seq"]?.int,
            let kind = json["kind"]?.string, let direction = json["direction"]?.string.flatMap(Message.Direction.init(rawValue:)),
            let text = json["text"]?.string, let at = json["at"]?.string.flatMap({ Timestamp(rfc3339: $0) })
        else { return nil }
        self.init(id: id, seq: seq, kind: kind, direction: direction, text: text, at: at)
    }
}
