import Identity
import Kernel
import Testing

@Suite struct TenantTests {
    @Test func theFirstBusinessIsMadeOnAnEmptyStore() async throws {
        try await World.run { world in
            #expect(await world.directory.isEmpty)
            let (tenant, owner) = try await world.business("Barbearia 7")
            #expect(await !world.directory.isEmpty)
            #expect(tenant.name == "Barbearia 7" && tenant.slug == "barbearia-7" && tenant.timezone == "America/Sao_Paulo")
            #expect(owner.tenant == tenant.id && owner.role == .owner && owner.isActive && owner.email == ownerEmail && owner.lastLoginAt == nil)
            #expect(await world.directory.tenant(tenant.id) == tenant)
            #expect(await world.directory.tenant(slug: "barbearia-7") == tenant)
            #expect(await world.directory.tenants == [tenant])
            #expect(world.outlet.count == 0, "who there is, is nobody else's news")
        }
    }

    @Test func twoOfOneNameHaveTwoSlugs() async throws {
        try await World.run { world async throws in
            #expect(try await world.business("Loja").tenant.slug == "loja")
            #expect(try await world.business("LOJA!", owner: "b@loja.example").tenant.slug == "loja-2")
            #expect(try await world.business("***", owner: "c@loja.example").tenant.slug == "empresa")
            #expect(
                try await refusal {
                    try await world.directory.createTenant(name: "X", slug: "loja", ownerEmail: "d@loja.example", ownerName: "D", password: strong)
                }.kind == .conflict
            )
        }
    }

    @Test func anEmailBelongsToOneOfAllTenants() async throws {
        try await World.run { world in
            try await world.business()
            let refused = try await refusal {
                try await world.directory.createTenant(
                    name: "Outra",
                    slug: nil,
                    ownerEmail: ownerEmail.uppercased(),
                    ownerName: "X",
                    password: strong
                )
            }
            #expect(refused.kind == .conflict)
            #expect(await world.directory.tenants.count == 1, "the business was not made without its owner")
        }
    }

    @Test func aBusinessIsFoundByItsNumber() async throws {
        try await World.run { world in
            let first = try await world.business().tenant
            let second = try await world.business("Outra", owner: "b@loja.example").tenant
            try await world.directory.setWhatsApp(tenant: first.id, phoneNumberID: "111", wabaID: "9")
            #expect(await world.directory.tenant(phoneNumberID: "111")?.id == first.id)
            #expect(
                try await refusal {
                    try await world.directory.setWhatsApp(tenant: second.id, phoneNumberID: "111", wabaID: nil)
                }.kind == .conflict
            )
            try await world.directory.setWhatsApp(tenant: first.id, phoneNumberID: "222", wabaID: "9")
            try await world.directory.setWhatsApp(tenant: second.id, phoneNumberID: "111", wabaID: nil)
            #expect(await world.directory.tenant(phoneNumberID: "111")?.id == second.id)
            #expect(await world.directory.tenant(phoneNumberID: "222")?.wabaID == "9")
            #expect(await world.directory.tenant(phoneNumberID: "333") == nil)
        }
    }

    @Test func aBusinessThatIsNotThereHasNoNumber() async throws {
        try await World.run { world async throws in
            let nobody = TenantID(UniqueID(high: 1, low: 1))
            #expect(
                try await refusal {
                    try await world.directory.setWhatsApp(tenant: nobody, phoneNumberID: "1", wabaID: nil)
                }.kind == .notFound
            )
        }
    }

    @Test func aSlugIsAnAddress() async throws {
        try await World.run { world in
            let refused = try await refusal {
                try await world.directory.createTenant(name: "A", slug: "não é /um slug", ownerEmail: ownerEmail, ownerName: "A", password: strong)
            }
            #expect(refused.kind == .invalid)
            #expect(try await world.business("São João Ótica").tenant.slug == "sao-joao-otica")
        }
    }
}
