import Foundation
import HTTPAPI
import Identity
import Kernel
import Logging
import Plans
import ServiceLifecycle
import Telemetry

extension Directory {
    /// What is known of a business's account where its usage is counted.
    nonisolated func account(_ id: TenantID) -> AccountStanding {
        guard let tenant = business(id) else { return .unlimited }
        let people = people(of: id)
        return AccountStanding(
            plan: tenant.plan,
            anchor: tenant.createdAt,
            businessName: tenant.name,
            users: people.active,
            owners: people.owners,
            owner: people.owner
        )
    }
}

extension PlanCatalogue {
    /// Whether a plan has room for one more active user.
    func seats(_ metrics: Metrics) -> @Sendable (PlanType, Int) -> Refusal? {
        { plan, used in
            guard let limit = self[plan][.users], used >= limit else { return nil }
            metrics.planRefusals.add(1, LabelValues(PlanResource.users.rawValue))
            return .planLimit(
                Usage.Denial(resource: .users, limit: limit, used: used, resetsAt: nil),
                plan: plan,
                upgradeTo: upgrade(from: plan, for: .users)
            )
        }
    }
}

struct LetterService: Service {
    let api: API
    let logger: Logger

    func run() async throws { await cancelWhenGracefulShutdown { await api.letters.run(api, logger: logger) } }
}
