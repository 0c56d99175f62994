import Identity
import Kernel
import Storage
import Synchronization
import TestSupport
import Testing

@Suite struct LoginTests {
    @Test func aLoginIsRemembered() async throws {
        try await World.run { world in
            let (tenant, owner) = try await world.business()
            world.clock.advance(by: .seconds(9))
            let login = try await world.login()
            #expect(login.user.id == owner.id && login.user.lastLoginAt == world.clock.now)
            let claims = try await world.directory.authenticate(accessToken: login.accessToken)
            #expect(claims.principal.tenant == tenant.id && claims.principal.user == owner.id)
        }
    }

    @Test func wrongPasswordUnknownEmailAndInactiveUserAreRefusedAlike() async throws {
        try await World.run { world in
            let owner = try await world.business().owner
            let bia = try await world.person("bia@loja.example", .agent, by: owner)
            _ = try await world.directory.updateUser(by: principal(owner), bia.id, changes { $0.isActive = false })
            let refusals = [
                try await refusal { try await world.login(ownerEmail, "Errada#2026") },
                try await refusal { try await world.login("ninguem@loja.example") },
                try await refusal { try await world.login("bia@loja.example") },
                try await refusal { try await world.login("") },
                try await refusal { try await world.login(ownerEmail, String(repeating: "x", count: 200)) },
            ]
            #expect(refusals[0].kind == .unauthenticated && refusals[0].code == "invalid_credentials")
            #expect(refusals.allSatisfy { $0 == refusals[0] })
        }
    }

    @Test func aRefreshTokenIsGoodOnce() async throws {
        try await World.run { world in
            try await world.business()
            let first = try await world.login()
            world.clock.advance(by: .seconds(10))
            let second = try await world.directory.refresh(first.refreshToken)
            let third = try await world.directory.refresh(second.refreshToken)
            #expect(Set([first.refreshToken, second.refreshToken, third.refreshToken]).count == 3)
            #expect(try await world.session(third) == world.session(first))
            _ = try await world.directory.authenticate(accessToken: third.accessToken)
        }
    }

    @Test func anOldRefreshTokenEndsTheWholeSession() async throws {
        try await World.run { world in
            try await world.business()
            let ended = Mutex<[LoginSessionID]>([])
            world.directory.onSessionsEnded { sessions in ended.withLock { $0 += sessions } }
            let first = try await world.login()
            let other = try await world.login()
            let second = try await world.directory.refresh(first.refreshToken)
            #expect(try await refusal { try await world.directory.refresh(first.refreshToken) }.kind == .unauthenticated)
            #expect(try await refusal { try await world.directory.refresh(second.refreshToken) }.kind == .unauthenticated)
            try await expectClosed(world, first, second)
            #expect(try await ended.withLock { $0 } == [world.session(first)])
            _ = try await world.directory.authenticate(accessToken: other.accessToken)
        }
    }

    @Test func tabsThatRefreshTogetherKeepTheSessionAndWhoComesLaterEndsIt() async throws {
        let folder = TemporaryDirectory()
        let clock = ManualEnvironment()
        let first = try await World.run(in: folder, clock: clock, refreshGrace: .seconds(10)) { world in
            try await world.business()
            let first = try await world.login()
            let second = try await world.directory.refresh(first.refreshToken)
            clock.advance(by: .seconds(9))
            let again = try await world.directory.refresh(first.refreshToken)
            #expect(try await world.session(again) == world.session(second))
            _ = try await world.directory.authenticate(accessToken: again.accessToken)
            return first
        }
        // The grace is over, also for a server that was started meanwhile; what the second tab got is as good as what the first got.
        try await World.run(in: folder, clock: clock, refreshGrace: .seconds(10)) { world in
            _ = try await world.directory.refresh(first.refreshToken)
            clock.advance(by: .seconds(1))
            #expect(try await refusal { try await world.directory.refresh(first.refreshToken) }.code == "refresh_reused")
            try await expectClosed(world, first)
        }
    }

    @Test func ofManyRefreshesAtOnceWithOneTokenOneIsTheFirst() async throws {
        try await World.run { world in
            try await world.business()
            let login = try await world.login()
            let good = await withTaskGroup(of: Bool.self) { group in
                for _ in 0..<20 { group.addTask { (try? await world.directory.refresh(login.refreshToken)) != nil } }
                return await group.reduce(0) { $0 + ($1 ? 1 : 0) }
            }
            #expect(good == 1)
            try await expectClosed(world, login)
        }
    }

