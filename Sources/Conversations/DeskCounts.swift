import Kernel
import Wire

/// The desk in a few numbers, for a screen on the wall. Each publication on `queue:counts` is all of them: who missed some needs only the last.
struct DeskCounts: Sendable, Equatable {
    /// Who waits for a person, those on offer to somebody among them.
    let waiting: Int
    /// Since when the first of them.
    let waitingSince: Timestamp?
    /// Conversations that are not resolved.
    let open: Int

    /// `{waiting, waiting_since, open}`
    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("waiting", Int64(waiting))
            $0.field("waiting_since", waitingSince?.description)
            $0.field("open", Int64(open))
        }
    }
}

extension ConversationDesk {
    var counts: DeskCounts { DeskCounts(waiting: line.places.count, waitingSince: line.places.first?.since, open: openByContact.count) }

    /// Channel `queue:counts`.
    package func countsSnapshot() -> [UInt8] {
        var writer = JSONWriter()
        writer.object {
            $0.key("counts")
            counts.write(to: &$0)
        }
        return writer.bytes
    }

    /// Tells the numbers, if a turn has changed any.
    func tellCounts(_ change: inout Change) {
        let counts = counts
        guard counts != toldCounts else { return }
        toldCounts = counts
        change.events.append(
            event("queue:counts", "queue.counted") {
                $0.key("counts")
                counts.write(to: &$0)
            }
        )
    }
}
