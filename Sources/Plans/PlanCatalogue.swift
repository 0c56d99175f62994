package import Kernel
package import Wire

/// How much of each resource a plan gives. What is left out has no limit.
package struct PlanLimits: Sendable, Hashable {
    package var limits: [PlanResource: Int]

    package init(_ limits: [PlanResource: Int] = [:]) { self.limits = limits }

    package subscript(resource: PlanResource) -> Int? { limits[resource] }

    package func write(to writer: inout JSONWriter) {
        writer.object { for resource in PlanResource.allCases { $0.field(resource.rawValue, limits[resource]) } }
    }
}

/// The plans there are, as data: what each gives, by default or as whoever runs the server has it (docs/configuration.md `PLANTAO_PLANS`).
package struct PlanCatalogue: Sendable, Hashable {
    package var plans: [PlanType: PlanLimits]

    package init(plans: [PlanType: PlanLimits]) { self.plans = plans }

    package subscript(plan: PlanType) -> PlanLimits { plans[plan] ?? PlanLimits() }

    package static let standard = PlanCatalogue(plans: [
        .free: PlanLimits([
            .services: 10, .staff: 2, .users: 2, .clients: 200, .customers: 1000, .appointments: 100, .whatsappMessages: 200,
            .emails: 500,
        ]),
        .starter: PlanLimits([
            .services: 30, .staff: 5, .users: 5, .clients: 2000, .customers: 10_000, .appointments: 500, .whatsappMessages: 2000,
            .emails: 5000,
        ]),
        .pro: PlanLimits([
            .services: 200, .staff: 25, .users: 25, .clients: 20_000, .customers: 100_000, .appointments: 5000,
            .whatsappMessages: 20_000, .emails: 50_000,
        ]),
        .enterprise: PlanLimits(),
    ])

    /// The smallest of the larger plans that gives more of something than a plan does.
    package func upgrade(from plan: PlanType, for resource: PlanResource) -> PlanType? {
        guard let limit = self[plan][resource] else { return nil }
        return PlanType.allCases.first { $0 > plan && (self[$0][resource].map { $0 > limit } ?? true) }
    }

    package struct Invalid: Error, CustomStringConvertible {
        package let description: String
    }

    /// The standard ones, with those limits in place of their own that `{"free": {"appointments": 50, "clients": null}}` names; null is none.
    package func changed(by json: JSON) throws(Invalid) -> PlanCatalogue {
        guard let names = json.names else { throw Invalid(description: "an object with the plans by name is expected") }
        var catalogue = self
        for name in names {
            guard let plan = PlanType(name) else {
                throw Invalid(description: "there is no plan '\(name)'; one of \(PlanType.allCases.map(\.rawValue).joined(separator: ", ")) is meant")
            }
            guard let limits = json[name], let resources = limits.names else {
                throw Invalid(description: "\(name): an object with limits by resource is expected")
            }
            var changed = catalogue[plan]
            for name in resources {
                guard let resource = PlanResource(rawValue: name) else {
                    throw Invalid(
                        description:
                            "\(plan.rawValue): there is no resource '\(name)'; one of \(PlanResource.allCases.map(\.rawValue).joined(separator: ", ")) is meant"
                    )
                }
                switch limits[name] ?? .null {
                case .null: changed.limits[resource] = nil
                case .int(let number) where (0...1_000_000_000).contains(number): changed.limits[resource] = Int(number)
                default:
                    throw Invalid(description: "\(plan.rawValue).\(name): a whole number from 0 to 1000000000 is allowed, or null for no limit")
                }
            }
            catalogue.plans[plan] = changed
        }
        return catalogue
    }
}
