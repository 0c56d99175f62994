import Jobs
import Kernel
import Notifications
import Scheduling
import Testing

let business = TenantID(UniqueID(high: 9, low: 9))

func time(_ text: String) throws -> Timestamp { try #require(Timestamp(rfc3339: text)) }

/// A calendar and what its clients are told, with a queue that takes each key once, as the real one does. Its clock is a test's.
struct Office {
    var book = CalendarBook(tenant: business)
    var notices = NoticeBook(tenant: business)
    var queue = Queue()
    let clock: ManualEnvironment
    let cut: ServiceID

    struct Queue {
        private(set) var keys: Set<String> = []
        private var keysBySubject: [String: [String]] = [:]
        var waiting: [OutgoingMessage] = []
        /// Of which no rule asked any longer, and what is in somebody's hands or over.
        private(set) var withdrawn: [OutgoingMessage] = []
        private(set) var faults: [String] = []

        mutating func take(_ plan: NoticeBook.Plan) {
            for subject in plan.calledOff {
                waiting.removeAll { $0.subject == subject }
                withdrawn.removeAll { $0.subject == subject }
            }
            for (message, content) in plan.revised {
                let key = message.content.key
                withdrawn.removeAll { $0.key == key }
                waiting.removeAll { $0.key == key }
                if let content { waiting.append(content) } else { withdrawn.append(message.content) }
            }
            for message in plan.messages {
                guard let key = message.key else { continue }
                let isNew = keys.insert(key).inserted
                if message.isKeyNew, !isNew { faults.append("\(key) is said to be new, and is not") }
                guard isNew else { continue }
                waiting.append(message)
                keysBySubject[message.subject ?? "", default: []].append(key)
            }
        }

        /// The reminders about some things, as a store would have them.
        func planned(_ subjects: Set<String>, _ moment: Moment) -> [String: [QueueMessage]] {
            var planned: [String: [QueueMessage]] = [:]
            var known: Set<String> = []
            func put(_ content: OutgoingMessage, _ alter: (QueueMessage) -> QueueMessage = { $0 }) {
                guard let key = content.key, let subject = content.subject, subjects.contains(subject), content.queue == .reminders else { return }
                known.insert(key)
                planned[subject, default: []].append(alter(QueueMessage(id: moment.id(), content, at: moment.now)))
            }
            for message in waiting { put(message) }
            for message in withdrawn { put(message) { $0.withdrawnForTest } }
            // Of the others only that they are there, in whosever hands, or over.
            for subject in subjects {
                for key in keysBySubject[subject] ?? [] where !known.contains(key) {
                    var content = OutgoingMessage(queue: .reminders, channel: .email, recipient: "", runAt: moment.now, payload: "{}")
                    (content.key, content.subject) = (key, subject)
                    put(content) {
                        var message = $0
                        message.state = .claimed
                        return message
                    }
                }
            }
            return planned
        }
    }

    init(_ zone: String = "America/Sao_Paulo", now: String = "2026-03-02T12:00:00Z", confirmsAtOnce: Bool = true) throws {
        clock = ManualEnvironment(now: try #require(Timestamp(rfc3339: now)))
        book.rules.zone = try #require(Zone.named(zone))
        book.rules.weekly = .allDay
        book.rules.confirmsAtOnce = confirmsAtOnce
        var service = Service(id: clock.environment.moment().id(), name: "Corte", durationMinutes: 30, at: clock.now)
        service.startIntervalMinutes = 15
        cut = service.id
        book.services[service.id] = service
        notices.settings.quiet = nil
    }

    var zone: Zone { book.rules.zone }
    var now: Timestamp { clock.now }
    var moment: Moment { clock.environment.moment() }

    mutating func pass(to text: String) throws { clock.advance(by: try time(text) - clock.now) }

    mutating func book(_ start: Timestamp, email: String? = "ana@example.com", whatsapp: String = "+5511987654321", series: SeriesID? = nil) throws
        -> Appointment
    {
        var request = BookingRequest(service: cut, start: start, clientName: "Ana Lima", clientWhatsapp: whatsapp)
        request.clientEmail = email
        request.series = series
        let made = try book.book(request, moment)
        follow()
        return made
    }

    /// What the calendar's actor and its cell do after each turn.
    mutating func follow() {
        let effects = book.effects
        book.effects = CalendarBook.Effects()
        let news = effects.appointments.compactMap { id in book.appointments[id].map { AppointmentNews(before: effects.before[id], after: $0) } }
        queue.take(notices.changed(news, zone, now: now))
        for id in effects.waitlist { if let entry = book.waitlist[id] { queue.take(notices.changed(entry, now: now)) } }
    }

    /// What the cell does with all that is booked after the rules have changed.
    mutating func planAgain() {
        let coming = book.appointments.values.filter { $0.status.isBlocking && now < $0.start }.sorted { $0.id < $1.id }
        let planned = queue.planned(Set(coming.map { ClientNotice.subject(of: $0.id) }), moment)
        for appointment in coming {
            queue.take(notices.replan(appointment, planned: planned[ClientNotice.subject(of: appointment.id)] ?? [], zone, now: now))
        }
    }

    mutating func turn<T>(_ body: (inout CalendarBook, Moment) throws -> T) throws -> T {
        defer { follow() }
        return try body(&book, moment)
    }

    func verdict(_ message: OutgoingMessage) -> NoticeBook.Verdict {
        guard let notice = ClientNotice(payload: message.payload) else { return .drop("unreadable") }
        switch notice.subject {
        case .appointment(let id, _, _):
            guard let appointment = book.appointments[id] else { return .drop("gone") }
            return notices.verdict(notice, message.channel, to: message.recipient, appointment, zone, now: now)
        case .offer(let id, _): return notices.verdict(notice, message.channel, to: message.recipient, book.waitlist[id], now: now)
        }
    }

    /// `confirmed whatsapp 2026-…`, by time.
    var planned: [String] {
        queue.waiting.sorted { ($0.runAt, $0.key ?? "") < ($1.runAt, $1.key ?? "") }.map {
            "\(ClientNotice(payload: $0.payload)?.rule ?? "?") \($0.channel.rawValue) \($0.runAt.description.prefix(16))"
        }
    }
}

extension WeeklyHours {
    static let allDay = WeeklyHours(Array(repeating: [Period(0, 1440)], count: 7))
}

extension QueueMessage {
    /// As a queue leaves one of which no rule asks any longer.
    var withdrawnForTest: QueueMessage {
        var book = QueueBook()
        let environment = ManualEnvironment(now: createdAt).environment
        book.revise(self, to: nil, environment.moment())
        return book.effects.changed[0]
    }
}
