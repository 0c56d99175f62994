package import Jobs
package import Kernel
package import Wire

/// What people tell the queues, by REST or by RPC (protocol/README.md "Queues").
package enum QueueCommand: Sendable, Equatable {
    case rest(QueueName, isPaused: Bool, reason: String?)
    /// `nil`: all queues. `isServer`: of all businesses, which only those may say who run the server.
    case workers(QueueName?, areStopped: Bool, isServer: Bool, reason: String?)
    case retry(QueueName, QueueMessageID)
    case retryFailed(QueueName, withQuarantined: Bool)
    case clearFailed(QueueName)
    case cancel(QueueName, QueueMessageID, reason: String?)
    /// A message that somebody sends to see whether it arrives.
    case test(OutgoingMessage, delay: Duration, key: String?)

    /// RPC's are `queue.<verb>`.
    package static let verbs = [
        "pause", "resume", "start-workers", "stop-workers", "retry", "retry-failed", "clear-failed", "cancel", "test-whatsapp", "test-email",
    ]

    package static let maxText = 4096
    package static let maxMailText = 50_000

    /// - Parameter body: with `queue_name` and `message_id` among its fields, where REST has them in the path.
    /// - Throws: 404 for a queue that there is not; 422 naming the fields at fault. `nil` when there is no such verb.
    package static func read(verb: String, _ body: JSON?, idempotencyKey: String? = nil) throws(Refusal) -> QueueCommand? {
        var fields = try RequestFields(body)
        switch verb {
        case "pause", "resume":
            let queue = try requiredQueue(&fields)
            let reason = fields.optionalText("reason", min: 1, max: 500)
            try fields.check()
            return .rest(queue, isPaused: verb == "pause", reason: reason)
        case "start-workers", "stop-workers":
            let queue = try optionalQueue(&fields)
            let reason = fields.optionalText("reason", min: 1, max: 500)
            let scope = fields.optionalText("scope", max: 16)
            if let scope, scope != "business", scope != "server" { fields.refuse("scope", "deve ser business ou server", type: "enum") }
            try fields.check()
            return .workers(queue, areStopped: verb == "stop-workers", isServer: scope == "server", reason: reason)
        case "retry": return .retry(try requiredQueue(&fields), try messageID(&fields))
        case "retry-failed":
            let queue = try requiredQueue(&fields)
            let withQuarantined = fields.optionalBool("include_quarantined") ?? false
            try fields.check()
            return .retryFailed(queue, withQuarantined: withQuarantined)
        case "clear-failed": return .clearFailed(try requiredQueue(&fields))
        case "cancel":
            let (queue, id) = (try requiredQueue(&fields), try messageID(&fields))
            let reason = fields.optionalText("reason", min: 1, max: 500)
            try fields.check()
            return .cancel(queue, id, reason: reason)
        case "test-whatsapp", "test-email": return try test(verb, &fields, idempotencyKey)
        default: return nil
        }
    }

    /// A queue by its name.
    package static func queue(_ name: String) throws(Refusal) -> QueueName {
        guard let queue = QueueName(rawValue: name) else { throw .notFound(.queue) }
        return queue
    }

    private static func requiredQueue(_ fields: inout RequestFields) throws(Refusal) -> QueueName {
        let name = fields.text("queue_name", max: 64)
        try fields.check()
        return try queue(name)
    }

    private static func optionalQueue(_ fields: inout RequestFields) throws(Refusal) -> QueueName? {
        guard let name = fields.optionalText("queue_name", min: 1, max: 64) else { return nil }
        return try queue(name)
    }

    private static func messageID(_ fields: inout RequestFields) throws(Refusal) -> QueueMessageID {
        let text = fields.text("message_id", max: 64)
        try fields.check()
        guard let id = QueueMessageID(text) else { throw .notFound(.message) }
        return id
    }

    /// contracts/agendazap.md "Sistema de Filas": `{recipient_whatsapp, message_content}`, `{recipient_email, subject, body}`; and for both `delay_seconds`,
    /// `priority` and `max_attempts`.
    private static func test(_ verb: String, _ fields: inout RequestFields, _ header: String?) throws(Refusal) -> QueueCommand {
        var payload = JSONWriter()
        let queue: QueueName
        let channel: OutgoingMessage.Channel
        let recipient: String
        if verb == "test-whatsapp" {
            (queue, channel) = (.whatsapp, .whatsapp)
            recipient = fields.text("recipient_whatsapp", max: 32)
            let digits = recipient.count { $0.isASCII && $0.isNumber }
            if !recipient.isEmpty, !(8...15).contains(digits) || !recipient.allSatisfy({ $0.isASCII && ($0.isNumber || " +-().".contains($0)) }) {
                fields.refuse("recipient_whatsapp", "deve ser um número de telefone com DDD, como +5511999999999")
            }
            let text = fields.text("message_content", max: maxText)
            payload.object { $0.field("text", text) }
        } else {
            (queue, channel) = (.email, .email)
            recipient = fields.text("recipient_email", max: 254)
            if !recipient.isEmpty, !isMail(recipient) { fields.refuse("recipient_email", "deve ser um e-mail válido") }
            let subject = fields.text("subject", max: 200)
            if subject.contains(where: \.isNewline) { fields.refuse("subject", "não pode conter quebras de linha") }
            let text = fields.text("body", max: maxMailText)
            payload.object {
                $0.field("subject", subject)
                $0.field("text", text)
            }
        }
        let delay = fields.optionalInteger("delay_seconds", in: 0...31_536_000) ?? 0
        let priority = fields.optionalInteger("priority", in: 0...9)
        let maxAttempts = fields.optionalInteger("max_attempts", in: 1...50)
        let key = fields.optionalText("idempotency_key", min: 1, max: 128)
        try fields.check()
        var message = OutgoingMessage(
            queue: queue,
            channel: channel,
            recipient: recipient,
            runAt: Timestamp(milliseconds: 0),
            payload: String(decoding: payload.bytes, as: UTF8.self)
        )
        if let priority { message.priority = Int(priority) }
        if let maxAttempts { message.maxAttempts = Int(maxAttempts) }
        return .test(message, delay: .seconds(delay), key: header ?? key)
    }

    private static func isMail(_ text: String) -> Bool {
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        // As the dialogue with the mail server has it: what is taken here is not refused there.
        return MailAddress.isOne(text) && parts.count == 2 && parts[1].contains(".") && !parts[1].hasPrefix(".") && !parts[1].hasSuffix(".")
    }
}
