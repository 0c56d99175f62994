package import Jobs
package import Kernel
package import Scheduling

package import struct Foundation.Decimal

/// Who writes to a client, as they are named in what is written.
package struct Sender: Sendable, Equatable {
    package var name: String
    package var slug: String
    /// Where this server is reached from outside, without a slash at the end.
    package var publicURL: String

    package init(name: String, slug: String, publicURL: String) {
        self.name = name
        self.slug = slug
        self.publicURL = publicURL
    }
}

/// What variables stand for in one message.
package struct TemplateValues: Sendable, Equatable {
    package private(set) var values: [TemplateText.Variable: String] = [:]

    package subscript(variable: TemplateText.Variable) -> String? {
        get { values[variable] }
        set { values[variable] = newValue }
    }

    private init(
        _ sender: Sender,
        _ settings: NotificationSettings,
        clientName: String,
        serviceName: String,
        start: Timestamp,
        staff: String?,
        _ zone: Zone
    ) {
        values[.businessName] = sender.name
        values[.clientName] = clientName
        values[.clientFirstName] = clientName.split(separator: " ").first.map(String.init) ?? clientName
        values[.serviceName] = serviceName
        values[.staffName] = staff
        values[.address] = settings.address
        values[.date] = Self.date(start, zone)
        values[.time] = Self.time(start, zone)
        values[.weekday] = Self.weekdays[zone.day(of: start).weekday]
    }

    package init(
        _ appointment: Appointment,
        former: Timestamp?,
        staff: String?,
        _ zone: Zone,
        _ settings: NotificationSettings,
        _ sender: Sender,
        unsubscribe: String?
    ) {
        self.init(
            sender,
            settings,
            clientName: appointment.clientName,
            serviceName: appointment.serviceName,
            start: appointment.start,
            staff: staff,
            zone
        )
        values[.endTime] = Self.time(appointment.end, zone)
        values[.duration] = "\(appointment.durationMinutes) min"
        values[.price] = appointment.price.map(Self.price)
        values[.status] = Self.words[appointment.status]
        values[.oldDate] = former.map { Self.date($0, zone) }
        values[.oldTime] = former.map { Self.time($0, zone) }
        values[.reason] = appointment.cancelReason
        values[.manageURL] = Self.manageURL(
            settings.managePattern ?? "\(sender.publicURL)/api/appointments/public/{id}?slug={slug}&token={token}",
            id: appointment.id.description,
            token: appointment.manageToken,
            slug: sender.slug
        )
        values[.unsubscribeURL] = unsubscribe
    }

    package init(_ entry: WaitlistEntry, serviceName: String, staff: String?, _ zone: Zone, _ settings: NotificationSettings, _ sender: Sender) {
        let start = entry.offeredStart ?? entry.from
        self.init(sender, settings, clientName: entry.clientName, serviceName: serviceName, start: start, staff: staff, zone)
        values[.offerTime] = entry.offerUntil.map { "\(Self.time($0, zone)) de \(Self.date($0, zone))" }
        // Accepting is a POST, which a link is not: the page, or whoever reads it, does that.
        values[.manageURL] = Self.manageURL(
            settings.managePattern ?? "\(sender.publicURL)/api/appointments/public/waitlist/{id}?slug={slug}&token={token}",
            id: entry.id.description,
            token: entry.token,
            slug: sender.slug
        )
    }

    /// What a preview shows.
    package init(example sender: Sender, _ settings: NotificationSettings, _ zone: Zone, now: Timestamp) {
        let day = zone.day(of: now) + 1
        let start = Timestamp(milliseconds: zone.opening(local: QuietHours.local(day, 14 * 60)))
        self.init(sender, settings, clientName: "Maria da Silva", serviceName: "Corte de Cabelo", start: start, staff: "Ana", zone)
        values[.endTime] = Self.time(start + .seconds(3600), zone)
        values[.duration] = "60 min"
        values[.price] = Self.price(50)
        values[.status] = Self.words[.confirmed]
        values[.oldDate] = Self.date(start + .seconds(-86_400), zone)
        values[.oldTime] = Self.time(start + .seconds(-3600), zone)
        values[.reason] = "Imprevisto"
        values[.offerTime] = "\(Self.time(start, zone)) de \(Self.date(start, zone))"
        values[.manageURL] = "\(sender.publicURL)/exemplo"
        values[.unsubscribeURL] = "\(sender.publicURL)/exemplo"
        if settings.address == nil { values[.address] = "Rua das Flores, 100" }
    }

    private static let weekdays = ["domingo", "segunda-feira", "terça-feira", "quarta-feira", "quinta-feira", "sexta-feira", "sábado"]
    private static let words: [Appointment.Status: String] = [
        .pending: "aguardando confirmação", .confirmed: "confirmado", .cancelled: "cancelado", .completed: "concluído", .noShow: "não compareceu",
    ]

    /// `01/03/2026`
    static func date(_ time: Timestamp, _ zone: Zone) -> String {
        zone.day(of: time).description.split(separator: "-").reversed().joined(separator: "/")
    }

    /// `09:30`
    static func time(_ time: Timestamp, _ zone: Zone) -> String { String(zone.text(time).dropFirst(11).prefix(5)) }

    /// `R$ 50,00`
    static func price(_ amount: Decimal) -> String {
        let parts = "\(amount)".split(separator: ".")
        let cents = parts.count > 1 ? String(parts[1].prefix(2)) : ""
        return "R$ \(parts[0]),\(cents)\(String(repeating: "0", count: 2 - cents.count))"
    }

    private static func manageURL(_ pattern: String, id: String, token: String, slug: String) -> String {
        pattern.replacing("{id}", with: id).replacing("{token}", with: token).replacing("{slug}", with: slug)
    }
}
