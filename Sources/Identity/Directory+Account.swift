import Crypto
package import Kernel
package import Storage

// One's account: the profile, the proof of an address, a forgotten password, the plan.

/// What is to be said to somebody by e-mail about their account.
package struct AccountLetter: Sendable, Equatable {
    package let tenant: TenantID
    package let recipient: String
    package let subject: String
    package let text: String
    /// From then on it is of no use.
    package let expiresAt: Timestamp?
}

extension Directory {
    // MARK: The profile

    package struct Profile: Sendable {
        package let user: User
        package let tenant: Tenant

        /// Becomes more with each change of either.
        package var revision: Int64 { user.version + tenant.version }
    }

    /// Takes part in a turn: commits its change with one of its own.
    package typealias Join<Answer, Other> = (Answer, JointChange) async throws(Refusal) -> Other

    package func profile(of principal: Principal) async throws(Refusal) -> Profile {
        let found = try await reading { roster in
            roster.user(principal.tenant, principal.user).flatMap { user in roster.tenants[user.tenant].map { Profile(user: user, tenant: $0) } }
        }
        guard let found else { throw TokenIssuer.invalid }
        return found
    }

    /// - Parameters:
    ///   - isSeen: whether what there is is what the caller has seen; throws if not.
    ///   - join: what is changed with it, elsewhere, all or nothing; `nil` for nothing.
    /// - Returns: with another e-mail, what is said to both addresses: to the new one the code, to the one before that it changed.
    package func changeProfile(
        of principal: Principal,
        _ changes: ProfileChanges,
        password: String? = nil,
        from origin: LoginOrigin = .inside,
        ifSeen isSeen: @Sendable (Profile) throws(Refusal) -> Void = { _ in },
        joinedBy join: (@Sendable (JointChange) async throws(Refusal) -> Void)? = nil
    ) async throws(Refusal) -> (profile: Profile, letters: [AccountLetter]) {
        var changes = changes
        if let asked = changes.email {
            let email = try Self.normalized(email: asked)
            changes.email = email
            try await refuseIfLocked(email, origin)
            try await requirePassword(password, of: principal, origin) { $0.email != email }
        }
        let asked = changes
        let code = newCode()
        let key = codeKey
        typealias Changed = (profile: Profile, letters: [AccountLetter])
        func decide(_ roster: inout Roster, _ moment: Moment) throws(Refusal) -> Turn<Changed> {
            if let user = roster.user(principal.tenant, principal.user), let tenant = roster.tenants[principal.tenant] {
                try isSeen(Profile(user: user, tenant: tenant))
            }
            var (user, tenant, former, change) = try roster.profileChanged(of: principal, asked, moment)
            var letters: [AccountLetter] = []
            if let former {
                let issued = roster.codeIssued(user, .verify, digest: Self.digest(code, .verify, user.id, key), moment)
                change.append(issued.1)
                letters = [.emailChanged(from: former, user)]
                if issued.wait == nil { letters.append(.verification(code, user, moment.now)) }
            }
            return Turn(answer: (Profile(user: user, tenant: tenant), letters), change: change)
        }
        do throws(Refusal) {
            guard let join else { return try await perform(decide) }
            return try await performJointly(decide) { _, joint throws(Refusal) in try await join(joint) }.0
        } catch {
            if let email = asked.email { countAsGuess(error, email, origin) }
            throw error
        }
    }

    /// Whoever has the address has the account, by way of a forgotten password: a token that fell into other hands is not to be enough.
    ///
    /// - Parameter isAsked: whether what is to become of them needs it.
    func requirePassword(
        _ password: String?,
        of principal: Principal,
        _ origin: LoginOrigin,
        when isAsked: (User) -> Bool
    ) async throws(Refusal) {
        guard let user = try await user(principal.tenant, principal.user), isAsked(user) else { return }
        guard let password else {
            throw .invalid("current_password", message: "campo obrigatório para mudar o e-mail ou a senha", type: "missing")
        }
        try await refuseIfLocked(user.email, origin)
        guard try await hasher.verify(password, user.passwordHash) else {
            guards.failed(user.email, from: origin.address, at: environment.now(), random: environment.randomBits().0)
            throw .invalid("current_password", message: "não é a senha atual", type: "value_error")
        }
    }

