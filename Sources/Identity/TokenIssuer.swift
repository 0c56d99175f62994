import Foundation
import JWTKit
package import Kernel
import Synchronization
import Wire

/// What an access token says, once proved.
package struct AccessClaims: Sendable, Equatable {
    package let principal: Principal
    /// `nil` for a visitor of a web chat, who has not logged in.
    package let session: LoginSessionID?
    package let expiresAt: Timestamp
}

/// Makes and proves JSON Web Tokens (RFC 7519), signed with HMAC-SHA256 and nothing else.
///
/// `aud` tells the two kinds apart: an access token opens doors, a refresh token gets a new pair, and neither does the other's work.
package struct TokenIssuer: Sendable {
    private static let issuer = "plantao"
    private static let accessAudience = "plantao:access"
    private static let refreshAudience = "plantao:refresh"
    private static let visitAudience = "plantao:visit"
    private static let returnAudience = "plantao:return"
    private static let guestAudience = "plantao:guest"

    private struct Payload: JWTPayload {
        var iss: String
        var aud: String
        var sub: String
        var tenant: String
        var role: String
        var name: String
        var sid: String
        var jti: String
        var iat: Int64
        var exp: Int64

        /// The claims are checked by the issuer, against its own clock.
        func verify(using algorithm: some JWTAlgorithm) throws {}
    }

    private let keys: JWTKeyCollection
    private let proved = ProvedTokens()
    private let environment: Environment
    package let accessLifetime: Duration
    package let refreshLifetime: Duration
    package let visitLifetime: Duration
    /// For as long after a refresh some token of the login is good.
    var sessionLifetime: Duration { max(accessLifetime, refreshLifetime) }

    package init(secret: String, accessMinutes: Int, refreshDays: Int = 30, visitMinutes: Int = 60, environment: Environment) async throws {
        precondition(!secret.isEmpty, "tokens need a secret")
        // HMAC fills a short key up with zeros anyway (RFC 2104 §2); jwt-kit stops a debug build that leaves it to HMAC.
        let key = Array(secret.utf8) + [UInt8](repeating: 0, count: max(0, 32 - secret.utf8.count))
        keys = await JWTKeyCollection().add(hmac: HMACKey(from: key), digestAlgorithm: .sha256)
        self.environment = environment
        accessLifetime = .seconds(accessMinutes * 60)
        refreshLifetime = .seconds(refreshDays * 86_400)
        visitLifetime = .seconds(visitMinutes * 60)
    }

    // MARK: Making

    func access(_ user: User, session: LoginSessionID, at time: Timestamp, id: String) async throws(Refusal) -> String {
        try await sign(payload(user, session, audience: Self.accessAudience, id: id, at: time, lifetime: accessLifetime))
    }

    func refresh(_ user: User, session: LoginSessionID, at time: Timestamp, id: String) async throws(Refusal) -> String {
        try await sign(payload(user, session, audience: Self.refreshAudience, id: id, at: time, lifetime: refreshLifetime))
    }

    /// A web chat's pair: one opens the conversation, the other gets the visitor a new pair when they are back.
    package func visit(
        _ contact: ContactID,
        of conversation: ConversationID,
        tenant: TenantID,
        name: String,
        _ moment: Moment
    ) async throws(Refusal) -> (token: String, refreshToken: String) {
        func make(_ audience: String, _ lifetime: Duration) async throws(Refusal) -> String {
            try await sign(
                Payload(
                    iss: Self.issuer,
                    aud: audience,
                    sub: contact.description,
                    tenant: tenant.description,
                    role: Role.visitor.rawValue,
                    name: name,
                    sid: conversation.description,
                    jti: (moment.id() as Identifier<TokenIssuer>).description,
                    iat: moment.now.milliseconds / 1000,
                    exp: (moment.now + lifetime).milliseconds / 1000
                )
            )
        }
        return (try await make(Self.visitAudience, visitLifetime), try await make(Self.returnAudience, refreshLifetime))
    }

    /// What follows a business's public page.
    package func guest(of slug: String, tenant: TenantID, _ moment: Moment) async throws(Refusal) -> String {
        try await sign(
            Payload(
                iss: Self.issuer,
                aud: Self.guestAudience,
                sub: (moment.id() as UserID).description,
                tenant: tenant.description,
                role: Role.visitor.rawValue,
                name: slug,
                sid: "",
                jti: (moment.id() as Identifier<TokenIssuer>).description,
                iat: moment.now.milliseconds / 1000,
                exp: (moment.now + visitLifetime).milliseconds / 1000
            )
        )
    }

    private func payload(
        _ user: User,
        _ session: LoginSessionID,
        audience: String,
        id: String,
        at time: Timestamp,
        lifetime: Duration
    ) -> Payload {
        Payload(
            iss: Self.issuer,
            aud: audience,
            sub: user.id.description,
            tenant: user.tenant.description,
            role: user.role.rawValue,
            name: user.name,
            sid: session.description,
            jti: id,
            iat: time.milliseconds / 1000,
            exp: (time + lifetime).milliseconds / 1000
        )
    }

    private func sign(_ payload: Payload) async throws(Refusal) -> String {
        do { return try await keys.sign(payload) } catch {
            throw Refusal(.unavailable, "signing_failed", "O token não pôde ser emitido; tente novamente.")
        }
    }

    // MARK: Proving

    package func verifyAccess(_ token: String) async throws(Refusal) -> AccessClaims {
        let payload = try await verify(token, audiences: [Self.accessAudience, Self.visitAudience, Self.guestAudience])
        if payload.aud == Self.guestAudience {
            guard let tenant = TenantID(payload.tenant), let user = UserID(payload.sub) else { throw Self.invalid }
            return AccessClaims(
                principal: Principal(guest: user, of: payload.name, tenant: tenant),
                session: nil,
                expiresAt: Timestamp(seconds: payload.exp)
            )
        }
        if payload.aud == Self.visitAudience {
            return AccessClaims(principal: try Self.visitor(payload), session: nil, expiresAt: Timestamp(seconds: payload.exp))
        }
        guard let tenant = TenantID(payload.tenant), let user = UserID(payload.sub), let role = Role(rawValue: payload.role), role != .visitor,
            let session = LoginSessionID(payload.sid)
        else { throw Self.invalid }
        return AccessClaims(
            principal: Principal(tenant: tenant, user: user, role: role, name: payload.name),
            session: session,
            expiresAt: Timestamp(seconds: payload.exp)
        )
    }

    /// What a visitor comes back with.
    package func verifyReturn(_ token: String) async throws(Refusal) -> Principal {
        try Self.visitor(try await verify(token, audiences: [Self.returnAudience]))
    }

    private static func visitor(_ payload: Payload) throws(Refusal) -> Principal {
        guard let tenant = TenantID(payload.tenant), let contact = ContactID(payload.sub), let conversation = ConversationID(payload.sid) else {
            throw invalid
        }
        return Principal(visitor: contact, of: conversation, tenant: tenant, name: payload.name)
    }

    func verifyRefresh(_ token: String) async throws(Refusal) -> (tenant: TenantID, session: LoginSessionID, id: String) {
        let payload = try await verify(token, audiences: [Self.refreshAudience])
        guard let tenant = TenantID(payload.tenant), let session = LoginSessionID(payload.sid) else { throw Self.invalid }
        return (tenant, session, payload.jti)
    }

    private func verify(_ token: String, audiences: Set<String>) async throws(Refusal) -> Payload {
        let payload = try await signed(token)
        guard payload.iss == Self.issuer, audiences.contains(payload.aud), (0...Self.endOfTime).contains(payload.exp) else { throw Self.invalid }
        guard Timestamp(seconds: payload.exp) > environment.now() else {
            throw Refusal(.unauthenticated, "token_expired", "O token expirou; renove-o ou entre novamente.")
        }
        return payload
    }

    /// What it says, once its signature was right. Its claims are looked at each time, its signature once.
    private func signed(_ token: String) async throws(Refusal) -> Payload {
        guard token.utf8.count <= 4096 else { throw Self.invalid }
        if let payload = proved.payload(of: token) { return payload }
        guard Self.isSignedWithHS256(token) else { throw Self.invalid }
        let payload: Payload
        do { payload = try await keys.verify(token, as: Payload.self) } catch { throw Self.invalid }
        proved.add(token, payload)
        return payload
    }

    /// Whoever asks has one token for many requests: proving its signature is a tenth of what a small request costs. They are compared as a whole.
    private final class ProvedTokens: Sendable {
        private let payloads = Mutex<[String: Payload]>([:])
        /// A few MB. Where there are more, all are proved anew.
        private static let limit = 4096

        func payload(of token: String) -> Payload? { payloads.withLock { $0[token] } }

        func add(_ token: String, _ payload: Payload) {
            payloads.withLock { payloads in
                if payloads.count >= Self.limit { payloads.removeAll(keepingCapacity: true) }
                payloads[token] = payload
            }
        }
    }

    /// 9999-12-31T23:59:59Z, the last second that RFC 3339 can write.
    private static let endOfTime: Int64 = 253_402_300_799

    /// jwt-kit checks the signature with the key that it has, whatever algorithm the header names (RFC 8725 §3.1 asks that it be looked at).
    private static func isSignedWithHS256(_ token: String) -> Bool {
        var header = String(token.prefix { $0 != "." }).replacing("-", with: "+").replacing("_", with: "/")
        header += String(repeating: "=", count: (4 - header.utf8.count % 4) % 4)
        guard let bytes = Data(base64Encoded: header), let json = try? JSON.parse(bytes) else { return false }
        return json["alg"] == "HS256"
    }

    package static let invalid = Refusal(.unauthenticated, "token_invalid", "Credencial inválida; entre novamente.")
}
