/// One thing a webhook delivery told, with the account and the number it is for. One delivery may speak of several businesses.
package struct WhatsAppItem: Sendable, Hashable {
    package enum Content: Sendable, Hashable {
        case message(InboundMessage)
        case status(StatusUpdate)
        /// The business answered on its own handset: a person has taken over from the bot.
        case echo(InboundMessage)
        /// Something else the app subscribed to, such as `account_update`, whole.
        case notification(field: String, rawJSON: String)
        /// Could not be read; `reason` names members of the JSON, never what somebody wrote.
        case unreadable(reason: String, rawJSON: String)
    }

    /// The number's id at Meta: what a tenant is found by.
    package let phoneNumberID: String?
    /// The WhatsApp Business Account.
    package let wabaID: String?
    package let content: Content

    package init(phoneNumberID: String?, wabaID: String?, content: Content) {
        self.phoneNumberID = phoneNumberID
        self.wabaID = wabaID
        self.content = content
    }
}
