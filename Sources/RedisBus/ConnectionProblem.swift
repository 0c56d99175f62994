/// Why there is no connection to Redis: what happened, and what to do about it. Never holds a password.
package enum ConnectionProblem: Error, Sendable, Hashable, CustomStringConvertible {
    /// Nothing answers at that address; the system's words for it.
    case unreachable(String)
    /// No connection, or no answer to the first commands, in time.
    case timedOut
    case wrongPassword
    case passwordMissing
    /// The URL has a password and the server has none.
    case passwordNotWanted
    case noSuchDatabase(Int)
    /// Redis is reading its data from disk.
    case loading
    case tooManyClients
    /// Something else Redis says in refusal.
    case refused(String)
    case closedByServer
    /// Connected, but nothing is answered any more.
    case silent
    /// What came is not RESP2, or is not what was asked for.
    case violation(String)
    /// A reply longer than the bound.
    case oversizedReply(maxBytes: Int, maxElements: Int)
    /// We closed it ourselves.
    case closedByUs

    package var description: String {
        switch self {
        case .unreachable(let reason): "nothing answers there (\(reason)). Start Redis, or correct the address"
        case .timedOut: "no answer in time. See whether Redis is stuck, or a firewall drops the connection"
        case .wrongPassword: "the user name or password is wrong (WRONGPASS). Correct it in REDIS_URL"
        case .passwordMissing: "it wants a password (NOAUTH). Put it into REDIS_URL: redis://:password@host"
        case .passwordNotWanted: "it has no password set, and REDIS_URL has one. Set requirepass on the server, or take the password out"
        case .noSuchDatabase(let number): "there is no database \(number). Use a lower number in REDIS_URL, or raise 'databases' on the server"
        case .loading: "it is still loading its data. It will be there in a while"
        case .tooManyClients: "it has as many clients as it allows. Raise maxclients on the server"
        case .refused(let message): "it refuses: \(message)"
        case .closedByServer: "the server closed the connection"
        case .silent: "it stopped answering. See whether Redis is stuck, or the network is cut"
        case .violation(let reason): "what answers does not speak Redis' protocol (\(reason)). Correct the address"
        case .oversizedReply(let bytes, let elements): "a reply of more than \(bytes) bytes or \(elements) elements was cut off"
        case .closedByUs: "we closed the connection"
        }
    }
}
