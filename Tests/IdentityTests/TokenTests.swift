import Identity
import JWTKit
import Kernel
import Testing

@Suite struct TokenTests {
    @Test func anAccessTokenSaysWhoAndForHowLong() async throws {
        try await World.run { world in
            let (tenant, owner) = try await world.business()
            let login = try await world.login()
            let claims = try await world.tokens.verifyAccess(login.accessToken)
            #expect(claims.principal == Principal(tenant: tenant.id, user: owner.id, role: .owner, name: "Ana"))
            #expect(claims.expiresAt.seconds == (world.clock.now + .seconds(3600)).seconds)
            #expect(login.expiresInSeconds == 3600)
        }
    }

    @Test func everyClaimOfTheContractIsThere() async throws {
        try await World.run { world in
            let (tenant, owner) = try await world.business()
            let login = try await world.login()
            let access = try await forger().verify(login.accessToken, as: Forged.self)
            #expect(access.iss == "plantao" && access.aud == "plantao:access" && access.sub == owner.id.description)
            #expect(access.tenant == tenant.id.description && access.role == "owner" && access.name == "Ana")
            #expect(access.iat == world.clock.now.seconds && access.exp == access.iat + 3600)
            let refresh = try await forger().verify(login.refreshToken, as: Forged.self)
            #expect(refresh.aud == "plantao:refresh" && refresh.sid == access.sid && refresh.jti != access.jti)
            #expect(refresh.exp == refresh.iat + 30 * 86_400)
        }
    }

    @Test func neitherKindDoesTheOthersWork() async throws {
        try await World.run { world in
            try await world.business()
            let login = try await world.login()
            #expect(try await refusal { try await world.directory.authenticate(accessToken: login.refreshToken) }.code == "token_invalid")
            #expect(try await refusal { try await world.directory.refresh(login.accessToken) }.code == "token_invalid")
            _ = try await world.directory.refresh(login.refreshToken)
        }
    }

    @Test func aTokenExpiresExactlyAtItsTime() async throws {
        try await World.run { world in
            try await world.business()
            let login = try await world.login()
            world.clock.advance(by: .seconds(3600) - .milliseconds(1))
            _ = try await world.directory.authenticate(accessToken: login.accessToken)
            world.clock.advance(by: .milliseconds(1))
            let refused = try await refusal { try await world.directory.authenticate(accessToken: login.accessToken) }
            #expect(refused.kind == .unauthenticated && refused.code == "token_expired")
            world.clock.advance(by: .seconds(30 * 86_400))
            #expect(try await refusal { try await world.directory.refresh(login.refreshToken) }.code == "token_expired")
        }
    }

    /// The forger knows the secret, so that each token is refused for its own fault alone.
    @Test func aTokenWithTheRightClaimsAndSignaturePasses() async throws {
        try await forging { world, good in _ = try await world.tokens.verifyAccess(try await forger().sign(good)) }
    }

    @Test func wrongClaimsAreInvalid() async throws {
        try await forging { world, good in
            for spoil: @Sendable (inout Forged) -> Void in [
                { $0.iss = "elsewhere" }, { $0.aud = "elsewhere" }, { $0.aud = "plantao:refresh" }, { $0.role = "god" }, { $0.sub = "x" },
                { $0.tenant = "" }, { $0.sid = "1" },
            ] {
                var bad = good
                spoil(&bad)
                let token = try await forger().sign(bad)
                #expect(try await refusal { try await world.tokens.verifyAccess(token) }.code == "token_invalid", "\(bad)")
            }
        }
    }

    @Test func anotherSecretOrAlgorithmIsInvalid() async throws {
        try await forging { world, good in
            let tokens = [
                try await forger(secret: "another secret, of 32 bytes or more, too").sign(good),
                try await JWTKeyCollection().add(hmac: HMACKey(from: String(repeating: secret, count: 2)), digestAlgorithm: .sha512).sign(good),
                try await JWTKeyCollection().addUnsecuredNone().sign(good),
                try await forger().sign(good, header: ["alg": "none"]).split(separator: ".").prefix(2).joined(separator: ".") + ".",
            ]
            for token in tokens {
                #expect(try await refusal { try await world.tokens.verifyAccess(token) }.code == "token_invalid", "\(token)")
            }
        }
    }

    @Test func whatIsNoTokenIsInvalid() async throws {
        try await forging { world, good in
            let token = try await forger().sign(good)
            // What was proved once is of no help to what is like it.
            _ = try await world.tokens.verifyAccess(token)
            let parts = token.split(separator: ".").map(String.init)
            let other = try await forger().sign(good.with { $0.role = "admin" }).split(separator: ".")[1]
            for bad in [
                "", ".", "..", "...", "abc", parts[0], "\(parts[0]).\(parts[1])", "\(parts[0]).\(parts[1]).", token + ".x",
                "\(parts[0]).\(other).\(parts[2])",
                String(token.dropLast(3)), String(repeating: "x", count: 7000), "a.ç.b", "\(parts[0]).!!!.\(parts[2])",
            ] {
                #expect(try await refusal { try await world.tokens.verifyAccess(bad) }.code == "token_invalid", "\(bad)")
            }
            #expect(try await world.tokens.verifyAccess(token) == world.tokens.verifyAccess(token))
        }
    }

    @Test func theHeaderNamesTheAlgorithmThatSigned() async throws {
        try await World.run { world in
            try await world.business()
            let login = try await world.login()
            let good = try await forger().verify(login.accessToken, as: Forged.self)
            for alg in ["none", "HS512", "RS256"] {
                let token = try await forger().sign(good, header: ["alg": .string(alg)])
                #expect(try await refusal { try await world.tokens.verifyAccess(token) }.code == "token_invalid", "\(alg)")
            }
        }
    }

    @Test func aShortSecretSignsAsHMACHasIt() async throws {
        try await World.run { world in
            try await world.business()
            let login = try await world.login()
            let short = try await TokenIssuer(secret: "short", accessMinutes: 1, environment: world.clock.environment)
            let good = try await forger().verify(login.accessToken, as: Forged.self)
            let padded = "short" + String(repeating: "\0", count: 27)
            _ = try await short.verifyAccess(try await forger(secret: padded).sign(good))
        }
    }

    @Test func aTimePastAllCalendarsIsInvalid() async throws {
        try await forging { world, good in
            for exp in [Int64.max, Int64.min, -1] {
                let token = try await forger().sign(good.with { $0.exp = exp })
                #expect(try await refusal { try await world.tokens.verifyAccess(token) }.code == "token_invalid")
            }
        }
    }

    private func forging(_ body: (World, Forged) async throws -> Void) async throws {
        try await World.run { world in
            try await world.business()
            let login = try await world.login()
            try await body(world, try await forger().verify(login.accessToken, as: Forged.self))
        }
    }
}

/// The claims as anybody can write them.
struct Forged: JWTPayload {
    var iss: String, aud: String, sub: String, tenant: String, role: String, name: String, sid: String, jti: String
    var iat: Int64, exp: Int64

    func verify(using algorithm: some JWTAlgorithm) {}

    func with(_ change: (inout Forged) -> Void) -> Forged {
        var forged = self
        change(&forged)
        return forged
    }
}

func forger(secret: String = secret) async -> JWTKeyCollection { await JWTKeyCollection().add(hmac: HMACKey(from: secret), digestAlgorithm: .sha256) }
