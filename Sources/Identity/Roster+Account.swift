package import Kernel

// What somebody changes of themselves and of their business, and how they prove that an address is theirs.

/// What somebody changes of their own profile: what is `nil` stays.
package struct ProfileChanges: Sendable {
    package var name: String?
    package var email: String?
    package var businessName: String?
    package var template: TemplateType?
    package var whatsappNumber: String??

    package init() {}

    /// Of the business, which only those who administer it change.
    package var areOfTheBusiness: Bool { businessName != nil || template != nil || whatsappNumber != nil }
}

extension Roster {
    mutating func profileChanged(
        of principal: Principal,
        _ changes: ProfileChanges,
        _ moment: Moment
    ) throws(Refusal) -> (user: User, tenant: Tenant, formerEmail: String?, Change) {
        guard let before = user(principal.tenant, principal.user), before.isActive, let business = tenants[principal.tenant] else {
            throw TokenIssuer.invalid
        }
        var (user, tenant, change) = (before, business, Change())
        if let name = changes.name { user.name = name }
        if let email = changes.email, email != before.email {
            try requireFree(email: email)
            user.email = email
            user.unverifiedSince = moment.now
        }
        if changes.areOfTheBusiness {
            if let name = changes.businessName { tenant.name = name }
            if let template = changes.template { tenant.template = template }
            if let number = changes.whatsappNumber { tenant.whatsappNumber = number }
            // Whoever puts a profile back as it was, with a field of their own changed, changes nothing of the business.
            guard tenant == business || before.role.canAdminister else {
                throw Refusal(.forbidden, "role_forbidden", "Só administradores alteram os dados da empresa.")
            }
        }
        if user != before {
            user.updatedAt = moment.now
            change.rows.append(user.image())
            index(user)
        }
        if tenant != business {
            change.rows.append(tenant.image())
            index(tenant)
        }
        return (user, tenant, user.email == before.email ? nil : before.email, change)
    }

    // MARK: Codes

    /// - Returns: how long to wait, when it is too soon for another one.
    mutating func codeIssued(_ user: User, _ purpose: EmailCode.Purpose, digest: String, _ moment: Moment) -> (wait: Duration?, Change) {
        var change = Change()
        var code: EmailCode
        if let known = codes[user.id]?[purpose] {
            // Another address has nothing to do with what was sent to the one before; the bound on how many are sent stays.
            if let wait = known.wait(at: moment.now), known.email == user.email { return (wait, change) }
            code = known
            code.reissued(to: user.email, digest: digest, at: moment.now)
        } else {
            code = EmailCode(tenant: user.tenant, user: user.id, purpose: purpose, email: user.email, digest: digest, at: moment.now)
        }
        change.rows.append(code.image())
        codes[user.id, default: [:]][purpose] = code
        return (nil, change)
    }

    /// Somebody gave a code. What became of it is written down also when it was wrong.
    private mutating func codeGiven(
        _ digest: String,
        by user: User,
        for purpose: EmailCode.Purpose,
        _ moment: Moment
    ) -> (EmailCode.Answer, Change) {
        var change = Change()
        guard var code = codes[user.id]?[purpose] else { return (.over, change) }
        let answer = code.given(digest, for: user.email, at: moment.now)
        guard answer != .over else { return (answer, change) }
        if answer == .right {
            change.rows.append(code.deletion)
            codes[user.id]?[purpose] = nil
        } else {
            change.rows.append(code.image())
            codes[user.id]?[purpose] = code
        }
        return (answer, change)
    }

    mutating func verified(by principal: Principal, digest: String, _ moment: Moment) throws(Refusal) -> (Result<User, Refusal>, Change) {
        guard var user = user(principal.tenant, principal.user), user.isActive else { throw TokenIssuer.invalid }
        if user.isVerified { return (.success(user), Change()) }
        var (answer, change) = codeGiven(digest, by: user, for: .verify, moment)
        switch answer {
        case .right:
            user.unverifiedSince = nil
            user.updatedAt = moment.now
            change.rows.append(user.image())
            index(user)
            return (.success(user), change)
        case .wrong(let left) where left > 0:
            var refusal = Refusal(.malformed, "code_wrong", "Código incorreto; confira o e-mail e tente novamente.")
            refusal.numbers = ["attempts_left": left]
            return (.failure(refusal), change)
        case .wrong, .over:
            return (
                .failure(
                    Refusal(.malformed, "code_expired", "Este código não vale mais; peça outro (POST /api/users/verify-email/resend).")
                ), change
            )
        }
    }

    /// Another password by the code that was sent to the address: all logins end, and the address is proved.
    mutating func passwordReset(
        email: String,
        digest: String,
        to hash: String,
        _ moment: Moment
    ) -> (user: User?, ended: [LoginSessionID], Change) {
        guard var user = user(email: email), user.isActive else { return (nil, [], Change()) }
        var (answer, change) = codeGiven(digest, by: user, for: .reset, moment)
        guard answer == .right else { return (nil, [], change) }
        user.passwordHash = hash
        user.unverifiedSince = nil
        user.updatedAt = moment.now
        change.rows.append(user.image())
        index(user)
        return (user, endSessions(of: user.id, &change), change)
    }

    // MARK: The plan

    mutating func planChanged(
        of id: TenantID,
        to plan: PlanType,
        by principal: Principal?,
        name: String,
        _ moment: Moment
    ) throws(Refusal) -> (tenant: Tenant, former: PlanType, Change) {
        guard var tenant = tenants[id] else { throw .notFound(.tenant) }
        if let principal {
            guard let user = user(principal.tenant, principal.user), user.isActive else { throw TokenIssuer.invalid }
            guard user.role == .owner else { throw Refusal(.forbidden, "owner_only", "Só um proprietário muda o plano.") }
        }
        let former = tenant.plan
        var change = Change()
        guard former != plan else { return (tenant, former, change) }
        tenant.plan = plan
        change.rows.append(tenant.image())
        change.rows.append(PlanChange(tenant: id, from: former, to: plan, user: principal?.user, by: name, moment).image)
        index(tenant)
        return (tenant, former, change)
    }
}
