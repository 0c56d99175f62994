package import Kernel
package import Storage

/// A business with an account here.
package struct Tenant: Sendable, Equatable {
    package let id: TenantID
    package internal(set) var name: String
    /// Its name in public addresses.
    package let slug: String
    package let timezone: String
    /// The WhatsApp number it is reached at, as Meta names it.
    package var phoneNumberID: String?
    package var wabaID: String?
    package let createdAt: Timestamp
    /// Businesses from before there were plans have no limits.
    package internal(set) var plan = PlanType.enterprise
    /// `nil` while none is chosen: services need then what any template's do.
    package internal(set) var template: TemplateType?
    /// The number that people are shown, as the owner wrote it.
    package internal(set) var whatsappNumber: String?
    package var version: Int64 = 0

    init(id: TenantID, name: String, slug: String, at time: Timestamp) {
        self.id = id
        self.name = name
        self.slug = slug
        timezone = "America/Sao_Paulo"
        createdAt = time
    }

    package init(_ row: Row) {
        var row = row
        id = row.id()
        name = row.text()
        slug = row.text()
        timezone = row.text()
        phoneNumberID = row.optionalText()
        wabaID = row.optionalText()
        createdAt = row.timestamp()
        plan = row.optionalText().flatMap { PlanType($0) } ?? .enterprise
        template = row.optionalText().flatMap { TemplateType(rawValue: $0) }
        whatsappNumber = row.optionalText()
        version = row.integer()
    }

    mutating func image() -> RowImage {
        version += 1
        return RowImage(
            IdentityTables.tenants,
            version: version,
            values: [
                .id(id), .text(name), .text(slug), .text(timezone), .optional(phoneNumberID), .optional(wabaID), .timestamp(createdAt),
                .text(plan.rawValue), .optional(template?.rawValue), .optional(whatsappNumber),
            ]
        )
    }
}

/// Somebody who logs in.
package struct User: Sendable, Equatable {
    package let tenant: TenantID
    package let id: UserID
    /// Lower-case; unique among all tenants.
    package internal(set) var email: String
    package internal(set) var name: String
    package internal(set) var role: Role
    var passwordHash: String
    package internal(set) var isActive = true
    package let createdAt: Timestamp
    package internal(set) var updatedAt: Timestamp
    package internal(set) var lastLoginAt: Timestamp?
    /// The lists that they have named, as JSON; nothing here looks into it.
    package internal(set) var views: String?
    /// Since when nobody has proved that they read `email`; `nil` once somebody has, or when whoever made the user answers for it.
    package internal(set) var unverifiedSince: Timestamp?
    package var isVerified: Bool { unverifiedSince == nil }
    package internal(set) var version: Int64 = 0

    init(tenant: TenantID, id: UserID, email: String, name: String, role: Role, passwordHash: String, at time: Timestamp) {
        self.tenant = tenant
        self.id = id
        self.email = email
        self.name = name
        self.role = role
        self.passwordHash = passwordHash
        createdAt = time
        updatedAt = time
    }

    package init(_ row: Row) {
        var row = row
        tenant = row.id()
        id = row.id()
        email = row.text()
        name = row.text()
        role = Role(rawValue: row.text()) ?? .viewer
        passwordHash = row.text()
        isActive = row.boolean()
        createdAt = row.timestamp()
        updatedAt = row.timestamp()
        lastLoginAt = row.optionalTimestamp()
        views = row.optionalText()
        unverifiedSince = row.optionalTimestamp()
        version = row.integer()
    }

    mutating func image() -> RowImage {
        version += 1
        return RowImage(
            IdentityTables.users,
            version: version,
            values: [
                .id(tenant), .id(id), .text(email), .text(name), .text(role.rawValue), .text(passwordHash), .boolean(isActive), .timestamp(createdAt),
                .timestamp(updatedAt), .optional(lastLoginAt), views.map { .json($0) } ?? .null, .optional(unverifiedSince),
            ]
        )
    }
}

/// One login, from the password to the logout. Its refresh token changes with each use; only the newest is good.
package struct LoginSession: Sendable, Equatable {
    package let tenant: TenantID
    package let id: LoginSessionID
    package let user: UserID
    /// The `jti` of the refresh token that is good.
    package var refreshID: String
    /// The one that `refreshID` took the place of, at `lastUsedAt`.
    var previousRefreshID: String?
    package let createdAt: Timestamp
    package var expiresAt: Timestamp
    /// Where it was last refreshed from, or else began.
    package var origin: LoginOrigin
    package var lastUsedAt: Timestamp
    package var version: Int64 = 0

    init(
        tenant: TenantID,
        id: LoginSessionID,
        user: UserID,
        refreshID: String,
        origin: LoginOrigin,
        createdAt: Timestamp,
        expiresAt: Timestamp
    ) {
        self.origin = origin
        lastUsedAt = createdAt
        self.tenant = tenant
        self.id = id
        self.user = user
        self.refreshID = refreshID
        self.createdAt = createdAt
        self.expiresAt = expiresAt
    }

    package init(_ row: Row) {
        var row = row
        tenant = row.id()
        id = row.id()
        user = row.id()
        refreshID = row.text()
        createdAt = row.timestamp()
        expiresAt = row.timestamp()
        origin = LoginOrigin(storedAddress: row.optionalText(), agent: row.optionalText())
        lastUsedAt = row.optionalTimestamp() ?? createdAt
        previousRefreshID = row.optionalText()
        version = row.integer()
    }

    mutating func image() -> RowImage {
        version += 1
        return RowImage(
            IdentityTables.loginSessions,
            version: version,
            values: [
                .id(tenant), .id(id), .id(user), .text(refreshID), .timestamp(createdAt), .timestamp(expiresAt), .optional(origin.address),
                .optional(origin.agent), .timestamp(lastUsedAt), .optional(previousRefreshID),
            ]
        )
    }

    var deletion: RowImage { RowImage(deleting: [.id(tenant), .id(id)], from: IdentityTables.loginSessions, version: version + 1) }
}
