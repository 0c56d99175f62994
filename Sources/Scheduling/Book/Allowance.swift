package import Kernel

/// What may still be made of what a business's plan limits, lent to the book for one turn. What was made is counted when it is given back.
package struct Allowance: Sendable {
    package enum Thing: Sendable, Hashable, CaseIterable { case appointment, client, service, staff }

    /// How many more there may be; without a number, any.
    private let left: [Thing: Int]
    private let refusal: @Sendable (Thing) -> Refusal
    package private(set) var made: [Thing: Int] = [:]

    package init(left: [Thing: Int], refusal: @escaping @Sendable (Thing) -> Refusal) {
        self.left = left
        self.refusal = refusal
    }

    /// Where nobody counts.
    package static let unlimited = Allowance(left: [:]) { _ in Refusal(.forbidden, "plan_limit", "O plano não permite mais.") }

    /// Before anything is changed: whether there may be one more.
    package func check(_ thing: Thing) throws(Refusal) {
        guard let left = left[thing], made[thing, default: 0] >= left else { return }
        throw refusal(thing)
    }

    /// There is one more.
    package mutating func take(_ thing: Thing) { made[thing, default: 0] += 1 }
}
