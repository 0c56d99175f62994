package import Kernel
package import Storage
import Synchronization
package import Tenancy

/// Everything the doors need to look after WhatsApp: whose numbers there are, the files, and what stops an account.
package final class WhatsAppOffice: Sendable {
    package enum Check: Sendable {
        /// As people dial it, where the API says.
        case ok(displayNumber: String?)
        case refused(reason: String)
        case unreachable
    }

    package let numbers: WhatsAppNumbers
    package let stops: AccountStops
    package let media: MediaFiles
    /// Files larger than this are not taken, whatever WhatsApp would take.
    package let maxMediaBytes: Int
    /// Whether a token, the server's own where it is `nil`, is good for a number.
    package let check: @Sendable (_ phoneNumberID: String, _ token: String?) async -> Check
    /// Makes of a token what may be stored.
    package let seal: @Sendable (String) throws -> String
    package let waiting: @Sendable (TenantID) -> Int
    /// Lets what waits for a tenant go at once.
    package let hasten: @Sendable (TenantID) -> Void
    private let lastDelivery = Mutex<Timestamp?>(nil)

    package init(
        numbers: WhatsAppNumbers,
        stops: AccountStops,
        media: MediaFiles,
        maxMediaBytes: Int,
        check: @escaping @Sendable (String, String?) async -> Check,
        seal: @escaping @Sendable (String) throws -> String,
        waiting: @escaping @Sendable (TenantID) -> Int,
        hasten: @escaping @Sendable (TenantID) -> Void
    ) {
        self.numbers = numbers
        self.stops = stops
        self.media = media
        self.maxMediaBytes = maxMediaBytes
        self.check = check
        self.seal = seal
        self.waiting = waiting
        self.hasten = hasten
    }

    func delivered(at time: Timestamp) { lastDelivery.withLock { $0 = time } }
    var lastDeliveryAt: Timestamp? { lastDelivery.withLock { $0 } }
}
