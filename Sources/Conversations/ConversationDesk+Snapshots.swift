package import Kernel
import Wire

// What a subscriber is shown first (protocol/README.md "Channels"). Taken in one turn, it is true at the position at which that turn passes the gate.

extension ConversationDesk {
    /// Channel `conversations`: all that are not resolved.
    package func conversationsSnapshot() -> [UInt8] {
        var writer = JSONWriter(capacity: 4096)
        writer.object {
            $0.list("conversations") { array in
                for id in openByContact.values.sorted() {
                    if let conversation = sessions[id]?.conversation { conversation.write(to: &array, attendant: pool.attendant) }
                }
            }
        }
        return writer.bytes
    }

    /// Channel `conversation:<id>`: the conversation and its last messages. `nil` when there is no such conversation in memory.
    /// - Parameter isVisitorOnline: asked of the customer of a web chat.
    package func snapshot(_ id: ConversationID, _ moment: Moment, isVisitorOnline: (ContactID) -> Bool = { _ in false }) -> [UInt8]? {
        guard let session = sessions[id] else { return nil }
        lingeringSessions.touch(id, at: moment.now)
        var writer = JSONWriter(capacity: 8192)
        writer.object {
            $0.key("conversation")
            session.conversation.write(to: &$0, attendant: pool.attendant)
            $0.list("messages") { array in
                for id in session.recent { messages[id]?.write(to: &array) }
            }
            if let estimate = outlook.told[id] { $0.field("queue") { estimate.writeMembers(to: &$0) } } else { $0.field("queue", JSON.null) }
            $0.field("has_more", (session.recent.first.flatMap { messages[$0]?.seq } ?? 1) > 1)
            if session.conversation.isWebChat { $0.field("visitor") { $0.field("online", isVisitorOnline(session.conversation.contact)) } }
        }
        return writer.bytes
    }

    /// Channel `queue`: who waits, in order.
    package func queueSnapshot() -> [UInt8] {
        var writer = JSONWriter(capacity: 4096)
        writer.object {
            $0.list("waiting") { array in
                for place in line.places {
                    if let conversation = sessions[place.conversation]?.conversation { array.object { writeEntry(conversation, members: &$0) } }
                }
            }
            $0.list("estimates") { list in for place in line.places { writeEstimate(place.conversation, &list) } }
        }
        return writer.bytes
    }

    package func json(_ id: ConversationID) -> [UInt8]? { sessions[id].map { json($0.conversation) } }

    func writeEntry(_ conversation: Conversation, _ writer: inout JSONWriter) { writeEntry(conversation, members: &writer) }

    private func writeEntry(_ conversation: Conversation, members: inout JSONWriter) {
        members.field("conversation_id", conversation.id.description)
        members.field("protocol", conversation.protocolo.map(protocolText))
        members.field("contact") { contact in
            contact.field("id", conversation.contact.description)
            contact.field("name", conversation.contactName)
            contact.field("number", conversation.contactNumber)
        }
        members.field("language", conversation.language)
        members.field("since", conversation.waitingSince?.description)
        if let offer = conversation.offer {
            members.field("offer") {
                $0.field("consultor_id", offer.consultor)
                $0.field("user_id", pool.attendant(offer.consultor)?.user?.description)
                $0.field("name", name(offer.consultor))
                $0.field("expires_at", offer.expiresAt.description)
            }
        } else {
            members.field("offer", JSON.null)
        }
    }
}