    // MARK: Proving an address

    /// Six digits, each of the million as likely as another.
    private func newCode() -> String {
        let number = String(environment.randomBits().1 % 1_000_000)
        return String(repeating: "0", count: 6 - number.count) + number
    }

    private static func digest(_ code: String, _ purpose: EmailCode.Purpose, _ user: UserID, _ key: SymmetricKey) -> String {
        let code = HMAC<SHA256>.authenticationCode(for: Array("\(purpose.rawValue):\(user):\(code)".utf8), using: key)
        return code.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }

    /// The code of somebody who has just registered, or asks for another.
    /// - Returns: `nil` when the address is proved already.
    /// - Throws: 429 when it is too soon.
    package func verificationCode(of user: UserID, in tenant: TenantID) async throws(Refusal) -> AccountLetter? {
        let code = newCode()
        let key = codeKey
        let outcome = try await perform { roster, moment throws(Refusal) -> Turn<Result<AccountLetter?, Refusal>> in
            guard let user = roster.user(tenant, user), user.isActive else { throw TokenIssuer.invalid }
            if user.isVerified { return Turn(answer: .success(nil)) }
            let (wait, change) = roster.codeIssued(user, .verify, digest: Self.digest(code, .verify, user.id, key), moment)
            if let wait { return Turn(answer: .failure(Self.tooSoon(wait))) }
            return Turn(answer: .success(.verification(code, user, moment.now)), change: change)
        }
        return try outcome.get()
    }

    private static func tooSoon(_ wait: Duration) -> Refusal {
        let seconds = max(1, Int((wait.inMilliseconds + 999) / 1000))
        return Refusal(
            .tooMany,
            "code_too_soon",
            "Um código já foi enviado há pouco; aguarde \(seconds) segundos para pedir outro.",
            retryAfterSeconds: seconds
        )
    }

    package func verifyEmail(of principal: Principal, code: String) async throws(Refusal) -> User {
        let digest = Self.digest(code, .verify, principal.user, codeKey)
        let outcome = try await perform { roster, moment throws(Refusal) in
            let (result, change) = try roster.verified(by: principal, digest: digest, moment)
            return Turn(answer: result, change: change)
        }
        return try outcome.get()
    }

    // MARK: A forgotten password

    /// Whether there is such an account is not told: not by the answer, and nothing is waited for that only an account has.
    package func forgotPassword(email: String, from origin: LoginOrigin) async throws(Refusal) -> AccountLetter? {
        let account = Self.trimmed(email).lowercased()
        let (code, key, sealed) = (newCode(), codeKey, origin.closed(seal))
        return try await perform { roster, moment -> Turn<AccountLetter?> in
            let user = roster.user(email: account).flatMap { $0.isActive ? $0 : nil }
            var change = Self.record(user, account, sealed, .resetAsked, roster, moment)
            guard let user else { return Turn(answer: nil, change: change) }
            let issued = roster.codeIssued(user, .reset, digest: Self.digest(code, .reset, user.id, key), moment)
            change.append(issued.1)
            return Turn(answer: issued.wait == nil ? .reset(code, user, moment.now) : nil, change: change)
        }
    }

