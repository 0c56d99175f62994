import Kernel
package import Storage

// Six digits that prove that somebody reads an address.
//
//     issued ──right──▶ used, gone          one of a purpose lives: the next one takes the place of the last
//        │──wrong, the fifth time──▶ spent   and there are `maxSends` of them an hour, a minute apart
//        └──30 minutes──▶ expired
//
// What is kept is a digest under the server's own key, so that the million of possible codes cannot be tried on a stolen table. Who tries a code online has five
// tries of a million, five times an hour.
package struct EmailCode: Sendable, Equatable {
    package enum Purpose: String, Sendable, CaseIterable {
        case verify
        case reset
    }

    package static let lifetime = Duration.seconds(30 * 60)
    static let maxAttempts = 5
    static let pause = Duration.seconds(60)
    static let maxSends = 5
    static let window = Duration.seconds(3600)

    let tenant: TenantID
    let user: UserID
    let purpose: Purpose
    private(set) var email: String
    /// Empty once it is spent.
    private(set) var digest: String
    private(set) var expiresAt: Timestamp
    private(set) var attempts = 0
    private(set) var sentAt: Timestamp
    /// How many were sent since `countedFrom`.
    private(set) var sends = 1
    private(set) var countedFrom: Timestamp
    var version: Int64 = 0

    init(tenant: TenantID, user: UserID, purpose: Purpose, email: String, digest: String, at now: Timestamp) {
        self.tenant = tenant
        self.user = user
        self.purpose = purpose
        self.email = email
        self.digest = digest
        expiresAt = now + Self.lifetime
        sentAt = now
        countedFrom = now
    }

    package init?(_ row: Row) {
        var row = row
        tenant = row.id()
        user = row.id()
        let name = row.text()
        email = row.text()
        digest = row.text()
        expiresAt = row.timestamp()
        attempts = Int(row.integer())
        sentAt = row.timestamp()
        sends = Int(row.integer())
        countedFrom = row.timestamp()
        version = row.integer()
        guard let purpose = Purpose(rawValue: name) else { return nil }
        self.purpose = purpose
    }

    /// How long until another one may be sent; `nil` when it may be now.
    func wait(at now: Timestamp) -> Duration? {
        // A clock that was put back locks nobody out.
        if now < sentAt { return nil }
        if now < sentAt + Self.pause { return sentAt + Self.pause - now }
        if sends >= Self.maxSends, now < countedFrom + Self.window { return countedFrom + Self.window - now }
        return nil
    }

    /// Another one takes its place.
    mutating func reissued(to email: String, digest: String, at now: Timestamp) {
        if now >= countedFrom + Self.window || now < countedFrom {
            countedFrom = now
            sends = 0
        }
        sends += 1
        sentAt = now
        self.email = email
        self.digest = digest
        attempts = 0
        expiresAt = now + Self.lifetime
    }

    enum Answer: Equatable {
        case right
        case wrong(attemptsLeft: Int)
        /// Expired, spent, or of another address.
        case over
    }

    /// Somebody gave a code.
    mutating func given(_ digest: String, for email: String, at now: Timestamp) -> Answer {
        guard !self.digest.isEmpty, now < expiresAt, email == self.email else { return .over }
        attempts += 1
        // Digests: how long a comparison takes tells nothing of the code.
        if digest == self.digest {
            self.digest = ""
            return .right
        }
        guard attempts < Self.maxAttempts else {
            self.digest = ""
            return .wrong(attemptsLeft: 0)
        }
        return .wrong(attemptsLeft: Self.maxAttempts - attempts)
    }

    mutating func image() -> RowImage {
        version += 1
        return RowImage(
            IdentityTables.emailCodes,
            version: version,
            values: [
                .id(tenant), .id(user), .text(purpose.rawValue), .text(email), .text(digest), .timestamp(expiresAt), .integer(Int64(attempts)),
                .timestamp(sentAt), .integer(Int64(sends)), .timestamp(countedFrom),
            ]
        )
    }

    var deletion: RowImage {
        RowImage(deleting: [.id(tenant), .id(user), .text(purpose.rawValue)], from: IdentityTables.emailCodes, version: version + 1)
    }
}
