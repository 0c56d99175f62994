import JWTKit
package import Kernel

/// What an access token says, once proved.
package struct AccessClaims: Sendable, Equatable {
    package let principal: Principal
    package let session: LoginSessionID
    package let expiresAt: Timestamp
}

/// Makes and proves JSON Web Tokens (RFC 7519), signed with HMAC-SHA256 and nothing else.
///
/// `aud` tells the two kinds apart: an access token opens doors, a refresh token gets a new pair, and neither does the other's work.
package struct TokenIssuer: Sendable {
    private static let issuer = "plantao"
    private static let accessAudience = "plantao:access"
    private static let refreshAudience = "plantao:refresh"

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
    private let environment: Environment
    package let accessLifetime: Duration
    package let refreshLifetime: Duration

    package init(secret: String, accessMinutes: Int, refreshDays: Int = 30, environment: Environment) async throws {
        keys = await JWTKeyCollection().add(hmac: HMACKey(stringLiteral: secret), digestAlgorithm: .sha256)
        self.environment = environment
        accessLifetime = .seconds(accessMinutes * 60)
        refreshLifetime = .seconds(refreshDays * 86_400)
    }

    // MARK: Making

    func access(_ user: User, session: LoginSessionID, at time: Timestamp, id: String) async throws(Refusal) -> String {
        try await sign(payload(user, session, audience: Self.accessAudience, id: id, at: time, lifetime: accessLifetime))
    }

    func refresh(_ user: User, session: LoginSessionID, at time: Timestamp, id: String) async throws(Refusal) -> String {
        try await sign(payload(user, session, audience: Self.refreshAudience, id: id, at: time, lifetime: refreshLifetime))
    }

    private func payload(
        _ user: User, _ session: LoginSessionID, audience: String, id: String, at time: Timestamp, lifetime: Duration
    ) -> Payload {
        Payload(
            iss: Self.issuer, aud: audience, sub: user.id.description, tenant: user.tenant.description, role: user.role.rawValue, name: user.name,
            sid: session.description, jti: id, iat: time.milliseconds / 1000, exp: (time + lifetime).milliseconds / 1000
        )
    }

    private func sign(_ payload: Payload) async throws(Refusal) -> String {
        do { return try await keys.sign(payload) } catch {
            throw Refusal(.unavailable, "signing_failed", "O token não pôde ser emitido; tente novamente.")
        }
    }

    // MARK: Proving

    package func verifyAccess(_ token: String) async throws(Refusal) -> AccessClaims {
        let payload = try await verify(token, audience: Self.accessAudience)
        guard let tenant = TenantID(payload.tenant), let user = UserID(payload.sub), let role = Role(rawValue: payload.role),
            let session = LoginSessionID(payload.sid)
        else { throw Self.invalid }
        return AccessClaims(
            principal: Principal(tenant: tenant, user: user, role: role, name: payload.name), session: session, expiresAt: Timestamp(seconds: payload.exp)
        )
    }

    func verifyRefresh(_ token: String) async throws(Refusal) -> (tenant: TenantID, session: LoginSessionID, id: String) {
        let payload = try await verify(token, audience: Self.refreshAudience)
        guard let tenant = TenantID(payload.tenant), let session = LoginSessionID(payload.sid) else { throw Self.invalid }
        return (tenant, session, payload.jti)
    }

    private func verify(_ token: String, audience: String) async throws(Refusal) -> Payload {
        guard token.utf8.count <= 4096 else { throw Self.invalid }
        let payload: Payload
        do { payload = try await keys.verify(token, as: Payload.self) } catch { throw Self.invalid }
        guard payload.iss == Self.issuer, payload.aud == audience else { throw Self.invalid }
        guard Timestamp(seconds: payload.exp) > environment.now() else {
            throw Refusal(.unauthenticated, "token_expired", "O token expirou; renove-o ou entre novamente.")
        }
        return payload
    }

    package static let invalid = Refusal(.unauthenticated, "token_invalid", "Credencial inválida; entre novamente.")
}
