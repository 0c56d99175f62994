import HTTPTypes
import Hummingbird
package import Kernel

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The users of HTTP Basic authentication (contracts/ecosys-ms.md "Autenticação"): `user1:pass1,user2:pass2`.
package struct BasicCredentials: Sendable {
    private let passwords: [String: String]
    package let tenant: TenantID

    package init(users: [(name: String, password: String)], tenant: TenantID) {
        passwords = Dictionary(users.map { ($0.name, $0.password) }) { _, last in last }
        self.tenant = tenant
    }

    /// What a header `Basic <base64 of user:password>` (RFC 7617) says.
    static func read(_ header: String) -> (user: String, password: String)? {
        guard let data = Data(base64Encoded: String(header.dropFirst("basic ".count)).trimmingSpaces) else { return nil }
        let parts = String(decoding: data, as: UTF8.self).split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        return parts.count == 2 ? (String(parts[0]), String(parts[1])) : nil
    }

    func isRight(_ user: String, _ password: String) -> Bool {
        // As long for somebody who does not exist as for somebody who does.
        let expected = passwords[user]
        return Secret.isEqual(password, expected ?? "\u{0}") && expected != nil
    }
}

extension String {
    fileprivate var trimmingSpaces: String { String(drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()) }
}

extension API {
    /// Who asks for customers and sales.
    struct PortfolioCaller {
        let tenant: TenantID
        let name: String
        let isAdministrator: Bool
        /// More than look.
        let canAct: Bool
    }

    /// HTTP Basic as the contracts have it, or a user of the tenant by their token.
    func portfolioCaller(_ request: Request, _ context: APIContext) async throws -> PortfolioCaller {
        if let header = request.headers[.authorization], header.lowercased().hasPrefix("bearer ") {
            let principal = try await principal(request, context)
            return PortfolioCaller(
                tenant: principal.tenant,
                name: principal.name,
                isAdministrator: principal.role.canAdminister,
                canAct: principal.role.canAttend
            )
        }
        guard let credentials = settings.basic, let header = request.headers[.authorization], header.lowercased().hasPrefix("basic "),
            let (user, password) = BasicCredentials.read(header)
        else { throw Self.basicInvalid }
        // Whoever guesses is slowed down as they are at a login.
        let isRight = try allowances.basic(user, from: address(of: request, context), environment) { credentials.isRight(user, password) }
        guard isRight else { throw Self.basicInvalid }
        context.notes.note("basic_user", user)
        try weigh(.tenant(credentials.tenant), request, context)
        return PortfolioCaller(tenant: credentials.tenant, name: user, isAdministrator: true, canAct: true)
    }

    private static let basicInvalid = Refusal(.unauthenticated, "basic_auth_invalid", "Acesso negado.")

    func portfolioTenant(_ request: Request, _ context: APIContext) async throws -> TenantID {
        try await portfolioCaller(request, context).tenant
    }

    /// As `portfolioTenant`, for what changes something.
    func administeringPortfolio(_ request: Request, _ context: APIContext) async throws -> TenantID {
        let caller = try await portfolioCaller(request, context)
        guard caller.isAdministrator else { throw Refusal(.forbidden, "role_forbidden", "Só administradores podem fazer isto.") }
        return caller.tenant
    }
}
