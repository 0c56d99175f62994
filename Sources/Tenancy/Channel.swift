package import Kernel
package import Realtime
package import Scheduling

extension TenantCell {
    /// What there is to subscribe to, and all that is known of each (protocol/README.md "Channels").
    package enum Channel: Sendable, Hashable {
        case conversations
        case conversation(ConversationID)
        case queue
        case queueCounts
        case consultores
        case notices
        case breakers
        /// How the desk is run.
        case desk
        /// Who does what. For those who administer.
        case supervision
        /// How customers are: scores, categories, and what is to be done about them.
        case health
        /// Who sells how much.
        case sales
        /// How much of the plan is used.
        case usage
        /// The queues of messages: how many there are of each, and what has failed.
        case jobs
        /// What waits for one person. Their own.
        case user(UserID)
        /// The appointments of the next days.
        case calendar
        /// Those of one date.
        case calendarDay(CivilDay)
        /// What there is to book, for anybody: the name is the business's in public addresses.
        case booking(String)

        /// Those whose name is the same for everybody.
        private static let fixed = [
            conversations, queue, queueCounts, consultores, notices, breakers, desk, supervision, calendar,
            health, sales, usage, jobs,
        ]
        private static let conversationPrefix = "conversation:"
        private static let userPrefix = "user:"
        private static let calendarPrefix = "calendar:"
        private static let bookingPrefix = "booking:"

        /// What channels are called; `{id}` stands for a conversation's.
        package static let templates =
            fixed.map(\.name) + [conversationPrefix + "{id}", userPrefix + "{id}", calendarPrefix + "{date}", bookingPrefix + "{slug}"]

        /// `nil` for a name that no channel has.
        package init?(_ name: String) {
            if let channel = Self.fixed.first(where: { $0.name == name }) {
                self = channel
            } else if name.hasPrefix(Self.userPrefix) {
                guard let id = UserID(name.dropFirst(Self.userPrefix.count)) else { return nil }
                self = .user(id)
            } else if name.hasPrefix(Self.calendarPrefix) {
                guard let day = CivilDay(name.dropFirst(Self.calendarPrefix.count)) else { return nil }
                self = .calendarDay(day)
            } else if name.hasPrefix(Self.bookingPrefix) {
                self = .booking(String(name.dropFirst(Self.bookingPrefix.count)))
            } else {
                let prefix = Self.conversationPrefix
                guard name.hasPrefix(prefix), let id = ConversationID(name.dropFirst(prefix.count)) else { return nil }
                self = .conversation(id)
            }
        }

        package var name: String {
            switch self {
            case .conversations: "conversations"
            case .conversation(let id): Self.conversationPrefix + id.description
            case .queue: "queue"
            case .queueCounts: "queue:counts"
            case .consultores: "consultores"
            case .notices: "notices"
            case .breakers: "breakers"
            case .desk: "desk"
            case .supervision: "supervision"
            case .health: "health"
            case .sales: "sales"
            case .usage: "usage"
            case .jobs: "jobs"
            case .user(let id): Self.userPrefix + id.description
            case .calendar: "calendar"
            case .calendarDay(let day): Self.calendarPrefix + day.description
            case .booking(let slug): Self.bookingPrefix + slug
            }
        }

        /// What its publications are to those who missed the one before.
        package var delivery: DeliveryClass {
            switch self {
            case .conversations, .conversation, .queue, .consultores, .notices, .desk, .supervision, .user, .calendar, .calendarDay, .booking,
                .health, .sales, .usage, .jobs:
                .ordered
            case .queueCounts, .breakers: .latest
            }
        }

        /// Whether somebody may look at it. Which one of several, and which tenant's, is settled elsewhere: by the tenant that the credential names.
        package func isOpen(to principal: Principal) -> Bool {
            switch (principal.role, self) {
            case (_, .booking(let slug)): principal.isGuest && principal.name == slug
            case (.visitor, _): principal.conversation.map { self == .conversation($0) } ?? false
            case (let role, .supervision): role.canAdminister
            case (_, .user(let id)): id == principal.user
            default: true
            }
        }

        /// What somebody is subscribed to by connecting, without asking (Centrifuge's server-side subscriptions).
        package static func onConnecting(_ principal: Principal) -> [Channel] {
            switch principal.role {
            case .owner, .admin, .agent, .viewer: [.notices]
            case .visitor: principal.conversation.map { [.conversation($0)] } ?? []
            }
        }
    }
}
