package import Wire

/// Why something asked of a realtime connection did not happen.
package enum RealtimeError: Error, Sendable, Hashable, CustomStringConvertible {
    case badURL(String)
    /// The server answered the upgrade with something else than 101.
    case refused(status: Int, body: String)
    /// The socket could not be opened, or broke.
    case transport(String)
    /// The server did not keep to HTTP, WebSocket or the Centrifuge protocol.
    case violation(String)
    /// The connection ended, by either side; below 3000 the code is WebSocket's own, 1006 if none was given.
    case closed(code: UInt16, reason: String)
    /// There is no connection at the moment.
    case notConnected
    case timedOut
    /// The server answered the command with an error.
    case reply(CentrifugeError)

    package var description: String {
        switch self {
        case .badURL(let reason): reason
        case .refused(let status, let body): "refused with \(status): \(body)"
        case .transport(let reason): reason
        case .violation(let reason): "the server broke the protocol: \(reason)"
        case .closed(let code, let reason): "closed with \(code) \(reason)"
        case .notConnected: "not connected"
        case .timedOut: "no answer in time"
        case .reply(let error): error.description
        }
    }

    /// Whether trying again may help (the codes' own verdict).
    var isPassing: Bool {
        switch self {
        case .transport, .notConnected, .timedOut: true
        case .closed(WebSocketCloseCode.tooBig, _): false
        case .closed(let code, let reason): CentrifugeDisconnect(code, reason).isReconnectable
        case .reply(let error): error.temporary
        case .refused(let status, _): status == 429 || status >= 500
        case .badURL, .violation: false
        }
    }
}
