import Kernel
import Realtime
import Resilience

// What one connection may ask, and how long it may go on asking for more.
//
// A command over a limit is answered with error 111, and the client may try it again. Only a client that does not let up is closed (3013): one whose commands
// have been refused for `patience` without a second's pause. Pongs are answers and weigh nothing.
struct CommandAllowance {
    /// How long a client may go on over its limits.
    static let patience = Duration.seconds(5)
    /// A pause that ends it.
    static let pause = Duration.seconds(1)

    private let admission: Admission
    private var own: RateLimiter?
    /// From when the connection has said whose it is.
    private(set) var seat: Admission.Seat?
    private var refusals: (first: Timestamp, last: Timestamp)?

    init(_ admission: Admission) {
        self.admission = admission
        own = admission.limits.perConnection.map { RateLimiter($0) }
    }

    /// The connection has said whose it is. False when they have as many as they may.
    mutating func enter(_ person: Admission.Person, at now: Timestamp) -> Bool {
        guard case .success(let seat) = admission.enter(person, at: now) else { return false }
        self.seat = seat
        return true
    }

    /// To be called when the connection ends.
    mutating func leave() {
        if let seat { admission.leave(seat) }
        seat = nil
    }

    enum Verdict: Equatable {
        /// The first so many pass, and the others are refused.
        case pass(Int)
        /// It has gone on for too long.
        case close
    }

    mutating func weigh(_ count: Int, at now: Timestamp) -> Verdict {
        var allowed = count
        if let granted = own?.take(upTo: count, at: now).allowed {
            admission.refused(allowed - granted, .connection)
            allowed = granted
        }
        if let seat, allowed > 0 { allowed = admission.take(upTo: allowed, of: seat, at: now).allowed }
        guard allowed < count else { return .pass(count) }
        let first = refusals.flatMap { $0.last + Self.pause > now ? $0.first : nil } ?? now
        refusals = (first, now)
        return first + Self.patience <= now ? .close : .pass(allowed)
    }
}
