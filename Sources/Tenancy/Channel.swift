package import Kernel
package import Realtime

extension TenantCell {
    /// What there is to subscribe to, and all that is known of each (protocol/README.md "Channels").
    package enum Channel: Sendable, Hashable {
        case conversations
        case conversation(ConversationID)
        case queue
        case consultores
        case notices

        /// `nil` for a name that no channel has.
        package init?(_ name: String) {
            switch name {
            case "conversations": self = .conversations
            case "queue": self = .queue
            case "consultores": self = .consultores
            case "notices": self = .notices
            default:
                guard name.hasPrefix("conversation:"), let id = ConversationID(name.dropFirst("conversation:".count)) else { return nil }
                self = .conversation(id)
            }
        }

        /// What its publications are to those who missed the one before.
        package var delivery: DeliveryClass {
            switch self {
            case .conversations, .conversation, .queue, .consultores, .notices: .ordered
            }
        }
    }
}
