import Hummingbird
import Kernel
import Storage
import Tenancy
import Wire

// How the store is, and the rows it would not take. Numbers are the server's, rows are the tenant's own; both are for administrators.

extension API {
    func addStorage(to router: Router<APIContext>) {
        router.get("/api/v1/storage") { request, context -> Response in
            let principal = try await principal(request, context)
            try principal.requireAdministrator()
            let rows = try await store.quarantined(of: principal.tenant)
            let status = store.status
            return .json { writer in
                status.write(to: &writer)
                writer.list("quarantine") { for row in rows { row.write(to: &$0) } }
            }
        }

        // `{"ids": [1, 2]}`, or nothing for all of the tenant's: `{tried, taken, quarantine}`.
        router.post("/api/v1/storage/retry") { request, context -> Response in
            let principal = try await principal(request, context)
            try principal.requireAdministrator()
            var fields = try await request.fields()
            let asked = fields.optionalIntegers("ids", maxCount: 10_000)
            try fields.check()
            let own = Set(try await store.quarantined(of: principal.tenant).map(\.id))
            if let stranger = asked?.first(where: { !own.contains($0) }) {
                throw Refusal(.notFound, "not_found", "Não há linha \(stranger) em quarentena.")
            }
            let ids = asked ?? own.sorted()
            let taken = try await store.retryQuarantined(ids)
            let left = try await store.quarantined(of: principal.tenant)
            return .json {
                $0.field("tried", ids.count)
                $0.field("taken", taken)
                $0.list("quarantine") { for row in left { row.write(to: &$0) } }
            }
        }
    }
}

extension StoreStatus {
    /// `{store, write_behind: {…} | null}`; times in seconds.
    func write(to writer: inout JSONWriter) {
        writer.field("store", kind.rawValue)
        guard let owed = writeBehind else { return writer.field("write_behind", raw: "null") }
        writer.field(
            "write_behind",
            object: {
                $0.field("depth", owed.depth)
                $0.field("bytes", owed.bytes)
                $0.field("max_bytes", owed.maxBytes)
                $0.field("lag_seconds", owed.lag.inSeconds)
                if let maxAge = owed.maxAge { $0.field("max_lag_seconds", maxAge.inSeconds) }
                $0.field("is_full", owed.isFull)
                $0.field("batch_size", owed.batchSize)
                $0.field("batches", owed.batches)
                $0.field("failed_batches", owed.failedBatches)
                $0.field("flushed_rows", owed.flushedRows)
                $0.field("written_images", owed.writtenImages)
                $0.field("last_batch_seconds", owed.lastBatchTook.inSeconds)
                $0.field("quarantined", owed.quarantined)
                $0.field("breaker", owed.remote.breaker)
                $0.field("breaker_opened", owed.remote.timesOpened)
                $0.field("connections", owed.remote.connections)
                $0.field("waiting_reads", owed.remote.waiting)
                // The words name hosts and users, which are the operator's; they stand in the log.
                $0.field(
                    "last_error",
                    owed.remote.lastError.map { $0.firstMatch(of: #/SQLSTATE [0-9A-Z]{5}/#).map { String($0.output) } ?? "connection" }
                )
            }
        )
    }
}

extension QuarantinedRow {
    /// `{id, table, key, version, deletion, reason, quarantined_at, attempts}`; the row's other values stay where they are.
    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("id", id)
            $0.field("table", table)
            $0.field("key", strings: key)
            $0.field("version", version)
            $0.field("deletion", isDeletion)
            $0.field("reason", reason)
            $0.field("quarantined_at", at.description)
            $0.field("attempts", attempts)
        }
    }
}

extension Duration {
    fileprivate var inSeconds: Double { Double(inMilliseconds) / 1000 }
}
