import Identity
import Kernel
import Storage
import TestSupport
import Testing

/// The plan of a business, who changes it, and how many users it has room for.
@Suite struct PlanTests {
    @Test func onlyAnOwnerChangesItAndEachChangeIsKept() async throws {
        let folder = TemporaryDirectory()
        let clock = ManualEnvironment()
        let owner = try await World.run(in: folder, clock: clock) { world in
            let owner = try await world.business().owner
            #expect(world.directory.business(owner.tenant)?.plan == .enterprise, "nobody is limited who was not")
            let bia = try await world.person("bia@loja.example", .admin, by: owner)
            #expect(
                try await refusal { try await world.directory.changePlan(of: owner.tenant, to: .free, by: principal(bia)) }.code == "owner_only"
            )
            let changed = try await world.directory.changePlan(of: owner.tenant, to: .free, by: principal(owner))
            #expect(changed.former == .enterprise && changed.tenant.plan == .free)
            let again = try await world.directory.changePlan(of: owner.tenant, to: .free, by: principal(owner))
            #expect(again.former == .free)
            _ = try await world.directory.changePlan(of: owner.tenant, to: .pro, by: nil)
            return owner
        }
        try await World.run(in: folder, clock: clock) { world in
            #expect(world.directory.business(owner.tenant)?.plan == .pro)
            let changes = try await world.directory.planChanges(of: owner.tenant)
            #expect(changes.map(\.to) == [.pro, .free] && changes.map(\.from) == [.free, .enterprise], "nothing for what changed nothing")
            #expect(changes.map(\.by) == ["operador", "Ana"])
        }
    }

    @Test func whatTakesPartRefusesOrFailsAndNothingIsOther() async throws {
        let folder = TemporaryDirectory()
        let clock = ManualEnvironment()
        let owner = try await World.run(in: folder, clock: clock) { world in
            let owner = try await world.business().owner
            let life = Activation(tenant: owner.tenant)
            func commit(_ joint: JointChange) async throws(Refusal) {
                let ticket = Ticket()
                world.gate.enqueue(joint.change, life) {
                    joint.release($0)
                    ticket.settle($0)
                }
                try await ticket.committed()
            }
            // Who takes part refuses: nothing is written.
            let refused = try await refusal {
                try await world.directory.changePlan(of: owner.tenant, to: .free, by: principal(owner)) { _, _ throws(Refusal) -> Int in
                    throw Refusal(.conflict, "not_now", "agora não")
                }
            }
            #expect(refused.code == "not_now")
            // The disk does: nothing is other either, and nothing has to be read anew.
            world.journal.diskIsFull(true)
            let failed = try await refusal {
                try await world.directory.changePlan(of: owner.tenant, to: .free, by: principal(owner)) { _, joint throws(Refusal) in
                    try await commit(joint)
                }
            }
            world.journal.diskIsFull(false)
            #expect(failed.code == "journal_unavailable")
            #expect(world.directory.business(owner.tenant)?.plan == .enterprise)
            #expect(try await world.directory.planChanges(of: owner.tenant).isEmpty)
            return owner
        }
        try await World.run(in: folder, clock: clock) { world in
            #expect(world.directory.business(owner.tenant)?.plan == .enterprise)
            // Twenty who change it at once, and others who look and change meanwhile: each of them goes on from what was before.
            let plans: [PlanType] = [.free, .starter, .pro, .enterprise]
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<20 {
                    group.addTask { _ = try await world.directory.changePlan(of: owner.tenant, to: plans[number % 4], by: principal(owner)) }
                    group.addTask { _ = try await world.directory.users(of: owner.tenant) }
                    group.addTask {
                        var changes = ProfileChanges()
                        changes.name = "Ana \(number)"
                        _ = try await world.directory.changeProfile(of: principal(owner), changes)
                    }
                }
                try await group.waitForAll()
            }
            let changes = try await world.directory.planChanges(of: owner.tenant).reversed()
            #expect(changes.first?.from == .enterprise && changes.last?.to == world.directory.business(owner.tenant)?.plan)
            #expect(zip(changes, changes.dropFirst()).allSatisfy { $0.to == $1.from })
        }
    }

    @Test func aHundredAtOnceDoNotGetPastTheSeats() async throws {
        let folder = TemporaryDirectory()
        try await World.run(in: folder) { world in
            let directory = Directory(
                store: world.store,
                gate: world.gate,
                environment: world.clock.environment,
                hasher: world.hasher,
                tokens: world.tokens,
                seats: { plan, used in plan == .free && used >= 4 ? Refusal(.paymentRequired, "plan_limit", "cheio") : nil }
            )
            try await directory.load()
            let owner = try await directory.createTenant(
                name: "Loja",
                slug: nil,
                ownerEmail: ownerEmail,
                ownerName: "Ana",
                password: strong,
                plan: .free
            ).1
            let made = await withTaskGroup(of: User?.self, returning: [User].self) { group in
                for number in 0..<100 {
                    group.addTask {
                        try? await directory.createUser(
                            by: principal(owner),
                            email: "u\(number)@loja.example",
                            name: "U",
                            role: .agent,
                            password: strong
                        )
                    }
                }
                return await group.reduce(into: []) { users, user in if let user { users.append(user) } }
            }
            #expect(made.count == 3 && directory.people(of: owner.tenant).active == 4)
            // A seat that is given up is there for somebody else, and is not there twice.
            _ = try await directory.updateUser(by: principal(owner), made[0].id, changes { $0.isActive = false })
            _ = try await directory.createUser(by: principal(owner), email: "v@loja.example", name: "V", role: .agent, password: strong)
            #expect(
                try await refusal { try await directory.updateUser(by: principal(owner), made[0].id, changes { $0.isActive = true }) }.code
                    == "plan_limit"
            )
            _ = try await directory.changePlan(of: owner.tenant, to: .starter, by: principal(owner))
            _ = try await directory.updateUser(by: principal(owner), made[0].id, changes { $0.isActive = true })
        }
    }
}
