package import Kernel
import Storage

extension Operations {
    /// Nobody's: what the server itself writes to see whether it can.
    private static var nobody: TenantID { TenantID(UniqueID(high: 0, low: 3)) }

    /// Sends a change through the gate that alters nothing anybody sees, and returns when it has come out.
    /// - Parameter isWritten: it goes to the disk, as a mark that is always the same one; otherwise it only passes, behind whatever else is on its way.
    package func probe(isWritten: Bool) async throws(Refusal) {
        try gate.admit()
        var change = Change()
        if isWritten { change.marks = [Mark(.init(tenant: Self.nobody, scope: "health", key: "probe"), at: environment.now())] }
        try await gate.enqueue(change, Activation(tenant: Self.nobody)).committed()
    }

    /// Has the store answer the simplest of questions.
    package func probeStore() async throws(Refusal) {
        _ = try await store.rows(Query("SELECT 1", kinds: [.integer], tenant: TenantID(UniqueID(high: 0, low: 4))))
    }
}
