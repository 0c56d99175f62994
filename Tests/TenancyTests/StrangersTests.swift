import Conversations
import Kernel
import Scheduling
import Storage
import TestSupport
import Testing

@testable import Tenancy

/// Who comes for the first time, and who comes back, while the business sleeps now and then.
@Suite struct StrangersTests {
    private func book(_ house: House, _ service: ServiceID, _ whatsapp: String, _ number: Int) async throws {
        try await house.book(service, in: .seconds(3600 + number * 1800), whatsapp: whatsapp)
    }

    private func sleep(_ house: House) async throws {
        house.clock.advance(by: .seconds(7200))
        _ = try await house.operations.consultores(house.other)
        await house.tenants.sweep()
    }

    private static func canonical(_ number: Int) -> String { "55119\(88_880_000 + number)" }
    /// As it may be written.
    private static func written(_ number: Int, _ form: Int) -> String {
        let digits = canonical(number)
        return [digits, "+" + digits, String(digits.dropFirst(2)), "55 11 \(digits.dropFirst(5))"][form % 4]
    }

    @Test func whoIsNewIsNotLookedForInTheStore() async throws {
        var limits = Tenants.Limits()
        limits.awake = 1
        let house = try House(limits: limits)
        let service = try await house.service()
        try await book(house, service, Self.canonical(0), 0)
        _ = try await house.operations.receive([house.message("oi", from: Self.canonical(1))], tenant: house.tenant)
        _ = house.store.takeAsked()
        for number in 2..<12 {
            try await book(house, service, Self.canonical(number), number)
            try await house.operations.receive([house.message("oi", from: Self.canonical(number + 100))], tenant: house.tenant)
        }
        #expect(house.store.takeAsked().filter { $0.contains("clients") || $0.contains("contacts") } == [])
        // After sleep the numbers are read once, and whoever is known is found.
        try await sleep(house)
        for number in 102..<112 { try await book(house, service, Self.written(number, number), number) }
        #expect(house.store.takeAsked().filter { $0.hasPrefix("SELECT found_by") }.count == 1)
        #expect(try await house.store.rows(.select(from: SchedulingTables.clients)).count == 22)
    }

    @Test(arguments: [UInt64.random(in: 0...UInt64.max), 7, 8]) func everybodyIsOnceThere(seed: UInt64) async throws {
        print("seed \(seed)")
        var random = SeededGenerator(seed: seed)
        var limits = Tenants.Limits()
        limits.awake = 1
        let house = try House(limits: limits)
        let service = try await house.service()
        var (booked, wrote): (Set<Int>, Set<Int>) = ([], [])
        for step in 0..<120 {
            let number = Int.random(in: 0..<30, using: &random)
            switch Int.random(in: 0..<10, using: &random) {
            case 0: try await sleep(house)
            case 1..<6:
                try await book(house, service, Self.written(number, Int.random(in: 0..<4, using: &random)), step)
                booked.insert(number)
            default:
                try await house.operations.receive([house.message("oi", from: Self.canonical(number))], tenant: house.tenant)
                wrote.insert(number)
            }
        }
        let clients = try await house.store.rows(.select(from: SchedulingTables.clients)).map(Client.init)
        #expect(clients.compactMap(\.key).sorted() == booked.union(wrote).map(Self.canonical).sorted(), "seed \(seed)")
        let contacts = try await house.store.rows(.select(from: ConversationTables.contacts)).map(Contact.init)
        #expect(contacts.compactMap(\.number).sorted() == wrote.map(Self.canonical).sorted(), "seed \(seed)")
    }
}
