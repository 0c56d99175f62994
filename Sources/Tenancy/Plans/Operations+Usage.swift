package import Kernel
package import Plans
package import Storage

extension Operations {
    package func usage(_ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        try await tenants.use(tenant) { cell throws(Refusal) in try await cell.usage().committed() }
    }

    /// Users came or went. That is done already: what cannot be told of it now is told with the next turn that looks.
    package func accountChanged(_ tenant: TenantID) async {
        _ = try? await tenants.use(tenant) { cell throws(Refusal) in try await cell.accountChanged().committed() }
    }

    /// Commits the change that whoever keeps accounts has decided, with what follows for the usage.
    package func planChanged(
        of tenant: TenantID,
        to plan: PlanType,
        from former: PlanType,
        by name: String,
        at time: Timestamp,
        with joint: JointChange
    ) async throws(Refusal) -> (usage: [UInt8], over: [String]) {
        try await tenants.use(tenant) { cell throws(Refusal) in
            try await cell.planChanged(to: plan, from: former, by: name, at: time, with: joint).committed()
        }
    }

    /// Whose a business is, as contracts name it (`user_id`).
    package func owner(_ tenant: TenantID) -> UserID? { tenants.owner(tenant) }
}
