package import Hummingbird
package import Identity
package import Integrations
package import Kernel
package import Tenancy

/// Every HTTP door. All routes hang on one router; what a route does is in the file named after its group.
package struct API: Sendable {
    package struct Settings: Sendable {
        /// The contract's api-key, and whose it is. Unset: that door is closed.
        package var apiKey: (value: String, tenant: TenantID)?
        /// The token Meta repeats in its handshake.
        package var whatsappVerifyToken: String?
        /// Signs Meta's deliveries. Unset: none are taken.
        package var whatsappSignature: WhatsAppSignature?
        /// Messages go to the built-in simulator, and may be made up through it.
        package var isSimulated = false
        package var version = ""

        package init() {}
    }

    package let operations: Operations
    package let directory: Directory
    package let settings: Settings
    package let environment: Kernel.Environment

    package init(operations: Operations, directory: Directory, settings: Settings, environment: Kernel.Environment) {
        self.operations = operations
        self.directory = directory
        self.settings = settings
        self.environment = environment
    }

    package func router() -> Router<APIContext> {
        let router = Router(context: APIContext.self)
        router.add(middleware: RequestLog())
        router.add(middleware: RefusalsAsResponses())
        addShared(to: router)
        addIdentity(to: router)
        addUsers(to: router)
        addConversations(to: router)
        addConsultores(to: router)
        addWhatsApp(to: router)
        if settings.isSimulated { addSimulator(to: router) }
        return router
    }

    // MARK: Credentials

    /// The user behind `Authorization: Bearer`.
    func principal(_ request: Request, _ context: APIContext) async throws -> Principal {
        let principal = try await claims(request).principal
        context.notes.note("user_id", principal.user)
        return principal
    }

    func claims(_ request: Request) async throws(Refusal) -> AccessClaims {
        guard let header = request.headers[.authorization], header.lowercased().hasPrefix("bearer ") else {
            throw Refusal(.unauthenticated, "not_authenticated", "Credencial ausente: envie o cabeçalho Authorization: Bearer <token>.")
        }
        return try await directory.authenticate(accessToken: String(header.dropFirst("bearer ".count)))
    }

    func requireAdministrator(_ principal: Principal) throws(Refusal) {
        guard principal.role.canAdminister else { throw Refusal(.forbidden, "role_forbidden", "Só administradores podem fazer isto.") }
    }
}
