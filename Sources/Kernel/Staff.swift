/// Who works for a business, as somebody is found whom other systems know by name only.
package struct Staff: Sendable, Equatable {
    private var named: [String: [UserID]] = [:]
    private var owners: [UserID] = []

    package init() {}

    package mutating func add(_ user: UserID, name: String, email: String, isOwner: Bool) {
        for key in Set([Self.key(name), Self.key(email)]) where !key.isEmpty { named[key, default: []].append(user) }
        if isOwner { owners.append(user) }
    }

    /// Those of this name or e-mail, whatever its capitals, accents and spaces; the owners where there is nobody of it.
    package func responsible(for name: String?) -> [UserID] { name.flatMap { named[Self.key($0)] } ?? owners }

    private static func key(_ name: String) -> String { SearchText.folded(name).split(whereSeparator: \.isWhitespace).joined(separator: " ") }
}
