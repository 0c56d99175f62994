package import Jobs
package import Kernel
package import Storage
package import Wire

/// What a message says, by event and channel.
package struct MessageTemplate: Sendable, Equatable {
    /// What WhatsApp has approved for the business, which is all that may be sent outside the 24-hour window.
    package struct Approved: Sendable, Equatable {
        package var name: String
        package var language: String
        /// What fills `{{1}}`, `{{2}}`, … of its body, in this order.
        package var parameters: [TemplateText.Variable]

        package init(name: String, language: String, parameters: [TemplateText.Variable]) {
            self.name = name
            self.language = language
            self.parameters = parameters
        }
    }

    package var subject: TemplateText?
    package var text: TemplateText
    /// `nil` is made of the text.
    package var html: TemplateText?
    package var approved: Approved?

    package init(subject: TemplateText? = nil, text: TemplateText, html: TemplateText? = nil, approved: Approved? = nil) {
        self.subject = subject
        self.text = text
        self.html = html
        self.approved = approved
    }

    /// One that is known to have no mistakes.
    fileprivate init(_ subject: String, _ text: String) {
        do throws(TemplateText.Mistake) {
            self.subject = try TemplateText(subject)
            self.text = try TemplateText(text)
        } catch {
            preconditionFailure("a standard template: \(error.message)")
        }
    }

    package struct Filled: Sendable, Equatable {
        package var subject: String
        package var text: String
        package var html: String
        /// Name, language and what stands in it.
        package var approved: (name: String, language: String, parameters: [String])?

        package static func == (a: Filled, b: Filled) -> Bool {
            a.subject == b.subject && a.text == b.text && a.html == b.html && a.approved?.name == b.approved?.name
                && a.approved?.language == b.approved?.language && a.approved?.parameters == b.approved?.parameters
        }
    }

    package func filled(_ values: [TemplateText.Variable: String]) -> Filled {
        let text = self.text.filled(values)
        return Filled(
            subject: subject?.filled(values).split(whereSeparator: \.isNewline).joined(separator: " ") ?? "",
            text: text,
            html: html?.filled(values, escaping: HTMLText.escaped) ?? Self.paragraphs(text, links: links(values)),
            approved: approved.map { approved in
                // WhatsApp refuses a parameter that is empty, has more than one line, or more than four spaces in a row.
                let parameters = approved.parameters.map { variable in
                    let words = (values[variable] ?? "").split(whereSeparator: \.isWhitespace).joined(separator: " ")
                    return words.isEmpty ? "-" : words
                }
                return (approved.name, approved.language, parameters)
            }
        )
    }

    /// What may be clicked: the server's own addresses, and what the business wrote into its template. A client's name is somebody else's words, whatever it looks like.
    private func links(_ values: [TemplateText.Variable: String]) -> Set<String> {
        let own = [values[.manageURL], values[.unsubscribeURL]].compactMap { $0 }
        let written = text.source.split(whereSeparator: \.isWhitespace).map(String.init).filter { !$0.contains("{{") }
        return Set(own + written)
    }

    /// A text as a page: paragraphs, line breaks, and addresses that can be clicked.
    private static func paragraphs(_ text: String, links: Set<String>) -> String {
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        let body = lines.map { line in
            line.split(separator: " ", omittingEmptySubsequences: false).map { word in
                // The full stop that ends a sentence is no part of an address.
                let address = String(word.reversed().drop { ".,;:!?)".contains($0) }.reversed())
                let rest = HTMLText.escaped(String(word.dropFirst(address.count)))
                guard address.hasPrefix("https://") || address.hasPrefix("http://"), links.contains(address) || links.contains(String(word)) else {
                    return HTMLText.escaped(String(word))
                }
                return "<a href=\"\(HTMLText.escaped(address))\">\(HTMLText.escaped(address))</a>\(rest)"
            }.joined(separator: " ")
        }.joined(separator: "<br>\n")
        return "<!DOCTYPE html>\n<html lang=\"pt-BR\"><body style=\"font-family: sans-serif; line-height: 1.5\">\n\(body)\n</body></html>\n"
    }

    // MARK: Stored, and shown

    package func write(to writer: inout JSONWriter, _ channel: OutgoingMessage.Channel) {
        writer.object {
            write(membersTo: &$0, channel)
        }
    }

    package func write(membersTo members: inout JSONWriter, _ channel: OutgoingMessage.Channel) {
        members.field("subject", channel == .email ? subject?.source : nil)
        members.field("text", text.source)
        members.field("html", html?.source)
        members.key("whatsapp_template")
        if let approved {
            members.object {
                $0.field("name", approved.name)
                $0.field("language", approved.language)
                $0.field("parameters", strings: approved.parameters.map(\.rawValue))
            }
        } else {
            members.null()
        }
    }

    /// What was valid when it was stored. `nil` for anything else.
    package init?(stored json: JSON) {
        func text(_ name: String) -> TemplateText? { json[name]?.string.flatMap { try? TemplateText($0) } }
        guard let body = text("text") else { return nil }
        self.init(subject: text("subject"), text: body, html: text("html"))
        if let given = json["whatsapp_template"], let name = given["name"]?.string {
            approved = Approved(
                name: name,
                language: given["language"]?.string ?? "pt_BR",
                parameters: (given["parameters"]?.array ?? []).compactMap { $0.string.flatMap(TemplateText.Variable.init(rawValue:)) }
            )
        }
    }
}

