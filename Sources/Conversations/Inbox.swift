package import Kernel
package import Storage
package import Wire

/// Who was named in a note.
package struct Mention: Sendable, Equatable {
    package let message: MessageID
    package let user: UserID
    package let conversation: ConversationID
    package let authorName: String
    package let text: String
    package let at: Timestamp

    init(_ message: Message, user: UserID) {
        self.message = message.id
        self.user = user
        conversation = message.conversation
        authorName = message.authorName ?? ""
        text = String(String.UnicodeScalarView(message.text.unicodeScalars.prefix(160)))
        at = message.createdAt
    }

    package init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        message = row.id()
        user = row.id()
        conversation = row.id()
        authorName = row.text()
        text = row.text()
        at = row.timestamp()
    }

    /// Made once, and once more when it was read.
    func image(tenant: TenantID, readAt: Timestamp? = nil) -> RowImage {
        RowImage(
            DeskTables.mentions,
            version: readAt == nil ? 1 : 2,
            values: [
                .id(tenant), .id(message), .id(user), .id(conversation), .text(authorName), .text(text), .timestamp(at), .optional(readAt),
            ]
        )
    }

    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("conversation_id", conversation.description)
            $0.field("message_id", message.description)
            $0.field("author", authorName)
            $0.field("text", text)
            $0.field("at", at.description)
        }
    }
}

/// What waits for each person: the conversations they have with what is unread in them, and the notes that name them.
struct Inbox: Sendable {
    struct Unread: Sendable, Equatable {
        var messages = 0
        var conversations = 0

        init() {}

        /// Of so many in each conversation.
        init(_ counts: some Sequence<Int>) {
            for count in counts where count > 0 {
                messages += count
                conversations += 1
            }
        }
    }

    private(set) var work: [Int64: Set<ConversationID>] = [:]
    private var assignees: [ConversationID: Int64] = [:]
    var told: [Int64: Unread] = [:]
    var mentions: [UserID: [Mention]] = [:]

    init() {}
    init(mentions: [Mention]) { self.mentions = Dictionary(grouping: mentions, by: \.user) }

    /// - Returns: whose it was.
    @discardableResult
    mutating func assign(_ conversation: ConversationID, to consultor: Int64?) -> Int64? {
        let before = assignees[conversation]
        guard before != consultor else { return before }
        if let before {
            work[before]?.remove(conversation)
            if work[before]?.isEmpty == true { work[before] = nil }
        }
        assignees[conversation] = consultor
        if let consultor { work[consultor, default: []].insert(conversation) }
        return before
    }
}

extension ConversationDesk {
    /// Notes whose work an altered conversation is, and was.
    func note(_ conversation: Conversation, _ turn: inout Turn) {
        let before = inbox.assign(conversation.id, to: conversation.assignee)
        for consultor in [before, conversation.assignee].compactMap({ $0 }) { turn.touched.insert(consultor) }
    }

    func unread(_ consultor: Int64) -> Inbox.Unread {
        Inbox.Unread((inbox.work[consultor] ?? []).lazy.compactMap { self.sessions[$0]?.conversation.unread })
    }

    /// Tells each consultor what waits for them, and supervisors what everybody does, if the turn has changed it.
    func tellWork(_ turn: inout Turn) {
        for consultor in turn.touched.sorted() {
            turn.change.events.append(event("supervision", "work.changed") { $0.field("work") { self.writeWork(consultor, &$0) } })
            let unread = unread(consultor)
            guard unread != inbox.told[consultor] ?? Inbox.Unread() else { continue }
            inbox.told[consultor] = unread == Inbox.Unread() ? nil : unread
            guard let user = pool.attendant(consultor)?.user else { continue }
            turn.change.events.append(event("user:\(user)", "unread.counted") { $0.field("unread") { self.write(unread, &$0) } })
        }
    }

    private func write(_ unread: Inbox.Unread, _ writer: inout JSONWriter) {
        writer.field("messages", unread.messages)
        writer.field("conversations", unread.conversations)
    }

