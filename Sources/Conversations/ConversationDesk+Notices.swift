package import Kernel

/// What a client was told by WhatsApp beside their conversation: of an appointment, by the business's own rules.
package struct ToldByWhatsApp: Sendable {
    /// All forms of the number it went to.
    package let waIDs: [String]
    package let text: String
    /// The approved template it went out by, as a message of the desk carries one; `nil` for free text.
    package let template: String?
    package let externalID: String

    package init(waIDs: [String], text: String, template: String?, externalID: String) {
        self.waIDs = waIDs
        self.text = text
        self.template = template
        self.externalID = externalID
    }
}

extension ConversationDesk {
    /// The contact of whoever has one of these numbers, if in memory, and the conversation they have open.
    package func place(of waIDs: [String]) -> (contact: ContactID, open: ConversationID?)? {
        contact(waIDs: waIDs).map { ($0, openByContact[$0]) }
    }

    /// Shows in a conversation what its client was told, so that whoever attends to them sees it. It stands there as sent, and statuses of it find it; the
    /// conversation's state stays as it is: nobody is offered anything, and whoever waits for an answer waits for it still.
    package func told(_ told: ToldByWhatsApp, in id: ConversationID, _ moment: Moment) -> Change {
        guard let conversation = sessions[id]?.conversation, !conversation.isWebChat, messagesByExternalID[told.externalID] == nil else {
            return Change()
        }
        var turn = Turn(moment, cause: "notice")
        var draft = MessageDraft(.outbound, from: .system, text: told.text)
        draft.externalID = told.externalID
        if let template = told.template { (draft.kind, draft.content) = (Outgoing.template, template) }
        var message = append(draft, to: id, wasSentElsewhere: true, &turn)
        var isNews = false
        for early in earlyReports.take(told.externalID) where message.takes(early, moment) { isNews = true }
        if isNews { update(message, &turn) }
        return finish(turn)
    }
}
