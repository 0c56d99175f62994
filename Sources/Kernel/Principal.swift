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

    package var canAdminister: Bool { self == .owner || self == .admin }
    package var canAttend: Bool { self != .viewer }
}

/// Who is asking, as a credential proved it. The tenant of every command comes from here and from nowhere else (DESIGN §1, invariant 4).
package struct Principal: Sendable, Hashable {
    package let tenant: TenantID
    package let user: UserID
    package let role: Role
    /// The name to show beside what they do.
    package let name: String

    package init(tenant: TenantID, user: UserID, role: Role, name: String) {
        self.tenant = tenant
        self.user = user
        self.role = role
        self.name = name
    }
}

/// Who caused a change, for the record.
package enum Author: Sendable, Hashable {
    case bot
    case system
    case customer
    case user(UserID, name: String)

    package var kind: String {
        switch self {
        case .bot: "bot"
        case .system: "system"
        case .customer: "customer"
        case .user: "agent"
        }
    }
}
