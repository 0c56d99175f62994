import HTTPTypes
import Hummingbird
import Identity
package import Kernel

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

/// The users of HTTP Basic authentication that are configured (contracts/ecosys-ms.md "Autenticação"): `user1:pass1,user2:pass2`.
package struct BasicCredentials: Sendable {
    private let passwords: [String: String]
    package let tenant: TenantID

    package init(users: [(name: String, password: String)], tenant: TenantID) {
        passwords = Dictionary(users.map { ($0.name, $0.password) }) { _, last in last }
        self.tenant = tenant
    }

    func accept(_ user: String, _ password: String) -> Bool {
        // As long for somebody who does not exist as for somebody who does.
        let expected = passwords[user]
        let isRight = Secret.isEqual(password, expected ?? "\u{0}")
        return isRight && expected != nil
    }

    /// User and password of a header `Basic <base64 of user:password>` (RFC 7617).
    static func pair(_ header: String?) -> (user: String, password: String)? {
        guard let header, header.lowercased().hasPrefix("basic "),
            let data = Data(base64Encoded: String(header.dropFirst("basic ".count)).trimmingSpaces)
        else { return nil }
        let parts = String(decoding: data, as: UTF8.self).split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
        return parts.count == 2 ? (String(parts[0]), String(parts[1])) : nil
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

        init(tenant: TenantID, name: String, isAdministrator: Bool, canAct: Bool) {
            self.tenant = tenant
            self.name = name
            self.isAdministrator = isAdministrator
            self.canAct = canAct
        }

        static let scopes: [APIKeyScope] = [.readPortfolio, .writePortfolio]

        init(_ key: APIKey) {
            let mayWrite = key.scopes.contains(.writePortfolio)
            self.init(tenant: key.tenant, name: key.name, isAdministrator: mayWrite, canAct: mayWrite)
        }
    }

    /// HTTP Basic as the contracts have it: of the users that are configured, or with a key of the business's own as the password, whatever the user is called. Else
    /// that key as `api-key`, or a user of the business by their token.
    func portfolioCaller(_ request: Request, _ context: APIContext) async throws -> PortfolioCaller {
        let header = request.headers[.authorization]
        if let header, header.lowercased().hasPrefix("bearer ") {
            let principal = try await principal(request, context)
            return PortfolioCaller(
                tenant: principal.tenant,
                name: principal.name,
                isAdministrator: principal.role.canAdminister,
                canAct: principal.role.canAttend
            )
        }
        let caller: PortfolioCaller
        if let text = request.headers[Self.apiKey] {
            caller = PortfolioCaller(try registeredKey(text, PortfolioCaller.scopes))
        } else if let (user, password) = BasicCredentials.pair(header) {
            caller = try basicCaller(user, password, request, context)
        } else {
            throw Self.basicInvalid
        }
        context.notes.note("basic_user", caller.name)
        try weigh(.tenant(caller.tenant), request, context)
        return caller
    }

    /// Whoever guesses is slowed down as they are at a login; a key that is right never is, as nobody guesses one.
    private func basicCaller(_ user: String, _ password: String, _ request: Request, _ context: APIContext) throws -> PortfolioCaller {
        do throws(Refusal) { return PortfolioCaller(try registeredKey(password, PortfolioCaller.scopes)) } catch {
            guard error.kind == .unauthenticated else { throw error }
        }
        let credentials = settings.basic
        let isRight = try allowances.basic(user, from: address(of: request, context), environment) { credentials?.accept(user, password) ?? false }
        guard isRight, let credentials else { throw Self.basicInvalid }
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
