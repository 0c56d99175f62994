package import Kernel
import OrderedCollections
import Wire

package import struct Foundation.Decimal

/// What one appointment counts for with its client: all of an appointment that any number of a client depends on.
package struct CountedAppointment: Sendable, Equatable {
    package let status: Appointment.Status
    package let service: ServiceID
    package let start: Timestamp
    package let price: Decimal?

    package init(_ appointment: Appointment) {
        self.init(status: appointment.status, service: appointment.service, start: appointment.start, price: appointment.price)
    }

    package init(status: Appointment.Status, service: ServiceID, start: Timestamp, price: Decimal?) {
        self.status = status
        self.service = service
        self.start = start
        self.price = price
    }

    /// What was cancelled or missed has a counter of its own, and is no visit.
    var isVisit: Bool { status != .cancelled && status != .noShow }
    var paid: Decimal? { status == .completed ? price : nil }
}

/// What a client's appointments come to, such that each of them can be added and taken away again: an appointment that changes is taken away as it was and added
/// as it is. So it is at any time what adding up all of their appointments would give, in whatever order they came to be as they are.
///
/// What depends on the time, or on the zone, is not here but in `ClientMetrics`.
package struct ClientTally: Sendable, Equatable {
    package private(set) var byStatus: [Appointment.Status: Int] = [:]
    /// How many visits were of which service.
    package private(set) var services: [ServiceID: Int] = [:]
    /// When the visits begin.
    package private(set) var visits = Times(limit: 1000)
    /// When those began that were paid for.
    package private(set) var payments = Times(limit: 100)
    package private(set) var spent: Decimal = 0

    package init() {}

    package init(_ appointments: some Sequence<CountedAppointment>) { for appointment in appointments { add(appointment) } }

    package mutating func add(_ appointment: CountedAppointment) {
        byStatus[appointment.status, default: 0] += 1
        if let paid = appointment.paid {
            spent += paid
            if paid > 0 { payments.insert(appointment.start.milliseconds) }
        }
        guard appointment.isVisit else { return }
        services[appointment.service, default: 0] += 1
        visits.insert(appointment.start.milliseconds)
    }

    package mutating func remove(_ appointment: CountedAppointment) {
        lower(&byStatus, appointment.status)
        if let paid = appointment.paid {
            spent -= paid
            if paid > 0 { payments.remove(appointment.start.milliseconds) }
        }
        guard appointment.isVisit else { return }
        lower(&services, appointment.service)
        visits.remove(appointment.start.milliseconds)
    }

    /// Of two clients who turned out to be one.
    package mutating func add(_ other: ClientTally) {
        byStatus.merge(other.byStatus, uniquingKeysWith: +)
        services.merge(other.services, uniquingKeysWith: +)
        visits.insert(other.visits)
        payments.insert(other.payments)
        spent += other.spent
    }

    private func lower<Key: Hashable>(_ counts: inout [Key: Int], _ key: Key) {
        let count = (counts[key] ?? 0) - 1
        counts[key] = count > 0 ? count : nil
    }

    package func count(_ status: Appointment.Status) -> Int { byStatus[status] ?? 0 }
    package var total: Int { byStatus.values.reduce(0, +) }
    package var visitCount: Int { count(.pending) + count(.confirmed) + count(.completed) }

    // MARK: As it is stored

    var json: String {
        var writer = JSONWriter(capacity: 256)
        writer.object { object in
            for status in Appointment.Status.allCases where count(status) > 0 { object.field(status.rawValue, count(status)) }
            object.field("spent", spent.description)
            object.field("services") { for (service, count) in services.sorted(by: { $0.key < $1.key }) { $0.field(service.description, count) } }
            for (name, times) in [("visits", visits), ("payments", payments)] {
                object.field("first_of_\(name)", times.first)
                object.list(name) { for time in times.latest { $0.int(time) } }
            }
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    /// `nil` for what this program has not written.
    init?(json text: String) {
        guard let json = try? JSON.parse(text), let spent = json["spent"]?.string.flatMap({ Decimal(string: $0) }) else { return nil }
        for status in Appointment.Status.allCases { if let count = json[status.rawValue]?.int { byStatus[status] = Int(count) } }
        self.spent = spent
        for (name, count) in json["services"]?.object ?? [:] { if let id = ServiceID(name), let count = count.int { services[id] = Int(count) } }
        visits.restore(first: json["first_of_visits"]?.int, json["visits"]?.array?.compactMap(\.int) ?? [])
        payments.restore(first: json["first_of_payments"]?.int, json["payments"]?.array?.compactMap(\.int) ?? [])
    }
}

/// Moments in order, of which the latest are kept and the first of all is known. Beyond its limit the older ones in between are forgotten.
package struct Times: Sendable, Equatable {
    package let limit: Int
    /// In order, milliseconds since 1970.
    package private(set) var latest: [Int64] = []
    package private(set) var first: Int64?

    init(limit: Int) { self.limit = limit }

    package var last: Int64? { latest.last }

    private func position(_ time: Int64) -> Int {
        var (low, high) = (0, latest.count)
        while low < high {
            let middle = (low + high) / 2
            if latest[middle] <= time { low = middle + 1 } else { high = middle }
        }
        return low
    }

    mutating func insert(_ time: Int64) {
        first = Swift.min(first ?? time, time)
        latest.insert(time, at: position(time))
        if latest.count > limit { latest.removeFirst() }
    }

    mutating func insert(_ other: Times) {
        if let earliest = other.first { first = Swift.min(first ?? earliest, earliest) }
        latest = (latest + other.latest).sorted().suffix(limit)
    }

    /// One that was forgotten is passed over.
    mutating func remove(_ time: Int64) {
        let index = position(time) - 1
        if index >= 0, latest[index] == time { latest.remove(at: index) }
        if time == first, latest.first != time { first = latest.first }
    }

    mutating func restore(first: Int64?, _ latest: [Int64]) {
        (self.first, self.latest) = (first, latest)
    }

    /// How many lie in a range.
    func count(in range: Range<Timestamp>) -> Int {
        latest.count { range.lowerBound.milliseconds <= $0 && $0 < range.upperBound.milliseconds }
    }
}
