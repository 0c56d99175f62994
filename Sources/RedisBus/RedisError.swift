/// Why a command has no answer. `outcomeIsUnknown` tells those that Redis may have carried out from those it never saw.
package enum RedisError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Redis is taken for gone; asking again makes sense after this long. Nothing was sent.
    case unavailable(retryAfter: Duration)
    /// As many commands, or bytes, or readers, or channels as are allowed are waiting already. Nothing was sent.
    case overloaded
    /// Longer than all that may wait together. Nothing was sent.
    case tooLarge(bytes: Int, allowed: Int)
    /// No answer by the deadline; `wasSent` tells whether it got as far as the connection.
    case timedOut(wasSent: Bool)
    /// The connection broke after the command was sent.
    case connectionLost(ConnectionProblem)
    /// The caller's task was cancelled.
    case cancelled(wasSent: Bool)
    /// Redis answered with an error.
    case server(RedisServerError)
    /// An answer that this command does not have.
    case unexpectedReply(to: String)
    /// The bus is stopped.
    case closed

    /// Redis may or may not have carried it out: repeat it only if twice does no harm.
    package var outcomeIsUnknown: Bool {
        switch self {
        case .timedOut(let wasSent), .cancelled(let wasSent): wasSent
        case .connectionLost: true
        case .unavailable, .overloaded, .tooLarge, .server, .unexpectedReply, .closed: false
        }
    }

    /// The stream's group is not there any more, as after FLUSHALL: make it again (`xgroupCreate`) and read on.
    package var isGroupGone: Bool {
        guard case .server(let error) = self else { return false }
        return error.code == "NOGROUP" || error.code == "UNBLOCKED"
    }

    package var description: String {
        switch self {
        case .unavailable(let retryAfter): "Redis is not available; next attempt in \(max(1, Int((retryAfter / .seconds(1)).rounded(.up)))) s"
        case .overloaded: "too much is waiting for Redis already"
        case .tooLarge(let bytes, let allowed): "a command of \(bytes) bytes; \(allowed) are allowed"
        case .timedOut(wasSent: false): "Redis was not reached in time; the command was not sent"
        case .timedOut(wasSent: true): "Redis did not answer in time; whether it carried the command out is unknown"
        case .connectionLost(let problem): "the connection to Redis broke (\(problem)); whether it carried the command out is unknown"
        case .cancelled(wasSent: false): "cancelled before it was sent to Redis"
        case .cancelled(wasSent: true): "cancelled; whether Redis carries the command out is unknown"
        case .server(let error): "Redis refused: \(error)"
        case .unexpectedReply(let command): "Redis gave an answer that \(command) does not have"
        case .closed: "the connection to Redis is closed"
        }
    }
}
