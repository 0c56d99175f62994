import CustomerHealth
import Kernel
import Sales
import Storage
import Tenancy
import Testing
import Wire

@Suite(.serialized) struct PortfolioTests {
    @Test func accessesAreForgottenInTheirTimeAndWhatFollowsFromThemIsNot() async throws {
        let house = try House()
        _ = try await house.operations.upsertCustomers([CustomerPatch(id: 1), CustomerPatch(id: 2)], house.tenant)
        let day = Duration.seconds(86_400)
        func login(_ customer: Int64, _ days: Int) -> Activity {
            Activity(customer: customer, .login(userName: "Ana", userEmail: "ana@example.com"), at: house.clock.now - day * days)
        }
        // More than are deleted at a time, and the newest by number is among the oldest.
        let all = (0..<2100).map { _ in login(1, 40) } + [login(1, 2), login(2, 50)]
        _ = try await house.operations.record(all, key: nil, house.tenant)
        let before = try await house.operations.customer(1, house.tenant)
        let cut = house.clock.now - day * 31
        #expect(try await house.operations.forgetLogins(before: cut, of: house.other) == 0)
        #expect(try await house.operations.forgetLogins(before: cut, of: house.tenant) == 2100)
        #expect(try await house.operations.forgetLogins(before: cut, of: house.tenant) == 0)
        var left = try await house.store.rows(
            Query("SELECT COUNT(*), MAX(id) FROM customer_logins WHERE tenant_id = ?", [.id(house.tenant)], kinds: [.integer, .integer])
        )
        #expect(left[0].integer() == 2 && left[0].integer() == 2102, "the next one is not given a number that there was")
        let after = try await house.operations.customer(1, house.tenant)
        #expect(after.vitals == before.vitals && after.vitals.facts(at: house.clock.now).count(.login) == 1)
    }

    @Test func nobodysSalesKeepTheirName() throws {
        let json = try JSON.parse(#"[{"id": 1, "name": "Ana"}, {"id": 99999999, "name": "Fulano"}]"#)
        do throws(Refusal) {
            _ = try Seller.list(json)
            Issue.record("it was taken")
        } catch { #expect(error.fields.map(\.location) == [["body", "1", "id"]]) }
    }
}
