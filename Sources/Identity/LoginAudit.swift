package import Kernel
package import Storage

/// Where a login comes from.
package struct LoginOrigin: Sendable, Hashable {
    /// `nil` for who comes through no door.
    package let address: String?
    /// What the client says it is.
    package let agent: String?

    package init(address: String?, agent: String?) {
        self.address = address
        self.agent = agent.map { String($0.filter { $0.isASCII && $0 >= " " }.prefix(200)) }
    }

    /// As it is stored.
    init(storedAddress: String?, agent: String?) {
        address = storedAddress
        self.agent = agent
    }

    func closed(_ seal: Seal) -> LoginOrigin { LoginOrigin(storedAddress: address.map(seal.close), agent: agent.map(seal.close)) }
    func opened(_ seal: Seal) -> LoginOrigin { LoginOrigin(storedAddress: address.flatMap(seal.open), agent: agent.flatMap(seal.open)) }

    package static let inside = LoginOrigin(address: nil, agent: nil)
}

/// One line of the record of logins: who, or the e-mail that was tried, when, from where, and what came of it. An e-mail that is nobody's stands with the first
/// business, which is whoever runs the server's.
package struct LoginRecord: Sendable, Equatable {
    package enum Outcome: String, Sendable, CaseIterable {
        case success
        case wrongPassword = "wrong_password"
        case unknownAccount = "unknown_account"
        case inactive
        /// The first refusal under a lock; the others are not on record.
        case locked
        case refreshReused = "refresh_reused"
        case passwordChanged = "password_changed"
        /// Somebody has forgotten it, or says so; whether there is such an account is in `user_id`.
        case resetAsked = "reset_asked"
        /// By the code that was sent to the address.
        case passwordReset = "password_reset"
        case logout
    }

    /// How long the record is kept.
    static let kept = Duration.seconds(90 * 86_400)

    package let tenant: TenantID
    package let id: Identifier<LoginRecord>
    package let at: Timestamp
    package let user: UserID?
    package let email: String
    package internal(set) var origin: LoginOrigin
    package let outcome: Outcome

    init(tenant: TenantID, user: UserID?, email: String, _ origin: LoginOrigin, _ outcome: Outcome, _ moment: Moment) {
        self.tenant = tenant
        id = moment.id()
        at = moment.now
        self.user = user
        // As far as an e-mail may go: it is whatever somebody typed.
        self.email = String(email.unicodeScalars.filter { $0.value >= 0x20 && $0.value != 0x7f }.prefix(254).map(Character.init))
        self.origin = origin
        self.outcome = outcome
    }

    package init(_ row: Row) {
        var row = row
        tenant = row.id()
        id = row.id()
        at = row.timestamp()
        user = row.optionalID()
        email = row.text()
        origin = LoginOrigin(storedAddress: row.optionalText(), agent: row.optionalText())
        outcome = Outcome(rawValue: row.text()) ?? .wrongPassword
    }

    var image: RowImage {
        RowImage(
            IdentityTables.loginAudit,
            version: 1,
            values: [
                .id(tenant), .id(id), .timestamp(at), .id(user), .text(email), .optional(origin.address), .optional(origin.agent),
                .text(outcome.rawValue),
            ]
        )
    }

    var deletion: RowImage { RowImage(deleting: [.id(tenant), .id(id)], from: IdentityTables.loginAudit, version: 2) }
}

extension Directory {
    /// The record of a business's logins, the latest first, and how many there are.
    package func loginRecords(
        of tenant: TenantID,
        email: String?,
        outcome: LoginRecord.Outcome?,
        offset: Int,
        limit: Int
    ) async throws(Refusal) -> (records: [LoginRecord], total: Int) {
        var conditions = "WHERE tenant_id = ?"
        var arguments: [SQLValue] = [.id(tenant)]
        if let email {
            conditions += " AND email = ?"
            arguments.append(.text(email.lowercased()))
        }
        if let outcome {
            conditions += " AND outcome = ?"
            arguments.append(.text(outcome.rawValue))
        }
        var counted = try await store.rows(Query("SELECT COUNT(*) FROM login_audit \(conditions)", arguments, kinds: [.integer], tenant: tenant))
            .first
        let rows = try await store.rows(
            .select(
                from: IdentityTables.loginAudit,
                conditions + " ORDER BY id DESC LIMIT ? OFFSET ?",
                arguments + [.integer(Int64(limit)), .integer(Int64(offset))],
                tenant: tenant
            )
        )
        let records = rows.map { row in
            var record = LoginRecord(row)
            record.origin = record.origin.opened(seal)
            return record
        }
        return (records, Int(counted?.integer() ?? 0))
    }
}