/// What each message says where a business has not written its own.
package enum StandardTemplates {
    package static func template(_ event: NotificationEvent, _ channel: OutgoingMessage.Channel) -> MessageTemplate {
        guard channel == .email else {
            var template = MessageTemplate("", texts(event))
            template.subject = nil
            return template
        }
        return MessageTemplate(subject(event), texts(event) + "\n\n{{business_name}}" + (event.isTransactional ? "" : farewell))
    }

    private static let farewell = "\n\nPara não receber mais lembretes: {{unsubscribe_url}}"

    private static func subject(_ event: NotificationEvent) -> String {
        switch event {
        case .awaitingApproval: "Recebemos seu pedido: {{service_name}} em {{date}} às {{time}}"
        case .confirmed: "Agendamento confirmado: {{service_name}} em {{date}} às {{time}}"
        case .declined: "Agendamento não confirmado: {{service_name}} em {{date}}"
        case .rescheduled: "Agendamento alterado para {{date}} às {{time}}"
        case .cancelled: "Agendamento cancelado: {{service_name}} em {{date}} às {{time}}"
        case .reminder: "Lembrete: {{service_name}} em {{date}} às {{time}}"
        case .followUp: "Como foi seu atendimento?"
        case .noShow: "Sentimos sua falta"
        case .waitlistOffer: "Surgiu um horário: {{service_name}} em {{date}} às {{time}}"
        }
    }

    private static let what = "\n\n{{service_name}}\n{{weekday}}, {{date}} às {{time}}\nCom: {{staff_name}}\nEndereço: {{address}}"

    private static func texts(_ event: NotificationEvent) -> String {
        switch event {
        case .awaitingApproval:
            "Olá, {{client_first_name}}! Recebemos seu pedido de agendamento com {{business_name}}. Avisaremos assim que for confirmado.\(what)\n\nVer ou cancelar: {{manage_url}}"
        case .confirmed:
            "Olá, {{client_first_name}}! Seu agendamento com {{business_name}} está confirmado.\(what)\n\nVer, remarcar ou cancelar: {{manage_url}}"
        case .declined:
            "Olá, {{client_first_name}}. Não foi possível confirmar seu agendamento com {{business_name}}.\(what)\nMotivo: {{reason}}"
        case .rescheduled:
            "Olá, {{client_first_name}}! Seu agendamento com {{business_name}} mudou.\nAntes: {{old_date}} às {{old_time}}\(what)\nSituação: {{status}}\n\nVer, remarcar ou cancelar: {{manage_url}}"
        case .cancelled:
            "Olá, {{client_first_name}}. Seu agendamento com {{business_name}} foi cancelado.\(what)\nMotivo: {{reason}}"
        case .reminder:
            "Olá, {{client_first_name}}! Lembrete do seu agendamento com {{business_name}}.\(what)\n\nVer, remarcar ou cancelar: {{manage_url}}"
        case .followUp:
            "Olá, {{client_first_name}}! Obrigado por vir. Como foi seu atendimento de {{service_name}} com {{business_name}}? Responda esta mensagem para nos contar."
        case .noShow:
            "Olá, {{client_first_name}}. Sentimos sua falta em {{date}} às {{time}} ({{service_name}}). Se quiser, agende um novo horário com {{business_name}}."
        case .waitlistOffer:
            "Olá, {{client_first_name}}! Surgiu um horário com {{business_name}}.\(what)\n\nEle está reservado para você até {{offer_expires_at}}.\nAceitar: {{manage_url}}"
        }
    }
}
