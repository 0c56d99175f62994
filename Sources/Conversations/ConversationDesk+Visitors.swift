package import Kernel
import Wire

// Customers in a web chat. Each is bound to one conversation, by a token, and is a customer like any other: the bot answers them, they wait in the line, agents
// have them. What differs is how they are reached: by the visitor's stream of their conversation (`Audience`), and not through the outbox.
//
// What a visitor sees has the shape that agents see, with null or empty for what is not theirs. It is chosen field by field: something new in a conversation is
// kept from visitors until somebody writes it down here.

/// A web chat: whose it is, and the conversation that it is bound to. It begins with its first word: until then there is nothing but a token with both ids.
package struct Visit: Sendable, Hashable {
    package let conversation: ConversationID
    package let contact: ContactID
    package let name: String

    package init(conversation: ConversationID, contact: ContactID, name: String) {
        self.conversation = conversation
        self.contact = contact
        self.name = name
    }

    /// `nil` for whoever is no visitor.
    package init?(_ principal: Principal) {
        guard let conversation = principal.conversation else { return nil }
        self.init(conversation: conversation, contact: ContactID(principal.user.value), name: principal.name)
    }
}

extension ConversationDesk {
    package static func mark(_ visit: Visit, clientMessageID: String, tenant: TenantID) -> Mark.Key {
        Mark.Key(tenant: tenant, scope: "visit:\(visit.conversation)", key: clientMessageID)
    }

    // MARK: Coming and coming back

    /// Somebody opened the web chat. Nothing is stored, and nobody is told.
    package func visited(name: String, _ moment: Moment) -> Visit {
        expect(Visit(conversation: moment.id(), contact: moment.id(), name: name), moment)
    }

    /// Somebody is back with what they were given before: to the same conversation, unless it is over and nothing more is asked of them.
    /// - Precondition: the conversation is in memory, or there is none.
    package func returned(_ visit: Visit, _ moment: Moment) throws(Refusal) -> Visit {
        guard let conversation = try begun(visit) else { return expect(visit, moment) }
        if !conversation.isResolved || askedForSatisfaction[visit.contact] == conversation.id { return visit }
        if let open = openByContact[visit.contact] { return Visit(conversation: open, contact: visit.contact, name: visit.name) }
        return expect(Visit(conversation: moment.id(), contact: visit.contact, name: visit.name), moment)
    }

    /// Known not to be in the store, which need not be asked then.
    private func expect(_ visit: Visit, _ moment: Moment) -> Visit {
        awaited.insert(visit.conversation)
        lingeringVisits.touch(visit.conversation, at: moment.now)
        return visit
    }

    /// `nil` for one that has not begun.
    private func begun(_ visit: Visit) throws(Refusal) -> Conversation? {
        guard let conversation = sessions[visit.conversation]?.conversation else { return nil }
        guard conversation.isWebChat, conversation.contact == visit.contact else { throw .notFound(.conversation) }
        return conversation
    }

    /// The conversation as it is, or would be if it began now.
    private func conversation(of visit: Visit) throws(Refusal) -> Conversation {
        if let begun = try begun(visit) { return begun }
        let opened = visit.conversation.value.time
        let contact = contacts[visit.contact] ?? Contact(id: visit.contact, name: visit.name, waID: nil, bsuid: nil, at: opened)
        return Conversation(
            id: visit.conversation,
            contact: contact,
            channel: Conversation.webChannel,
            language: settings.defaultLanguage,
            at: opened
        )
    }

    private func begin(_ visit: Visit, _ turn: inout Turn) throws(Refusal) {
        guard openByContact.count < settings.maxOpenConversations else {
            throw Refusal(
                .unavailable,
                "too_many_conversations",
                "Há conversas abertas demais; tente novamente mais tarde.",
                retryAfterSeconds: 60
            )
        }
        if contacts[visit.contact] == nil {
            var contact = Contact(id: visit.contact, name: visit.name, waID: nil, bsuid: nil, at: turn.moment.now)
            turn.change.rows.append(contact.image(tenant: tenant))
            index(contact)
        }
        lingeringContacts.touch(visit.contact, at: turn.moment.now)
        sessions[visit.conversation] = Session(conversation: try conversation(of: visit))
        openByContact[visit.contact] = visit.conversation
        awaited.remove(visit.conversation)
        turn.altered.append(visit.conversation)
        audit(visit.conversation, to: .bot, &turn)
    }

    // MARK: Writing and reading

