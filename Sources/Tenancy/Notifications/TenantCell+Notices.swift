import Conversations
package import Jobs
package import Kernel
package import Notifications
package import Scheduling
package import Storage
package import Wire

// What clients are told: planned in the turn that changed the calendar, and looked at again when it is sent.

extension TenantCell {
    /// What the calendar's turn means for clients.
    func tellClients(_ moment: Moment) -> Change {
        let news = calendar.assumeIsolated { $0.takeNews() }
        if news.isEmpty { return Change() }
        let zone = bookingZone()
        return carriedOut(clientNotices.assumeIsolated { $0.follow(news, zone, moment) }, moment)
    }

    private func carriedOut(_ plan: NoticeBook.Plan, _ moment: Moment) -> Change {
        var change = Change()
        change.rows = plan.rows
        return queues.assumeIsolated { queues in
            for subject in plan.calledOff { change.append(queues.callOff(subject: subject, reason: "o agendamento mudou", moment)) }
            if !plan.revised.isEmpty {
                change.append(queues.decide { book in for (message, content) in plan.revised { book.revise(message, to: content, moment) } }.1)
            }
            if !plan.messages.isEmpty { change.append(queues.add(plan.messages, moment)) }
            return change
        }
    }

    /// What is to be read before some of what is booked is planned again (`ClientNotices`).
    func noticeErrand() -> ClientNotices.Errand {
        let (moment, calendar) = (environment.moment(), calendar)
        return clientNotices.assumeIsolated { notices in
            notices.errand(moment) {
                calendar.assumeIsolated { calendar in
                    let upcoming =
                        (try? calendar.reading { book throws(Refusal) in book.appointments.values.filter { $0.isToCome(at: moment.now) } }) ?? []
                    return upcoming.sorted { ($0.start, $0.id) < ($1.start, $1.id) }.map(\.id)
                }
            }
        }
    }

    /// Plans with what was read, as everything is by now. Says that the read is over.
    func noticesRead(_ errand: ClientNotices.Errand, _ findings: ClientNotices.Findings) -> Pending<Void> {
        let (moment, zone) = (environment.moment(), bookingZone())
        let found = calendar.assumeIsolated { calendar in
            (try? calendar.reading { book throws(Refusal) in errand.appointments.compactMap { book.appointments[$0] } }) ?? []
        }
        let appointments = Dictionary(uniqueKeysWithValues: found.map { ($0.id, $0) })
        var planned: [AppointmentID: [QueueMessage]] = [:]
        let ended = queues.assumeIsolated { queues in
            queues.decide { book in
                for id in errand.appointments {
                    planned[id] = book.asTheyAre(findings.reminders[id] ?? [], about: ClientNotice.subject(of: id), in: .reminders)
                }
                book.readEnded()
            }.1
        }
        let known = planned
        let (plan, rows) = clientNotices.assumeIsolated { $0.carryOut(errand, findings, appointments, planned: known, zone, moment) }
        var change = carriedOut(plan, moment)
        change.append(ended)
        change.append(rows)
        meterIsNow(moment)
        return Pending(.success(()), commit(metered(&change, moment)))
    }

    func onNotices<T: Sendable>(_ body: @Sendable (isolated ClientNotices) throws(Refusal) -> (T, Change)) -> Pending<T> {
        settle(
            clientNotices.assumeIsolated { notices -> Result<(T, Change), Refusal> in
                do throws(Refusal) { return .success(try body(notices)) } catch { return .failure(error) }
            }
        )
    }

    // MARK: How it is done

    package func notificationSettings() -> Pending<[UInt8]> {
        onNotices { notices throws(Refusal) in (try notices.reading { book throws(Refusal) in book.settings.json }, Change()) }
    }

    var addressForAnswers: String? {
        clientNotices.assumeIsolated { notices in (try? notices.reading { book throws(Refusal) in book.settings.replyTo }) ?? nil }
    }

