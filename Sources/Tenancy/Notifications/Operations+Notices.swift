package import Jobs
package import Kernel
package import Notifications
import OrderedCollections
import Scheduling
import Storage
package import Wire

// How clients are told of their appointments, and whom of them nobody is to remind.

extension Operations {
    package func notificationSettings(for principal: Principal) async throws(Refusal) -> [UInt8] {
        try await tenants.use(principal.tenant) { cell throws(Refusal) in try await cell.notificationSettings().committed() }
    }

    /// Where clients' answers by e-mail go; `nil` where the business has not said.
    package func addressForAnswers(_ tenant: TenantID) async throws(Refusal) -> String? {
        try await tenants.use(tenant) { cell throws(Refusal) in await cell.addressForAnswers }
    }

    package func changeNotificationSettings(_ json: JSON?, by principal: Principal) async throws(Refusal) -> [UInt8] {
        try principal.requireAdministrator()
        try gate.admit()
        return try await tenants.use(principal.tenant) { cell throws(Refusal) in try await cell.changeNotificationSettings(json).committed() }
    }

    // MARK: Templates

    package func messageTemplates(for principal: Principal) async throws(Refusal) -> [UInt8] {
        try await tenants.use(principal.tenant) { cell throws(Refusal) in try await cell.messageTemplates().committed() }
    }

    package func putTemplate(_ json: JSON?, _ name: TemplateName, _ channel: OutgoingMessage.Channel, by principal: Principal) async throws(Refusal)
        -> [UInt8]
    {
        try principal.requireAdministrator()
        let template = try MessageTemplate.read(json, name, channel)
        try gate.admit()
        return try await tenants.use(principal.tenant) { cell throws(Refusal) in try await cell.putTemplate(template, name, channel).committed() }
    }

    /// Back to the standard one.
    package func removeTemplate(_ name: TemplateName, _ channel: OutgoingMessage.Channel, by principal: Principal) async throws(Refusal) -> [UInt8] {
        try principal.requireAdministrator()
        try gate.admit()
        return try await tenants.use(principal.tenant) { cell throws(Refusal) in try await cell.putTemplate(nil, name, channel).committed() }
    }

    /// A template filled with an example: the one in use, or the one of a body, which is not kept.
    package func previewTemplate(
        _ json: JSON?,
        _ name: TemplateName,
        _ channel: OutgoingMessage.Channel,
        _ sender: Sender,
        by principal: Principal
    ) async throws(Refusal) -> [UInt8] {
        var given: MessageTemplate?
        if json?["text"] != nil { given = try MessageTemplate.read(json.map { $0.without("variables") }, name, channel) }
        var wanted: [TemplateText.Variable: String] = [:]
        if let variables = json?["variables"], !variables.isNull {
            guard let members = variables.object else { throw .invalid("variables", message: "deve ser um objeto de textos", type: "dict_type") }
            for (name, value) in members {
                guard let variable = TemplateText.Variable(rawValue: name) else {
                    throw .invalid("variables", message: TemplateText.Mistake.unknown(name).message, type: "template_variable")
                }
                guard let text = value.string, text.utf8.count <= 1000 else {
                    throw .invalid("variables", name, message: "deve ser um texto de no máximo 1000 bytes", type: "string_type")
                }
                wanted[variable] = text
            }
        }
        let now = now
        let (zone, inUse, settings) = try await tenants.use(principal.tenant) { cell throws(Refusal) in
            let (template, settings) = try await cell.templateInUse(name, channel).committed()
            return (await cell.bookingZone(), template, settings)
        }
        var values = TemplateValues(example: sender, settings, zone, now: now).values
        for (variable, value) in wanted { values[variable] = value }
        let filled = (given ?? inUse).filled(values)
        var writer = JSONWriter(capacity: 4096)
        writer.object { object in
            object.field("event", name.description)
            object.field("channel", channel.rawValue)
            object.field("subject", channel == .email ? filled.subject : nil)
            object.field("text", filled.text)
            object.field("html", channel == .email ? filled.html : nil)
            object.key("whatsapp_template")
            if let approved = filled.approved {
                object.object {
                    $0.field("name", approved.name)
                    $0.field("language", approved.language)
                    $0.field("parameters", strings: approved.parameters)
                }
            } else {
                object.null()
            }
        }
        return writer.bytes
    }

