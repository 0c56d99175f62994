import CustomerHealth
import Kernel
import TestSupport
import Testing
import Wire

@testable import Tenancy

/// `GET /logins`, however many accesses there are.
@Suite struct LoginListTests {
    private func login(_ customer: Int64 = 1, email: String? = nil, at: Timestamp? = nil) -> Activity {
        Activity(customer: customer, .login(userName: "Ana", userEmail: email), at: at)
    }

    private func house(_ activities: [Activity]) async throws -> House {
        let house = try House()
        _ = try await house.operations.upsertCustomers([CustomerPatch(id: 1), CustomerPatch(id: 2)], house.tenant)
        _ = try await house.operations.record(activities, key: nil, house.tenant)
        return house
    }

    private func list(_ house: House, _ answers: LongAnswers = LongAnswers(), shown: Int = .max, pageSize: Int) async throws(Refusal) -> LoginList {
        try await LoginList(of: 1, house.tenant, in: house.store, now: house.clock.now, answers, shown: shown, pageSize: pageSize)
    }

    @Test func inPagesItIsWhatItIsInOne() async throws {
        var random = SeededGenerator.fresh()
        let now = ManualEnvironment().now
        // Many of one moment, and of several days; some of them before the first, and some of somebody else.
        let all = (0..<400).map { number in
            login(
                number % 7 == 0 ? 2 : 1,
                email: ["a@x.com", "A@x.com", "b@x.com", nil].randomElement(using: &random)!,
                at: now - .seconds(86_400 * Int.random(in: 0...33, using: &random)) - .seconds(Int.random(in: 0...2, using: &random))
            )
        }
        let house = try await house(all)
        let whole = try await list(house, pageSize: 1000)
        #expect(whole.isShort)
        let expected = String(decoding: try await whole.whole(), as: UTF8.self)
        let json = try #require(try? JSON.parse(expected))
        let listed = try #require(json["logins"]?.array)
        let from = BusinessZone.start(of: BusinessZone.today(house.clock.now) + -30)
        #expect(listed.count == all.count { $0.customer == 1 && $0.at! >= from } && json["total_logins"]?.int == Int64(listed.count))
        #expect(json["usuarios_unicos"]?.int == 3 && json["dias_com_acesso"]?.int == Int64(Set(listed.map { $0["data"]?.string ?? "" }).count))
        let order = listed.map { ($0["data_login"]?.string ?? "", $0["id"]?.int ?? 0) }
        #expect(zip(order, order.dropFirst()).allSatisfy { $0 > $1 })
        for pageSize in [1, 2, 3, 50, listed.count - 1, listed.count] {
            let paged = try await list(house, pageSize: pageSize)
            #expect(String(decoding: try await paged.whole(), as: UTF8.self) == expected, "\(pageSize) at a time")
        }
        for shown in [0, 1, 7, 50] {
            let some = try #require(try? JSON.parse(try await list(house, shown: shown, pageSize: 3).whole()))
            #expect(some["logins"]?.array == Array(listed.prefix(shown)) && some["total_logins"] == json["total_logins"])
            #expect(some["usuarios_unicos"] == json["usuarios_unicos"] && some["dias_com_acesso"] == json["dias_com_acesso"])
        }
    }

    @Test func eachPieceIsOnePageAndWhatComesMeanwhileIsNoneOfIt() async throws {
        let house = try await house((0..<10).map { _ in login() })
        var list = try await list(house, pageSize: 4)
        #expect(!list.isShort)
        var pieces: [[UInt8]] = []
        while let piece = try await list.next() {
            pieces.append(piece)
            _ = try await house.operations.record([login(), login(email: "b@x.com", at: house.clock.now - .seconds(60))], key: nil, house.tenant)
        }
        let json = try #require(try? JSON.parse(pieces.flatMap { $0 }))
        #expect(json["total_logins"] == 10 && json["logins"]?.array?.count == 10 && json["usuarios_unicos"] == 1)
        #expect(pieces.count == 5, "the beginning, three pages and the end")
    }

    @Test func oneThatLosesAccessesOnTheWayHasNoEnd() async throws {
        let start = ManualEnvironment().now
        let house = try await house((0..<10).map { login(at: start - .seconds(Int64($0) * 86_400)) })
        var list = try await list(house, pageSize: 4)
        _ = try await list.next()
        _ = try await house.operations.forgetLogins(before: start - .seconds(5 * 86_400), of: house.tenant)
        do throws(Refusal) {
            while try await list.next() != nil {}
            Issue.record("it came to an end")
        } catch { #expect(error.code == "accesses_forgotten") }
    }

    @Test func asManyLongOnesAsThereMayBeAreUnderWayAtOnce() async throws {
        let house = try await house((0..<10).map { _ in login() })
        let answers = LongAnswers(atOnce: 2)
        var first: LoginList? = try await list(house, answers, pageSize: 4)
        var second = try await list(house, answers, pageSize: 4)
        do throws(Refusal) {
            _ = try await list(house, answers, pageSize: 4)
            Issue.record("a third began")
        } catch { #expect(error.code == "too_many_answers" && error.kind == .tooMany) }
        _ = try await list(house, answers, pageSize: 10)
        _ = try answers.begin(house.other)
        // One that is given up, and one that comes to its end.
        #expect(first != nil)
        first = nil
        let third = try await list(house, answers, pageSize: 4)
        while try await second.next() != nil {}
        _ = try await list(house, answers, pageSize: 4)
        #expect(!third.isShort && !second.isShort)
    }
}