    package func changeNotificationSettings(_ json: JSON?) -> Pending<[UInt8]> {
        let moment = environment.moment()
        return onNotices { notices throws(Refusal) in
            notices.govern(try notices.reading { book throws(Refusal) in try book.settings.changed(by: json) }, moment)
        }
    }

    package func messageTemplates() -> Pending<[UInt8]> { onNotices { ($0.templates, Change()) } }

    package func putTemplate(_ template: MessageTemplate?, _ name: TemplateName, _ channel: OutgoingMessage.Channel) -> Pending<[UInt8]> {
        let moment = environment.moment()
        return onNotices { notices throws(Refusal) in try notices.put(template, name, channel, moment) }
    }

    /// What a template is filled with to be looked at.
    package func templateInUse(_ name: TemplateName, _ channel: OutgoingMessage.Channel) -> Pending<(MessageTemplate, NotificationSettings)> {
        onNotices { notices throws(Refusal) in
            (try notices.reading { book throws(Refusal) in (book.template(name, channel).template, book.settings) }, Change())
        }
    }

    package func optOut(_ channel: OutgoingMessage.Channel, _ recipient: String, isOut: Bool, _ source: OptOuts.Source) -> Pending<Bool> {
        let moment = environment.moment()
        let theirs = appointments(reachedBy: channel, moment)
        return onNotices { notices throws(Refusal) in notices.optOut(channel, recipient, isOut: isOut, source, moment, theirs: theirs) }
    }

    /// The appointments to come of whoever is reached by a recipient in its one form.
    func appointments(reachedBy channel: OutgoingMessage.Channel, _ moment: Moment) -> @Sendable (String) -> [AppointmentID] {
        let calendar = calendar
        return { canonical in
            calendar.assumeIsolated { calendar in
                let upcoming =
                    (try? calendar.reading { book throws(Refusal) in book.appointments.values.filter { $0.isToCome(at: moment.now) } }) ?? []
                let theirs = upcoming.filter { NoticeBook.recipient($0, channel).map { Recipient.canonical($0, channel) } == canonical }
                return theirs.sorted { ($0.start, $0.id) < ($1.start, $1.id) }.map(\.id)
            }
        }
    }

    /// A customer has written a word that is meant for the server: they want no more reminders, or want them again. They are answered once.
    static func heed(
        _ inbound: CustomerMessage,
        _ notices: ClientNotices,
        _ queues: MessageQueues,
        theirs: @Sendable (String) -> [AppointmentID],
        _ moment: Moment
    ) -> Change {
        guard inbound.visit == nil, !inbound.isEcho, let number = inbound.from.waIDs.first, let word = OptOuts.Word(inbound.text) else {
            return Change()
        }
        var (isNews, change) = notices.assumeIsolated { $0.optOut(.whatsapp, number, isOut: word == .out, .whatsapp, moment, theirs: theirs) }
        guard isNews else { return change }
        var writer = JSONWriter()
        writer.object {
            $0.field(
                "text",
                word == .out
                    ? "Pronto: você não receberá mais lembretes por aqui. Avisos sobre o que você agendar continuam. Para voltar a receber, escreva VOLTAR."
                    : "Pronto: você voltará a receber lembretes por aqui. Para parar, escreva SAIR."
            )
        }
        var answer = OutgoingMessage(
            queue: .whatsapp,
            channel: .whatsapp,
            recipient: number,
            runAt: moment.now,
            payload: String(decoding: writer.bytes, as: UTF8.self)
        )
        answer.key = "opt-out:\(inbound.externalID)"
        answer.priority = 2
        answer.expiresAt = moment.now + .seconds(3600)
        let message = answer
        change.append(queues.assumeIsolated { $0.add([message], moment) })
        return change
    }

    // MARK: Sending

