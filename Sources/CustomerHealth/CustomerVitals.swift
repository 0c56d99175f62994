package import Kernel
import Wire

/// What a customer has done, as far as the score needs it: of each kind, when it last happened, and how often on each of the last 31 days. No activity itself is
/// kept, and all of it lies in one piece of some 450 bytes, however many there were.
///
/// **The last 30 days** are today and the 30 days before it, by the calendar of `BusinessZone`; **days since** are whole days that have passed, whatever the hour.
/// So what is counted happened at most 30 days ago.
package struct CustomerVitals: Sendable, Equatable {
    package static let windowDays = 30
    private static let unknown = Int64.min

    /// When each kind last happened, in milliseconds.
    private var last = SIMD4<Int64>(repeating: unknown)
    /// How often on each day; a day lies at its number modulo 32. At most 65,535 a day are counted.
    private var logins = SIMD32<UInt16>.zero
    private var entradas = SIMD32<UInt16>.zero
    private var saidas = SIMD32<UInt16>.zero
    private var leads = SIMD32<UInt16>.zero
    /// The last day that the counts have room for.
    private var day: Int32 = 0
    /// The score as it was at the end of each day, in four-hundredths, up to `scoreDay`; a day before the first is `noScore`.
    private var scores = SIMD32<UInt16>(repeating: noScore)
    private static let noScore = UInt16.max
    private var scoreDay: Int32 = 0
    package private(set) var current = HealthScore(HealthFacts())
    package private(set) var hasScore = false
    /// The category that whoever is responsible was last told to act upon.
    package var actedOn: HealthCategory?
    package private(set) var hasEConversa = false
    /// When that was said, in milliseconds.
    private var econversaAt = unknown
    package var integrators: UInt8 = 0
    /// Since when it is in its category.
    package private(set) var categorySince = Timestamp(milliseconds: 0)
    /// When the board looks at it again, if it is to.
    package var lookAt = Timestamp.distantFuture
    package var version: Int64 = 0

    package init() {}

    /// Nothing was ever done.
    package var isEmpty: Bool { last == SIMD4(repeating: Self.unknown) && econversaAt == Self.unknown }
    package var category: HealthCategory { current.category }
    private var total: UInt16 { hasScore ? UInt16(current.total) : Self.noScore }

    // MARK: What happens

    /// Something happened. Later than now counts as now.
    package mutating func happened(_ kind: ActivityKind, at time: Timestamp, now: Timestamp) {
        let time = min(time, now)
        last[kind.rawValue] = max(last[kind.rawValue], time.milliseconds)
        let today = BusinessZone.today(now).days
        advance(to: today)
        let day = BusinessZone.today(time).days
        guard day >= today - Int32(Self.windowDays) else { return }
        let lane = Int(day & 31)
        func more(_ count: UInt16) -> UInt16 { count == .max ? .max : count + 1 }
        switch kind {
        case .login: logins[lane] = more(logins[lane])
        case .entrada: entradas[lane] = more(entradas[lane])
        case .saida: saidas[lane] = more(saidas[lane])
        case .lead: leads[lane] = more(leads[lane])
        }
    }

    /// Whether eConversa is in use; what is older than what was said last says nothing.
    package mutating func switchedEConversa(_ isActive: Bool, at time: Timestamp) {
        guard time.milliseconds >= econversaAt else { return }
        econversaAt = time.milliseconds
        hasEConversa = isActive
    }

    package var econversaSince: Timestamp? { econversaAt == Self.unknown ? nil : Timestamp(milliseconds: econversaAt) }

    private mutating func advance(to today: Int32) {
        guard today > day else { return }
        if today - day >= 32 {
            (logins, entradas, saidas, leads) = (.zero, .zero, .zero, .zero)
        } else {
            for next in (day + 1)...today {
                let lane = Int(next & 31)
                (logins[lane], entradas[lane], saidas[lane], leads[lane]) = (0, 0, 0, 0)
            }
        }
        day = today
    }

    // MARK: What follows

    package func facts(at now: Timestamp) -> HealthFacts {
        var facts = HealthFacts()
        facts.counts = counts(on: BusinessZone.today(now).days)
        for kind in 0..<4 where last[kind] != Self.unknown {
            facts.days[kind] = Int32(clamping: max(0, (now.milliseconds - last[kind]) / 86_400_000))
        }
        facts.hasEConversa = hasEConversa
        facts.integrators = Int(integrators)
        return facts
    }

    package func score(at now: Timestamp) -> HealthScore { HealthScore(facts(at: now)) }

    private func counts(on today: Int32) -> SIMD4<Int32> {
        let first = max(today - Int32(Self.windowDays), day - 31)
        guard first <= day else { return .zero }
        // All there are but those that are too old: mostly one day.
        var counts = SIMD4(Self.sum(logins), Self.sum(entradas), Self.sum(saidas), Self.sum(leads))
        for old in (day - 31)..<first {
            let lane = Int(old & 31)
            counts &-= SIMD4(Int32(logins[lane]), Int32(entradas[lane]), Int32(saidas[lane]), Int32(leads[lane]))
        }
        return counts
    }

    private static func sum(_ days: SIMD32<UInt16>) -> Int32 { SIMD32<Int32>(truncatingIfNeeded: days).wrappedSum() }

    package func lastOne(_ kind: ActivityKind) -> Timestamp? {
        last[kind.rawValue] == Self.unknown ? nil : Timestamp(milliseconds: last[kind.rawValue])
    }

    /// When the score may change next if nothing happens: a recency that leaves its band, or a midnight at which days leave the window.
    package func nextDecay(after now: Timestamp) -> Timestamp {
        var next = Timestamp.distantFuture
        for kind in 0..<4 where last[kind] != Self.unknown {
            for days in HealthScore.decayDays {
                let due = last[kind] + Int64(days) * 86_400_000
                if due > now.milliseconds {
                    next = min(next, Timestamp(milliseconds: due))
                    break
                }
            }
        }
        let today = BusinessZone.today(now).days
        let counts = counts(on: today)
        guard counts != .zero else { return next }
        let bands = Self.bands(counts)
        for ahead in 1...Int32(Self.windowDays + 1) {
            let midnight = BusinessZone.start(of: CivilDate(days: today + ahead))
            if midnight >= next { break }
            if Self.bands(self.counts(on: today + ahead)) != bands { return midnight }
        }
        return next
    }

    /// When what is shown of it becomes another if nothing happens: a day since the last one more, or the end of the business's day.
    package func shownUntil(after now: Timestamp) -> Timestamp {
        var until = BusinessZone.start(of: BusinessZone.today(now) + 1)
        for kind in 0..<4 where last[kind] != Self.unknown && last[kind] <= now.milliseconds {
            let days = (now.milliseconds - last[kind]) / 86_400_000
            until = min(until, Timestamp(milliseconds: last[kind] + (days + 1) * 86_400_000))
        }
        return until
    }

    private static func bands(_ counts: SIMD4<Int32>) -> SIMD4<Int32> {
        SIMD4(
            Int32(HealthScore.accessCount(Int(counts[0]))),
            Int32(HealthScore.movementCount(Int(counts[1]))),
            Int32(HealthScore.movementCount(Int(counts[2]))),
            Int32(HealthScore.leadCount(Int(counts[3])))
        )
    }

    // MARK: The score's own history

    /// The score is this from now on.
    package mutating func scored(_ score: HealthScore, at now: Timestamp) {
        let today = BusinessZone.today(now).days
        if today > scoreDay {
            // Between two changes it was what it was.
            for day in max(scoreDay + 1, today - 31)...today { scores[Int(day & 31)] = total }
            scoreDay = today
        }
        if !hasScore || score.category != category { categorySince = now }
        current = score
        hasScore = true
        scores[Int(scoreDay & 31)] = total
    }

    /// The score at the end of the day so many days ago, at most 31; `nil` if there was none yet.
    package func total(daysAgo: Int, at now: Timestamp) -> Int? {
        precondition((0...31).contains(daysAgo), "scores are kept for 31 days, not \(daysAgo)")
        let asked = BusinessZone.today(now).days - Int32(daysAgo)
        if asked >= scoreDay { return hasScore ? Int(total) : nil }
        guard asked >= scoreDay - 31 else { return nil }
        let score = scores[Int(asked & 31)]
        return score == Self.noScore ? nil : Int(score)
    }

    // MARK: Stored

    /// `[day, [day offset, logins, entradas, saídas, leads], …]`, the days with something on them.
    package var storedDays: String {
        var writer = JSONWriter(capacity: 512)
        writer.array { list in
            list.int(day)
            for offset in Int32(0)...31 {
                let lane = Int((day - offset) & 31)
                let counts = (logins[lane], entradas[lane], saidas[lane], leads[lane])
                guard counts.0 | counts.1 | counts.2 | counts.3 != 0 else { continue }
                list.array {
                    $0.int(offset)
                    $0.int(counts.0)
                    $0.int(counts.1)
                    $0.int(counts.2)
                    $0.int(counts.3)
                }
            }
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    /// `[day, score, score of the day before, …]`; -1 where there was none.
    package var storedScores: String {
        var writer = JSONWriter(capacity: 256)
        writer.array { list in
            list.int(scoreDay)
            for offset in Int32(0)...31 {
                let score = scores[Int((scoreDay - offset) & 31)]
                list.int(score == Self.noScore ? -1 : Int32(score))
            }
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    package init(
        last: [Timestamp?],
        days: [[Int64]],
        day: Int32,
        scores: [Int64],
        scoreDay: Int32,
        current: HealthScore?,
        categorySince: Timestamp,
        hasEConversa: Bool = false,
        econversaSince: Timestamp? = nil
    ) {
        self.hasEConversa = hasEConversa
        econversaAt = econversaSince?.milliseconds ?? Self.unknown
        for (kind, time) in last.enumerated() { if let time { self.last[kind] = time.milliseconds } }
        self.day = day
        for entry in days where entry.count == 5 && (0...31).contains(entry[0]) {
            let lane = Int((day - Int32(entry[0])) & 31)
            logins[lane] = UInt16(clamping: entry[1])
            entradas[lane] = UInt16(clamping: entry[2])
            saidas[lane] = UInt16(clamping: entry[3])
            leads[lane] = UInt16(clamping: entry[4])
        }
        self.scoreDay = scoreDay
        for (offset, score) in scores.prefix(32).enumerated() where score >= 0 {
            self.scores[Int((scoreDay - Int32(offset)) & 31)] = UInt16(clamping: score)
        }
        if let current {
            self.current = current
            hasScore = true
        }
        self.categorySince = categorySince
    }
}
