import Crypto
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
    let store: any Store
    /// For where logins come from, which is written down sealed and shown as it was.
    nonisolated let seal: Seal
    let gate: Gate
    let environment: Environment
    let hasher: PasswordHasher
    private let tokens: TokenIssuer
    var guards: LoginGuard
    /// Whether a plan has room for one more active user.
    let seats: @Sendable (PlanType, Int) -> Refusal?
    /// What codes are kept under.
    let codeKey: SymmetricKey
    private let refreshGrace: Duration
    private var roster = Roster(tenants: [], users: [], sessions: [])
    /// `nil` until loaded.
    private var activation: Activation?
    /// A joint turn is being decided and written: whoever comes waits for it.
    private var isJoined = false
    private var waiting: [CheckedContinuation<Void, Never>] = []
    private nonisolated let committed = Mutex(Committed())

    /// What is on disk. The gate changes it, change by change in their order, and calls `whenEnded` in that order: a login that ended before its
    /// own answer was given does not come to stand after all. It is read with every request, and so without a wait for this actor.
    private struct Committed {
        var tenants: [TenantID: Tenant] = [:]
        var tenantsByNumber: [String: TenantID] = [:]
        var tenantsBySlug: [String: TenantID] = [:]
        var people: [TenantID: Roster.People] = [:]
        var unverified: Set<UserID> = []
        /// The logins that have not ended.
        var standing: Set<LoginSessionID> = []
        var whenEnded: (@Sendable ([LoginSessionID]) -> Void)?
    }

    package init(
        store: any Store,
        gate: Gate,
        environment: Environment,
        hasher: PasswordHasher,
        tokens: TokenIssuer,
        guards: LoginGuard = LoginGuard(),
        refreshGrace: Duration = .seconds(10),
        seal: Seal = .none,
        codeSecret: String = "",
        seats: @escaping @Sendable (PlanType, Int) -> Refusal? = { _, _ in nil }
    ) {
        self.seats = seats
        codeKey = SymmetricKey(data: Array("plantao:email-code:\(codeSecret)".utf8))
        self.refreshGrace = refreshGrace
        self.seal = seal
        self.guards = guards
        self.store = store
        self.gate = gate
        self.environment = environment
        self.hasher = hasher
        self.tokens = tokens
    }

    /// Told which logins have ended, once that is on disk: their sockets are to be closed. Called by the gate: must not block.
    package nonisolated func onSessionsEnded(_ body: @escaping @Sendable ([LoginSessionID]) -> Void) { committed.withLock { $0.whenEnded = body } }

    // MARK: Loading

    package func load() async throws(Refusal) {
        let ended = activation
        guard ended?.isEnded ?? true else { return }
        let tenants = try await store.everything(in: IdentityTables.tenants).map(Tenant.init)
        let users = try await store.everything(in: IdentityTables.users).map(User.init)
        let sessions = try await store.everything(in: IdentityTables.loginSessions).map(LoginSession.init)
        let codes = try await store.everything(in: IdentityTables.emailCodes).compactMap(EmailCode.init)
        // Somebody was quicker, and has gone on from there: what was read here may be older than what they did.
        guard activation === ended else { return }
        let roster = Roster(tenants: tenants, users: users, sessions: sessions, codes: codes)
        self.roster = roster
        activation = Activation(tenant: TenantID(UniqueID(high: 0, low: 1)))
        committed.withLock {
            $0.tenants = roster.tenants
            $0.tenantsByNumber = roster.tenantsByNumber
            $0.tenantsBySlug = roster.tenantsBySlug
            $0.people = roster.people
            $0.unverified = roster.unverified
            $0.standing = Set(roster.sessions.keys)
        }
    }

    /// Loads, if what is here could not be stored or is not loaded yet.
    private func ready() async throws(Refusal) {
        while isJoined || activation?.isEnded ?? true {
            if isJoined { await withCheckedContinuation { waiting.append($0) } } else { try await load() }
        }
    }

    // MARK: Turns

    /// What a turn decided: its answer, the change, and the logins that begin and end with it.
    struct Turn<Answer: Sendable> {
        let answer: Answer
        var change = Change()
        var begun: LoginSessionID?
        var ended: [LoginSessionID] = []
    }

    /// One turn, answered when it is on disk. A refusal waits too: what it refuses for may itself not be on disk yet.
    func perform<Answer: Sendable>(_ decide: (inout Roster, Moment) throws(Refusal) -> Turn<Answer>) async throws(Refusal) -> Answer {
        try gate.admit()
        try await ready()
        let result: Result<Answer, Refusal>
        let ticket: Ticket
        do throws(Refusal) {
            let turn = try decide(&roster, environment.moment())
            result = .success(turn.answer)
            ticket = commit(turn.change, begun: turn.begun, ended: turn.ended)
        } catch {
            result = .failure(error)
            ticket = commit(Change(), begun: nil, ended: [])
        }
        try await ticket.committed()
        return try result.get()
    }

    /// One turn that a business's live state takes part in: what both decide is one change, written whole or not at all.
    ///
    /// Nothing else is decided here until it is written. What it is decided on is on disk by then, so that a failure leaves nothing to take back.
    /// - Parameter join: commits the change with the business's own; without, it is committed by itself.
    func performJointly<Answer: Sendable, Other>(
        _ decide: (inout Roster, Moment) throws(Refusal) -> Turn<Answer>,
        _ join: (Answer, JointChange) async throws(Refusal) -> Other
    ) async throws(Refusal) -> (Answer, Other) {
        try gate.admit()
        try await ready()
        isJoined = true
        defer {
            isJoined = false
            for continuation in waiting { continuation.resume() }
            waiting = []
        }
        try await commit(Change(), begun: nil, ended: []).committed()
        var decided = roster
        let turn = try decide(&decided, environment.moment())
        let isWritten = Mutex(false)
        let mirror = mirror(decided, begun: turn.begun, ended: turn.ended)
        let joint = JointChange(turn.change) { result in
            guard case .success = result else { return }
            mirror()
            isWritten.withLock { $0 = true }
        }
        let other: Result<Other, Refusal>
        do throws(Refusal) { other = .success(try await join(turn.answer, joint)) } catch { other = .failure(error) }
        if isWritten.withLock({ $0 }) { roster = decided }
        return (turn.answer, try other.get())
    }

    private func commit(_ change: Change, begun: LoginSessionID?, ended: [LoginSessionID]) -> Ticket {
        guard let activation else { preconditionFailure("a turn before anything was loaded") }
        let ticket = Ticket()
        let mirror = mirror(roster, begun: begun, ended: ended)
        gate.enqueue(change, activation) { result in
            if case .success = result { mirror() }
            ticket.settle(result)
        }
        return ticket
    }

    /// What the gate does once a roster is on disk.
    private func mirror(_ roster: Roster, begun: LoginSessionID?, ended: [LoginSessionID]) -> @Sendable () -> Void {
        // They change so rarely that to keep them as they now are costs no copy.
        let (tenants, numbers, slugs) = (roster.tenants, roster.tenantsByNumber, roster.tenantsBySlug)
        let (people, unverified) = (roster.people, roster.unverified)
        return { [self] in
            let tell = committed.withLock { committed in
                committed.tenants = tenants
                committed.tenantsByNumber = numbers
                committed.tenantsBySlug = slugs
                committed.people = people
                committed.unverified = unverified
                if let begun { committed.standing.insert(begun) }
                committed.standing.subtract(ended)
                return committed.whenEnded
            }
            if !ended.isEmpty { tell?(ended) }
        }
    }

    // MARK: Who there is

    package var isEmpty: Bool { tenants.isEmpty }
    package var tenants: [Tenant] { committed.withLock { $0.tenants }.values.sorted { $0.id < $1.id } }
    package func tenant(_ id: TenantID) -> Tenant? { committed.withLock { $0.tenants[id] } }
    package nonisolated func tenant(slug: String) -> Tenant? { committed.withLock { all in all.tenantsBySlug[slug].flatMap { all.tenants[$0] } } }
    /// A business as it is on disk, without a wait for this actor.
    package nonisolated func business(_ id: TenantID) -> Tenant? { committed.withLock { $0.tenants[id] } }
    /// How many active users a business has, where its owners read their mail, and who of them has been there longest.
    package nonisolated func people(of id: TenantID) -> (active: Int, owners: [String], owner: UserID?) {
        committed.withLock { $0.people[id] }.map { ($0.active, $0.owners, $0.owner) } ?? (0, [], nil)
    }
    /// Whom of a business other systems may mean by a name.
    package nonisolated func staff(of id: TenantID) -> Staff { committed.withLock { $0.people[id]?.staff } ?? Staff() }
    package nonisolated func isVerified(_ user: UserID) -> Bool { !committed.withLock { $0.unverified.contains(user) } }

    /// Whose number it is. While the first business has not named its number, every number that is nobody's is its: of the first, and not of one that
    /// happens to be the only one, for anybody may register another.
    package func tenant(phoneNumberID: String?) -> Tenant? {
        committed.withLock { committed in
            if let phoneNumberID, let id = committed.tenantsByNumber[phoneNumberID] { return committed.tenants[id] }
            guard let first = committed.tenants.values.min(by: { $0.id < $1.id }), first.phoneNumberID == nil else { return nil }
            return first
        }
    }

    /// By age, the oldest first.
    package func users(of tenant: TenantID) async throws(Refusal) -> [User] { try await reading { $0.users(of: tenant) } }
    package func user(_ tenant: TenantID, _ id: UserID) async throws(Refusal) -> User? { try await reading { $0.user(tenant, id) } }

    /// What is shown waits until it is on disk.
    func reading<T: Sendable>(_ body: (Roster) -> T) async throws(Refusal) -> T {
        try await ready()
        let answer = body(roster)
        try await commit(Change(), begun: nil, ended: []).committed()
        return answer
    }

    /// Whose user that is.
    package func tenant(of user: UserID) async throws(Refusal) -> Tenant? {
        try await reading { roster in roster.users[user].flatMap { roster.tenants[$0.tenant] } }
    }

    // MARK: Tenants

    /// - Parameter byOperator: whoever runs the server chose the address and the password, which may then be as plain as they like.
    package func createTenant(
        name: String,
        slug: String?,
        ownerEmail: String,
        ownerName: String,
        password: String,
        byOperator: Bool = false,
        plan: PlanType = .enterprise,
        template: TemplateType? = nil,
        whatsappNumber: String? = nil,
        isVerified: Bool = true,
        from origin: LoginOrigin = .inside
    ) async throws(Refusal) -> (Tenant, User) {
        let email = try Self.normalized(email: ownerEmail, isLocal: byOperator)
        if !byOperator { try PasswordStrength.check(password, email: email) }
        if !byOperator { try await refuseIfLocked(email, origin) }
        // Hashed before anybody looks whether the e-mail is taken, so that this takes as long when it is.
        let hash = try await hasher.hash(password)
        let owner = Roster.NewUser(email: email, name: ownerName, role: .owner, passwordHash: hash, isVerified: isVerified)
        let founding = Roster.Founding(plan: plan, template: template, whatsappNumber: whatsappNumber)
        do throws(Refusal) {
            return try await perform { roster, moment throws(Refusal) in
                let (tenant, user, change) = try roster.added(name: name, slug: slug, owner, founding: founding, moment)
                return Turn(answer: (tenant, user), change: change)
            }
        } catch {
            countAsGuess(error, email, origin)
            throw error
        }
    }

    package func setWhatsApp(tenant: TenantID, phoneNumberID: String?, wabaID: String?) async throws(Refusal) {
        try await perform { roster, _ throws(Refusal) in
            Turn(answer: (), change: try roster.reachable(tenant, phoneNumberID: phoneNumberID, wabaID: wabaID))
        }
    }

    // MARK: Users

    /// Refuses what would be refused anyway, before the time of a hash is spent on it.
    func check<Answer: Sendable>(_ look: (Roster) throws(Refusal) -> Answer) async throws(Refusal) -> Answer {
        try await perform { roster, _ throws(Refusal) in Turn(answer: try look(roster)) }
    }

    package func createUser(
        by principal: Principal,
        email: String,
        name: String,
        role: Role,
        password: String
    ) async throws(Refusal) -> User {
        let email = try Self.normalized(email: email)
        try await check { roster throws(Refusal) in try roster.requireMayAdd(role, email: email, by: principal) }
        try PasswordStrength.check(password, email: email)
        let new = Roster.NewUser(email: email, name: name, role: role, passwordHash: try await hasher.hash(password))
        return try await perform { roster, moment throws(Refusal) in
            let (user, change) = try roster.added(new, by: principal, seats: seats, moment)
            return Turn(answer: user, change: change)
        }
    }

    /// - Parameter password: the present one of whoever asks, for another e-mail or password of their own: no other door is to be the easier one.
    package func updateUser(
        by principal: Principal,
        _ id: UserID,
        _ changes: UserChanges,
        password: String? = nil,
        from origin: LoginOrigin = .inside
    ) async throws(Refusal) -> User {
        var changes = changes
        if let email = changes.email { changes.email = try Self.normalized(email: email) }
        let asked = changes
        if id == principal.user {
            try await requirePassword(password, of: principal, origin) { user in
                asked.password != nil || asked.email.map { $0 != user.email } ?? false
            }
        }
        var hash: String?
        if let password = changes.password {
            let user = try await check { roster throws(Refusal) in try roster.changeable(id, by: principal) }
            try PasswordStrength.check(password, email: changes.email ?? user.email)
            hash = try await hasher.hash(password)
        }
        return try await perform { roster, moment throws(Refusal) in
            let (user, ended, change) = try roster.changed(id, asked, passwordHash: hash, by: principal, seats: seats, moment)
            return Turn(answer: user, change: change, ended: ended)
        }
    }

    package func deleteUser(by principal: Principal, _ id: UserID) async throws(Refusal) {
        try await perform { roster, _ throws(Refusal) in
            let (ended, change) = try roster.removed(id, by: principal)
            return Turn(answer: (), change: change, ended: ended)
        }
    }

    package func keepViews(_ views: String, of principal: Principal) async throws(Refusal) {
        try await perform { roster, _ throws(Refusal) in Turn(answer: (), change: try roster.kept(views: views, of: principal)) }
    }

    // MARK: Logins

    private static let wrong = Refusal(.unauthenticated, "invalid_credentials", "E-mail ou senha incorretos.")

    package static func locked(_ wait: Duration) -> Refusal {
        let seconds = max(1, Int((wait.inMilliseconds + 999) / 1000))
        return Refusal(
            .tooMany,
            "login_locked",
            "Muitas tentativas de login; aguarde \(seconds) segundos e tente novamente.",
            retryAfterSeconds: seconds
        )
    }

    /// The answer is the same, and takes as long, whether the e-mail, the password or the user is the trouble; and after too many failures as well.
    package func login(identifier: String, password: String, from origin: LoginOrigin = .inside) async throws(Refusal) -> LoginResult {
        try gate.admit()
        try await ready()
        let account = Self.trimmed(identifier).lowercased()
        try await refuseIfLocked(account, origin)
        let known = roster.user(email: account)
        let fits = try await hasher.verify(password, known?.passwordHash)
        // Others may have failed meanwhile: what was found out under a lock is not told. Counted in the same turn, before anybody else's next look.
        if guards.wait(account, from: origin.address, at: environment.now()) != nil {
            try await refuseIfLocked(account, origin)
        } else if !fits {
            guards.failed(account, from: origin.address, at: environment.now(), random: environment.randomBits().0)
        }
        let lifetime = tokens.sessionLifetime
        let sealed = origin.closed(seal)
        let outcome = try await perform { roster, moment -> Turn<Result<(User, LoginSession, Moment), Refusal>> in
            // The password may have been changed while it was being checked.
            guard fits, let known, roster.users[known.id]?.passwordHash == known.passwordHash,
                let (session, user, ended, made) = roster.loggedIn(
                    known.id,
                    from: sealed,
                    refreshID: Self.newTokenID(moment),
                    lifetime: lifetime,
                    moment
                )
            else {
                let reason: LoginRecord.Outcome = known == nil ? .unknownAccount : fits ? .inactive : .wrongPassword
                return Turn(answer: .failure(Self.wrong), change: Self.record(known, account, sealed, reason, roster, moment))
            }
            var change = made
            change.append(Self.record(user, account, sealed, .success, roster, moment))
            return Turn(answer: .success((user, session, moment)), change: change, begun: session.id, ended: ended)
        }
        guard case .success(let (user, session, moment)) = outcome else { throw Self.wrong }
        guards.succeeded(account, from: origin.address)
        return try await result(user, session, moment)
    }

    /// An address that keeps asking which e-mails are taken is one that guesses.
    func countAsGuess(_ refusal: Refusal, _ account: String, _ origin: LoginOrigin) {
        guard refusal.code == "email_taken" else { return }
        guards.failed(account, from: origin.address, at: environment.now(), random: environment.randomBits().0)
    }

    func refuseIfLocked(_ account: String, _ origin: LoginOrigin) async throws(Refusal) {
        let now = environment.now()
        guard let wait = guards.wait(account, from: origin.address, at: now) else { return }
        if guards.isWorthRecording(account, from: origin.address, at: now) {
            let sealed = origin.closed(seal)
            try await perform { roster, moment in
                Turn(answer: (), change: Self.record(roster.user(email: account), account, sealed, .locked, roster, moment))
            }
        }
        throw Self.locked(wait)
    }

    static func record(
        _ user: User?,
        _ email: String,
        _ origin: LoginOrigin,
        _ outcome: LoginRecord.Outcome,
        _ roster: Roster,
        _ moment: Moment
    ) -> Change {
        var change = Change()
        guard let tenant = user?.tenant ?? roster.firstTenant else { return change }
        change.rows.append(LoginRecord(tenant: tenant, user: user?.id, email: email, origin, outcome, moment).image)
        return change
    }

    /// A refresh token is good once. Used again within the grace it gives what the first use gave; after it, it ends the login for whoever has it.
    package func refresh(_ token: String, from origin: LoginOrigin = .inside) async throws(Refusal) -> LoginResult {
        let (_, id, refreshID) = try await tokens.verifyRefresh(token)
        let lifetime = tokens.sessionLifetime
        let sealed = origin.closed(seal)
        let (outcome, moment) = try await perform { roster, moment throws(Refusal) in
            let (outcome, changed) = roster.refreshed(
                id,
                from: sealed,
                with: refreshID,
                next: Self.newTokenID(moment),
                lifetime: lifetime,
                grace: refreshGrace,
                moment
            )
            guard case .reused(let user, let ended) = outcome else { return Turn(answer: (outcome, moment), change: changed) }
            var change = changed
            change.append(Self.record(user, user?.email ?? "", sealed, .refreshReused, roster, moment))
            return Turn(answer: (outcome, moment), change: change, ended: ended)
        }
        switch outcome {
        case .renewed(let session, let user): return try await result(user, session, moment)
        case .reused:
            throw Refusal(.unauthenticated, "refresh_reused", "Este token já foi usado; por segurança a sessão foi encerrada. Entre novamente.")
        case .unknown: throw TokenIssuer.invalid
        }
    }

    // MARK: One's own logins

    package func sessions(of user: UserID) async throws(Refusal) -> [LoginSession] {
        try await reading { $0.sessions(of: user) }.map { session in
            var session = session
            session.origin = session.origin.opened(seal)
            return session
        }
    }

    /// - Parameter one: that one; `nil` for all but `current`.
    /// - Returns: how many ended.
    package func endSessions(of principal: Principal, current: LoginSessionID, one: LoginSessionID?) async throws(Refusal) -> Int {
        try await perform { roster, moment throws(Refusal) in
            let ids = one.map { [$0] } ?? roster.sessions(of: principal.user).map(\.id).filter { $0 != current }
            let (ended, change) = try roster.ended(ids, of: principal.user)
            return Turn(answer: ended.count, change: change, ended: ended)
        }
    }

    /// Ends all other logins of the user.
    package func changePassword(
        of principal: Principal,
        session: LoginSessionID,
        from old: String,
        to new: String,
        origin: LoginOrigin = .inside
    ) async throws(Refusal) {
        try gate.admit()
        guard let user = try await user(principal.tenant, principal.user) else { throw TokenIssuer.invalid }
        try await refuseIfLocked(user.email, origin)
        guard try await hasher.verify(old, user.passwordHash) else {
            guards.failed(user.email, from: origin.address, at: environment.now(), random: environment.randomBits().0)
            throw .invalid("current_password", message: "não é a senha atual", type: "value_error")
        }
        try PasswordStrength.check(new, email: user.email, field: "new_password")
        let hash = try await hasher.hash(new)
        let sealed = origin.closed(seal)
        try await perform { roster, moment throws(Refusal) in
            // Somebody else may have set another meanwhile.
            guard roster.users[user.id]?.passwordHash == user.passwordHash else { throw TokenIssuer.invalid }
            let (ended, changed) = try roster.passwordChanged(user.id, to: hash, keeping: session, moment)
            var change = changed
            change.append(Self.record(user, user.email, sealed, .passwordChanged, roster, moment))
            return Turn(answer: (), change: change, ended: ended)
        }
    }

    package func logout(_ session: LoginSessionID, from origin: LoginOrigin = .inside) async throws(Refusal) {
        let sealed = origin.closed(seal)
        try await perform { roster, moment throws(Refusal) in
            let user = roster.sessions[session].flatMap { roster.users[$0.user] }
            var (ended, change) = roster.loggedOut(session)
            if let user { change.append(Self.record(user, user.email, sealed, .logout, roster, moment)) }
            return Turn(answer: (), change: change, ended: ended)
        }
    }

    /// Deletes logins that have expired. To be called now and then.
    package func sweep() async throws(Refusal) {
        try await perform { roster, moment throws(Refusal) in
            let (ended, change) = roster.expired(moment)
            return Turn(answer: (), change: change, ended: ended)
        }
        // What the record holds too long, some at a time.
        let old = try await store.rows(
            .select(from: IdentityTables.loginAudit, "WHERE at < ? ORDER BY at LIMIT 5000", [.timestamp(environment.now() - LoginRecord.kept)])
        ).map(LoginRecord.init)
        guard !old.isEmpty else { return }
        try await perform { _, _ throws(Refusal) in
            var change = Change()
            change.rows = old.map(\.deletion)
            return Turn(answer: (), change: change)
        }
    }

    /// Whether a login has not ended, as of now.
    package nonisolated func stands(_ session: LoginSessionID) -> Bool { committed.withLock { $0.standing.contains(session) } }

    /// Proves an access token, and that its login has not ended. Does not wait for this actor.
    package nonisolated func authenticate(accessToken: String) async throws(Refusal) -> AccessClaims {
        let claims = try await tokens.verifyAccess(accessToken)
        // A web chat's token ends by itself.
        guard claims.session.map(stands) ?? true else { throw TokenIssuer.invalid }
        return claims
    }

    // MARK: Visitors of web chats

    package struct VisitTokens: Sendable {
        package let token: String
        package let refreshToken: String
        package let expiresInSeconds: Int64
    }

    package nonisolated func visitTokens(
        _ contact: ContactID,
        of conversation: ConversationID,
        tenant: TenantID,
        name: String
    ) async throws(Refusal) -> VisitTokens {
        let pair = try await tokens.visit(contact, of: conversation, tenant: tenant, name: name, environment.moment())
        return VisitTokens(token: pair.token, refreshToken: pair.refreshToken, expiresInSeconds: tokens.visitLifetime.components.seconds)
    }

    /// What follows a business's public page, and for how many seconds it is good.
    package nonisolated func guestToken(of slug: String, tenant: TenantID) async throws(Refusal) -> (token: String, expiresInSeconds: Int64) {
        (try await tokens.guest(of: slug, tenant: tenant, environment.moment()), tokens.visitLifetime.components.seconds)
    }

    package nonisolated func visitor(returningWith token: String) async throws(Refusal) -> Principal { try await tokens.verifyReturn(token) }

    private func result(_ user: User, _ session: LoginSession, _ moment: Moment) async throws(Refusal) -> LoginResult {
        LoginResult(
            user: user,
            accessToken: try await tokens.access(user, session: session.id, at: moment.now, id: Self.newTokenID(moment)),
            refreshToken: try await tokens.refresh(user, session: session.id, at: moment.now, id: session.refreshID),
            expiresInSeconds: tokens.accessLifetime.components.seconds
        )
    }

    private enum TokenKind {}
    private static func newTokenID(_ moment: Moment) -> String { (moment.id() as Identifier<TokenKind>).description }

    /// What people paste has blanks around it.
    static func trimmed(_ text: String) -> String {
        var rest = Substring(text)
        while rest.first?.isWhitespace == true { rest.removeFirst() }
        while rest.last?.isWhitespace == true { rest.removeLast() }
        return String(rest)
    }

    /// - Throws: a 422 for what cannot be an address. Whether it is one, only a message to it could tell.
    static func normalized(email: String, isLocal: Bool = false) throws(Refusal) -> String {
        let email = trimmed(email).lowercased()
        let parts = email.split(separator: "@", omittingEmptySubsequences: false)
        guard parts.count == 2, !parts[0].isEmpty, !parts[1].isEmpty, isLocal || parts[1].contains("."), !parts[1].hasPrefix("."),
            !parts[1].hasSuffix("."),
            // ASCII that can be seen, so that of two spellings which look alike only one is an address.
            email.utf8.allSatisfy({ (0x21...0x7e).contains($0) }), !email.contains(".."), email.utf8.count <= 254
        else { throw .invalid("email", message: "não é um endereço de e-mail válido", type: "value_error.email") }
        return email
    }
}