    /// `{consultor_id, user_id, name, conversations: […]}`, whoever it is with for longest first.
    private func writeWork(_ consultor: Int64, _ writer: inout JSONWriter) {
        writer.field("consultor_id", consultor)
        writer.field("user_id", pool.attendant(consultor)?.user?.description)
        writer.field("name", name(consultor))
        writer.field("online", pool.isOnline(consultor))
        let conversations = (inbox.work[consultor] ?? []).compactMap { sessions[$0]?.conversation }
        writer.list("conversations") { list in
            for conversation in conversations.sorted(by: { ($0.stateSince, $0.id) < ($1.stateSince, $1.id) }) {
                list.object {
                    $0.field("conversation_id", conversation.id.description)
                    $0.field("contact", conversation.contactName)
                    $0.field("protocol", conversation.protocolo.map(protocolText))
                    $0.field("state", conversation.state.name)
                    $0.field("since", conversation.stateSince.description)
                    $0.field("owed_since", conversation.owedSince?.description)
                    $0.field("unread", conversation.unread)
                }
            }
        }
    }

    /// Channel `supervision`: who does what, since when.
    package func supervisionSnapshot() -> [UInt8] {
        var writer = JSONWriter(capacity: 4096)
        writer.object {
            $0.list("work") { list in for consultor in inbox.work.keys.sorted() { list.object { self.writeWork(consultor, &$0) } } }
        }
        return writer.bytes
    }

    /// Channel `user:<id>`: what waits for this person.
    /// - Parameter others: writes what waits for them elsewhere than in conversations.
    package func inboxSnapshot(_ user: UserID, others: (inout JSONWriter) -> Void = { _ in }) -> [UInt8] {
        var unread = Inbox.Unread()
        for attendant in pool.attendants where attendant.user == user {
            let own = self.unread(attendant.id)
            unread.messages += own.messages
            unread.conversations += own.conversations
        }
        let mentions = inbox.mentions[user] ?? []
        var writer = JSONWriter(capacity: 1024)
        writer.object {
            $0.field("unread") { self.write(unread, &$0) }
            $0.list("mentions") { list in for mention in mentions.suffix(100) { mention.write(to: &list) } }
            others(&$0)
        }
        return writer.bytes
    }

    // MARK: Mentions

    /// Tells everybody whom a note names: `@` and the name, or its first word where only one person has it. Accents and capitals do not matter.
    func mention(in note: Message, among others: [Person], by principal: Principal, _ turn: inout Turn) {
        guard note.text.contains("@") else { return }
        var people = pool.attendants.compactMap { attendant in attendant.user.map { (user: $0, words: BotFlow.words(of: attendant.name)) } }
        for person in others where !people.contains(where: { $0.user == person.user }) {
            people.append((person.user, BotFlow.words(of: person.name)))
        }
        var named: Set<UserID> = []
        for part in note.text.split(separator: "@", omittingEmptySubsequences: false).dropFirst() {
            let words = BotFlow.words(of: String(part.prefix(200)))
            let whole = people.filter { !$0.words.isEmpty && words.starts(with: $0.words) }
            if let longest = whole.map(\.words.count).max() {
                for person in whole where person.words.count == longest { named.insert(person.user) }
            } else if let first = words.first {
                let found = people.filter { $0.words.first == first }
                if found.count == 1 { named.insert(found[0].user) }
            }
        }
        named.remove(principal.user)
        for user in named.sorted(by: { $0.description < $1.description }) {
            let mention = Mention(note, user: user)
            inbox.mentions[user, default: []].append(mention)
            turn.change.rows.append(mention.image(tenant: tenant))
            turn.change.events.append(
                event("user:\(user)", "mention.created") {
                    $0.key("mention")
                    mention.write(to: &$0)
                }
            )
        }
    }

    func mentionsRead(in conversation: ConversationID, by principal: Principal, _ turn: inout Turn) {
        guard let all = inbox.mentions[principal.user] else { return }
        let read = all.filter { $0.conversation == conversation }
        guard !read.isEmpty else { return }
        let left = all.filter { $0.conversation != conversation }
        inbox.mentions[principal.user] = left.isEmpty ? nil : left
        for mention in read { turn.change.rows.append(mention.image(tenant: tenant, readAt: turn.moment.now)) }
        turn.change.events.append(
            event("user:\(principal.user)", "mentions.read") { $0.field("conversation_id", conversation.description) }
        )
    }
}
