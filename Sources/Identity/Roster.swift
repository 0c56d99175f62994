package import Kernel

/// Everybody there is: tenants, users and logins, and the rules between them. A plain value without I/O; the `Directory` runs it.
///
/// Invariants
/// 1. An e-mail, a slug and a WhatsApp number each belong to one at most.
/// 2. Every tenant keeps at least one active owner.
/// 3. A login ends with its user's password, role or activity: nobody goes on with rights they no longer have.
struct Roster: Sendable {
    static let maxSessionsPerUser = 20

    private(set) var tenants: [TenantID: Tenant] = [:]
    private(set) var users: [UserID: User] = [:]
    private(set) var sessions: [LoginSessionID: LoginSession] = [:]
    private var usersByEmail: [String: UserID] = [:]
    private var tenantsBySlug: [String: TenantID] = [:]
    private var tenantsByNumber: [String: TenantID] = [:]

    init(tenants: [Tenant], users: [User], sessions: [LoginSession]) {
        for tenant in tenants { index(tenant) }
        for user in users { index(user) }
        for session in sessions { self.sessions[session.id] = session }
    }

    func tenant(slug: String) -> Tenant? { tenantsBySlug[slug].flatMap { tenants[$0] } }
    func tenant(phoneNumberID: String) -> Tenant? { tenantsByNumber[phoneNumberID].flatMap { tenants[$0] } }
    func user(email: String) -> User? { usersByEmail[email].flatMap { users[$0] } }
    func user(_ tenant: TenantID, _ id: UserID) -> User? { users[id].flatMap { $0.tenant == tenant ? $0 : nil } }
    func users(of tenant: TenantID) -> [User] { users.values.filter { $0.tenant == tenant }.sorted { $0.id < $1.id } }

    private mutating func index(_ tenant: Tenant) {
        if let number = tenants[tenant.id]?.phoneNumberID { tenantsByNumber[number] = nil }
        tenants[tenant.id] = tenant
        tenantsBySlug[tenant.slug] = tenant.id
        if let number = tenant.phoneNumberID { tenantsByNumber[number] = tenant.id }
    }

    private mutating func index(_ user: User) {
        users[user.id] = user
        usersByEmail[user.email] = user.id
    }

    // MARK: Tenants

    mutating func added(name: String, slug: String?, _ owner: NewUser, _ moment: Moment) throws(Refusal) -> (Tenant, User, Change) {
        try requireFree(email: owner.email)
        let chosen: String
        if let slug {
            guard tenantsBySlug[slug] == nil else { throw Refusal(.conflict, "slug_taken", "Este endereço público já está em uso.") }
            chosen = slug
        } else {
            chosen = freeSlug(for: name)
        }
        var tenant = Tenant(id: moment.id(), name: name, slug: chosen, at: moment.now)
        var change = Change()
        change.rows.append(tenant.image())
        index(tenant)
        return (tenant, add(owner, to: tenant.id, &change, moment), change)
    }

    mutating func reachable(_ id: TenantID, phoneNumberID: String?, wabaID: String?) throws(Refusal) -> Change {
        guard var tenant = tenants[id] else { throw .notFound(.tenant) }
        if let phoneNumberID, let other = tenantsByNumber[phoneNumberID], other != id {
            throw Refusal(.conflict, "number_taken", "Este número do WhatsApp já é de outra empresa.")
        }
        var change = Change()
        tenant.phoneNumberID = phoneNumberID
        tenant.wabaID = wabaID
        change.rows.append(tenant.image())
        index(tenant)
        return change
    }

