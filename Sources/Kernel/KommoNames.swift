/// What Kommo's numbers stand for in one account of it.
package struct KommoNames: Sendable, Equatable {
    /// A number of Kommo's, and what it is called.
    package typealias Names = [String: String]

    package var pipelines: Names = [:]
    package var statuses: Names = [:]
    package var users: Names = [:]

    package init() {}

    package static let fields: [(name: String, path: WritableKeyPath<KommoNames, Names> & Sendable)] = [
        ("pipelines", \.pipelines), ("statuses", \.statuses), ("users", \.users),
    ]
}
