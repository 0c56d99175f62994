import Conversations
import Crypto
import Foundation
import Identity
import Integrations
import Kernel
import Logging
import Resilience
import Storage
import Tenancy
import Wire

/// Sends the desk's messages through WhatsApp, or through the simulator.
struct WhatsAppBridge: MessageSender {
    let sender: any WhatsAppSender
    /// What a business sends with: the number asked for, or else its first.
    let credentials: @Sendable (TenantID, _ phoneNumberID: String?) async -> WhatsAppCredentials?
    /// Where files go up to be sent by their ids; `nil`: nowhere, and a name stands in for the id.
    let media: (any WhatsAppMedia)?
    let files: MediaFiles
    /// How many numbers a business has.
    let numberCount: @Sendable (TenantID) async -> Int
    let logger: Logger

    func hasSeveralNumbers(_ tenant: TenantID) async -> Bool { await numberCount(tenant) > 1 }
    func number(_ wanted: String?, of tenant: TenantID) async -> String? { await credentials(tenant, wanted)?.phoneNumberID }

    /// Whether a result speaks of the number it went out from, rather than of WhatsApp as a whole: an error that WhatsApp itself answered with, of one that is
    /// otherwise in order.
    static func isOfNumber(_ result: SendResult) -> Bool {
        switch result {
        case .again(_, let failure), .held(_, let failure):
            Int(failure.code).flatMap { WhatsAppErrorRule.rule(for: $0) }?.countsAgainstBreaker ?? false
        case .sent, .refused, .stopped, .unknown: false
        }
    }

    /// What the result of a send says of WhatsApp itself, as opposed to this message, recipient or account (research/conversations.md §10, lesson 16).
    static func verdict(_ result: SendResult) -> CallVerdict {
        switch result {
        // A stopped account is told of and lifted by itself (`AccountStops`): WhatsApp is well.
        case .sent, .refused, .stopped: return .succeeded
        case .unknown: return .failed
        case .again(let after, let failure), .held(let after, let failure):
            guard let code = Int(failure.code) else { return .failed }
            switch (WhatsAppErrorRule.rule(for: code), code) {
            case (let rule?, _) where rule.countsAgainstBreaker: return .failed
            case (let rule?, _) where rule.action == .backOffAccount: return .throttled(after ?? rule.action.wait ?? .seconds(300))
            case (_?, _): return .succeeded
            case (nil, 429): return .throttled(after ?? .seconds(1))
            case (nil, _): return .failed
            }
        }
    }

    /// Whose limit a send has run into, if any.
    static func rateLimit(_ result: SendResult) -> String? {
        let failure: Message.Failure
        switch result {
        case .again(_, let reason), .held(_, let reason): failure = reason
        case .sent, .refused, .stopped, .unknown: return nil
        }
        guard let code = Int(failure.code) else { return nil }
        switch WhatsAppErrorRule.rule(for: code)?.action {
        case .backOffAccount: return "account"
        case .slowNumber: return "number"
        case .parkConversation: return "pair"
        default: return code == 429 ? "unknown" : nil
        }
    }

    func send(_ order: SendOrder, tenant: TenantID) async -> SendResult {
        guard let credentials = await credentials(tenant, order.phoneNumberID) else {
            return .refused(Message.Failure(code: "no_credentials", message: "O WhatsApp desta empresa não está configurado"))
        }
        let recipient: OutboundEnvelope.Recipient
        if let waID = order.toWaID {
            recipient = .waID(waID)
        } else if let bsuid = order.toBSUID {
            recipient = .bsuid(bsuid)
        } else {
            return .refused(Message.Failure(code: "no_recipient", message: "O contato não tem número nem identificador"))
        }
        let content: OutboundContent
        switch await self.content(of: order, tenant, credentials) {
        case .ready(let ready): content = ready
        case .ended(let result): return result
        }
        let envelope = OutboundEnvelope(to: recipient, replyingTo: order.replyTo, callbackData: order.message.description)
        let outcome = await sender.send(OutboundMessage(content, in: envelope), credentials: credentials)
        return result(of: outcome, order.message)
    }

    private func result(of outcome: SendOutcome, _ message: MessageID) -> SendResult {
        switch outcome {
        case .sent(let wamid, let waID): return .sent(externalID: wamid, waID: waID)
        case .refused(let code, let title, let action): return refused(code, title, action, message)
        case .retry(let after, let code, let reason): return later(after, code, reason, message)
        case .unknown(let reason):
            logger.warning("whether a message was sent is not known", metadata: ["message": "\(message)", "reason": "\(reason)"])
            return .unknown
        }
    }

