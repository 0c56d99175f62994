import Foundation
import Kernel
import Storage
import Synchronization

let notes = Table(
    "notes",
    since: 1,
    key: ["tenant_id", "id"],
    columns: [
        Column("tenant_id", .uuid), Column("id", .integer), .optional("text", .text), .optional("labels", .textArray), .optional("at", .timestamp),
    ],
    indexes: [Index("notes_by_text", on: ["tenant_id", "text"], isUnique: true)]
)
let schema = Schema(StorageTables.all + [notes])
let tenantA = TenantID(UniqueID(high: 1, low: 0xa))
let tenantB = TenantID(UniqueID(high: 1, low: 0xb))

func note(_ id: Int64, _ text: String?, version: Int64 = 1, tenant: TenantID = tenantA) -> RowImage {
    RowImage(notes, version: version, values: [.id(tenant), .integer(id), .optional(text), .null, .null])
}

func change(_ rows: RowImage..., event: String? = nil) -> Change {
    var change = Change()
    change.rows = rows
    if let event { change.events = [Event(channel: "c", payload: Array(event.utf8))] }
    return change
}

/// Remembers what it was told, in order.
final class RecordingOutlet: Outlet {
    private let told = Mutex<[String]>([])
    var published: [String] { told.withLock { $0 } }
    func publish(_ events: [Event], tenant: TenantID) { told.withLock { $0 += events.map { String(decoding: $0.payload, as: UTF8.self) } } }
    func runnable(_ jobs: [Job]) { told.withLock { $0 += jobs.map { "job \($0.kind)" } } }
    func batchReleased() {}
}

/// A journal that can be held up, made to fail, and asked what it wrote.
final class FakeJournal: Journal {
    struct State {
        var batches: [[Change]] = []
        var failures: [JournalError.Kind] = []
        var poison: Set<String> = []
    }
    let state = Mutex(State())
    private let turnstile = NSCondition()
    private let closed = Mutex(false)

    func hold() { closed.withLock { $0 = true } }
    func letGo() {
        turnstile.lock()
        closed.withLock { $0 = false }
        turnstile.broadcast()
        turnstile.unlock()
    }

    var written: [String] { state.withLock { $0.batches.flatMap { $0 }.flatMap(\.events).map { String(decoding: $0.payload, as: UTF8.self) } } }
    var batchSizes: [Int] { state.withLock { $0.batches.map(\.count) } }

    func commit(_ batch: [Change]) throws(JournalError) {
        turnstile.lock()
        while closed.withLock({ $0 }) { turnstile.wait() }
        turnstile.unlock()
        let failure: JournalError.Kind? = state.withLock { state in
            if !state.failures.isEmpty { return state.failures.removeFirst() }
            let texts = batch.flatMap(\.events).map { String(decoding: $0.payload, as: UTF8.self) }
            if texts.contains(where: state.poison.contains) { return .content }
            state.batches.append(batch)
            return nil
        }
        if let failure { throw JournalError(failure, "made to fail") }
    }

    func forgetMarks(before time: Timestamp) throws(JournalError) {}
}
