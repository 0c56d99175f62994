import Identity
import Kernel
import TestSupport
import Testing

@Suite struct LoginGuardTests {
    private let start = Timestamp(seconds: 1_790_000_000)

    private func settings(_ change: (inout LoginGuard.Settings) -> Void = { _ in }) -> LoginGuard.Settings {
        var settings = LoginGuard.Settings()
        settings.failures = 3
        settings.failuresPerAccount = 6
        settings.failuresPerAddress = 12
        change(&settings)
        return settings
    }

    @Test func theThirdFailureLocksTheAccountForThatAddressAlone() {
        var guards = LoginGuard(settings())
        for _ in 0..<2 { guards.failed("ana", from: "a", at: start, random: 0) }
        #expect(guards.wait("ana", from: "a", at: start) == nil)
        guards.failed("ana", from: "a", at: start, random: 0)
        #expect(guards.wait("ana", from: "a", at: start) == .seconds(30))
        #expect(guards.wait("ana", from: "b", at: start) == nil)
        #expect(guards.wait("bia", from: "a", at: start) == nil)
        #expect(guards.wait("ana", from: "a", at: start + .seconds(30)) == nil)
    }

    @Test func manyAddressesLockTheAccountForEverybody() {
        var guards = LoginGuard(settings())
        for address in ["a", "b", "c", "d", "e", "f"] { guards.failed("ana", from: address, at: start, random: 0) }
        #expect(guards.wait("ana", from: "never seen", at: start) == .seconds(30))
        #expect(guards.wait("ana", from: nil, at: start) == .seconds(30))
    }

    @Test func manyAccountsLockTheAddress() {
        var guards = LoginGuard(settings())
        for account in 0..<12 { guards.failed("account \(account)", from: "a", at: start, random: 0) }
        #expect(guards.wait("never tried", from: "a", at: start) == .seconds(30))
        // One good account does not wash it.
        guards.succeeded("account 3", from: "a")
        #expect(guards.wait("never tried", from: "a", at: start) != nil)
    }

    @Test func eachLockIsTwiceAsLongUpToTheLongest() {
        var guards = LoginGuard(settings())
        var now = start
        var locks: [Duration] = []
        for _ in 0..<3 { guards.failed("ana", from: "a", at: now, random: 0) }
        for _ in 0..<8 {
            guard let wait = guards.wait("ana", from: "a", at: now) else { break }
            locks.append(wait)
            now = now + wait
            guards.failed("ana", from: "a", at: now, random: 0)
        }
        #expect(locks.map(\.components.seconds) == [30, 60, 120, 240, 480, 900, 900, 900])
    }

    @Test func chanceAddsUpToAQuarter() {
        for random: UInt64 in [0, 1, 7499, 7500, .max] {
            var guards = LoginGuard(settings())
            for _ in 0..<3 { guards.failed("ana", from: "a", at: start, random: random) }
            let wait = guards.wait("ana", from: "a", at: start) ?? .zero
            #expect(wait >= .seconds(30) && wait <= .milliseconds(37_500))
        }
    }

    @Test func whatFailsUnderALockCountsForNothing() {
        var guards = LoginGuard(settings())
        for _ in 0..<30 { guards.failed("ana", from: "a", at: start, random: 0) }
        #expect(guards.wait("ana", from: "a", at: start) == .seconds(30))
    }

    @Test func successAndTimeForgive() {
        var guards = LoginGuard(settings())
        for _ in 0..<2 { guards.failed("ana", from: "a", at: start, random: 0) }
        guards.succeeded("ana", from: "a")
        for _ in 0..<2 { guards.failed("ana", from: "a", at: start, random: 0) }
        #expect(guards.wait("ana", from: "a", at: start) == nil)
        for _ in 0..<2 { guards.failed("ana", from: "a", at: start + .seconds(3600), random: 0) }
        #expect(guards.wait("ana", from: "a", at: start + .seconds(3600)) == nil)
    }

    @Test func oneRefusalOfALockIsWorthRecording() {
        var guards = LoginGuard(settings())
        for _ in 0..<3 { guards.failed("ana", from: "a", at: start, random: 0) }
        var recorded = [guards.isWorthRecording("ana", from: "a", at: start), guards.isWorthRecording("ana", from: "a", at: start)]
        guards.failed("ana", from: "a", at: start + .seconds(31), random: 0)
        recorded.append(guards.isWorthRecording("ana", from: "a", at: start + .seconds(31)))
        #expect(recorded == [true, false, true])
    }

    @Test func whatItKeepsIsBounded() {
        var guards = LoginGuard(settings { $0.maxKeys = 100 })
        for number in 0..<10_000 {
            guards.failed("account \(number)", from: "address \(number)", at: start + .milliseconds(Int64(number)), random: 0)
            #expect(guards.count <= 100)
        }
    }
}

@Suite struct LockoutTests {
    private let home = LoginOrigin(address: "192.0.2.1", agent: "tests")