    /// Everything that a message is written with, as it is now.
    package func letter(_ notice: ClientNotice, _ message: OutgoingMessage) -> Pending<Letter.Answer> {
        let moment = environment.moment()
        let notices = clientNotices
        return onCalendar { calendar in
            calendar.decide(moment) { book throws(Refusal) in
                book.timePassed(moment)
                return try notices.assumeIsolated { notices in
                    Result<Letter.Answer, Refusal>.success(
                        (try? notices.reading { known throws(Refusal) in Letter.write(notice, message, known, book, now: moment.now) })
                            ?? .dropped("não há mais o que dizer")
                    )
                }.get()
            }
        }
    }
}

/// What a notice is written with.
package struct Letter: Sendable {
    package enum Answer: Sendable {
        case letter(Letter)
        case dropped(String)
        case putOff(until: Timestamp, String)
    }

    package enum Subject: Sendable {
        case appointment(Appointment, former: Timestamp?)
        case offer(WaitlistEntry)
    }

    package let event: NotificationEvent
    package let subject: Subject
    package let serviceName: String
    package let staffName: String?
    package let zone: Zone
    package let settings: NotificationSettings
    package let template: MessageTemplate

    static func write(_ notice: ClientNotice, _ message: OutgoingMessage, _ known: NoticeBook, _ book: CalendarBook, now: Timestamp) -> Answer {
        let zone = book.rules.zone
        let verdict: NoticeBook.Verdict
        let subject: Subject
        let (service, staff): (ServiceID, StaffID?)
        switch notice.subject {
        case .appointment(let id, _, let former):
            guard let appointment = book.appointments[id] else { return .dropped("o agendamento não existe") }
            // Whoever has an appointment in memory is in memory (`ClientLedger`), with what they want to be told.
            if !notice.event.isTransactional, let client = book.clients[appointment.client], client.profile.communicationPreference == .none {
                return .dropped("o cliente não quer receber")
            }
            if !notice.event.isTransactional, message.channel == .whatsapp, let email = NoticeBook.recipient(appointment, .email),
                book.clients[appointment.client]?.profile.communicationPreference == .email, known.isTold(notice, by: .email, to: email)
            {
                return .dropped("o cliente prefere e-mail")
            }
            verdict = known.verdict(notice, message.channel, to: message.recipient, appointment, zone, now: now)
            subject = .appointment(appointment, former: former)
            (service, staff) = (appointment.service, appointment.staff)
        case .offer(let id, _):
            let entry = book.waitlist[id]
            verdict = known.verdict(notice, message.channel, to: message.recipient, entry, now: now)
            guard let entry else { return .dropped("a oferta não vale mais") }
            subject = .offer(entry)
            (service, staff) = (entry.service, entry.hold.flatMap { book.holds[$0]?.place.resource.staff })
        }
        switch verdict {
        case .drop(let reason): return .dropped(reason)
        case .putOff(let until, let reason): return .putOff(until: until, reason)
        case .tell: break
        }
        return .letter(
            Letter(
                event: notice.event,
                subject: subject,
                serviceName: book.services[service]?.name ?? "",
                staffName: staff.flatMap { id in book.staff.first { $0.id == id }?.name },
                zone: zone,
                settings: known.settings,
                template: known.template(known.templateName(notice, message.channel), message.channel).template
            )
        )
    }

    /// - Parameter unsubscribe: where the reader says that they want no more; `nil` for what cannot be refused.
    package func filled(_ sender: Sender, unsubscribe: String?) -> MessageTemplate.Filled {
        let values: TemplateValues
        switch subject {
        case .appointment(let appointment, let former):
            values = TemplateValues(appointment, former: former, staff: staffName, zone, settings, sender, unsubscribe: unsubscribe)
        case .offer(let entry): values = TemplateValues(entry, serviceName: serviceName, staff: staffName, zone, settings, sender)
        }
        return template.filled(values.values)
    }
}

extension Appointment {
    fileprivate func isToCome(at now: Timestamp) -> Bool { status.isBlocking && start > now }
}
