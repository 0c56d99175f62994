import Kernel
import Scheduling
import Testing

let business = TenantID(UniqueID(high: 9, low: 9))

/// A book with one service, whose clock a test moves.
struct Diary {
    var book = CalendarBook(tenant: business)
    let clock: ManualEnvironment
    let cut: ServiceID

    init(
        _ zone: String = "America/Sao_Paulo",
        now: String = "2026-03-02T08:00:00Z",
        durationMinutes: Int = 60,
        _ change: (inout Service) -> Void = { _ in }
    ) throws {
        clock = ManualEnvironment(now: try #require(Timestamp(rfc3339: now)))
        book.rules.zone = try #require(Zone.named(zone))
        var service = Service(id: clock.environment.moment().id(), name: "Corte", durationMinutes: durationMinutes, at: clock.now)
        change(&service)
        cut = service.id
        book.services[service.id] = service
    }

    var moment: Moment { clock.environment.moment() }

    func request(_ start: Timestamp, name: String = "Ana", whatsapp: String = "+5511900000001") -> BookingRequest {
        BookingRequest(service: cut, start: start, clientName: name, clientWhatsapp: whatsapp)
    }

    /// Somebody who would come at any time of a day.
    func wait(_ name: String, _ number: String, on day: String = "2026-03-02") throws -> WaitlistEntry {
        let from = try time("\(day)T03:00:00Z")
        return WaitlistEntry(
            id: moment.id(),
            service: cut,
            staff: nil,
            from: from,
            until: from + .seconds(86_400),
            clientName: name,
            clientWhatsapp: number,
            clientEmail: nil,
            moment
        )
    }

    func slots(_ from: String, _ until: String, staff: StaffID? = nil) throws -> [Timestamp] {
        let wish = try book.wish(cut, staff: staff, now: clock.now)
        return book.slots(wish, in: try time(from)..<time(until))
    }

    mutating func hire(_ name: String, _ change: (inout StaffMember) -> Void = { _ in }) -> StaffID {
        var member = StaffMember(id: moment.id(), name: name, at: clock.now)
        change(&member)
        book.staff.append(member)
        return member.id
    }
}

func time(_ text: String) throws -> Timestamp { try #require(Timestamp(rfc3339: text)) }

/// The code of what is refused.
func refusal<T>(_ body: () throws -> T) -> String? {
    do {
        _ = try body()
        return nil
    } catch { return (error as? Refusal)?.code }
}
