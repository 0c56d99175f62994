import Identity
import Kernel
import Testing

@Suite struct UserTests {
    @Test func aUserIsMadeAndLogsIn() async throws {
        try await World.run { world in
            let owner = try await world.business().owner
            let bia = try await world.person("Bia@Loja.Example", .agent, by: owner)
            #expect(bia.email == "bia@loja.example" && bia.role == .agent && bia.isActive)
            #expect(try await world.directory.user(owner.tenant, bia.id) == bia)
            #expect(try await world.directory.users(of: owner.tenant).map(\.id) == [owner.id, bia.id])
            #expect(try await world.login("BIA@loja.example").user.id == bia.id)
        }
    }

    @Test func whatIsNoEmailIsRefusedNamingTheField() async throws {
        try await World.run { world in
            let owner = try await world.business().owner
            for email in [
                "", "ana", "@loja.example", "ana@", "a b@loja.example", "a@b@loja.example", "a@.example",
                "a@" + String(repeating: "x", count: 260) + ".example",
            ] {
                let refused = try await refusal {
                    try await world.directory.createUser(by: principal(owner), email: email, name: "X", role: .agent, password: strong)
                }
                #expect(refused.kind == .invalid && refused.fields.first?.location == ["body", "email"], "\(email)")
            }
        }
    }

    @Test func aWeakPasswordIsRefusedNamingTheField() async throws {
        try await World.run { world in
            let owner = try await world.business().owner
            let made = try await refusal {
                try await world.directory.createUser(by: principal(owner), email: "b@loja.example", name: "B", role: .agent, password: "fraca")
            }
            #expect(made.kind == .invalid && made.fields.allSatisfy { $0.location == ["body", "password"] })
            let changed = try await refusal {
                try await world.directory.updateUser(by: principal(owner), owner.id, changes { $0.password = "fraca" }, password: strong)
            }
            #expect(changed.kind == .invalid && changed.fields.first?.location == ["body", "password"])
            _ = try await world.login()
        }
    }

    @Test func fiftyAtOnceWithOneEmailMakeOneUser() async throws {
        try await World.run { world in
            let owner = try await world.business().owner
            let outcomes = await withTaskGroup(of: Refusal?.self) { group in
                for _ in 0..<50 {
                    group.addTask {
                        do throws(Refusal) {
                            _ = try await world.directory.createUser(
                                by: principal(owner),
                                email: "bia@loja.example",
                                name: "Bia",
                                role: .agent,
                                password: strong
                            )
                            return nil
                        } catch { return error }
                    }
                }
                return await group.reduce(into: [Refusal?]()) { $0.append($1) }
            }
            #expect(outcomes.filter { $0 == nil }.count == 1)
            #expect(outcomes.compactMap { $0 }.allSatisfy { $0.kind == .conflict })
            #expect(try await world.directory.users(of: owner.tenant).count == 2)
        }
    }

    @Test func onlyOwnersAndAdminsManageUsers() async throws {
        try await World.run { world in
            let owner = try await world.business().owner
            for (email, role) in [("agent@loja.example", Role.agent), ("viewer@loja.example", .viewer)] {
                let user = try await world.person(email, role, by: owner)
                let refusals = [
                    try await refusal {
                        try await world.directory.createUser(by: principal(user), email: "x@loja.example", name: "X", role: .viewer, password: strong)
                    },
                    try await refusal {
                        try await world.directory.updateUser(by: principal(user), user.id, changes { $0.name = "X" })
                    },
                    try await refusal { try await world.directory.deleteUser(by: principal(user), user.id) },
                ]
                #expect(refusals.allSatisfy { $0.kind == .forbidden })
            }
        }
    }

    @Test func onlyAnOwnerMakesOrChangesAnOwner() async throws {
        try await World.run { world in
            let owner = try await world.business().owner
            let admin = try await world.person("admin@loja.example", .admin, by: owner)
            let agent = try await world.person("agent@loja.example", .agent, by: admin)
            let refusals = [
                try await refusal {
                    try await world.directory.createUser(by: principal(admin), email: "x@loja.example", name: "X", role: .owner, password: strong)
                },
                try await refusal {
                    try await world.directory.updateUser(by: principal(admin), agent.id, changes { $0.role = .owner })
                },
                try await refusal {
                    try await world.directory.updateUser(by: principal(admin), owner.id, changes { $0.name = "X" })
                },
                try await refusal { try await world.directory.deleteUser(by: principal(admin), owner.id) },
            ]
            #expect(refusals.allSatisfy { $0.kind == .forbidden })
            #expect(try await world.directory.updateUser(by: principal(owner), agent.id, changes { $0.role = .owner }).role == .owner)
        }
    }

