import Foundation
import Identity
import Kernel
import Storage
import TestSupport
import Testing

/// The proof that an address is somebody's, and what a forgotten password takes.
@Suite struct EmailCodeTests {
    private func registered(_ world: World) async throws -> User {
        try await world.directory.createTenant(
            name: "Loja",
            slug: nil,
            ownerEmail: ownerEmail,
            ownerName: "Ana",
            password: strong,
            plan: .free,
            isVerified: false
        ).1
    }

    private func code(_ letter: AccountLetter?) throws -> String {
        let digits = try #require(letter?.text.firstMatch(of: /código: ([0-9]{6})\n/)).1
        return String(digits)
    }

    private func wrong(_ code: String) -> String { code == "000000" ? "000001" : "000000" }

    @Test func theRightCodeProvesTheAddressOnceAndOverARestart() async throws {
        let folder = TemporaryDirectory()
        let clock = ManualEnvironment()
        let (user, digits) = try await World.run(in: folder, clock: clock) { world in
            let user = try await registered(world)
            #expect(!user.isVerified && !world.directory.isVerified(user.id))
            let letter = try await world.directory.verificationCode(of: user.id, in: user.tenant)
            #expect(letter?.recipient == ownerEmail && letter?.expiresAt == clock.now + .seconds(1800))
            return (user, try code(letter))
        }
        try await World.run(in: folder, clock: clock) { world in
            // It is nowhere to be read.
            let stored = try #require(try await world.store.everything(in: IdentityTables.emailCodes).first)
            for column in IdentityTables.emailCodes.columns.indices { if case .text(let text) = stored[column] { #expect(!text.contains(digits)) } }
            let verified = try await world.directory.verifyEmail(of: principal(user), code: digits)
            #expect(verified.isVerified && world.directory.isVerified(user.id))
            #expect(try await world.store.everything(in: IdentityTables.emailCodes).isEmpty)
            #expect(try await world.directory.verificationCode(of: user.id, in: user.tenant) == nil, "proved already")
            #expect(try await world.directory.verifyEmail(of: principal(user), code: "123456").isVerified, "and stays so")
        }
        try await World.run(in: folder, clock: clock) { world in #expect(world.directory.isVerified(user.id)) }
    }

    @Test func fiveWrongOnesSpendACodeAndTheyAreCountedOverARestart() async throws {
        let folder = TemporaryDirectory()
        let clock = ManualEnvironment()
        let (user, digits) = try await World.run(in: folder, clock: clock) { world in
            let user = try await registered(world)
            let digits = try code(try await world.directory.verificationCode(of: user.id, in: user.tenant))
            for left in [4, 3] {
                let refused = try await refusal { try await world.directory.verifyEmail(of: principal(user), code: wrong(digits)) }
                #expect(refused.code == "code_wrong" && refused.numbers["attempts_left"] == left)
            }
            return (user, digits)
        }
        try await World.run(in: folder, clock: clock) { world in
            for left in [2, 1] {
                let refused = try await refusal { try await world.directory.verifyEmail(of: principal(user), code: wrong(digits)) }
                #expect(refused.numbers["attempts_left"] == left)
            }
            #expect(try await refusal { try await world.directory.verifyEmail(of: principal(user), code: wrong(digits)) }.code == "code_expired")
            #expect(try await refusal { try await world.directory.verifyEmail(of: principal(user), code: digits) }.code == "code_expired")
            #expect(!world.directory.isVerified(user.id))
        }
    }

    @Test func aCodeIsGoodForHalfAnHourAndTheNextOneTakesItsPlace() async throws {
        try await World.run { world in
            let user = try await registered(world)
            let first = try code(try await world.directory.verificationCode(of: user.id, in: user.tenant))
            #expect(try await refusal { try await world.directory.verificationCode(of: user.id, in: user.tenant) }.code == "code_too_soon")
            world.clock.advance(by: .seconds(60))
            let second = try code(try await world.directory.verificationCode(of: user.id, in: user.tenant))
            if first != second {
                #expect(try await refusal { try await world.directory.verifyEmail(of: principal(user), code: first) }.code == "code_wrong")
            }
            world.clock.advance(by: .seconds(1800))
            #expect(try await refusal { try await world.directory.verifyEmail(of: principal(user), code: second) }.code == "code_expired")
            // Five in an hour, and then no more until it is over.
            for _ in 0..<3 {
                world.clock.advance(by: .seconds(60))
                _ = try await world.directory.verificationCode(of: user.id, in: user.tenant)
            }
            world.clock.advance(by: .seconds(60))
            let refused = try await refusal { try await world.directory.verificationCode(of: user.id, in: user.tenant) }
            #expect(refused.code == "code_too_soon" && refused.retryAfterSeconds == 3600 - 60 - 1800 - 240)
            world.clock.advance(by: .seconds(try #require(refused.retryAfterSeconds)))
            let last = try code(try await world.directory.verificationCode(of: user.id, in: user.tenant))
            _ = try await world.directory.verifyEmail(of: principal(user), code: last)
        }
    }

    @Test func anotherAddressIsToBeProvedAndTheOldCodeDoesNotProveIt() async throws {
        try await World.run { world in
            let user = try await registered(world)
            let first = try code(try await world.directory.verificationCode(of: user.id, in: user.tenant))
            var changes = ProfileChanges()
            changes.email = "Nova@Loja.example "
            for wrong in [nil, "outra"] {
                let asked = changes
                await #expect(throws: Refusal.self) { try await world.directory.changeProfile(of: principal(user), asked, password: wrong) }
            }
            let (profile, letters) = try await world.directory.changeProfile(of: principal(user), changes, password: strong)
            #expect(profile.user.email == "nova@loja.example" && !profile.user.isVerified)
            #expect(letters.map(\.recipient) == [ownerEmail, "nova@loja.example"])
            let second = try code(letters.last)
            if first != second {
                #expect(try await refusal { try await world.directory.verifyEmail(of: principal(user), code: first) }.code == "code_wrong")
            }
            _ = try await world.directory.verifyEmail(of: principal(user), code: second)
            _ = try await world.login("nova@loja.example")
            #expect(try await refusal { try await world.login(ownerEmail) }.code == "invalid_credentials")
            // Free for others.
            _ = try await registered(world)
        }
    }

    @Test func aForgottenPasswordTellsNobodyWhetherThereIsAnAccount() async throws {
        try await World.run { world in
            let user = try await registered(world)
            let login = try await world.login()
            #expect(try await world.directory.forgotPassword(email: "ninguem@loja.example", from: .inside) == nil)
            let digits = try code(try await world.directory.forgotPassword(email: " Dona@Loja.Example", from: .inside))
            #expect(
                try await world.directory.forgotPassword(email: ownerEmail, from: .inside) == nil,
                "not twice within a minute, and nobody is told"
            )
            func reset(_ email: String, _ code: String) async throws {
                try await world.directory.resetPassword(email: email, code: code, to: "Outra#2026", from: .inside)
            }
            let refused = try await refusal { try await reset(ownerEmail, wrong(digits)) }
            #expect(try await refusal { try await reset("ninguem@loja.example", digits) } == refused, "one answer for all")
            try await reset(ownerEmail, digits)
            #expect(try await refusal { try await reset(ownerEmail, digits) } == refused, "good once")
            #expect(try await refusal { try await world.login() }.code == "invalid_credentials")
            _ = try await world.login(ownerEmail, "Outra#2026")
            let session = try await world.session(login)
            #expect(!world.directory.stands(session), "all logins from before are over")
            #expect(world.directory.isVerified(user.id), "whoever reads the code reads the address")
            let (records, _) = try await world.directory.loginRecords(of: user.tenant, email: nil, outcome: .passwordReset, offset: 0, limit: 9)
            #expect(records.count == 1)
        }
    }

    @Test func aCodeForOneThingDoesNothingElse() async throws {
        try await World.run { world in
            let user = try await registered(world)
            let verify = try code(try await world.directory.verificationCode(of: user.id, in: user.tenant))
            let reset = try code(try await world.directory.forgotPassword(email: ownerEmail, from: .inside))
            guard verify != reset else { return }
            #expect(try await refusal { try await world.directory.verifyEmail(of: principal(user), code: reset) }.code == "code_wrong")
            #expect(
                try await refusal { try await world.directory.resetPassword(email: ownerEmail, code: verify, to: "Outra#2026", from: .inside) }.code
                    == "code_wrong"
            )
        }
    }

    @Test func whatCouldNotBeStoredProvesNothing() async throws {
        try await World.run { world in
            let user = try await registered(world)
            let digits = try code(try await world.directory.verificationCode(of: user.id, in: user.tenant))
            world.journal.diskIsFull(true)
            await #expect(throws: Refusal.journalUnavailable) { try await world.directory.verifyEmail(of: principal(user), code: digits) }
            world.journal.diskIsFull(false)
            #expect(!world.directory.isVerified(user.id))
            _ = try await world.directory.verifyEmail(of: principal(user), code: digits)
        }
    }
}