    /// One answer for a wrong code, an old one, and an address that is nobody's.
    package func resetPassword(email: String, code: String, to password: String, from origin: LoginOrigin) async throws(Refusal) {
        let account = Self.trimmed(email).lowercased()
        try PasswordStrength.check(password, email: account, field: "new_password")
        try await refuseIfLocked(account, origin)
        let hash = try await hasher.hash(password)
        let (key, sealed) = (codeKey, origin.closed(seal))
        let done = try await perform { roster, moment -> Turn<Bool> in
            let digest = roster.user(email: account).map { Self.digest(code, .reset, $0.id, key) } ?? ""
            let (user, ended, changed) = roster.passwordReset(email: account, digest: digest, to: hash, moment)
            var change = changed
            if let user { change.append(Self.record(user, account, sealed, .passwordReset, roster, moment)) }
            return Turn(answer: user != nil, change: change, ended: ended)
        }
        guard done else {
            guards.failed(account, from: origin.address, at: environment.now(), random: environment.randomBits().0)
            throw Refusal(.malformed, "code_wrong", "Código incorreto ou vencido; confira o e-mail ou peça outro.")
        }
        guards.succeeded(account, from: origin.address)
    }

    // MARK: The plan

    package typealias PlanMove = (tenant: Tenant, former: PlanType, at: Timestamp)

    /// - Parameters:
    ///   - principal: the owner who changes it; `nil` for whoever runs the server.
    ///   - join: takes part in the change: whoever counts and tells of it.
    package func changePlan<Other: Sendable>(
        of tenant: TenantID,
        to plan: PlanType,
        by principal: Principal?,
        _ join: Join<PlanMove, Other>
    ) async throws(Refusal) -> (PlanMove, Other) {
        try await performJointly(
            { roster, moment throws(Refusal) in
                let name = principal?.name ?? "operador"
                let (tenant, former, change) = try roster.planChanged(of: tenant, to: plan, by: principal, name: name, moment)
                return Turn<PlanMove>(answer: (tenant, former, moment.now), change: change)
            },
            join
        )
    }

    /// The same where nobody is awake to take part.
    package func changePlan(of tenant: TenantID, to plan: PlanType, by principal: Principal?) async throws(Refusal) -> PlanMove {
        let activation = Activation(tenant: tenant)
        return try await changePlan(of: tenant, to: plan, by: principal) { [gate] _, joint throws(Refusal) in
            let ticket = Ticket()
            gate.enqueue(joint.change, activation) {
                joint.release($0)
                ticket.settle($0)
            }
            try await ticket.committed()
        }.0
    }

    /// The latest first.
    package func planChanges(of tenant: TenantID, limit: Int = 50) async throws(Refusal) -> [PlanChange] {
        try await store.rows(
            .select(
                from: IdentityTables.planChanges,
                "WHERE tenant_id = ? ORDER BY id DESC LIMIT ?",
                [.id(tenant), .integer(Int64(limit))],
                tenant: tenant
            )
        ).map(PlanChange.init)
    }
}

extension AccountLetter {
    private static let minutes = EmailCode.lifetime.components.seconds / 60

    static func verification(_ code: String, _ user: User, _ now: Timestamp) -> AccountLetter {
        AccountLetter(
            tenant: user.tenant,
            recipient: user.email,
            subject: "\(code) é o seu código de verificação",
            text: """
                Olá, \(user.name)!

                Para confirmar que este e-mail é seu, informe este código: \(code)

                Ele vale por \(minutes) minutos. Se você não pediu, ignore esta mensagem.
                """,
            expiresAt: now + EmailCode.lifetime
        )
    }

    static func reset(_ code: String, _ user: User, _ now: Timestamp) -> AccountLetter {
        AccountLetter(
            tenant: user.tenant,
            recipient: user.email,
            subject: "\(code) é o seu código para criar uma nova senha",
            text: """
                Olá, \(user.name)!

                Para criar uma nova senha, informe este código: \(code)

                Ele vale por \(minutes) minutos e só serve uma vez. Se não foi você que pediu, ignore esta mensagem: sua senha continua a mesma.
                """,
            expiresAt: now + EmailCode.lifetime
        )
    }

    package static func emailChanged(from former: String, _ user: User) -> AccountLetter {
        AccountLetter(
            tenant: user.tenant,
            recipient: former,
            subject: "O e-mail da sua conta foi alterado",
            text: """
                Olá, \(user.name)!

                O e-mail da sua conta deixou de ser este. Se não foi você que alterou, fale agora com quem administra a sua empresa.
                """,
            expiresAt: nil
        )
    }
}
