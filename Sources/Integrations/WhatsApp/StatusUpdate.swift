package import Kernel

/// What became of a message we sent.
///
/// Updates come in any order, more than once, and not all of them come: `delivered` is left out when the customer reads at once, and may follow
/// `failed` when one of several devices got it (research/conversations.md §5.3).
package struct StatusUpdate: Sendable, Hashable {
    package enum Status: String, Sendable, Hashable {
        case sent, delivered, read, played
        case failed

        /// How far the message got; the highest one seen counts. `failed` stands beside the ladder and keeps its own flag.
        package var rank: Int? {
            switch self {
            case .sent: 1
            case .delivered: 2
            case .read: 3
            case .played: 4
            case .failed: nil
            }
        }
    }

    package let wamid: String
    package let status: Status
    package let timestamp: Timestamp
    package let recipient: WhatsAppIdentity
    /// What we gave with the message as `biz_opaque_callback_data`: it tells which one an unanswered send was.
    package let callbackData: String?
    package let errors: [WhatsAppError]

    package init(
        wamid: String,
        status: Status,
        timestamp: Timestamp,
        recipient: WhatsAppIdentity = WhatsAppIdentity(),
        callbackData: String? = nil,
        errors: [WhatsAppError] = []
    ) {
        self.wamid = wamid
        self.status = status
        self.timestamp = timestamp
        self.recipient = recipient
        self.callbackData = callbackData
        self.errors = errors
    }
}
