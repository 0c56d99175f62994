import Identity
import Kernel
import Storage
import Synchronization
import TestSupport
import Testing

@Suite struct DurabilityTests {
    @Test func aRestartKeepsEverybodyAndEverySession() async throws {
        let folder = TemporaryDirectory()
        let clock = ManualEnvironment()
        let (owner, bia, kept, out, used) = try await World.run(in: folder, clock: clock) { world in
            let owner = try await world.business().owner
            try await world.directory.setWhatsApp(tenant: owner.tenant, phoneNumberID: "111", wabaID: "9")
            let bia = try await world.person("bia@loja.example", .agent, by: owner)
            let kept = try await world.login()
            let out = try await world.login()
            try await world.directory.logout(try await world.session(out))
            let used = try await world.login("bia@loja.example")
            let renewed = try await world.directory.refresh(used.refreshToken)
            return (owner, bia, kept, out, (old: used, new: renewed))
        }
        try await World.run(in: folder, clock: clock) { world in
            #expect(await world.directory.tenant(phoneNumberID: "111")?.id == owner.tenant)
            #expect(try await world.directory.users(of: owner.tenant).map(\.id) == [owner.id, bia.id])
            _ = try await world.directory.authenticate(accessToken: kept.accessToken)
            _ = try await world.directory.refresh(kept.refreshToken)
            #expect(try await refusal { try await world.directory.authenticate(accessToken: out.accessToken) }.kind == .unauthenticated)
            #expect(try await refusal { try await world.directory.refresh(out.refreshToken) }.kind == .unauthenticated)
            _ = try await world.login("bia@loja.example")
            #expect(
                try await refusal { try await world.directory.refresh(used.old.refreshToken) }.kind == .unauthenticated,
                "used before the restart"
            )
            #expect(try await refusal { try await world.directory.authenticate(accessToken: used.new.accessToken) }.kind == .unauthenticated)
        }
    }

    @Test func whatCannotBeStoredIsRefusedAndLeavesNothingBehind() async throws {
        try await World.run { world in
            let ended = Mutex(0)
            world.directory.onSessionsEnded { sessions in ended.withLock { $0 += sessions.count } }
            let owner = try await world.business().owner
            let bia = try await world.person("bia@loja.example", .agent, by: owner)
            let login = try await world.login("bia@loja.example")
            let session = try await world.session(login)

            world.journal.diskIsFull(true)
            let refusals = [
                try await refusal {
                    try await world.directory.createUser(by: principal(owner), email: "caio@loja.example", name: "C", role: .agent, password: strong)
                },
                try await refusal {
                    try await world.directory.updateUser(by: principal(owner), bia.id, changes { $0.isActive = false })
                },
                try await refusal { try await world.directory.deleteUser(by: principal(owner), bia.id) },
                try await refusal { try await world.login() },
                try await refusal { try await world.directory.refresh(login.refreshToken) },
                try await refusal { try await world.directory.logout(session) },
                try await refusal {
                    try await world.directory.createTenant(name: "Outra", slug: nil, ownerEmail: "o@outra.example", ownerName: "O", password: strong)
                },
            ]
            #expect(refusals.allSatisfy { $0.kind == .unavailable && $0.retryAfterSeconds != nil })
            #expect(ended.withLock { $0 } == 0)
            _ = try await world.directory.authenticate(accessToken: login.accessToken)

            world.journal.diskIsFull(false)
            #expect(try await world.directory.users(of: owner.tenant).map(\.id) == [owner.id, bia.id])
            #expect(try await world.directory.user(owner.tenant, bia.id)?.isActive == true)
            _ = try await world.directory.refresh(login.refreshToken)
            _ = try await world.person("caio@loja.example", .agent, by: owner)
            try await world.business("Outra", owner: "o@outra.example")
        }
    }

    @Test func aRowIsReadBackAsItWasWritten() async throws {
        try await World.run { world in
            let (tenant, owner) = try await world.business("Ótica \"Ç\" 👓")
            _ = try await world.login()
            let stored = try await world.store.rows(.select(from: IdentityTables.users)).map(User.init)
            #expect(try await stored == world.directory.users(of: tenant.id))
            #expect(stored.first?.id == owner.id && stored.first?.lastLoginAt != nil)
            #expect(try await world.store.rows(.select(from: IdentityTables.tenants)).map(Tenant.init) == [tenant])
        }
    }
}
