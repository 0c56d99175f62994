package import Kernel
import Wire

// The machine of what was promised to one customer: how soon a first answer, each next one, and the end.
//
//     ── began ──▶ running ── timePassed(warnAt) ──▶ warned ── timePassed(dueAt) ──▶ breached
//                     │                                │                               │
//                     └───────────── met ──────────────┴───────────── met ─────────────┘──▶ (no clock)
//
// When a clock begins, its times are fixed: a promise is not changed by what a business promises later. What was breached stays on record.
// A clock that runs is not begun anew. An alarm for a clock that was met or moved finds no stage to change, and does nothing.
package struct ServiceLevels: Sendable, Equatable {
    package enum Metric: String, Sendable, CaseIterable {
        case firstAnswer = "first_answer"
        case nextAnswer = "next_answer"
        case resolution
    }

    package enum Stage: String, Sendable { case running, warned, breached }

    package struct Clock: Sendable, Equatable {
        package let dueAt: Timestamp
        package let warnAt: Timestamp
        package fileprivate(set) var stage: Stage
    }

    package private(set) var clocks: [Metric: Clock] = [:]
    /// What was promised and not kept, each once, in the order of `Metric`.
    package private(set) var breaches: Set<Metric> = []

    package init() {}

    mutating func began(_ metric: Metric, dueAt: Timestamp, warnAt: Timestamp) {
        guard clocks[metric] == nil else { return }
        clocks[metric] = Clock(dueAt: dueAt, warnAt: min(warnAt, dueAt), stage: .running)
    }

    mutating func met(_ metric: Metric) { clocks[metric] = nil }

    /// It will not be kept any more, though it may not be due yet.
    /// - Returns: when it was due; `nil` when it does not run, or was told as broken before.
    mutating func broke(_ metric: Metric) -> Timestamp? {
        guard let clock = clocks.removeValue(forKey: metric), clock.stage != .breached else { return nil }
        breaches.insert(metric)
        return clock.dueAt
    }

    mutating func ended() { clocks = [:] }

    /// - Returns: which stages were reached, and only those that were not before.
    mutating func timePassed(_ now: Timestamp) -> [(metric: Metric, stage: Stage, dueAt: Timestamp)] {
        var reached: [(metric: Metric, stage: Stage, dueAt: Timestamp)] = []
        for metric in Metric.allCases {
            guard let clock = clocks[metric], clock.stage != .breached else { continue }
            if clock.dueAt <= now {
                clocks[metric]?.stage = .breached
                breaches.insert(metric)
                reached.append((metric, .breached, clock.dueAt))
            } else if clock.warnAt <= now, clock.stage == .running {
                clocks[metric]?.stage = .warned
                reached.append((metric, .warned, clock.dueAt))
            }
        }
        return reached
    }

    /// When a clock's stage changes next.
    var next: Timestamp? {
        clocks.values.lazy.compactMap { clock in
            switch clock.stage {
            case .running: clock.warnAt
            case .warned: clock.dueAt
            case .breached: nil
            }
        }.min()
    }

    // MARK: Wire and store

    /// `{clocks: [{metric, due_at, stage}], breaches: [metric]}`
    func write(to writer: inout JSONWriter, isStored: Bool = false) {
        writer.object {
            $0.list("clocks") { list in
                for metric in Metric.allCases {
                    guard let clock = clocks[metric] else { continue }
                    list.object {
                        $0.field("metric", metric.rawValue)
                        $0.field("due_at", clock.dueAt.description)
                        $0.field("stage", clock.stage.rawValue)
                        if isStored { $0.field("warn_at", clock.warnAt.description) }
                    }
                }
            }
            $0.field("breaches", strings: Metric.allCases.filter(breaches.contains).map(\.rawValue))
        }
    }

    var json: String {
        var writer = JSONWriter()
        write(to: &writer, isStored: true)
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    init(json text: String) {
        let json = try? JSON.parse(text)
        for clock in json?["clocks"]?.array ?? [] {
            guard let metric = clock["metric"]?.string.flatMap(Metric.init(rawValue:)),
                let stage = clock["stage"]?.string.flatMap(Stage.init(rawValue:)),
                let dueAt = clock["due_at"]?.string.flatMap({ Timestamp(rfc3339: $0) }),
                let warnAt = clock["warn_at"]?.string.flatMap({ Timestamp(rfc3339: $0) })
            else { continue }
            clocks[metric] = Clock(dueAt: dueAt, warnAt: warnAt, stage: stage)
        }
        breaches = Set((json?["breaches"]?.array ?? []).compactMap { $0.string.flatMap(Metric.init(rawValue:)) })
    }
}
