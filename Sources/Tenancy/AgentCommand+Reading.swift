package import Conversations
package import Kernel
package import Wire

extension AgentCommand {
    /// WhatsApp refuses longer texts (research/conversations.md §5.5).
    package static let maxTextCharacters = 4096

    /// The last part of REST's path, and of the RPC method's name.
    package static let verbs = [
        "messages", "reactions", "notes", "claim", "decline", "transfer", "return-to-bot", "resolve", "reopen", "snooze", "read", "labels",
    ]

    /// The command that a verb of REST's path or of an RPC method's name stands for, with its fields from the body (protocol/README.md "Conversations").
    /// - Throws: 422 naming the fields at fault. `nil` when there is no such verb.
    package static func read(verb: String, _ body: JSON?) throws(Refusal) -> AgentCommand? {
        var fields = try RequestFields(body)
        let command: AgentCommand
        switch verb {
        case "messages":
            let clientMessageID = fields.optionalText("client_message_id", min: 1, max: 128)
            if let outgoing = try Outgoing.read(body, &fields) {
                command = .send(outgoing, clientMessageID: clientMessageID)
            } else if !fields.has("text"), let shortcut = fields.optionalText("shortcut", min: 1, max: 64) {
                command = .canned(shortcut: shortcut, clientMessageID: clientMessageID)
            } else {
                command = .write(text: fields.text("text", max: maxTextCharacters), clientMessageID: clientMessageID)
            }
        case "reactions":
            let target = fields.text("message_id", max: 64)
            // One emoji may be many scalars: flags, skin tones, families.
            let emoji = fields.optionalText("emoji", max: 32)
            guard let id = MessageID(target) else {
                if !target.isEmpty { fields.refuse("message_id", "deve ser o id de uma mensagem desta conversa", type: "uuid_parsing") }
                try fields.check()
                return nil
            }
            command = .react(to: id, emoji: emoji.flatMap { $0.isEmpty ? nil : $0 })
        case "resend":
            let text = fields.text("message_id", max: 64)
            guard let id = MessageID(text) else {
                if !text.isEmpty { fields.refuse("message_id", "deve ser o id de uma mensagem desta conversa", type: "uuid_parsing") }
                try fields.check()
                return nil
            }
            command = .resend(id)
        case "notes":
            command = .note(
                text: fields.text("text", max: maxTextCharacters),
                clientMessageID: fields.optionalText("client_message_id", min: 1, max: 128)
            )
        case "claim": command = .claim
        case "decline": command = .decline
        case "transfer": command = transfer(&fields)
        case "return-to-bot": command = .returnToBot
        case "resolve": command = .resolve
        case "reopen": command = .reopen
        case "snooze": command = .snooze(until: fields.time("until"))
        case "read": command = .read
        case "labels": command = .label(fields.texts("labels", maxCount: 32, maxLength: 64))
        default: return nil
        }
        try fields.check()
        return command
    }

    /// `{consultor_id}`, `{language}` or `{queue: true}`: one of them.
    private static func transfer(_ fields: inout RequestFields) -> AgentCommand {
        let language = fields.optionalText("language", min: 1, max: 16)
        let toQueue = fields.optionalBool("queue") ?? false
        guard language != nil || toQueue else { return .transfer(consultor: fields.integer("consultor_id", in: 1...Int64(Int32.max))) }
        if fields.has("consultor_id") { fields.refuse("consultor_id", "não pode vir junto com language ou queue") }
        return .requeue(language: language?.lowercased())
    }
}