    @Test func anAccountThatExistsAndOneThatDoesNotAreRefusedAlike() async throws {
        try await World.run { world in
            try await world.business()
            var answers: [String: [Refusal]] = [:]
            for account in [ownerEmail, "ninguem@loja.example"] {
                for _ in 0..<12 {
                    let refused = try await refusal { try await world.directory.login(identifier: account, password: "errada", from: home) }
                    answers[account, default: []].append(refused)
                }
            }
            let codes = answers.mapValues { $0.map(\.code) }
            #expect(codes[ownerEmail] == codes["ninguem@loja.example"])
            #expect(codes[ownerEmail] == [String](repeating: "invalid_credentials", count: 10) + ["login_locked", "login_locked"])
            // The right password does not open it either, until the time is over.
            let refused = try await refusal { try await world.directory.login(identifier: ownerEmail, password: strong, from: home) }
            #expect(refused.kind == .tooMany && (refused.retryAfterSeconds ?? 0) >= 30)
            world.clock.advance(by: .seconds(38))
            _ = try await world.directory.login(identifier: ownerEmail, password: strong, from: home)
        }
    }

    @Test func everyTryIsOnRecordAndALockOnce() async throws {
        try await World.run { world in
            let (tenant, owner) = try await world.business()
            for _ in 0..<14 { _ = try await refusal { try await world.directory.login(identifier: ownerEmail, password: "errada", from: home) } }
            _ = try await refusal { try await world.directory.login(identifier: "x@y.example", password: "errada", from: home) }
            let login = try await world.directory.login(identifier: ownerEmail, password: strong, from: LoginOrigin(address: "192.0.2.9", agent: nil))
            try await world.directory.logout(world.session(login))
            let (records, total) = try await world.directory.loginRecords(of: tenant.id, email: nil, outcome: nil, offset: 0, limit: 100)
            let outcomes = Dictionary(grouping: records, by: \.outcome).mapValues(\.count)
            #expect(outcomes == [.wrongPassword: 10, .locked: 1, .unknownAccount: 1, .success: 1, .logout: 1])
            #expect(total == 14 && records.first?.outcome == .logout)
            #expect(records.first { $0.outcome == .unknownAccount }?.email == "x@y.example")
            #expect(records.first { $0.outcome == .locked }?.origin == home && records.first { $0.outcome == .locked }?.user == owner.id)
            world.clock.advance(by: .seconds(91 * 86_400))
            try await world.directory.sweep()
            #expect(try await world.directory.loginRecords(of: tenant.id, email: nil, outcome: nil, offset: 0, limit: 1).total == 0)
        }
    }

    @Test func anotherPasswordEndsAllOtherLogins() async throws {
        try await World.run { world in
            let (tenant, owner) = try await world.business()
            let (here, there) = (try await world.login(), try await world.login())
            let (session, other) = (try await world.session(here), try await world.session(there))
            let wrong = try await refusal {
                try await world.directory.changePassword(of: principal(owner), session: session, from: "errada", to: "Outra#2027x")
            }
            #expect(wrong.fields.first?.location == ["body", "current_password"])
            let weak = try await refusal {
                try await world.directory.changePassword(of: principal(owner), session: session, from: strong, to: "fraca")
            }
            #expect(weak.fields.first?.location == ["body", "new_password"])
            try await world.directory.changePassword(of: principal(owner), session: session, from: strong, to: "Outra#2027x")
            #expect(world.directory.stands(session) && !world.directory.stands(other))
            #expect(try await refusal { try await world.login() }.code == "invalid_credentials")
            _ = try await world.login(ownerEmail, "Outra#2027x")
            #expect(try await world.directory.loginRecords(of: tenant.id, email: nil, outcome: .passwordChanged, offset: 0, limit: 9).total == 1)
        }
    }

    @Test func oneEndsOnesOwnLoginsAndNobodyElses() async throws {
        try await World.run { world in
            let (_, owner) = try await world.business()
            let (_, stranger) = try await world.business("Outra", owner: "outra@loja.example")
            let (a, b, c) = (try await world.login(), try await world.login(), try await world.login())
            let ids = [try await world.session(a), try await world.session(b), try await world.session(c)]
            let theirs = try await world.session(try await world.login("outra@loja.example"))
            #expect(Set(try await world.directory.sessions(of: owner.id).map(\.id)) == Set(ids))
            let refused = try await refusal { try await world.directory.endSessions(of: principal(owner), current: ids[0], one: theirs) }
            #expect(refused.kind == .notFound)
            #expect(try await world.directory.endSessions(of: principal(owner), current: ids[0], one: ids[1]) == 1)
            #expect(try await world.directory.endSessions(of: principal(owner), current: ids[0], one: nil) == 1)
            #expect(ids.map { world.directory.stands($0) } == [true, false, false] && world.directory.stands(theirs))
            #expect(try await world.directory.sessions(of: stranger.id).count == 1)
        }
    }
}
