import Foundation
package import Kernel

/// Everybody there is: tenants, users and logins, and the rules between them. A plain value without I/O; the `Directory` runs it.
///
/// Invariants
/// 1. An e-mail, a slug and a WhatsApp number each belong to one at most.
/// 2. Every tenant keeps at least one active owner.
/// 3. A login ends with its user's password, role or activity: nobody goes on with rights they no longer have.
struct Roster: Sendable {
    /// Generous: one account may log in from scripts. The bound is there so that the table cannot grow without end.
    static let maxSessionsPerUser = 500

    private(set) var tenants: [TenantID: Tenant] = [:]
    private(set) var users: [UserID: User] = [:]
    private(set) var sessions: [LoginSessionID: LoginSession] = [:]
    private var usersByEmail: [String: UserID] = [:]
    private(set) var tenantsBySlug: [String: TenantID] = [:]
    private(set) var tenantsByNumber: [String: TenantID] = [:]
    // So that what one tenant does costs by its own size, not by everybody's.
    private var usersByTenant: [TenantID: Set<UserID>] = [:]
    private var sessionsByUser: [UserID: Set<LoginSessionID>] = [:]
    /// Codes that were sent to addresses, one of each purpose.
    var codes: [UserID: [EmailCode.Purpose: EmailCode]] = [:]
    /// Of each tenant, what others ask of its users without waiting: derived from them.
    private(set) var people: [TenantID: People] = [:]
    /// Who has yet to prove that they read their e-mail.
    private(set) var unverified: Set<UserID> = []

    struct People: Sendable, Equatable {
        var active = 0
        /// E-mails of the active owners, the oldest first.
        var owners: [String] = []
        /// The first of them.
        var owner: UserID?
        var staff = Staff()
    }

    init(tenants: [Tenant], users: [User], sessions: [LoginSession], codes: [EmailCode] = []) {
        for tenant in tenants { index(tenant) }
        for user in users { place(user) }
        for tenant in tenants { recount(tenant.id) }
        for session in sessions { index(session) }
        for code in codes { self.codes[code.user, default: [:]][code.purpose] = code }
    }

    func user(email: String) -> User? { usersByEmail[email].flatMap { users[$0] } }
    func user(_ tenant: TenantID, _ id: UserID) -> User? { users[id].flatMap { $0.tenant == tenant ? $0 : nil } }
    func users(of tenant: TenantID) -> [User] { usersByTenant[tenant, default: []].compactMap { users[$0] }.sorted { $0.id < $1.id } }

    mutating func index(_ tenant: Tenant) {
        if let number = tenants[tenant.id]?.phoneNumberID { tenantsByNumber[number] = nil }
        tenants[tenant.id] = tenant
        tenantsBySlug[tenant.slug] = tenant.id
        if let number = tenant.phoneNumberID { tenantsByNumber[number] = tenant.id }
    }

    mutating func index(_ user: User) {
        let before = users[user.id]
        place(user)
        if let before, before.email != user.email { usersByEmail[before.email] = nil }
        if before?.email != user.email || before?.name != user.name || before?.role != user.role || before?.isActive != user.isActive {
            recount(user.tenant)
        }
    }

    private mutating func place(_ user: User) {
        users[user.id] = user
        usersByEmail[user.email] = user.id
        usersByTenant[user.tenant, default: []].insert(user.id)
        if user.isVerified { unverified.remove(user.id) } else { unverified.insert(user.id) }
    }

    private mutating func recount(_ tenant: TenantID) {
        let active = users(of: tenant).filter(\.isActive)
        let owners = active.filter { $0.role == .owner }
        var staff = Staff()
        for user in active { staff.add(user.id, name: user.name, email: user.email, isOwner: user.role == .owner) }
        people[tenant] = People(active: active.count, owners: owners.map(\.email), owner: owners.first?.id, staff: staff)
    }

    private mutating func index(_ session: LoginSession) {
        sessions[session.id] = session
        sessionsByUser[session.user, default: []].insert(session.id)
    }

    // MARK: Tenants

    /// What a new business is, beside its name.
    struct Founding: Sendable {
        var plan = PlanType.enterprise
        var template: TemplateType?
        var whatsappNumber: String?
    }

