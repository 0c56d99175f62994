package import Kernel

/// A system that a customer has connected, or had.
package struct Integrator: Sendable, Equatable {
    package let name: String
    package var isActive: Bool
    /// When that was said; `nil` where it was not kept.
    package var at: Timestamp?

    /// Of one customer, at the most.
    static let max = 50

    /// What is older than what was said last of the same one says nothing.
    static func switched(_ name: String, _ isActive: Bool, at time: Timestamp, in known: inout [Integrator]) {
        if let index = known.firstIndex(where: { $0.name == name }) {
            if let before = known[index].at, time < before { return }
            known[index].isActive = isActive
            known[index].at = time
            return
        }
        if known.count >= max {
            // Of those that are gone, the one that has been for longest is forgotten first.
            let gone = known.indices.filter { !known[$0].isActive }
            guard let oldest = gone.min(by: { (known[$0].at?.milliseconds ?? .min) < (known[$1].at?.milliseconds ?? .min) }) else { return }
            known.remove(at: oldest)
        }
        known.append(Integrator(name: name, isActive: isActive, at: time))
    }
}

/// What a customer's row of vitals says.
package struct StoredVitals: Sendable {
    package var vitals = CustomerVitals()
    package var integrators: [Integrator] = []
    /// When it was written, and the score was what it says.
    package var asOf: Timestamp?

    package init() {}
}