    private func refused(_ code: Int, _ title: String, _ action: ErrorAction, _ message: MessageID) -> SendResult {
        logger.warning(
            "WhatsApp refused a message",
            metadata: ["message": "\(message)", "code": .stringConvertible(code), "action": "\(action.rawValue)"]
        )
        let failure = Message.Failure(code: String(code), message: title)
        return action == .stopTenant ? .stopped(after: AccountStops.pause, failure) : .refused(failure)
    }

    private func later(_ after: Duration?, _ code: Int?, _ reason: String, _ message: MessageID) -> SendResult {
        logger.info("a message will be sent again", metadata: ["message": "\(message)", "code": "\(code ?? 0)", "reason": "\(reason)"])
        let rule = code.flatMap { WhatsAppErrorRule.rule(for: $0) }
        let failure = Message.Failure(
            code: code.map(String.init) ?? "unavailable",
            message: rule?.meaning ?? "O WhatsApp não está acessível; a mensagem espera"
        )
        switch rule?.action {
        // Of this message, or of this recipient: there is an end to trying.
        case .retry, .parkConversation: return .again(after: after, failure)
        case .some, nil: return .held(after: after, failure)
        }
    }

    // MARK: Contents

    private enum Content {
        case ready(OutboundContent)
        case ended(SendResult)
    }

    private static func unreadable(_ kind: String) -> Content {
        .ended(.refused(Message.Failure(code: "content", message: "O conteúdo desta mensagem (\(kind)) não pode ser enviado pelo WhatsApp")))
    }

    private func content(of order: SendOrder, _ tenant: TenantID, _ credentials: WhatsAppCredentials) async -> Content {
        let content = order.content.flatMap { try? JSON.parse($0) } ?? .emptyObject
        switch order.kind {
        case "text": return .ready(.text(body: order.text, previewsLink: false))
        case "reaction":
            guard let target = content["message_id"]?.string else { return Self.unreadable(order.kind) }
            return .ready(.reaction(messageID: target, emoji: content["emoji"]?.string ?? ""))
        case "interactive": return OutboundContent(interactive: content, text: order.text).map { .ready($0) } ?? Self.unreadable(order.kind)
        case "template": return content["template"].flatMap(OutboundContent.init(template:)).map { .ready($0) } ?? Self.unreadable(order.kind)
        case "location": return OutboundContent(location: content).map { .ready($0) } ?? Self.unreadable(order.kind)
        default:
            guard let kind = InboundMedia.Kind(rawValue: order.kind), let file = content["file"]?.string.flatMap({ MediaFiles.ID($0) }) else {
                return Self.unreadable(order.kind)
            }
            return await upload(file, kind, content, order, tenant, credentials)
        }
    }

    /// Files go up when their message does. Nothing reaches the customer by it, so whatever goes wrong is tried again from the beginning.
    private func upload(
        _ file: MediaFiles.ID,
        _ kind: InboundMedia.Kind,
        _ content: JSON,
        _ order: SendOrder,
        _ tenant: TenantID,
        _ credentials: WhatsAppCredentials
    ) async -> Content {
        let (caption, filename) = (content["caption"]?.string, content["filename"]?.string)
        guard let reader = await files.open(file, of: tenant) else {
            return .ended(.refused(Message.Failure(code: "media_missing", message: "O arquivo não está mais no servidor")))
        }
        guard let media else { return .ready(.media(kind: kind, id: file.description, caption: caption, filename: filename)) }
        let upload = MediaUploadFile(
            size: reader.size,
            mimeType: content["mime_type"]?.string ?? "application/octet-stream",
            filename: filename ?? "arquivo"
        )
        switch await media.upload(upload, credentials: credentials, read: { try await reader.read($0, at: $1) }) {
        case .uploaded(let id): return .ready(.media(kind: kind, id: id, caption: caption, filename: filename))
        case .refused(let code, let title, let action): return .ended(refused(code, title, action, order.message))
        case .again(let after, let code, let reason): return .ended(later(after, code, reason, order.message))
        }
    }
}

