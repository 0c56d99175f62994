/// What a user may do, from the most to the least.
package enum Role: String, Sendable, CaseIterable {
    /// Owns the account: everything, and the only one who makes other owners.
    case owner
    /// Everything but owners.
    case admin
    /// Attends conversations.
    case agent
    /// Sees, and changes nothing.
    case viewer
    /// A customer in a web chat, bound to one conversation. Nobody who logs in.
    case visitor

    /// Those that a user may have.
    package static let ofUsers: [Role] = [.owner, .admin, .agent, .viewer]

    package var canAdminister: Bool { self == .owner || self == .admin }
    package var canAttend: Bool { self != .viewer && self != .visitor }
}

/// Who is asking, as a credential proved it. The tenant of every command comes from here and from nowhere else (DESIGN §1, invariant 4).
package struct Principal: Sendable, Hashable {
    package let tenant: TenantID
    package let user: UserID
    package let role: Role
    /// The name to show beside what they do.
    package let name: String
    /// The one conversation of a visitor, whose `user` is the contact's id; `nil` for everybody else.
    package let conversation: ConversationID?

    package init(tenant: TenantID, user: UserID, role: Role, name: String) {
        precondition(role != .visitor, "a visitor is bound to a conversation")
        self.tenant = tenant
        self.user = user
        self.role = role
        self.name = name
        conversation = nil
    }

    /// The customer of a web chat.
    package init(visitor contact: ContactID, of conversation: ConversationID, tenant: TenantID, name: String) {
        self.tenant = tenant
        user = UserID(contact.value)
        role = .visitor
        self.name = name
        self.conversation = conversation
    }

    /// Anybody who looks at a business's public page. Their name is the business's in public addresses: that page is all that they may follow.
    package init(guest user: UserID, of slug: String, tenant: TenantID) {
        self.tenant = tenant
        self.user = user
        role = .visitor
        name = slug
        conversation = nil
    }

    /// Nobody's customer yet: without a conversation.
    package var isGuest: Bool { role == .visitor && conversation == nil }

    package var audience: Audience { role == .visitor ? .visitor : .staff }
}

/// Somebody of a business, by name.
package struct Person: Sendable, Hashable {
    package let user: UserID
    package let name: String

    package init(user: UserID, name: String) {
        self.user = user
        self.name = name
    }
}

extension Principal {
    package func requireAdministrator() throws(Refusal) {
        guard role.canAdminister else { throw Refusal(.forbidden, "role_forbidden", "Só administradores podem fazer isto.") }
    }
}

/// Who caused a change, for the record.
package enum Author: Sendable, Hashable {
    case bot
    case system
    case customer
    /// A person of the business, who wrote on its own telephone: which one is not known.
    case handset
    case user(UserID, name: String)

    package var kind: String {
        switch self {
        case .bot: "bot"
        case .system: "system"
        case .customer: "customer"
        case .user, .handset: "agent"
        }
    }
}