    // MARK: Who is to be left alone

    /// `{items, total, page, per_page, total_pages}`, the latest first.
    package func optOuts(_ channel: OutgoingMessage.Channel?, recipient: String?, _ page: Page, for principal: Principal) async throws(Refusal)
        -> [UInt8]
    {
        guard principal.role.canAttend else { throw .viewerOnly }
        var conditions = ["tenant_id = ?", "is_out"]
        var arguments: [SQLValue] = [.id(principal.tenant)]
        if let channel {
            conditions.append("channel = ?")
            arguments.append(.text(channel.rawValue))
        }
        if let recipient {
            conditions.append("recipient IN (?, ?)")
            arguments += OutgoingMessage.Channel.all.map { .text(Recipient.canonical(recipient, $0)) }
        }
        let condition = "WHERE " + conditions.joined(separator: " AND ")
        var count = try await store.rows(
            Query("SELECT COUNT(*) FROM notification_opt_outs \(condition)", arguments, kinds: [.integer], tenant: principal.tenant)
        ).first
        let total = Int(count?.integer() ?? 0)
        let rows = try await store.rows(
            .select(
                from: NotificationTables.optOuts,
                "\(condition) ORDER BY updated_at DESC, recipient LIMIT ? OFFSET ?",
                arguments + [.integer(Int64(page.size)), .integer(Int64((page.number - 1) * page.size))],
                tenant: principal.tenant
            )
        )
        var writer = JSONWriter(capacity: 256 * rows.count + 128)
        writer.object {
            $0.list("items") { list in for row in rows { OptOuts.Entry(row).write(to: &list) } }
            $0.page(page, total: total)
        }
        return writer.bytes
    }

    /// By somebody of the staff.
    package func optOut(_ channel: OutgoingMessage.Channel, _ recipient: String, isOut: Bool, by principal: Principal) async throws(Refusal)
        -> [UInt8]
    {
        guard principal.role.canAttend else { throw .viewerOnly }
        let canonical = Recipient.canonical(recipient, channel)
        let isOne = channel == .email ? NotificationSettings.isAddress(recipient) && recipient.utf8.count <= 254 : (8...15).contains(canonical.count)
        guard isOne else {
            throw .invalid("recipient", message: channel == .email ? "deve ser um e-mail válido" : "deve ser um número de telefone com DDD")
        }
        try await optOut(channel, recipient, isOut: isOut, .staff, of: principal.tenant)
        var writer = JSONWriter()
        writer.object {
            $0.field("channel", channel.rawValue)
            $0.field("recipient", canonical)
            $0.field("is_opted_out", isOut)
        }
        return writer.bytes
    }

    package func optOut(
        _ channel: OutgoingMessage.Channel,
        _ recipient: String,
        isOut: Bool,
        _ source: OptOuts.Source,
        of tenant: TenantID
    ) async throws(Refusal) {
        try gate.admit()
        try await tenants.use(tenant) { cell throws(Refusal) in
            _ = try await cell.optOut(channel, recipient, isOut: isOut, source).committed()
        }
    }

    // MARK: Sending

    /// What a queued notice is written with, as things now are.
    package func letter(_ notice: ClientNotice, _ message: OutgoingMessage, of tenant: TenantID) async throws(Refusal) -> Letter.Answer {
        try await tenants.use(tenant) { cell throws(Refusal) in
            if case .appointment(let id, let revision, _) = notice.subject {
                try await bringIn(id, cell)
                if try await wasTold(notice, id, before: revision, message.channel, cell) { return .dropped("já foi enviado") }
            }
            return try await cell.letter(notice, message).committed()
        }
    }