    mutating func added(
        name: String,
        slug: String?,
        _ owner: NewUser,
        founding: Founding = Founding(),
        _ moment: Moment
    ) throws(Refusal) -> (Tenant, User, Change) {
        try requireFree(email: owner.email)
        let chosen: String
        if let slug {
            guard Self.isSlug(slug) else {
                throw .invalid("slug", message: "deve ter até 63 letras minúsculas, números e hífens", type: "value_error.slug")
            }
            guard tenantsBySlug[slug] == nil else { throw Refusal(.conflict, "slug_taken", "Este endereço público já está em uso.") }
            chosen = slug
        } else {
            chosen = freeSlug(for: name, moment)
        }
        var tenant = Tenant(id: moment.id(), name: name, slug: chosen, at: moment.now)
        tenant.plan = founding.plan
        tenant.template = founding.template
        tenant.whatsappNumber = founding.whatsappNumber
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

    /// Lower-case letters and digits, with hyphens between them.
    private static func isSlug(_ text: String) -> Bool {
        text.utf8.count <= 63
            && text.split(separator: "-", omittingEmptySubsequences: false).allSatisfy {
                !$0.isEmpty && $0.allSatisfy { ("a"..."z").contains($0) || ("0"..."9").contains($0) }
            }
    }

    /// Lower-case letters without their accents, digits and hyphens, with a number behind when it is taken.
    private func freeSlug(for name: String, _ moment: Moment) -> String {
        let letters = name.decomposedStringWithCanonicalMapping.lowercased().unicodeScalars.filter {
            $0.properties.canonicalCombiningClass == .notReordered
        }
        let plain = letters.map { scalar -> Character in
            scalar.isASCII && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil) ? Character(scalar) : "-"
        }
        let words = String(plain).split(separator: "-").joined(separator: "-").prefix(48)
        let base = words.isEmpty ? "empresa" : String(words)
        if tenantsBySlug[base] == nil { return base }
        if let number = (2...99).first(where: { tenantsBySlug["\(base)-\($0)"] == nil }) { return "\(base)-\(number)" }
        // Of so many of a name, nobody remembers the number anyway.
        while true {
            let slug = "\(base)-\((moment.id() as TenantID).description.suffix(10))"
            if tenantsBySlug[slug] == nil { return slug }
        }
    }

    // MARK: Users

    struct NewUser: Sendable {
        let email: String
        let name: String
        let role: Role
        let passwordHash: String
        /// Whoever makes the user answers for the address; one who registers does not.
        var isVerified = true
    }

    /// Whether there is room for one more active user, by the plan and how many there are: `nil`, or why not.
    typealias Seats = (PlanType, Int) -> Refusal?

    private func requireSeat(_ tenant: TenantID, _ seats: Seats) throws(Refusal) {
        if let refusal = tenants[tenant].flatMap({ seats($0.plan, people[tenant]?.active ?? 0) }) { throw refusal }
    }

    mutating func added(_ user: NewUser, by principal: Principal, seats: Seats = { _, _ in nil }, _ moment: Moment) throws(Refusal) -> (User, Change)
    {
        try requireMayAdd(user.role, email: user.email, by: principal)
        try requireSeat(principal.tenant, seats)
        var change = Change()
        return (add(user, to: principal.tenant, &change, moment), change)
    }

    private mutating func add(_ new: NewUser, to tenant: TenantID, _ change: inout Change, _ moment: Moment) -> User {
        var user = User(
            tenant: tenant,
            id: moment.id(),
            email: new.email,
            name: new.name,
            role: new.role,
            passwordHash: new.passwordHash,
            at: moment.now
        )
        if !new.isVerified { user.unverifiedSince = moment.now }
        change.rows.append(user.image())
        index(user)
        return user
    }

    /// Asked before a password is hashed, too: whoever may not is told so first, and costs no hash.
    func requireMayAdd(_ role: Role, email: String, by principal: Principal) throws(Refusal) {
        try requireMayMake(role, principal)
        try requireFree(email: email)
    }

