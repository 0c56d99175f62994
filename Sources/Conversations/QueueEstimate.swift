import Kernel
import Wire

// How long those in line will wait (research/conversations.md §10.9; Google CCAI's estimate for chat).
//
//     seats    Σ over those online who speak the language: capacity / number of their languages. Who speaks three counts a third for each.
//     wait     at least 10 s; (position − free seats) × average conversation ÷ seats
//     range    from two thirds of it to one and a half, in steps that people talk in
//
// A range once told never rises: neither bound is above what was told before. With nobody online there is none, and that is told.
struct QueueEstimate: Sendable, Equatable {
    struct Range: Sendable, Equatable {
        let from: Int64
        let to: Int64
    }

    /// 1 for the next one of their language.
    let position: Int
    let online: Int
    /// Seconds.
    let wait: Range?

    static let floor = 10.0

    init(position: Int, staffing: Staffing, average: Double, told: Range?) {
        self.position = position
        online = staffing.online
        guard staffing.online > 0, staffing.seats > 0 else {
            wait = nil
            return
        }
        let seconds = max(Self.floor, Double(position - staffing.free) * average / staffing.seats)
        let from = Self.step(seconds * 2 / 3)
        let to = Self.step(seconds * 3 / 2)
        wait = Range(from: min(from, told?.from ?? from), to: min(to, told?.to ?? to))
    }

    /// Rounded up: tens of seconds, then half minutes, then minutes, then five of them.
    private static func step(_ seconds: Double) -> Int64 {
        let step: Double = seconds <= 60 ? 10 : seconds <= 300 ? 30 : seconds <= 1800 ? 60 : 300
        return Int64((min(seconds, 86_400) / step).rounded(.up) * step)
    }

    /// `{position, online, wait: {from_seconds, to_seconds} | null}`
    func writeMembers(to writer: inout JSONWriter) {
        writer.field("position", position)
        writer.field("online", online)
        if let wait {
            writer.field("wait") {
                $0.field("from_seconds", wait.from)
                $0.field("to_seconds", wait.to)
            }
        } else {
            writer.field("wait", JSON.null)
        }
    }
}

/// What those in line were told, and how long conversations take.
struct QueueOutlook: Sendable {
    /// At most so often are estimates told anew.
    static let pause = Duration.seconds(3)
    /// Who stands further back is told nothing but their place in the order.
    static let estimated = 200
    /// Of a conversation, until one was resolved here.
    static let assumedSeconds = 300.0

    var told: [ConversationID: QueueEstimate] = [:]
    /// The smallest range each was told, also when it was taken back because nobody was online.
    var caps: [ConversationID: QueueEstimate.Range] = [:]
    var toldAt = Timestamp(milliseconds: 0)
    /// Something has changed since.
    var isStale = true
    /// Of conversations from claim to end, the later ones counting more.
    private(set) var average = assumedSeconds
    private var count = 0

    mutating func lasted(_ duration: Duration) {
        let seconds = max(1, min(Double(duration.inMilliseconds) / 1000, 14_400))
        count += 1
        average += (seconds - average) / Double(min(count, 20))
    }

    /// When what is stale is to be told.
    var dueAt: Timestamp? { isStale ? toldAt + Self.pause : nil }
}

extension ConversationDesk {
    /// Tells those in line where they stand, if something has changed and it is time.
    func tellEstimates(_ turn: inout Turn) {
        guard outlook.isStale else { return }
        if line.places.isEmpty {
            outlook.isStale = false
            outlook.told = [:]
            outlook.caps = [:]
            // The next one who comes is told at once.
            outlook.toldAt = Timestamp(milliseconds: 0)
            return
        }
        let now = turn.moment.now
        guard now >= outlook.toldAt + QueueOutlook.pause else { return }
        outlook.isStale = false
        var ahead: [String: Int] = [:]
        var staffing: [String: Staffing] = [:]
        var told: [ConversationID: QueueEstimate] = [:]
        var changed: [ConversationID] = []
        for place in line.places.prefix(QueueOutlook.estimated) {
            guard let language = sessions[place.conversation]?.conversation.language else { continue }
            ahead[language, default: 0] += 1
            let staff = staffing[language] ?? pool.staffing(language: language, turn.moment)
            staffing[language] = staff
            let estimate = QueueEstimate(
                position: ahead[language, default: 1],
                staffing: staff,
                average: outlook.average,
                told: outlook.caps[place.conversation]
            )
            told[place.conversation] = estimate
            if let wait = estimate.wait { outlook.caps[place.conversation] = wait }
            if outlook.told[place.conversation] != estimate { changed.append(place.conversation) }
        }
        outlook.told = told
        outlook.caps = outlook.caps.filter { told[$0.key] != nil }
        guard !changed.isEmpty else { return }
        outlook.toldAt = now
        turn.change.events.append(
            event("queue", "queue.estimated") {
                $0.list("estimates") { list in for id in changed { self.writeEstimate(id, &list) } }
            }
        )
        for id in changed {
            for audience in audiences(of: id) {
                turn.change.events.append(
                    event("conversation:\(id)", "queue.position", for: audience) { $0.field("queue") { told[id]?.writeMembers(to: &$0) } }
                )
            }
        }
    }

    func writeEstimate(_ id: ConversationID, _ list: inout JSONWriter) {
        guard let estimate = outlook.told[id] else { return }
        list.object {
            $0.field("conversation_id", id.description)
            estimate.writeMembers(to: &$0)
        }
    }
}