    /// What follows an appointment is told once, however often it is said anew what became of that: each time is another revision, with keys of its own.
    private func wasTold(
        _ notice: ClientNotice,
        _ id: AppointmentID,
        before revision: Int64,
        _ channel: OutgoingMessage.Channel,
        _ cell: TenantCell
    ) async throws(Refusal) -> Bool {
        guard notice.event == .followUp || notice.event == .noShow, revision > 0 else { return false }
        let keys = (max(0, revision - 200)..<revision).map { NoticeBook.key(id, $0, notice.rule, channel) }
        let places = keys.map { _ in "?" }.joined(separator: ", ")
        return try await !store.rows(
            Query(
                "SELECT id FROM queue_messages WHERE tenant_id = ? AND \"key\" IN (\(places)) AND (state IN ('sending', 'sent', 'quarantined') OR state = 'forgotten' AND COALESCE(why, '') <> ?) LIMIT 1",
                [.id(cell.tenant)] + keys.map { .text($0) } + [.text(QueueMessage.unsent)],
                kinds: [.uuid],
                tenant: cell.tenant
            )
        ).isEmpty
    }

    /// Whether WhatsApp lets a business write freely to a number, which it does for 24 hours after each message from there.
    /// - Parameter numbers: all forms of the number.
    package func window(to numbers: [String], of tenant: TenantID) async throws(Refusal) -> (isOpen: Bool, phoneNumberID: String?) {
        let now = now
        return try await tenants.use(tenant) { cell throws(Refusal) in
            if let live = await cell.window(to: numbers, at: now) { return live }
            let places = numbers.map { _ in "?" }.joined(separator: ", ")
            let values = numbers.map { SQLValue.text($0) }
            let rows = try await store.rows(
                Query(
                    "SELECT window_expires_at, phone_number_id FROM conversations WHERE tenant_id = ? AND contact_id IN (SELECT id FROM contacts WHERE tenant_id = ? AND (wa_id IN (\(places)) OR merged_wa_id IN (\(places)) OR answered_wa_id IN (\(places)))) AND window_expires_at > ? ORDER BY window_expires_at DESC LIMIT 1",
                    [.id(tenant), .id(tenant)] + values + values + values + [.timestamp(now)],
                    kinds: [.timestamp, .text],
                    tenant: tenant
                )
            )
            guard var row = rows.first else { return (false, nil) }
            _ = row.timestamp()
            return (true, row.optionalText())
        }
    }

    // MARK: Remote calls

    /// `notification.<verb>`, the twins of what changes something here.
    func callNotifications(_ verb: String, _ data: JSON, by principal: Principal) async throws(Refusal) -> [UInt8]? {
        guard principal.role != .visitor else { throw .visitorOnly }
        if verb == "settings" { return try await changeNotificationSettings(data, by: principal) }
        var fields = try RequestFields(data)
        let channel = OutgoingMessage.Channel(rawValue: fields.text("channel", max: 16))
        if channel == nil { fields.refuse("channel", "deve ser whatsapp ou email", type: "enum") }
        switch verb {
        case "template", "template-reset":
            let name = TemplateName(fields.text("event", max: 64))
            if name == nil { fields.refuse("event", "não há este aviso", type: "enum") }
            try fields.check()
            guard let name, let channel else { return nil }
            if verb == "template-reset" { return try await removeTemplate(name, channel, by: principal) }
            return try await putTemplate(data.without("event").without("channel"), name, channel, by: principal)
        case "opt-out", "opt-in":
            let recipient = fields.text("recipient", max: 254)
            try fields.check()
            guard let channel else { return nil }
            return try await optOut(channel, recipient, isOut: verb == "opt-out", by: principal)
        default: return nil
        }
    }

    static let notificationVerbs = ["settings", "template", "template-reset", "opt-out", "opt-in"]
}

extension JSON {
    fileprivate func without(_ name: String) -> JSON {
        guard case .object(var members) = self else { return self }
        members[name] = nil
        return .object(members)
    }
}
