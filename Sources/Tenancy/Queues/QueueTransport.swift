package import Jobs
package import Kernel

/// A message that is due, on its way to a worker. The row decides what becomes of it: a ticket that comes twice, or late, or never, does no harm.
package struct QueueTicket: Sendable, Hashable {
    package let queue: QueueName
    package let tenant: TenantID
    package let message: QueueMessageID

    package init(queue: QueueName, tenant: TenantID, message: QueueMessageID) {
        self.queue = queue
        self.tenant = tenant
        self.message = message
    }
}

/// Brings tickets to workers by way of something outside of the process.
package protocol QueueTransport: Sendable {
    /// `false`: it cannot be relied on now; whoever has the ticket carries it out.
    func publish(_ ticket: QueueTicket) async -> Bool
    /// Brings tickets until cancelled.
    /// - Parameters:
    ///   - take: returns when the ticket is done with.
    ///   - lost: whatever had been published may be gone.
    func run(take: @escaping @Sendable (QueueTicket) async -> Void, lost: @escaping @Sendable () async -> Void) async
}
