package import Kernel

/// The tables of the change path itself.
package enum StorageTables {
    /// Durable intentions not carried out yet (the transactional outbox).
    package static let jobs = Table(
        "jobs",
        since: 1,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .uuid), Column("kind", .text), Column("lane", .text), Column("position", .integer),
            Column("state", .text),
            Column("attempts", .integer), Column("run_at", .timestamp), Column("payload", .json),
        ],
        indexes: [Index("jobs_by_lane", on: ["lane", "position"])]
    )

    /// Commands already carried out, by their key: webhook deliveries, idempotency keys. Kept for `Gate.Limits.marksAreKeptFor`.
    package static let marks = Table(
        "marks",
        since: 1,
        key: ["tenant_id", "scope", "key"],
        columns: [Column("tenant_id", .uuid), Column("scope", .text), Column("key", .text), Column("at", .timestamp), Column("result", .text)],
        indexes: [Index("marks_by_age", on: ["at"])]
    )

    package static let all = [jobs, marks]
}

extension Job {
    package init(_ row: Row) {
        var row = row
        let tenant: TenantID = row.id()
        let id: JobID = row.id()
        let kind = row.text()
        let lane = row.text()
        let order = row.integer()
        let state = row.text()
        self.init(
            id: id,
            tenant: tenant,
            kind: kind,
            lane: lane,
            order: order,
            state: State(rawValue: state) ?? .attempting,
            attempts: Int(row.integer()),
            runAt: row.timestamp(),
            payload: row.text()
        )
    }

    /// The job as a row. Its version counts the changes it can go through: each attempt makes it `attempting`, then `ready` again.
    var image: RowImage {
        RowImage(
            StorageTables.jobs,
            version: Int64(attempts) * 2 + (state == .ready ? 1 : 0),
            values: [
                .id(tenant), .id(id), .text(kind), .text(lane), .integer(order), .text(state.rawValue), .integer(Int64(attempts)), .timestamp(runAt),
                .json(payload),
            ]
        )
    }
}

extension Job {
    var deletion: RowImage { RowImage(deleting: [.id(tenant), .id(id)], from: StorageTables.jobs, version: Int64(attempts) * 2 + 2) }
}

extension Query {
    static let tenantsWithJobs = Query("SELECT DISTINCT tenant_id FROM jobs", kinds: [.uuid])

    static func jobs(of tenant: TenantID, after lane: String, _ limit: Int) -> Query {
        .select(
            from: StorageTables.jobs,
            // By the key, and sorted: the lanes' index would lead through everybody's.
            "WHERE tenant_id = ? AND +lane > ? ORDER BY +lane, position LIMIT ?",
            [.id(tenant), .text(lane), .integer(Int64(limit))]
        )
    }

    static func jobs(of tenant: TenantID, in lane: String, _ limit: Int) -> Query {
        .select(
            from: StorageTables.jobs,
            "WHERE tenant_id = ? AND lane = ? ORDER BY position LIMIT ?",
            [.id(tenant), .text(lane), .integer(Int64(limit))]
        )
    }
}

extension TenantID {
    /// A row of nothing else.
    init(row: Row) {
        var row = row
        self = row.id()
    }
}

extension Mark.Key {
    func deletion(version: Int64) -> RowImage {
        RowImage(deleting: [.id(tenant), .text(scope), .text(key)], from: StorageTables.marks, version: version)
    }
}

extension Mark {
    init(_ row: Row) {
        var row = row
        let key = Key(tenant: row.id(), scope: row.text(), key: row.text())
        self.init(key, at: row.timestamp(), result: row.text())
    }

    var image: RowImage {
        RowImage(
            StorageTables.marks,
            version: at.milliseconds,
            values: [.id(key.tenant), .text(key.scope), .text(key.key), .timestamp(at), .text(result)]
        )
    }
}
