package import Kernel
package import Storage
package import Wire

/// What keeps a queue from working: who said so, when, and why. Attempts under way end all the same.
package struct QueueControl: Sendable, Equatable {
    package enum Kind: String, Sendable, CaseIterable {
        /// A business lets its queue rest: `/pause`.
        case paused
        /// A business has stopped the workers of its queue: `/workers/stop`.
        case stopped
        /// Who runs the server has stopped the workers of all businesses.
        case serverStopped = "server_stopped"
    }

    package let kind: Kind
    package let isSet: Bool
    package let by: UserID?
    package private(set) var byName: String
    package let reason: String?
    package let at: Timestamp
    package var version: Int64 = 0

    package init(_ kind: Kind, isSet: Bool, by principal: Principal, reason: String?, at now: Timestamp) {
        self.kind = kind
        self.isSet = isSet
        by = principal.user
        byName = principal.name
        self.reason = reason
        at = now
    }

    package init?(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        _ = row.text()
        guard let kind = Kind(rawValue: row.text()) else { return nil }
        self.kind = kind
        isSet = row.boolean()
        by = row.optionalID()
        byName = row.text()
        reason = row.optionalText()
        at = row.timestamp()
        version = row.integer()
    }

    package func image(of queue: QueueName, _ tenant: TenantID) -> RowImage {
        RowImage(
            QueueTables.controls,
            version: version,
            values: [
                .id(tenant), .text(queue.rawValue), .text(kind.rawValue), .boolean(isSet), .id(by), .text(byName), .optional(reason), .timestamp(at),
            ]
        )
    }

    package var withoutName: QueueControl {
        var control = self
        control.byName = "operação do servidor"
        return control
    }

    /// `{kind, by, reason, at}`
    package func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("kind", kind.rawValue)
            $0.field("by", byName)
            $0.field("reason", reason)
            $0.field("at", at.description)
        }
    }
}
