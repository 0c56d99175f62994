package import Kernel

extension ConversationDesk {
    /// Whether WhatsApp lets the business write freely to whoever has one of these numbers, and from which of its own. `nil` where nobody in memory has one.
    package func window(to waIDs: [String], at now: Timestamp) -> (isOpen: Bool, phoneNumberID: String?)? {
        guard let contact = contact(waIDs: waIDs), let id = openByContact[contact], let conversation = sessions[id]?.conversation,
            !conversation.isWebChat
        else { return nil }
        return (conversation.isWindowOpen(at: now), conversation.phoneNumberID)
    }
}