    @Test func theLastActiveOwnerStays() async throws {
        try await World.run { world in
            let owner = try await world.business().owner
            let second = try await world.person("socia@loja.example", .owner, by: owner)
            _ = try await world.directory.updateUser(by: principal(owner), second.id, changes { $0.isActive = false })
            for change in [changes { $0.role = .admin }, changes { $0.isActive = false }] {
                #expect(try await refusal { try await world.directory.updateUser(by: principal(owner), owner.id, change) }.code == "last_owner")
            }
            #expect(try await refusal { try await world.directory.deleteUser(by: principal(owner), owner.id) }.code == "last_owner")
            _ = try await world.directory.updateUser(by: principal(owner), second.id, changes { $0.isActive = true })
            try await world.directory.deleteUser(by: principal(second), owner.id)
            #expect(try await world.directory.users(of: owner.tenant).map(\.id) == [second.id])
        }
    }

    @Test func anotherTenantsUserIsNotFound() async throws {
        try await World.run { world in
            let owner = try await world.business().owner
            let stranger = try await world.business("Outra", owner: "b@outra.example").owner
            #expect(try await world.directory.user(owner.tenant, stranger.id) == nil)
            #expect(
                try await refusal {
                    try await world.directory.updateUser(by: principal(owner), stranger.id, changes { $0.name = "X" })
                }.kind == .notFound
            )
            #expect(try await refusal { try await world.directory.deleteUser(by: principal(owner), stranger.id) }.kind == .notFound)
            #expect(try await world.directory.users(of: owner.tenant).map(\.id) == [owner.id])
        }
    }

    @Test func aDeletedUsersEmailIsFreeAgain() async throws {
        try await World.run { world in
            let owner = try await world.business().owner
            let bia = try await world.person("bia@loja.example", .agent, by: owner)
            try await world.directory.deleteUser(by: principal(owner), bia.id)
            #expect(try await refusal { try await world.login("bia@loja.example") }.code == "invalid_credentials")
            #expect(try await world.person("bia@loja.example", .agent, by: owner).id != bia.id)
        }
    }

    @Test func whatIsNotNamedStays() async throws {
        try await World.run { world in
            let owner = try await world.business().owner
            let bia = try await world.person("bia@loja.example", .agent, by: owner)
            world.clock.advance(by: .seconds(5))
            let renamed = try await world.directory.updateUser(by: principal(owner), bia.id, changes { $0.name = "Bianca" })
            #expect(renamed.name == "Bianca" && renamed.role == .agent && renamed.isActive)
            #expect(renamed.updatedAt == world.clock.now && renamed.createdAt == bia.createdAt)
            #expect(try await world.directory.updateUser(by: principal(owner), bia.id, UserChanges()) == renamed, "nothing asked, nothing written")
            _ = try await world.login("bia@loja.example")
        }
    }

    @Test func aNULInAPasswordIsTheClientsFault() async throws {
        try await World.run { world in
            let owner = try await world.business().owner
            let refused = try await refusal {
                try await world.directory.createUser(by: principal(owner), email: "b@b.example", name: "B", role: .agent, password: "Forte#20\u{0}26")
            }
            #expect(refused.kind == .invalid)
        }
    }

    @Test func whoWasDeletedOrDemotedDecidesNoMore() async throws {
        try await World.run { world in
            let owner = try await world.business().owner
            let admin = try await world.person("admin@loja.example", .admin, by: owner)
            let agent = try await world.person("agent@loja.example", .agent, by: owner)
            _ = try await world.directory.updateUser(by: principal(owner), admin.id, changes { $0.role = .viewer })
            let refused = try await refusal { try await world.directory.deleteUser(by: principal(admin), agent.id) }
            #expect(refused.kind == .forbidden || refused.kind == .unauthenticated)
        }
    }

    @Test func whoeverMayNotIsToldSoFirst() async throws {
        try await World.run { world in
            let owner = try await world.business().owner
            let agent = try await world.person("agent@loja.example", .agent, by: owner)
            let refused = try await refusal {
                try await world.directory.updateUser(by: principal(agent), owner.id, changes { $0.password = "fraca" })
            }
            #expect(refused.kind == .forbidden)
        }
    }
}