    /// The user, if there is one, and `principal` may change them. Asked before a password is hashed, too.
    func changeable(_ id: UserID, by principal: Principal) throws(Refusal) -> User {
        let administrator = try administrator(principal)
        guard let user = user(principal.tenant, id) else { throw .notFound(.user) }
        guard user.role != .owner || administrator.role == .owner else {
            throw Refusal(.forbidden, "owner_only", "Só um proprietário altera um proprietário.")
        }
        return user
    }

    /// - Returns: the logins that ended by it.
    mutating func changed(
        _ id: UserID,
        _ changes: UserChanges,
        passwordHash: String?,
        by principal: Principal,
        seats: Seats = { _, _ in nil },
        _ moment: Moment
    ) throws(Refusal) -> (User, ended: [LoginSessionID], Change) {
        let before = try changeable(id, by: principal)
        var user = before
        if let name = changes.name { user.name = name }
        if let email = changes.email, email != before.email {
            try requireFree(email: email)
            user.email = email
            user.unverifiedSince = moment.now
        }
        if let role = changes.role {
            try requireMayMake(role, principal)
            user.role = role
        }
        if let isActive = changes.isActive {
            if isActive, !before.isActive { try requireSeat(principal.tenant, seats) }
            user.isActive = isActive
        }
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
        let user = try changeable(id, by: principal)
        if user.role == .owner, user.isActive { try requireAnotherOwner(than: user) }
        users[id] = nil
        usersByEmail[user.email] = nil
        usersByTenant[user.tenant]?.remove(id)
        unverified.remove(id)
        recount(user.tenant)
        var change = Change()
        change.rows += (codes.removeValue(forKey: id) ?? [:]).values.map(\.deletion)
        change.rows.append(RowImage(deleting: [.id(user.tenant), .id(id)], from: IdentityTables.users, version: user.version + 1))
        return (endSessions(of: id, &change), change)
    }

    func requireFree(email: String) throws(Refusal) {
        guard usersByEmail[email] == nil else { throw Refusal(.conflict, "email_taken", "Já existe um usuário com este e-mail.") }
    }

    private func requireMayMake(_ role: Role, _ principal: Principal) throws(Refusal) {
        let administrator = try administrator(principal)
        guard role != .owner || administrator.role == .owner else {
            throw Refusal(.forbidden, "owner_only", "Só um proprietário faz outro proprietário.")
        }
    }

    /// Whoever asks, as they are now. Their token may be older than what became of them, when both were on their way at once.
    private func administrator(_ principal: Principal) throws(Refusal) -> User {
        guard let user = user(principal.tenant, principal.user), user.isActive else { throw TokenIssuer.invalid }
        guard user.role.canAdminister else { throw Refusal(.forbidden, "role_forbidden", "Só administradores podem fazer isto.") }
        return user
    }

    private func requireAnotherOwner(than user: User) throws(Refusal) {
        guard users(of: user.tenant).contains(where: { $0.id != user.id && $0.role == .owner && $0.isActive }) else {
            throw Refusal(.conflict, "last_owner", "A empresa precisa de pelo menos um proprietário ativo.")
        }
    }

    mutating func kept(views: String, of principal: Principal) throws(Refusal) -> Change {
        guard var user = user(principal.tenant, principal.user), user.isActive else { throw TokenIssuer.invalid }
        var change = Change()
        guard user.views != views else { return change }
        user.views = views
        change.rows.append(user.image())
        index(user)
        return change
    }

    // MARK: Logins

    /// - Returns: the new login, and the oldest ones if it was one too many.
    mutating func loggedIn(
        _ id: UserID,
        from origin: LoginOrigin = .inside,
        refreshID: String,
        lifetime: Duration,
        _ moment: Moment
    ) -> (LoginSession, User, ended: [LoginSessionID], Change)? {
        guard var user = users[id], user.isActive else { return nil }
        var change = Change()
        user.lastLoginAt = moment.now
        change.rows.append(user.image())
        index(user)
        var session = LoginSession(
            tenant: user.tenant,
            id: moment.id(),
            user: id,
            refreshID: refreshID,
            origin: origin,
            createdAt: moment.now,
            expiresAt: moment.now + lifetime
        )
        change.rows.append(session.image())
        index(session)
        let own = sessionsByUser[id, default: []].compactMap { sessions[$0] }.sorted { ($0.createdAt, $0.id) < ($1.createdAt, $1.id) }
        var ended: [LoginSessionID] = []
        for oldest in own.prefix(max(0, own.count - Self.maxSessionsPerUser)) { ended += end(oldest.id, &change) }
        return (session, user, ended, change)
    }

