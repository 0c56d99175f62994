package import Kernel
package import Plans
import Storage

extension Operations {
    package func usage(_ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        try await tenants.use(tenant) { cell throws(Refusal) in try await cell.usage().committed() }
    }

    /// Users came or went. That is done already: what cannot be told of it now is told with the next turn that looks.
    package func accountChanged(_ tenant: TenantID) async {
        _ = try? await tenants.use(tenant) { cell throws(Refusal) in try await cell.accountChanged().committed() }
    }

    package func planChanged(
        of tenant: TenantID,
        from former: PlanType,
        by name: String,
        at time: Timestamp
    ) async throws(Refusal) -> (usage: [UInt8], over: [String]) {
        try await tenants.use(tenant) { cell throws(Refusal) in try await cell.planChanged(from: former, by: name, at: time).committed() }
    }
}
