package import Jobs
package import Kernel
import Storage

extension Operations {
    /// Puts messages into the queues they name.
    package func enqueue(_ messages: [OutgoingMessage], of tenant: TenantID) async throws(Refusal) {
        try gate.admit()
        mail(messages, tenant)
    }
}