    @Test func loggingOutEndsBothTokensOfThisSessionOnly() async throws {
        try await World.run { world in
            try await world.business()
            let ended = Mutex<[LoginSessionID]>([])
            world.directory.onSessionsEnded { sessions in ended.withLock { $0 += sessions } }
            let here = try await world.login()
            let there = try await world.login()
            try await world.directory.logout(try await world.session(here))
            try await expectClosed(world, here)
            #expect(try await refusal { try await world.directory.refresh(here.refreshToken) }.kind == .unauthenticated)
            #expect(try await ended.withLock { $0 } == [world.session(here)])
            try await world.directory.logout(try await world.session(here))
            #expect(ended.withLock { $0.count } == 1, "ending it again ends nothing")
            _ = try await world.directory.authenticate(accessToken: there.accessToken)
            _ = try await world.directory.refresh(there.refreshToken)
        }
    }

    @Test(arguments: ["password", "role", "deactivation", "deletion"]) func aUsersSessionsEndWith(their change: String) async throws {
        try await World.run { world in
            let owner = try await world.business().owner
            let bia = try await world.person("bia@loja.example", .agent, by: owner)
            let ended = Mutex<Set<LoginSessionID>>([])
            world.directory.onSessionsEnded { sessions in ended.withLock { $0.formUnion(sessions) } }
            let one = try await world.login("bia@loja.example")
            let two = try await world.login("bia@loja.example")
            let mine = try await world.login()
            let by = principal(owner)
            switch change {
            case "password": _ = try await world.directory.updateUser(by: by, bia.id, changes { $0.password = "Nova#2026x" })
            case "role": _ = try await world.directory.updateUser(by: by, bia.id, changes { $0.role = .viewer })
            case "deactivation": _ = try await world.directory.updateUser(by: by, bia.id, changes { $0.isActive = false })
            default: try await world.directory.deleteUser(by: by, bia.id)
            }
            try await expectClosed(world, one, two)
            #expect(try await refusal { try await world.directory.refresh(one.refreshToken) }.kind == .unauthenticated)
            #expect(try await ended.withLock { $0 } == [world.session(one), world.session(two)])
            _ = try await world.directory.authenticate(accessToken: mine.accessToken)
        }
    }

    @Test func aNewNameEndsNoSession() async throws {
        try await World.run { world in
            let owner = try await world.business().owner
            let login = try await world.login()
            _ = try await world.directory.updateUser(by: principal(owner), owner.id, changes { $0.name = "Ana Lima" })
            _ = try await world.directory.authenticate(accessToken: login.accessToken)
        }
    }

    @Test func aNewPasswordReplacesTheOld() async throws {
        try await World.run { world in
            let owner = try await world.business().owner
            for password in [nil, "Errada#2026x"] {
                for change in [changes { $0.password = "Nova#2026x" }, changes { $0.email = "outra@loja.example" }] {
                    let refused = try await refusal {
                        try await world.directory.updateUser(by: principal(owner), owner.id, change, password: password)
                    }
                    #expect(refused.fields.first?.location == ["body", "current_password"])
                }
            }
            _ = try await world.directory.updateUser(by: principal(owner), owner.id, changes { $0.password = "Nova#2026x" }, password: strong)
            #expect(try await refusal { try await world.login() }.code == "invalid_credentials")
            _ = try await world.login(ownerEmail, "Nova#2026x")
        }
    }

    @Test func theOldestOfTooManySessionsEnds() async throws {
        try await World.run { world in
            try await world.business()
            var logins: [LoginResult] = []
            for _ in 0..<502 {
                world.clock.advance(by: .seconds(1))
                logins.append(try await world.login())
            }
            try await expectClosed(world, logins[0], logins[1])
            for login in logins[2...] { _ = try await world.directory.authenticate(accessToken: login.accessToken) }
        }
    }

    @Test func anExpiredSessionIsDeleted() async throws {
        try await World.run { world in
            try await world.business()
            _ = try await world.login()
            world.clock.advance(by: .seconds(20 * 86_400))
            let later = try await world.login()
            world.clock.advance(by: .seconds(11 * 86_400))
            try await world.directory.sweep()
            let rows = try await world.store.rows(.select(from: IdentityTables.loginSessions))
            #expect(try await rows.map { LoginSession($0).id } == [world.session(world.directory.refresh(later.refreshToken))])
        }
    }

    @Test func aSessionLastsAsLongAsItsLongestToken() async throws {
        try await World.run(accessMinutes: 60 * 24 * 90) { world in
            try await world.business()
            let login = try await world.login()
            world.clock.advance(by: .seconds(40 * 86_400))
            try await world.directory.sweep()
            _ = try await world.directory.authenticate(accessToken: login.accessToken)
        }
    }

    private func expectClosed(_ world: World, _ logins: LoginResult..., sourceLocation: SourceLocation = #_sourceLocation) async throws {
        for login in logins {
            let refused = try await refusal(sourceLocation: sourceLocation) {
                try await world.directory.authenticate(accessToken: login.accessToken)
            }
            #expect(refused.kind == .unauthenticated, sourceLocation: sourceLocation)
        }
    }
}
