import Conversations
package import Kernel
package import Storage
import Wire

extension AgentCommand {
    /// A message it speaks of besides its own.
    var otherMessage: MessageID? {
        switch self {
        case .send(let outgoing, _): outgoing.replyTo
        case .react(let message, _), .resend(let message): message
        default: nil
        }
    }
}

extension CustomerMessage {
    /// The provider's id of a message that this one speaks of, or that it may be itself.
    var otherMessage: String? { annotation?.externalID ?? (isEcho ? externalID : nil) }
}

extension Operations {
    func bringIn(_ id: MessageID, _ cell: TenantCell) async throws(Refusal) {
        guard await !cell.hasMessage(id) else { return }
        if let message = try await ConversationDesk.message(id, tenant: cell.tenant, from: store) { await cell.adopt(message) }
    }

    func bringIn(externalID: String, _ cell: TenantCell) async throws(Refusal) {
        guard await !cell.hasMessage(externalID: externalID) else { return }
        if let message = try await ConversationDesk.message(externalID: externalID, tenant: cell.tenant, from: store) { await cell.adopt(message) }
    }

    /// An agent has read what the customer wrote, which the customer sees.
    func showRead(_ id: ConversationID, _ tenant: TenantID) async { await show(id, tenant, typing: false) }

    func showTyping(_ id: ConversationID, _ tenant: TenantID) async { await show(id, tenant, typing: true) }

    private func show(_ id: ConversationID, _ tenant: TenantID, typing: Bool) async {
        guard let signals else { return }
        // Nothing depends on it: a tenant that cannot be had now has other worries.
        let last = try? await tenants.use(tenant) { cell throws(Refusal) in await cell.lastInbound(id) }
        guard let last = last ?? nil else { return }
        signals.put(.init(tenant: tenant, conversation: id, externalID: last.externalID, phoneNumberID: last.phoneNumberID, isTyping: typing))
    }
}

extension Operations {
    /// A file that belongs to a message.
    package struct MediaFile: Sendable {
        package let id: MediaFiles.ID
        package let mimeType: String
        package let filename: String
        package let sha256: String?

        package init(id: MediaFiles.ID, mimeType: String, filename: String, sha256: String?) {
            self.id = id
            self.mimeType = mimeType
            self.filename = filename
            self.sha256 = sha256
        }
    }

    package func file(of message: MessageID, in conversation: ConversationID, for principal: Principal) async throws(Refusal) -> MediaFile {
        // Those in memory can be had while the database is away.
        let live = try await tenants.use(principal.tenant) { cell throws(Refusal) in try await cell.message(message).committed() }
        var known = live
        if known == nil { known = try await ConversationDesk.message(message, tenant: principal.tenant, from: store) }
        guard let found = known, found.conversation == conversation, principal.audience == .staff || found.isForVisitor else {
            throw .notFound(.message)
        }
        guard let content = found.content.flatMap({ try? JSON.parse($0) }), let state = content["state"]?.string else {
            throw Refusal(.notFound, "no_media", "A mensagem não tem arquivo.")
        }
        guard state == "stored", let id = content["file"]?.string.flatMap({ MediaFiles.ID($0) }) else {
            if state == "pending" {
                throw Refusal(.conflict, "media_pending", "O arquivo ainda está sendo baixado do WhatsApp.", retryAfterSeconds: 2)
            }
            throw Refusal(.notFound, "media_failed", content["error"]?.string ?? "O arquivo não pôde ser baixado.")
        }
        return MediaFile(
            id: id,
            mimeType: content["mime_type"]?.string ?? "application/octet-stream",
            filename: content["filename"]?.string ?? "\(found.kind)-\(found.seq)",
            sha256: content["sha256"]?.string
        )
    }
}