    /// Lower-case letters, digits and hyphens, with a number behind when it is taken.
    private func freeSlug(for name: String) -> String {
        let plain = name.lowercased().unicodeScalars.map { scalar -> Character in
            scalar.isASCII && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil) ? Character(scalar) : "-"
        }
        let words = String(plain).split(separator: "-").joined(separator: "-").prefix(48)
        let base = words.isEmpty ? "empresa" : String(words)
        if tenantsBySlug[base] == nil { return base }
        var number = 2
        while tenantsBySlug["\(base)-\(number)"] != nil { number += 1 }
        return "\(base)-\(number)"
    }

    // MARK: Users

    struct NewUser: Sendable {
        let email: String
        let name: String
        let role: Role
        let passwordHash: String
    }

    mutating func added(_ user: NewUser, by principal: Principal, _ moment: Moment) throws(Refusal) -> (User, Change) {
        try requireMayMake(user.role, principal)
        try requireFree(email: user.email)
        var change = Change()
        return (add(user, to: principal.tenant, &change, moment), change)
    }

    private mutating func add(_ new: NewUser, to tenant: TenantID, _ change: inout Change, _ moment: Moment) -> User {
        var user = User(
            tenant: tenant, id: moment.id(), email: new.email, name: new.name, role: new.role, passwordHash: new.passwordHash, at: moment.now
        )
        change.rows.append(user.image())
        index(user)
        return user
    }

    /// - Returns: the logins that ended by it.
    mutating func changed(
        _ id: UserID, _ changes: UserChanges, passwordHash: String?, by principal: Principal, _ moment: Moment
    ) throws(Refusal) -> (User, ended: [LoginSessionID], Change) {
        guard var user = user(principal.tenant, id) else { throw .notFound(.user) }
        try requireMayChange(user, principal)
        let before = user
        if let name = changes.name { user.name = name }
        if let role = changes.role {
            try requireMayMake(role, principal)
            user.role = role
        }
        if let isActive = changes.isActive { user.isActive = isActive }
        if let passwordHash { user.passwordHash = passwordHash }
        if before.role == .owner, before.isActive, user.role != .owner || !user.isActive { try requireAnotherOwner(than: before) }
        guard user != before else { return (user, [], Change()) }
        user.updatedAt = moment.now
        var change = Change()
        change.rows.append(user.image())
        index(user)
        var ended: [LoginSessionID] = []
        if user.role != before.role || user.isActive != before.isActive || user.passwordHash != before.passwordHash {
            ended = endSessions(of: id, &change)
        }
        return (user, ended, change)
    }

    mutating func removed(_ id: UserID, by principal: Principal) throws(Refusal) -> (ended: [LoginSessionID], Change) {
        guard let user = user(principal.tenant, id) else { throw .notFound(.user) }
        try requireMayChange(user, principal)
        if user.role == .owner, user.isActive { try requireAnotherOwner(than: user) }
        users[id] = nil
        usersByEmail[user.email] = nil
        var change = Change()
        change.rows.append(RowImage(deleting: [.id(user.tenant), .id(id)], from: IdentityTables.users, version: user.version + 1))
        return (endSessions(of: id, &change), change)
    }

    private func requireFree(email: String) throws(Refusal) {
        guard usersByEmail[email] == nil else { throw Refusal(.conflict, "email_taken", "Já existe um usuário com este e-mail.") }
    }

    private func requireMayMake(_ role: Role, _ principal: Principal) throws(Refusal) {
        guard principal.role.canAdminister else { throw Refusal(.forbidden, "role_forbidden", "Só administradores podem fazer isto.") }
        guard role != .owner || principal.role == .owner else { throw Refusal(.forbidden, "owner_only", "Só um proprietário faz outro proprietário.") }
    }

    private func requireMayChange(_ user: User, _ principal: Principal) throws(Refusal) {
        guard principal.role.canAdminister else { throw Refusal(.forbidden, "role_forbidden", "Só administradores podem fazer isto.") }
        guard user.role != .owner || principal.role == .owner else { throw Refusal(.forbidden, "owner_only", "Só um proprietário altera um proprietário.") }
    }

    private func requireAnotherOwner(than user: User) throws(Refusal) {
        guard users.values.contains(where: { $0.tenant == user.tenant && $0.id != user.id && $0.role == .owner && $0.isActive }) else {
            throw Refusal(.conflict, "last_owner", "A empresa precisa de pelo menos um proprietário ativo.")
        }
    }

    // MARK: Logins

    /// - Returns: the new login, and the oldest ones if it was one too many.
    mutating func loggedIn(
        _ id: UserID, refreshID: String, lifetime: Duration, _ moment: Moment
    ) -> (LoginSession, User, ended: [LoginSessionID], Change)? {
        guard var user = users[id], user.isActive else { return nil }
        var change = Change()
        user.lastLoginAt = moment.now
        change.rows.append(user.image())
        index(user)
        var session = LoginSession(
            tenant: user.tenant, id: moment.id(), user: id, refreshID: refreshID, createdAt: moment.now, expiresAt: moment.now + lifetime
        )
        change.rows.append(session.image())
        sessions[session.id] = session
        let own = sessions.values.filter { $0.user == id }.sorted { $0.createdAt < $1.createdAt }
        var ended: [LoginSessionID] = []
        for oldest in own.prefix(max(0, own.count - Self.maxSessionsPerUser)) { ended += end(oldest.id, &change) }
        return (session, user, ended, change)
    }

    enum Refresh {
        case renewed(LoginSession, User)
        /// An old token was used again: somebody has stolen one, and nobody can tell who. The login is over.
        case reused([LoginSessionID])
        case unknown
    }

    mutating func refreshed(_ id: LoginSessionID, with refreshID: String, next: String, lifetime: Duration, _ moment: Moment) -> (Refresh, Change) {
        var change = Change()
        guard var session = sessions[id], session.expiresAt > moment.now, let user = users[session.user], user.isActive else { return (.unknown, change) }
        guard session.refreshID == refreshID else { return (.reused(end(id, &change)), change) }
        session.refreshID = next
        session.expiresAt = moment.now + lifetime
        change.rows.append(session.image())
        sessions[id] = session
        return (.renewed(session, user), change)
    }

    mutating func loggedOut(_ id: LoginSessionID) -> (ended: [LoginSessionID], Change) {
        var change = Change()
        return (end(id, &change), change)
    }

    mutating func expired(_ moment: Moment) -> Change {
        var change = Change()
        for session in sessions.values where session.expiresAt <= moment.now { _ = end(session.id, &change) }
        return change
    }

    private mutating func endSessions(of user: UserID, _ change: inout Change) -> [LoginSessionID] {
        sessions.values.filter { $0.user == user }.map(\.id).flatMap { end($0, &change) }
    }

    private mutating func end(_ id: LoginSessionID, _ change: inout Change) -> [LoginSessionID] {
        guard let session = sessions.removeValue(forKey: id) else { return [] }
        change.rows.append(session.deletion)
        return [id]
    }
}

/// What an administrator changes of a user: what is `nil` stays.
package struct UserChanges: Sendable {
    package var name: String?
    package var role: Role?
    package var password: String?
    package var isActive: Bool?

    package init() {}
}
