/// How marked personal data and credentials are written down: so that who has the disk, or a copy of the database, does not have them.
///
/// What is sealed cannot be searched for, and is different each time. Columns that are looked for by what is in them stay plain.
package struct Seal: Sendable {
    package let close: @Sendable (String) -> String
    /// `nil` where no key opens it. What was never sealed is given back as it is.
    package let open: @Sendable (String) -> String?

    package init(close: @escaping @Sendable (String) -> String, open: @escaping @Sendable (String) -> String?) {
        self.close = close
        self.open = open
    }

    /// For tests: written down as it is.
    package static let none = Seal(close: { $0 }, open: { $0 })
}