    enum Refresh {
        case renewed(LoginSession, User)
        /// An old token was used again, later than its grace: somebody has stolen one, and nobody can tell who. The login is over.
        case reused(User?, [LoginSessionID])
        case unknown
    }

    mutating func refreshed(
        _ id: LoginSessionID,
        from origin: LoginOrigin = .inside,
        with refreshID: String,
        next: String,
        lifetime: Duration,
        grace: Duration = .zero,
        _ moment: Moment
    ) -> (Refresh, Change) {
        var change = Change()
        guard var session = sessions[id], session.expiresAt > moment.now, let user = users[session.user], user.isActive else {
            return (.unknown, change)
        }
        guard session.refreshID == refreshID else {
            // Two tabs that woke up together: the second gets what the first got, and who comes later is a thief or was robbed.
            if session.previousRefreshID == refreshID, grace > .zero, moment.now < session.lastUsedAt + grace {
                return (.renewed(session, user), change)
            }
            return (.reused(user, end(id, &change)), change)
        }
        session.previousRefreshID = refreshID
        session.refreshID = next
        session.origin = origin
        session.lastUsedAt = moment.now
        session.expiresAt = moment.now + lifetime
        change.rows.append(session.image())
        index(session)
        return (.renewed(session, user), change)
    }

    mutating func loggedOut(_ id: LoginSessionID) -> (ended: [LoginSessionID], Change) {
        var change = Change()
        return (end(id, &change), change)
    }

    /// Somebody's logins, the one used last first.
    func sessions(of user: UserID) -> [LoginSession] {
        sessionsByUser[user, default: []].compactMap { sessions[$0] }.sorted { ($1.lastUsedAt, $1.id) < ($0.lastUsedAt, $0.id) }
    }

    /// Ends somebody's own logins.
    mutating func ended(_ ids: [LoginSessionID], of user: UserID) throws(Refusal) -> (ended: [LoginSessionID], Change) {
        guard ids.allSatisfy({ sessions[$0]?.user == user }) else { throw .notFound(.session) }
        var change = Change()
        return (ids.flatMap { end($0, &change) }, change)
    }

    /// Somebody has another password: all their logins end but the one that they changed it with.
    mutating func passwordChanged(
        _ id: UserID,
        to hash: String,
        keeping session: LoginSessionID,
        _ moment: Moment
    ) throws(Refusal) -> (ended: [LoginSessionID], Change) {
        guard var user = users[id], user.isActive, sessions[session]?.user == id else { throw TokenIssuer.invalid }
        user.passwordHash = hash
        user.updatedAt = moment.now
        var change = Change()
        change.rows.append(user.image())
        index(user)
        return (sessionsByUser[id, default: []].filter { $0 != session }.flatMap { end($0, &change) }, change)
    }

    /// Whose record an e-mail that is nobody's goes into.
    var firstTenant: TenantID? { tenants.keys.min() }

    mutating func expired(_ moment: Moment) -> (ended: [LoginSessionID], Change) {
        var change = Change()
        let ended = sessions.values.filter { $0.expiresAt <= moment.now }.flatMap { end($0.id, &change) }
        return (ended, change)
    }

    mutating func endSessions(of user: UserID, _ change: inout Change) -> [LoginSessionID] {
        sessionsByUser[user, default: []].flatMap { end($0, &change) }
    }

    private mutating func end(_ id: LoginSessionID, _ change: inout Change) -> [LoginSessionID] {
        guard let session = sessions.removeValue(forKey: id) else { return [] }
        sessionsByUser[session.user]?.remove(id)
        if sessionsByUser[session.user]?.isEmpty == true { sessionsByUser[session.user] = nil }
        change.rows.append(session.deletion)
        return [id]
    }
}

/// What an administrator changes of a user: what is `nil` stays.
package struct UserChanges: Sendable {
    package var name: String?
    /// Given back as it is stored: trimmed, lower-case.
    package var email: String?
    package var role: Role?
    package var password: String?
    package var isActive: Bool?

    package init() {}
}
