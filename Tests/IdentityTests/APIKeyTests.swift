import Foundation
import Identity
import Kernel
import Storage
import TestSupport
import Testing

/// The keys of programs: what they open, for how long, and what is kept of them.
@Suite struct APIKeyTests {
    private static let tenant = TenantID(UniqueID(high: 5, low: 5))
    private static let other = TenantID(UniqueID(high: 6, low: 6))

    private func draft(_ name: String, _ scopes: Set<APIKeyScope> = Set(APIKeyScope.allCases), expires: Timestamp? = nil) -> APIKeyDraft {
        APIKeyDraft(name: name, scopes: scopes, expiresAt: expires, createdBy: "Ana")
    }

    private func opens(_ keys: APIKeys, _ text: String) -> APIKey? {
        if case .good(let key) = keys.verify(text) { key } else { nil }
    }

    private func withKeys(_ body: (World, APIKeys) async throws -> Void) async throws {
        let folder = TemporaryDirectory()
        try await World.run(in: folder, clock: ManualEnvironment()) { world in
            let keys = APIKeys(store: world.store, gate: world.gate, environment: world.clock.environment)
            try await keys.load()
            try await body(world, keys)
        }
    }

    @Test func eachOpensItsOwnBusinessWithinItsScopes() async throws {
        try await withKeys { world, keys in
            let (_, first) = try await keys.create(draft("A", [.takeTurns]), tenant: Self.tenant)
            let (_, second) = try await keys.create(draft("B"), tenant: Self.other)
            #expect(opens(keys, first)?.tenant == Self.tenant && opens(keys, first)?.scopes == [.takeTurns])
            #expect(opens(keys, second)?.tenant == Self.other)
            for wrong in ["", "plk_", first + "0", String(first.dropLast()), first.uppercased(), String(repeating: "x", count: 10_000)] {
                #expect(opens(keys, wrong) == nil)
            }
            let again = APIKeys(store: world.store, gate: world.gate, environment: world.clock.environment)
            try await again.load()
            #expect(opens(again, first)?.name == "A", "also after a start")
        }
    }

    @Test func aRotatedKeyOpensUntilItsGraceIsOverAndTheNewOneGoesOn() async throws {
        try await withKeys { world, keys in
            let (key, old) = try await keys.create(draft("A"), tenant: Self.tenant)
            let (_, new) = try await keys.rotate(key.id, of: Self.tenant, grace: .seconds(60))
            #expect(opens(keys, old) != nil && opens(keys, new)?.id == key.id)
            world.clock.advance(by: .seconds(59))
            #expect(opens(keys, old) != nil)
            world.clock.advance(by: .seconds(1))
            #expect(opens(keys, old) == nil && opens(keys, new) != nil)
            let (_, newest) = try await keys.rotate(key.id, of: Self.tenant, grace: .zero)
            #expect(opens(keys, new) == nil && opens(keys, newest) != nil)
            await #expect(throws: Refusal.notFound(.apiKey)) { try await keys.rotate(key.id, of: Self.other, grace: .zero) }
            await #expect(throws: Refusal.notFound(.apiKey)) { try await keys.revoke(key.id, of: Self.other) }
            try await keys.revoke(key.id, of: Self.tenant)
            #expect(opens(keys, newest) == nil)
        }
    }

    @Test func oneThatExpiresOpensUntilThen() async throws {
        try await withKeys { world, keys in
            let (_, text) = try await keys.create(draft("A", expires: world.clock.now + .seconds(10)), tenant: Self.tenant)
            world.clock.advance(by: .milliseconds(9999))
            #expect(opens(keys, text) != nil)
            world.clock.advance(by: .milliseconds(1))
            #expect(opens(keys, text) == nil)
        }
    }

    @Test func theLastUseIsWrittenDownOnceAMinuteAndTheKeyItselfNever() async throws {
        try await withKeys { world, keys in
            let (_, text) = try await keys.create(draft("A"), tenant: Self.tenant)
            func stored() async throws -> (version: SQLValue, row: Row) {
                let row = try #require(try await world.store.everything(in: APIKey.table).first)
                return (row[APIKey.table.columns.count - 1], row)
            }
            _ = opens(keys, text)
            await keys.noteUse()
            #expect(try await stored().version == .integer(2))
            #expect(try await keys.keys(of: Self.tenant).first?.lastUsedAt == world.clock.now)
            world.clock.advance(by: .seconds(30))
            _ = opens(keys, text)
            await keys.noteUse()
            #expect(try await stored().version == .integer(2), "half a minute later it is not worth a write")
            #expect(try await keys.keys(of: Self.tenant).first?.lastUsedAt == world.clock.now, "and is known all the same")
            world.clock.advance(by: .seconds(31))
            _ = opens(keys, text)
            await keys.noteUse()
            let (version, row) = try await stored()
            #expect(version == .integer(3))
            for column in APIKey.table.columns.indices { if case .text(let value) = row[column] { #expect(!value.contains(text)) } }
        }
    }

    @Test func whatCouldNotBeStoredOpensNothing() async throws {
        try await withKeys { world, keys in
            let (key, text) = try await keys.create(draft("A"), tenant: Self.tenant)
            world.journal.diskIsFull(true)
            await #expect(throws: Refusal.journalUnavailable) { try await keys.create(draft("B"), tenant: Self.tenant) }
            await #expect(throws: Refusal.self) { try await keys.revoke(key.id, of: Self.tenant) }
            world.journal.diskIsFull(false)
            #expect(opens(keys, text) != nil, "it was not revoked")
            #expect(try await keys.keys(of: Self.tenant).map(\.name) == ["A"])
            try await keys.revoke(key.id, of: Self.tenant)
            #expect(opens(keys, text) == nil)
        }
    }

    @Test func aNameIsGivenOnceAndSoManyThereAreAndNoMore() async throws {
        try await withKeys { _, keys in
            _ = try await keys.create(draft("A"), tenant: Self.tenant)
            await #expect(throws: Refusal.self) { try await keys.create(draft("A"), tenant: Self.tenant) }
            _ = try await keys.create(draft("A"), tenant: Self.other)
            for number in 1..<APIKeys.maxPerTenant { _ = try await keys.create(draft("\(number)"), tenant: Self.tenant) }
            do {
                _ = try await keys.create(draft("one more"), tenant: Self.tenant)
                Issue.record("there is no bound")
            } catch { #expect((error as? Refusal)?.code == "too_many_api_keys") }
        }
    }
}
