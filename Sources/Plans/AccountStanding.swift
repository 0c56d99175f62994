package import Kernel

/// What is known of a business's account where its usage is counted: said by whoever keeps accounts.
package struct AccountStanding: Sendable {
    package var plan: PlanType
    /// When the account began: its periods are counted from that day of the month.
    package var anchor: Timestamp
    package var businessName: String
    /// Active users.
    package var users: Int
    /// Where the owners read their mail.
    package var owners: [String]
    /// Whose the business is, as contracts name it: the owner who has been there longest.
    package var owner: UserID?

    package init(
        plan: PlanType,
        anchor: Timestamp,
        businessName: String = "",
        users: Int = 0,
        owners: [String] = [],
        owner: UserID? = nil
    ) {
        self.owner = owner
        self.plan = plan
        self.anchor = anchor
        self.businessName = businessName
        self.users = users
        self.owners = owners
    }

    /// Without limits.
    package static let unlimited = AccountStanding(plan: .enterprise, anchor: Timestamp(seconds: 0))
}
