package import Kernel
package import Realtime

extension TenantCell {
    /// What there is to subscribe to, and all that is known of each (protocol/README.md "Channels").
    package enum Channel: Sendable, Hashable {
        case conversations
        case conversation(ConversationID)
        case queue
        case queueCounts
        case consultores
        case notices

        /// `nil` for a name that no channel has.
        package init?(_ name: String) {
            switch name {
            case "conversations": self = .conversations
            case "queue": self = .queue
            case "queue:counts": self = .queueCounts
            case "consultores": self = .consultores
            case "notices": self = .notices
            default:
                guard name.hasPrefix("conversation:"), let id = ConversationID(name.dropFirst("conversation:".count)) else { return nil }
                self = .conversation(id)
            }
        }

        package var name: String {
            switch self {
            case .conversations: "conversations"
            case .conversation(let id): "conversation:\(id)"
            case .queue: "queue"
            case .queueCounts: "queue:counts"
            case .consultores: "consultores"
            case .notices: "notices"
            }
        }

        /// What its publications are to those who missed the one before.
        package var delivery: DeliveryClass {
            switch self {
            case .conversations, .conversation, .queue, .consultores, .notices: .ordered
            case .queueCounts: .latest
            }
        }

        /// Whether somebody may look at it. Which one of several, and which tenant's, is settled elsewhere: by the tenant that the credential names.
        package func isOpen(to principal: Principal) -> Bool {
            switch principal.role {
            case .owner, .admin, .agent, .viewer: true
            }
        }

        /// What somebody is subscribed to by connecting, without asking (Centrifuge's server-side subscriptions).
        package static func onConnecting(_ principal: Principal) -> [Channel] {
            switch principal.role {
            case .owner, .admin, .agent, .viewer: [.notices]
            }
        }
    }
}
