import CustomerHealth
package import Kernel
import Storage
import Wire

/// `GET /logins` (contracts/ecosys-ms.md), piece by piece: the accesses of one customer since the beginning of the day 30 days ago, as they are counted, newest first.
/// However many there are, no more than one page of them is in memory.
///
/// It is of what there was when it began: how many is told before they are read, and those that come meanwhile are none of them.
package struct LoginList: Sendable {
    private enum Stage { case beginning, accesses, over }

    /// Accesses read at a time.
    static let pageSize = 2000

    private let customer: Int64
    private let tenant: TenantID
    private let store: any Store
    private let from: Timestamp
    private let pageSize: Int
    private let shown: Int
    private var total: Int64 = 0
    /// By number, which grows as they come.
    private var newest: Int64 = 0
    /// `nil` where all are in one page.
    private var turn: LongAnswers.Turn?

    private var stage = Stage.beginning
    private var page: [Login] = []
    private var read = 0
    /// Eight bytes for each: two of a million people are taken for one once in some ten million answers.
    private var users: Set<Int> = []
    private var days: Set<CivilDate> = []

    /// - Parameter shown: how many are listed, at the most; all of them are counted.
    /// - Throws: 429 where as many long answers are under way as there may be.
    init(
        of customer: Int64,
        _ tenant: TenantID,
        in store: any Store,
        now: Timestamp,
        _ answers: LongAnswers,
        shown: Int = .max,
        pageSize: Int = pageSize
    ) async throws(Refusal) {
        (self.customer, self.tenant, self.store, self.shown, self.pageSize) = (customer, tenant, store, shown, pageSize)
        from = BusinessZone.start(of: BusinessZone.today(now) + -CustomerVitals.windowDays)
        var counted = try await store.rows(
            Query(
                "SELECT COUNT(*), MAX(id) FROM customer_logins WHERE tenant_id = ? AND customer_id = ? AND at >= ?",
                [.id(tenant), .integer(customer), .timestamp(from)],
                kinds: [.integer, .integer],
                tenant: tenant
            )
        )
        total = counted[0].integer()
        newest = counted[0].optionalInteger() ?? 0
        if total > Int64(pageSize) { turn = try answers.begin(tenant) }
        page = try await nextPage(after: nil)
    }

    /// Whether it is little enough to be written at once.
    package var isShort: Bool { total <= Int64(pageSize) }

    /// - Returns: `nil` after the last.
    /// - Throws: also where less is found than there was, before the end is written.
    package mutating func next() async throws(Refusal) -> [UInt8]? {
        switch stage {
        case .beginning:
            stage = .accesses
            return Array(#"{"tenant_id":\#(customer),"periodo":"últimos 30 dias","total_logins":\#(total),"logins":["#.utf8)
        case .accesses:
            guard let last = page.last else {
                guard read == total else { throw .accessesWereForgotten }
                stage = .over
                turn?.end()
                return Array(#"],"usuarios_unicos":\#(users.count),"dias_com_acesso":\#(days.count)}"#.utf8)
            }
            var writer = JSONWriter(capacity: 256 * page.count)
            if read > 0, read < shown { writer.literal(",") }
            for login in page.prefix(max(0, shown - read)) { login.write(to: &writer) }
            for login in page {
                if let user = login.user { users.insert(user.hashValue) }
                days.insert(BusinessZone.today(login.at))
            }
            read += page.count
            page = try await nextPage(after: last)
            return writer.bytes
        case .over: return nil
        }
    }

    /// All of it.
    package func whole() async throws(Refusal) -> [UInt8] {
        var (list, bytes): (Self, [UInt8]) = (self, [])
        while let piece = try await list.next() { bytes += piece }
        return bytes
    }

    private func nextPage(after last: Login?) async throws(Refusal) -> [Login] {
        guard read < total else { return [] }
        var (condition, arguments): (String, [SQLValue]) = ("", [.id(tenant), .integer(customer), .timestamp(from), .integer(newest)])
        if let last {
            condition = " AND (at, id) < (?, ?)"
            arguments += [.timestamp(last.at), .integer(last.id)]
        }
        return try await store.rows(
            .select(
                from: CustomerTables.logins,
                "WHERE tenant_id = ? AND customer_id = ? AND at >= ? AND id <= ?\(condition) ORDER BY at DESC, id DESC LIMIT ?",
                arguments + [.integer(Int64(pageSize))],
                tenant: tenant
            )
        ).map(Login.init)
    }
}

extension Refusal {
    fileprivate static let accessesWereForgotten = Refusal(
        .unavailable,
        "accesses_forgotten",
        "Acessos antigos foram apagados durante a leitura. Tente novamente.",
        retryAfterSeconds: 1
    )
}