extension OutboundContent {
    init?(interactive content: JSON, text: String) {
        let around = Interactive(body: text, header: content["header"]?.string, footer: content["footer"]?.string)
        if let buttons = content["buttons"]?.array {
            self = .buttons(around, buttons.map { Button(id: $0["id"]?.string ?? "", title: $0["title"]?.string ?? "") })
        } else if let list = content["list"], let sections = list["sections"]?.array {
            self = .list(
                around,
                button: list["button"]?.string ?? "",
                sections.map { section in
                    Section(
                        title: section["title"]?.string,
                        rows: (section["rows"]?.array ?? []).map {
                            Section.Row(id: $0["id"]?.string ?? "", title: $0["title"]?.string ?? "", description: $0["description"]?.string)
                        }
                    )
                }
            )
        } else {
            return nil
        }
    }

    init?(template: JSON) {
        guard let name = template["name"]?.string else { return nil }
        var components = template["components"]?.array ?? []
        let parameters = template["parameters"]?.array ?? []
        if components.isEmpty, !parameters.isEmpty {
            components = [["type": "body", "parameters": .array(parameters.map { ["type": "text", "text": $0] })]]
        }
        self = .template(name: name, language: template["language"]?.string ?? "pt_BR", components: components)
    }

    init?(location: JSON) {
        func number(_ name: String) -> Double? {
            switch location[name] {
            case .double(let number): number
            case .int(let number): Double(number)
            default: nil
            }
        }
        guard let latitude = number("latitude"), let longitude = number("longitude") else { return nil }
        self = .location(latitude: latitude, longitude: longitude, name: location["name"]?.string, address: location["address"]?.string)
    }
}

/// Fetches customers' files from WhatsApp.
struct WhatsAppMediaFetcher: MediaFetcher {
    let media: any WhatsAppMedia
    let credentials: @Sendable (TenantID, _ phoneNumberID: String?) async -> WhatsAppCredentials?
    let files: MediaFiles
    let maxBytes: Int
    let logger: Logger

    func fetch(_ order: MediaOrder, tenant: TenantID) async -> MediaResult {
        guard let credentials = await credentials(tenant, order.phoneNumberID) else { return .again }
        let id = MediaFiles.ID(order.message.value)
        do {
            let draft = try await files.begin(id, of: tenant)
            let sink = Sink()
            let result = await media.download(order.mediaID, maxBytes: maxBytes, credentials: credentials) { bytes in
                sink.take(bytes)
                try await draft.append(bytes)
            }
            switch result {
            case .done(let mimeType, let announced):
                let (size, digest, head) = sink.end()
                // Cut short or altered on the way: another attempt may fare better.
                guard Self.isSame(announced ?? order.sha256, digest) else {
                    await draft.discard()
                    logger.warning("a file is not what WhatsApp announced", metadata: ["message": "\(order.message)"])
                    return .again
                }
                try await draft.keep()
                let claimed = order.mimeType ?? mimeType ?? "application/octet-stream"
                let isTrue = MediaRules.agrees(head, with: claimed)
                // Shown as what it is; what is nothing known is only offered for download.
                let type = isTrue ? claimed : MediaRules.detected(head) ?? "application/octet-stream"
                return .stored(mimeType: type, size: Int64(size), sha256: digest.hexadecimal)
            case .impossible(let reason):
                await draft.discard()
                return .failed(reason)
            case .again(let reason):
                await draft.discard()
                logger.info("a file will be fetched again", metadata: ["message": "\(order.message)", "reason": "\(reason)"])
                return .again
            }
        } catch {
            logger.warning("a file could not be kept", metadata: ["message": "\(order.message)", "reason": "\(error)"])
            return .again
        }
    }

    /// WhatsApp writes digests in Base64 in webhooks and in hexadecimal in answers. Without one there is nothing to compare.
    private static func isSame(_ announced: String?, _ digest: [UInt8]) -> Bool {
        guard let announced, !announced.isEmpty else { return true }
        return announced.lowercased() == digest.hexadecimal || announced == digest.base64
    }

    /// Used by one download at a time.
    private final class Sink: @unchecked Sendable {
        private var hash = SHA256()
        private var size = 0
        private var head: [UInt8] = []

        func take(_ bytes: [UInt8]) {
            hash.update(data: bytes)
            size += bytes.count
            if head.count < 512 { head += bytes.prefix(512 - head.count) }
        }

        func end() -> (size: Int, digest: [UInt8], head: [UInt8]) { (size, Array(hash.finalize()), head) }
    }
}

extension [UInt8] {
    fileprivate var hexadecimal: String {
        reduce(into: "") { text, byte in
            let digits = String(byte, radix: 16)
            text += digits.count == 1 ? "0" + digits : digits
        }
    }

    fileprivate var base64: String { Data(self).base64EncodedString() }
}
