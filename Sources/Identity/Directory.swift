package import Kernel
package import Storage
import Synchronization

/// What a login or a refresh gives.
package struct LoginResult: Sendable {
    package let user: User
    package let accessToken: String
    package let refreshToken: String
    package let expiresInSeconds: Int64
}

/// The live roster of everybody who can log in, for all tenants.
///
/// Each mutation is one turn of the `Roster` and one change; passwords are hashed before it, and the turn looks again at what may have changed meanwhile.
/// When a change could not be stored, the roster is loaded again by whoever comes next.
package actor Directory {
    private let store: any Store
    private let gate: Gate
    private let environment: Environment
    private let hasher: PasswordHasher
    private let tokens: TokenIssuer
    private var roster = Roster(tenants: [], users: [], sessions: [])
    private var activation: Activation
    /// The logins that stand, as of the last commit: asked with every request, and so without a wait for this actor.
    private nonisolated let standing = Mutex<Set<LoginSessionID>>([])
    private nonisolated let whenEnded = Mutex<(@Sendable ([LoginSessionID]) -> Void)?>(nil)

    package init(store: any Store, gate: Gate, environment: Environment, hasher: PasswordHasher, tokens: TokenIssuer) {
        self.store = store
        self.gate = gate
        self.environment = environment
        self.hasher = hasher
        self.tokens = tokens
        activation = Self.newActivation()
    }

    private static func newActivation() -> Activation { Activation(tenant: TenantID(UniqueID(high: 0, low: 1))) }

    /// Told which logins have ended, once that is on disk: their sockets are to be closed.
    package nonisolated func onSessionsEnded(_ body: @escaping @Sendable ([LoginSessionID]) -> Void) { whenEnded.withLock { $0 = body } }

    // MARK: Loading

    package func load() async throws(Refusal) {
        let fresh = Self.newActivation()
        let tenants = try await store.rows(.select(from: IdentityTables.tenants)).map(Tenant.init)
        let users = try await store.rows(.select(from: IdentityTables.users)).map(User.init)
        let sessions = try await store.rows(.select(from: IdentityTables.loginSessions)).map(LoginSession.init)
        // Somebody may have been quicker, and gone on from there.
        guard activation.isEnded || roster.tenants.isEmpty else { return }
        roster = Roster(tenants: tenants, users: users, sessions: sessions)
        activation = fresh
        standing.withLock { $0 = Set(roster.sessions.keys) }
    }

    /// Before a command: what could not be stored is forgotten.
    private func ready() async throws(Refusal) {
        try gate.admit()
        while activation.isEnded { try await load() }
    }

    private func commit(_ change: Change) -> Ticket { gate.enqueue(change, activation) }

    private func tellEnded(_ ended: [LoginSessionID]) {
        guard !ended.isEmpty else { return }
        standing.withLock { $0.subtract(ended) }
        whenEnded.withLock { $0 }?(ended)
    }

    // MARK: Who there is

    package var isEmpty: Bool { roster.tenants.isEmpty }
    package var tenants: [Tenant] { roster.tenants.values.sorted { $0.id < $1.id } }
    package func tenant(_ id: TenantID) -> Tenant? { roster.tenants[id] }
    package func tenant(slug: String) -> Tenant? { roster.tenant(slug: slug) }

    /// Whose number it is. While there is one business only, and it has not named its number, every number is its.
    package func tenant(phoneNumberID: String?) -> Tenant? {
        if let phoneNumberID, let tenant = roster.tenant(phoneNumberID: phoneNumberID) { return tenant }
        guard roster.tenants.count == 1, let only = roster.tenants.values.first, only.phoneNumberID == nil else { return nil }
        return only
    }

    /// By age, the oldest first.
    package func users(of tenant: TenantID) async throws(Refusal) -> [User] { try await reading { $0.users(of: tenant) } }
    package func user(_ tenant: TenantID, _ id: UserID) async throws(Refusal) -> User? { try await reading { $0.user(tenant, id) } }

    /// What is shown waits until it is on disk.
    private func reading<T: Sendable>(_ body: (Roster) -> T) async throws(Refusal) -> T {
        while activation.isEnded { try await load() }
        let answer = body(roster)
        try await commit(Change()).committed()
        return answer
    }

    // MARK: Tenants

    package func createTenant(
        name: String, slug: String?, ownerEmail: String, ownerName: String, password: String
    ) async throws(Refusal) -> (Tenant, User) {
        let email = try Self.normalized(email: ownerEmail)
        try PasswordStrength.check(password, email: email)
        try await ready()
        let hash = try await hasher.hash(password)
        try await ready()
        let owner = Roster.NewUser(email: email, name: ownerName, role: .owner, passwordHash: hash)
        let (tenant, user, change) = try roster.added(name: name, slug: slug, owner, environment.moment())
        try await commit(change).committed()
        return (tenant, user)
    }

    package func setWhatsApp(tenant: TenantID, phoneNumberID: String?, wabaID: String?) async throws(Refusal) {
        try await ready()
        try await commit(try roster.reachable(tenant, phoneNumberID: phoneNumberID, wabaID: wabaID)).committed()
    }

    // MARK: Users

    package func createUser(
        by principal: Principal, email: String, name: String, role: Role, password: String
    ) async throws(Refusal) -> User {
        let email = try Self.normalized(email: email)
        try PasswordStrength.check(password, email: email)
        try await ready()
        let hash = try await hasher.hash(password)
        try await ready()
        let (user, change) = try roster.added(
            Roster.NewUser(email: email, name: name, role: role, passwordHash: hash), by: principal, environment.moment()
        )
        try await commit(change).committed()
        return user
    }

    package func updateUser(by principal: Principal, _ id: UserID, _ changes: UserChanges) async throws(Refusal) -> User {
        try await ready()
        var hash: String?
        if let password = changes.password {
            guard let user = roster.user(principal.tenant, id) else { throw .notFound(.user) }
            try PasswordStrength.check(password, email: user.email)
            hash = try await hasher.hash(password)
            try await ready()
        }
        let (user, ended, change) = try roster.changed(id, changes, passwordHash: hash, by: principal, environment.moment())
        try await commit(change).committed()
        tellEnded(ended)
        return user
    }

    package func deleteUser(by principal: Principal, _ id: UserID) async throws(Refusal) {
        try await ready()
        let (ended, change) = try roster.removed(id, by: principal)
        try await commit(change).committed()
        tellEnded(ended)
    }

    // MARK: Logins

    private static let wrong = Refusal(.unauthenticated, "invalid_credentials", "E-mail ou senha incorretos.")

    /// The answer is the same, and takes as long, whether the e-mail, the password or the user is the trouble.
    package func login(identifier: String, password: String) async throws(Refusal) -> LoginResult {
        try await ready()
        let user = roster.user(email: identifier.lowercased())
        guard try await hasher.verify(password, user?.passwordHash), let user else { throw Self.wrong }
        try await ready()
        let moment = environment.moment()
        // The password may have been changed while it was being checked.
        guard roster.users[user.id]?.passwordHash == user.passwordHash else { throw Self.wrong }
        let refreshID = newTokenID(moment)
        guard let (session, current, ended, change) = roster.loggedIn(
            user.id, refreshID: refreshID, lifetime: tokens.refreshLifetime, moment
        ) else { throw Self.wrong }
        try await commit(change).committed()
        standing.withLock { _ = $0.insert(session.id) }
        tellEnded(ended)
        return try await result(current, session, moment)
    }

    /// A refresh token is good once. Used again, it ends the login for whoever has it.
    package func refresh(_ token: String) async throws(Refusal) -> LoginResult {
        let (_, id, refreshID) = try await tokens.verifyRefresh(token)
        try await ready()
        let moment = environment.moment()
        let (outcome, change) = roster.refreshed(
            id, with: refreshID, next: newTokenID(moment), lifetime: tokens.refreshLifetime, moment
        )
        try await commit(change).committed()
        switch outcome {
        case .renewed(let session, let user): return try await result(user, session, moment)
        case .reused(let ended):
            tellEnded(ended)
            throw Refusal(.unauthenticated, "refresh_reused", "Este token já foi usado; por segurança a sessão foi encerrada. Entre novamente.")
        case .unknown: throw TokenIssuer.invalid
        }
    }

    package func logout(_ session: LoginSessionID) async throws(Refusal) {
        try await ready()
        let (ended, change) = roster.loggedOut(session)
        try await commit(change).committed()
        tellEnded(ended)
    }

    /// Deletes logins that have expired. To be called now and then.
    package func sweep() async throws(Refusal) {
        try await ready()
        let before = Set(roster.sessions.keys)
        let change = roster.expired(environment.moment())
        if change.isDurablyEmpty { return }
        let ended = before.subtracting(roster.sessions.keys)
        try await commit(change).committed()
        tellEnded(Array(ended))
    }

    /// Proves an access token, and that its login has not ended. Does not wait for this actor.
    package nonisolated func authenticate(accessToken: String) async throws(Refusal) -> AccessClaims {
        let claims = try await tokens.verifyAccess(accessToken)
        guard standing.withLock({ $0.contains(claims.session) }) else { throw TokenIssuer.invalid }
        return claims
    }

    private func result(_ user: User, _ session: LoginSession, _ moment: Moment) async throws(Refusal) -> LoginResult {
        LoginResult(
            user: user, accessToken: try await tokens.access(user, session: session.id, at: moment.now, id: newTokenID(moment)),
            refreshToken: try await tokens.refresh(user, session: session.id, at: moment.now, id: session.refreshID),
            expiresInSeconds: tokens.accessLifetime.components.seconds
        )
    }

    private enum TokenKind {}
    private func newTokenID(_ moment: Moment) -> String { (moment.id() as Identifier<TokenKind>).description }

    /// - Throws: a 422 for what cannot be an address. Whether it is one, only a message to it could tell.
    private static func normalized(email: String) throws(Refusal) -> String {
        let email = email.lowercased()
        let parts = email.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, parts[1].contains("."), !parts[1].hasPrefix("."), !parts[1].hasSuffix("."),
            !email.contains(where: \.isWhitespace), email.utf8.count <= 254
        else { throw .invalid("email", message: "não é um endereço de e-mail válido", type: "value_error.email") }
        return email
    }
}