    /// A visitor wrote.
    /// - Parameter earlier: what the journal holds for the message's mark.
    package func visitorWrote(_ text: String, clientMessageID: String, on visit: Visit, earlier: String?, _ moment: Moment) throws(Refusal) -> (
        Answer, Change
    ) {
        let present = try begun(visit)
        let key = Self.mark(visit, clientMessageID: clientMessageID, tenant: tenant)
        if let message = (marks[key] ?? earlier).flatMap({ MessageID($0) }) { return (.earlier(message), Change()) }
        // One that was ended stays ended, but for the answer to how it was. The page asks for a new one with the token that it has.
        let isScore = askedForSatisfaction[visit.contact] == visit.conversation && Conversation.Satisfaction.score(in: text) != nil
        guard
            isScore || present.map({ !$0.isResolved && openByContact[visit.contact] == visit.conversation }) ?? (openByContact[visit.contact] == nil)
        else {
            throw Refusal(.conflict, "conversation_resolved", "O atendimento foi encerrado; inicie uma nova conversa.")
        }
        var change = Change()
        if present == nil {
            var turn = Turn(moment, by: .customer, cause: "visitor_wrote")
            try begin(visit, &turn)
            change = turn.change
        }
        var inbound = CustomerMessage(
            channel: Conversation.webChannel,
            externalID: clientMessageID,
            from: ContactIdentity(waIDs: [], bsuid: nil),
            name: nil,
            kind: "text",
            text: text,
            content: nil,
            replyTo: nil,
            sentAt: moment.now
        )
        inbound.visit = visit
        change.append(try received(inbound, seenBefore: false, moment).1)
        guard let message = marks[key].flatMap({ MessageID($0) }).flatMap({ messages[$0] }) else {
            preconditionFailure("a message was taken without a mark")
        }
        return (.message(message.json(for: .visitor)), change)
    }

    /// A visitor has seen what was written to them, as far as it is in memory.
    package func visitorRead(_ visit: Visit, _ moment: Moment) throws(Refusal) -> ([UInt8], Change) {
        guard try begun(visit) != nil, let session = sessions[visit.conversation] else { return (visitorJSON(try conversation(of: visit)), Change()) }
        var turn = Turn(moment)
        for id in session.recent {
            guard var message = messages[id], message.reported(.read, externalID: nil) else { continue }
            update(message, &turn)
        }
        return (visitorJSON(session.conversation), finish(turn))
    }

    /// A visitor came, or has been gone for the grace. Told to agents who look at the conversation; the tables know nothing of it.
    package func visitor(_ contact: ContactID, isOnline: Bool) -> Change {
        var change = Change()
        guard let id = openByContact[contact], sessions[id]?.conversation.isWebChat == true else { return change }
        change.events.append(event("conversation:\(id)", "visitor.presence") { $0.field("online", isOnline) })
        return change
    }

    // MARK: What a visitor sees

    /// The visitor's side of channel `conversation:<id>`.
    package func visitorSnapshot(_ visit: Visit, _ moment: Moment) throws(Refusal) -> [UInt8] {
        let (id, conversation) = (visit.conversation, try conversation(of: visit))
        let session = sessions[id]
        if session != nil { lingeringSessions.touch(id, at: moment.now) }
        let seen = (session?.recent ?? []).compactMap { messages[$0] }.filter(\.isForVisitor)
        var writer = JSONWriter(capacity: 8192)
        writer.object {
            $0.field("conversation", raw: visitorJSON(conversation))
            $0.list("messages") { array in for message in seen { message.write(to: &array, for: .visitor) } }
            if let estimate = outlook.told[id] { $0.field("queue") { estimate.writeMembers(to: &$0) } } else { $0.field("queue", JSON.null) }
            $0.field("has_more", (session?.recent.first.flatMap { messages[$0]?.seq } ?? 1) > 1)
        }
        return writer.bytes
    }

    package func visitorJSON(_ visit: Visit) throws(Refusal) -> [UInt8] { visitorJSON(try conversation(of: visit)) }

    func visitorJSON(_ conversation: Conversation) -> [UInt8] {
        let last = sessions[conversation.id]?.recent.last { messages[$0]?.isForVisitor == true }.flatMap { messages[$0] }
        var writer = JSONWriter(capacity: 1024)
        conversation.writeForVisitor(to: &writer, lastMessage: last.map(Conversation.LastMessage.init), attendant: pool.attendant)
        return writer.bytes
    }

    /// Who follows `conversation:<id>`.
    func audiences(of id: ConversationID) -> [Audience] { sessions[id]?.conversation.isWebChat == true ? [.staff, .visitor] : [.staff] }

    func visitorsEvent(of conversation: Conversation) -> Event {
        let json = visitorJSON(conversation)
        return event("conversation:\(conversation.id)", "conversation.changed", for: .visitor) { $0.field("conversation", raw: json) }
    }

    /// `nil` where the conversation is no web chat, or the message not the visitor's to see.
    func visitorsEvent(_ type: String, _ message: Message) -> Event? {
        guard message.isForVisitor, sessions[message.conversation]?.conversation.isWebChat == true else { return nil }
        return event("conversation:\(message.conversation)", type, for: .visitor) {
            $0.key("message")
            message.write(to: &$0, for: .visitor)
        }
    }
}

extension Conversation.LastMessage {
    init(_ message: Message) {
        self.init(
            id: message.id,
            seq: message.seq,
            kind: message.kind,
            direction: message.direction,
            text: String(String.UnicodeScalarView(message.text.unicodeScalars.prefix(160))),
            at: message.createdAt
        )
    }
}
