import Foundation
import Kernel
import Storage
import TestSupport
import Testing

@testable import Scheduling

/// Long generated histories of bookings, moves, endings, mergers and forgetting, with a store that has only what was written to it: whoever is asked for is read, and
/// what is not asked for is forgotten. At any time a client's numbers are those that counting all of their appointments gives.
@Suite struct ClientHistoryTests {
    private struct House {
        var book = CalendarBook(tenant: business)
        let clock = ManualEnvironment(now: Timestamp(seconds: 1_772_409_600))
        var appointments: [AppointmentID: Appointment] = [:]
        var clients: [ClientID: Client] = [:]
        var services: [Service] = []

        init() throws {
            for (number, price) in ["35.50", "0", "120.05"].enumerated() {
                var service = Service(id: clock.environment.moment().id(), name: "S\(number)", durationMinutes: 30, at: clock.now)
                service.price = Decimal(string: price)
                services.append(service)
            }
            try open(empty: true)
        }

        mutating func open(empty: Bool = false) throws {
            book = CalendarBook(tenant: business)
            book.rules.zone = try #require(Zone.named("America/Sao_Paulo"))
            book.clients.isWhole = false
            book.rules.pendingMinutes = 2 * 1440
            for service in services { book.services[service.id] = service }
            let live = appointments.values.filter { $0.end > clock.now - .seconds(86_400) }
            for id in Set(live.map(\.client)) { book.clients.adopt(try #require(clients[id]), at: clock.now) }
            for appointment in live { book.adopt(appointment) }
        }

        /// What a turn leaves is written, as the store would have it.
        mutating func settle() {
            for id in book.effects.appointments { appointments[id] = book.appointments[id] }
            book.effects = .init()
            for client in book.clients.taken().clients {
                guard case .values(let values) = client.image(tenant: business).content else { continue }
                if let before = clients[client.id] { #expect(client.version > before.version) }
                clients[client.id] = Client(Row(values + [.integer(client.version)]))
            }
            book.forgetClients(at: clock.now)
        }

        mutating func turn<T>(_ body: (inout CalendarBook, Moment) throws(Refusal) -> T) throws(Refusal) -> T {
            while true {
                let moment = clock.environment.moment()
                do throws(Refusal) {
                    let result = try body(&book, moment)
                    settle()
                    return result
                } catch {
                    settle()
                    guard error.code == "client_unread" else { throw error }
                    if let key = error.facts["key"] {
                        for client in clients.values where client.key == key { book.clients.adopt(client, at: clock.now) }
                        book.clients.learned(free: key)
                    } else if let client = error.facts["client_id"].flatMap({ ClientID($0) }).flatMap({ clients[$0] }) {
                        book.clients.adopt(client, at: clock.now)
                    } else {
                        throw .notFound(.client)
                    }
                }
            }
        }

        mutating func bringIn(_ appointment: Appointment) {
            if let client = clients[appointment.client] { book.clients.adopt(client, at: clock.now) }
            book.adopt(appointment, isCounted: true)
        }
    }

    @Test(arguments: 0..<4) func aClientsNumbersAreThoseOfTheirAppointmentsAfterAnyHistory(_ round: Int) throws {
        var random = SeededGenerator.fresh("aClientsNumbersAreThoseOfTheirAppointmentsAfterAnyHistory(\(round))")
        var house = try House()
        var outcomes: [String: Int] = [:]
        let numbers = (0..<40).map { "+55 11 9\(7000_0000 + $0)" } + (0..<5).map { "11 \(7000_0000 + $0)" }
        for step in 0..<1200 {
            let some = house.appointments.values.sorted { $0.id < $1.id }.randomElement(using: &random)
            let staff = Author.user(UserID(UniqueID(high: 1, low: 1)), name: "Ana")
            do throws(Refusal) {
                switch Int.random(in: 0..<20, using: &random) {
                case 0...6:
                    // Before and after now: what was is written down later, too.
                    let start = house.clock.now + .seconds(Int.random(in: -40...60, using: &random) * 21_600 + step)
                    var request = BookingRequest(
                        service: house.services.randomElement(using: &random)!.id,
                        start: start,
                        clientName: "C",
                        clientWhatsapp: numbers.randomElement(using: &random)!
                    )
                    request.force = "teste"
                    let made = request
                    _ = try house.turn { book, moment throws(Refusal) in try book.book(made, moment) }
                case 7...8:
                    guard let some else { continue }
                    house.bringIn(some)
                    var move = CalendarBook.Move()
                    move.start = house.clock.now + .seconds(Int.random(in: 1...50, using: &random) * 43_200)
                    move.force = "teste"
                    let wanted = move
                    _ = try house.turn { book, moment throws(Refusal) in try book.reschedule(some.id, wanted, moment) }
                case 9:
                    guard let some else { continue }
                    house.bringIn(some)
                    _ = try house.turn { book, moment throws(Refusal) in try book.cancel(some.id, by: "staff", reason: nil, moment) }
                case 10...13:
                    guard let some else { continue }
                    house.bringIn(some)
                    let status: Appointment.Status = Bool.random(using: &random) ? .completed : .noShow
                    _ = try house.turn { book, moment throws(Refusal) in try book.ended(some.id, as: status, moment) }
                    outcomes[status.rawValue, default: 0] += 1
                case 14:
                    guard let some else { continue }
                    house.bringIn(some)
                    _ = try house.turn { book, moment throws(Refusal) in try book.confirm(some.id, moment) }
                case 15:
                    house.clock.advance(by: .seconds(Int.random(in: 1...5, using: &random) * 40_000))
                    try house.turn { book, moment throws(Refusal) in book.timePassed(moment) }
                    house.book.forget(before: house.clock.now - .seconds(2 * 86_400))
                case 16:
                    let pair = house.clients.values.filter(\.isListed).map(\.id).sorted().shuffled(using: &random).prefix(2)
                    guard pair.count == 2, step % 4 == 0 else { continue }
                    for id in pair { house.book.clients.adopt(house.clients[id]!, at: house.clock.now) }
                    let past = house.appointments.values.filter { $0.client == pair[0] }
                    let earlier = house.clients.values.filter { $0.mergedInto == pair[0] }
                    _ = try house.turn { book, moment throws(Refusal) in
                        try book.mergeClients(pair[0], into: pair[1], past: past, earlier: earlier, by: staff, moment)
                    }
                    outcomes["merged", default: 0] += 1
                case 17:
                    guard let some, step % 3 == 0 else { continue }
                    _ = try house.turn { book, moment throws(Refusal) in
                        try book.removeClient(some.client, force: true, erases: false, by: staff, moment)
                    }
                case 18 where step % 2 == 0:
                    // Whose it is turns out to be somebody else.
                    guard let some else { continue }
                    house.bringIn(some)
                    var details = CalendarBook.Details()
                    details.clientWhatsapp = numbers.randomElement(using: &random)!
                    let wanted = details
                    _ = try house.turn { book, moment throws(Refusal) in try book.update(some.id, wanted, moment) }
                case 18:
                    guard let some else { continue }
                    _ = try house.turn { book, moment throws(Refusal) in
                        try book.changeClient(some.client, by: staff, moment) { profile, _ throws(Refusal) in profile.notes = "\(step)" }
                    }
                default:
                    try? house.open()
                    outcomes["opened", default: 0] += 1
                }
                outcomes["done", default: 0] += 1
            } catch { outcomes[error.code, default: 0] += 1 }
            if step % 20 == 0 { check(house, step) }
        }
        check(house, 1200)
        // Far below what any history shows; what is left of it at the end is for chance.
        #expect(outcomes["done", default: 0] > 500 && outcomes["opened", default: 0] > 10, "\(outcomes)")
        for some in ["merged", Appointment.Status.noShow.rawValue, Appointment.Status.completed.rawValue] {
            #expect(outcomes[some, default: 0] > 0, "\(outcomes)")
        }
        // The two ways of writing a number are one client.
        let listed = house.clients.values.filter(\.isListed)
        #expect(Set(listed.compactMap(\.key)).count == listed.compactMap(\.key).count)
        #expect(house.book.clients.count <= house.clients.count)
    }

    private func check(_ house: House, _ step: Int) {
        let theirs = Dictionary(grouping: house.appointments.values, by: \.client)
        for client in house.clients.values {
            let counted = ClientTally((theirs[client.id] ?? []).map(CountedAppointment.init))
            #expect(client.tally == counted, "step \(step): \(client.id)")
            #expect(client.mergedInto == nil || counted.total == 0, "step \(step): what a merged one had is the other's")
            let metrics = ClientMetrics(client.tally, at: house.clock.now, house.book.rules.zone)
            let visits = (theirs[client.id] ?? []).filter { $0.status != .cancelled && $0.status != .noShow }
            #expect(metrics.firstAppointmentAt == visits.map(\.start).min() && metrics.lastAppointmentAt == visits.map(\.start).max())
            let paid = visits.filter { $0.status == .completed }
            #expect(client.tally.spent == paid.reduce(0) { $0 + ($1.price ?? 0) })
            #expect(metrics.lastPaymentAt == paid.filter { ($0.price ?? 0) > 0 }.map(\.start).max())
        }
        for appointment in house.appointments.values { #expect(house.clients[appointment.client] != nil) }
    }
}
