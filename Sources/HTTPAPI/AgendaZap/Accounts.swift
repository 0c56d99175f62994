package import Identity
import Jobs
package import Kernel
package import Logging
import Plans
import Scheduling
import Storage
package import Tenancy
package import Wire

/// One's account: profile, plan, usage, the proof of one's e-mail. REST and RPC call the same functions here (contracts/agendazap.md "Usuários", PlanService,
/// UserService).
package struct Accounts: Sendable {
    let directory: Directory
    let operations: Operations
    let settings: API.Settings
    let environment: Kernel.Environment
    let logger: Logger

    package init(
        _ directory: Directory,
        _ operations: Operations,
        _ settings: API.Settings,
        _ environment: Kernel.Environment,
        logger: Logger
    ) {
        self.directory = directory
        self.operations = operations
        self.settings = settings
        self.environment = environment
        self.logger = logger
    }

    /// A remote procedure call: one of `Operations.accountMethods`.
    package func call(_ method: String, _ data: JSON, by principal: Principal) async throws(Refusal) -> [UInt8] {
        switch method {
        case "account.profile": try await profile(of: principal)
        case "account.update-profile": try await changeProfile(data, revision: nil, by: principal, from: .inside)
        case "account.usage": try await operations.usage(principal.tenant)
        case "account.plans": try await plans(principal)
        case "account.upgrade-plan": try await upgradePlan(data, by: principal)
        case "account.verify-email": try await verifyEmail(data, by: principal)
        default: try await resendCode(to: principal).json
        }
    }

    // MARK: The profile

    package func profile(of principal: Principal) async throws(Refusal) -> [UInt8] {
        try await shown(try await directory.profile(of: principal))
    }

    /// All of it is changed, or nothing: the time zone, which is the calendar's, as well.
    /// - Parameter revision: what the caller has seen; another one is refused. `nil`: that of the body, or any.
    package func changeProfile(_ json: JSON?, revision: Int64?, by principal: Principal, from origin: LoginOrigin) async throws(Refusal) -> [UInt8] {
        var fields = try RequestFields(json)
        let changes = fields.profile()
        let password = fields.optionalText("current_password", max: 256)
        let wanted = fields.optionalText("timezone", min: 1, max: 64).map { (name: $0, zone: Zone.named($0)) }
        if let wanted, wanted.zone == nil {
            fields.refuse("timezone", "não há fuso horário com este nome; use um como America/Sao_Paulo", type: "timezone")
        }
        let seen = fields.revision() ?? revision
        try fields.check()
        let calendar = try await calendar(principal.tenant)
        var join: (@Sendable (JointChange) async throws(Refusal) -> Void)?
        if let wanted, let zone = wanted.zone, zone.identifier != calendar.zone.identifier {
            try principal.requireAdministrator()
            let rules = seen == nil ? nil : calendar.revision
            join = { joint throws(Refusal) in
                _ = try await operations.changeBookingRules(["timezone": .string(wanted.name)], revision: rules, by: principal, with: joint)
            }
        }
        let (profile, letters) = try await directory.changeProfile(
            of: principal,
            changes,
            password: password,
            from: origin,
            ifSeen: { profile throws(Refusal) in
                let present = profile.revision + calendar.revision
                guard let seen, seen != present else { return }
                throw .stale("O perfil", revision: present, current: Self.json(profile, calendar))
            },
            joinedBy: join
        )
        for letter in letters { await sendLater(letter) }
        return try await shown(profile)
    }

    private typealias CalendarPart = (zone: Zone, revision: Int64)

    private func calendar(_ tenant: TenantID) async throws(Refusal) -> CalendarPart {
        try await operations.readCalendar(of: tenant) { book, _ throws(Refusal) in (book.rules.zone, book.rules.version) }
    }

    private func shown(_ profile: Directory.Profile) async throws(Refusal) -> [UInt8] {
        Self.json(profile, try await calendar(profile.tenant.id))
    }

    /// The contract's object, with what belongs to it.
    private static func json(_ profile: Directory.Profile, _ calendar: CalendarPart) -> [UInt8] {
        let (user, tenant) = (profile.user, profile.tenant)
        var writer = JSONWriter(capacity: 1024)
        writer.object {
            $0.field("id", user.id.description)
            $0.field("email", user.email)
            $0.field("name", user.name)
            $0.field("role", user.role.rawValue)
            $0.field("business_name", tenant.name)
            $0.field("template_type", tenant.template?.rawValue)
            $0.field("whatsapp_number", tenant.whatsappNumber)
            $0.field("plan_type", tenant.plan.rawValue)
            $0.field("is_active", user.isActive)
            $0.field("is_verified", user.isVerified)
            $0.field("tenant_id", tenant.id.description)
            $0.field("slug", tenant.slug)
            $0.field("timezone", calendar.zone.identifier)
            $0.field("revision", profile.revision + calendar.revision)
            $0.field("created_at", user.createdAt.description)
            $0.field("updated_at", user.updatedAt.description)
            $0.field("last_login_at", user.lastLoginAt?.description)
        }
        return writer.bytes
    }

    // MARK: The e-mail

    package func verifyEmail(_ json: JSON?, by principal: Principal) async throws(Refusal) -> [UInt8] {
        var fields = try RequestFields(json)
        let code = fields.code(fields.has("verification_code") ? "verification_code" : "code")
        try fields.check()
        let user = try await directory.verifyEmail(of: principal, code: code)
        return Self.object {
            $0.field("detail", "E-mail confirmado")
            $0.field("email", user.email)
            $0.field("is_verified", user.isVerified)
        }
    }

    /// - Returns: `isSent` is false where there is nothing left to prove.
    package func resendCode(to principal: Principal) async throws(Refusal) -> (json: [UInt8], isSent: Bool) {
        guard let letter = try await directory.verificationCode(of: principal.user, in: principal.tenant) else {
            let json = Self.object {
                $0.field("detail", "Este e-mail já está confirmado")
                $0.field("is_verified", true)
            }
            return (json, false)
        }
        try await send(letter)
        let json = Self.object {
            $0.field("detail", "Enviamos um código para o seu e-mail; ele vale por 30 minutos")
            $0.field("is_verified", false)
        }
        return (json, true)
    }

    /// Of what is done already: a letter that cannot be queued is no reason to say that it is not, and another can be asked for.
    func sendLater(_ letter: AccountLetter) async {
        do throws(Refusal) { try await send(letter) } catch {
            logger.warning("an account letter could not be queued", metadata: ["tenant": "\(letter.tenant)", "reason": "\(error)"])
        }
    }

    /// Into the e-mail queue.
    func send(_ letter: AccountLetter) async throws(Refusal) {
        _ = try await operations.enqueue([letter.message(at: environment.now())], of: letter.tenant)
    }

    // MARK: The plan

    package func plans(_ principal: Principal) async throws(Refusal) -> [UInt8] {
        let profile = try await directory.profile(of: principal)
        let changes = try await directory.planChanges(of: principal.tenant)
        return Self.object { object in
            object.field("plan_type", profile.tenant.plan.rawValue)
            object.field("can_change", settings.ownersChangePlans && profile.user.role == .owner)
            object.list("plans") { list in
                for plan in PlanType.allCases {
                    list.object {
                        $0.field("plan_type", plan.rawValue)
                        $0.field("is_current", plan == profile.tenant.plan)
                        $0.key("limits")
                        settings.plans[plan].write(to: &$0)
                    }
                }
            }
            object.list("history") { list in for change in changes { change.write(to: &list) } }
        }
    }

    package func upgradePlan(_ json: JSON?, by principal: Principal) async throws(Refusal) -> [UInt8] {
        guard principal.role == .owner else { throw Refusal(.forbidden, "owner_only", "Só um proprietário muda o plano.") }
        let plan = try Self.wantedPlan(json)
        guard settings.ownersChangePlans else {
            throw Refusal(.forbidden, "plan_by_operator", "O plano é alterado por quem opera o servidor; peça a mudança a ele.")
        }
        return try await changePlan(of: principal.tenant, to: plan, by: principal)
    }

    static func wantedPlan(_ json: JSON?) throws(Refusal) -> PlanType {
        var fields = try RequestFields(json)
        let text = fields.text("plan_type", max: 32)
        let plan = PlanType(text)
        if plan == nil, !text.isEmpty {
            fields.refuse("plan_type", "deve ser um destes: \(PlanType.allCases.map(\.rawValue).joined(separator: ", "))", type: "enum")
        }
        try fields.check()
        return plan ?? .free
    }

    /// The same plan again changes nothing, and says so. What is stored, counted and pushed of the change is one commit.
    /// - Parameter principal: the owner who changes it; `nil` for whoever runs the server.
    func changePlan(of tenant: TenantID, to plan: PlanType, by principal: Principal?) async throws(Refusal) -> [UInt8] {
        let operations = operations
        let (move, figures) = try await directory.changePlan(of: tenant, to: plan, by: principal) { move, joint throws(Refusal) in
            try await operations.planChanged(
                of: tenant,
                to: plan,
                from: move.former,
                by: principal?.name ?? "operador",
                at: move.at,
                with: joint
            )
        }
        let isChanged = move.former != plan
        let over = isChanged ? figures.over : []
        return Self.object {
            $0.field("plan_type", move.tenant.plan.rawValue)
            $0.field("previous_plan_type", move.former.rawValue)
            $0.field("changed", isChanged)
            $0.field("detail", Self.said(move.former, plan, over))
            $0.field("over_limit", strings: over)
            $0.key("limits")
            settings.plans[plan].write(to: &$0)
            $0.field("usage", raw: figures.usage)
        }
    }

    private static func said(_ former: PlanType, _ plan: PlanType, _ over: [String]) -> String {
        let name = plan.rawValue.uppercased()
        if former == plan { return "A empresa já está no plano \(name)." }
        let change = "A empresa passou do plano \(former.rawValue.uppercased()) para o \(name); os novos limites já valem."
        return over.isEmpty ? change : change + " Nada foi removido, mas não se cria mais nada do que está acima do limite."
    }

    private static func object(_ members: (inout JSONWriter) -> Void) -> [UInt8] {
        var writer = JSONWriter(capacity: 2048)
        writer.object(members)
        return writer.bytes
    }
}

extension PlanChange {
    /// `{from, to, changed_at, changed_by}`
    fileprivate func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("from", from.rawValue)
            $0.field("to", to.rawValue)
            $0.field("changed_at", at.description)
            $0.field("changed_by", by)
        }
    }
}
