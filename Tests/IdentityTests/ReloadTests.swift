import Identity
import Kernel
import Storage
import Synchronization
import TestSupport
import Testing

@Suite struct ReloadTests {
    @Test func aSlowReloadDoesNotBringBackAnOlderRoster() async throws {
        let folder = TemporaryDirectory()
        let clock = ManualEnvironment()
        try await World.run(in: folder, clock: clock) { world in
            let slow = SlowStore(world.store)
            let directory = Directory(store: slow, gate: world.gate, environment: clock.environment, hasher: world.hasher, tokens: world.tokens)
            try await directory.load()
            let (tenant, owner) = try await directory.createTenant(name: "A", slug: nil, ownerEmail: ownerEmail, ownerName: "A", password: strong)
            func fail() async {
                world.journal.diskIsFull(true)
                _ = try? await directory.setWhatsApp(tenant: tenant.id, phoneNumberID: "1", wabaID: nil)
                world.journal.diskIsFull(false)
            }
            await fail()
            slow.open.withLock { $0 = false }
            slow.holdNext.withLock { $0 = true }
            async let late = directory.users(of: tenant.id)
            try await Task.sleep(for: .milliseconds(50))
            _ = try await directory.createUser(by: principal(owner), email: "bia@loja.example", name: "B", role: .agent, password: strong)
            await fail()
            slow.open.withLock { $0 = true }
            #expect(try await late.count == 2)
            #expect(try await directory.users(of: tenant.id).count == 2)
        }
    }

    @Test func whatWasNotStoredIsNotRead() async throws {
        try await World.run { world in
            let tenant = try await world.business().tenant
            world.journal.diskIsFull(true)
            _ = try? await world.directory.setWhatsApp(tenant: tenant.id, phoneNumberID: "111", wabaID: nil)
            #expect(await world.directory.tenant(phoneNumberID: "111")?.phoneNumberID == nil)
            _ = try? await world.directory.createTenant(name: "B", slug: nil, ownerEmail: "b@b.example", ownerName: "B", password: strong)
            #expect(await world.directory.tenants.count == 1)
        }
    }
}

/// The store, with a reading that can be held up once it has what it will answer.
final class SlowStore: Store {
    let inner: SQLiteStore
    let holdNext = Mutex(false)
    let open = Mutex(true)
    init(_ inner: SQLiteStore) { self.inner = inner }
    func rows(_ query: Query) async throws(Refusal) -> [Row] {
        let rows = try await inner.rows(query)
        if query.sql.contains("\"login_sessions\""),
            holdNext.withLock({ hold in
                defer { hold = false }; return hold
            })
        {
            while !open.withLock({ $0 }) { try? await Task.sleep(for: .milliseconds(1)) }
        }
        return rows
    }
    func marks(_ keys: [Mark.Key]) async throws(Refusal) -> [Mark.Key: String] { try await inner.marks(keys) }
    func tenantsWithJobs() async throws(Refusal) -> [TenantID] { try await inner.tenantsWithJobs() }
    func jobs(of tenant: TenantID, after lane: String, limit: Int) async throws(Refusal) -> [Job] {
        try await inner.jobs(of: tenant, after: lane, limit: limit)
    }
    func jobs(of tenant: TenantID, in lane: String, limit: Int) async throws(Refusal) -> [Job] {
        try await inner.jobs(of: tenant, in: lane, limit: limit)
    }
}
