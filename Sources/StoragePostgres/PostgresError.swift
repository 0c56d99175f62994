import CPostgres
import Storage

/// What went wrong between us and the server.
struct PostgresError: Error, CustomStringConvertible {
    enum Cause: Sendable, Equatable {
        /// There is no connection, or there is none any more.
        case connection
        /// The server's answer did not come in time.
        case silence
        /// The server said so, with this SQLSTATE.
        case server(sqlState: String)
        /// The database works, but is not ours to write to for now: another server does, or it is another database than before.
        case notWriter
        /// Another journal writes here now.
        case usurped
        /// An answer that this program does not understand.
        case unreadable
    }

    let cause: Cause
    /// For operators; without any values of rows.
    let description: String

    /// The connection is of no use after this.
    var endsConnection: Bool {
        switch cause {
        case .connection, .silence, .notWriter, .usurped: true
        // The last two: what was prepared no longer fits tables that somebody has altered.
        case .server(let state): state.hasPrefix("57P") || state.hasPrefix("08") || ["25006", "0A000", "26000"].contains(state)
        case .unreadable: false
        }
    }
}

extension PostgresError {
    /// What a result says: the primary message, the constraint and the SQLSTATE. The detail quotes values, and is left out.
    init(result: OpaquePointer) {
        func field(_ code: Int32) -> String? { PQresultErrorField(result, code).map { String(cString: $0) } }
        guard let state = field(Int32(UInt8(ascii: "C"))) else {
            self.init(cause: .connection, description: String(cString: PQresultErrorMessage(result)).trimmed)
            return
        }
        let message = field(Int32(UInt8(ascii: "M"))) ?? "no message"
        self.init(cause: .server(sqlState: state), description: "\(message) (SQLSTATE \(state))")
    }

    /// What libpq says of an attempt to connect, with every word that the server added. With verbose messages the SQLSTATE stands in it.
    init(connecting message: String) {
        let lines = message.split(whereSeparator: \.isNewline).map { String($0).trimmed }.filter { !$0.hasPrefix("LOCATION:") && !$0.isEmpty }
        let text = lines.joined(separator: " ")
        if let match = text.firstMatch(of: #/\b(?=[A-Z]*[0-9])(?<state>[0-9A-Z]{5}): /#) {
            let state = String(match.state)
            self.init(cause: .server(sqlState: state), description: text.replacing("\(state): ", with: "") + " (SQLSTATE \(state))")
        } else if text.contains("no password supplied") {
            // libpq's own word: it did not come to the server's.
            self.init(cause: .server(sqlState: "28P01"), description: text)
        } else {
            self.init(cause: .connection, description: text)
        }
    }
}

// MARK: What follows from it (PostgreSQL, Appendix A)

extension RemoteError {
    /// - Parameter isWrite: rows were being written, so that the rows may be at fault.
    init(_ error: PostgresError, isWrite: Bool, retryAfter: Duration) {
        let kind: Kind
        switch error.cause {
        // A batch may have been too much for its time: less may do.
        case .silence where isWrite: kind = .timedOut
        case .connection, .silence, .notWriter: kind = .unavailable(retryAfter: retryAfter)
        case .usurped: kind = .usurped
        case .unreadable: kind = .content
        case .server("57014"): kind = .timedOut
        case .server(let state):
            switch state.prefix(2) {
            // A value, a constraint, a view's check, a size past the server's limits, a trigger's own word.
            case "21", "22", "23", "27", "44", "54", "P0": kind = .content
            // The statement itself does not fit the tables. Reading it again is no use; rows wait until somebody has mended the tables.
            case "42" where !isWrite, "0A" where !isWrite: kind = .content
            default: kind = .unavailable(retryAfter: retryAfter)
            }
        }
        self.init(kind, error.description)
    }
}
