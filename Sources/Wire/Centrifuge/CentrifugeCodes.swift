/// An error in a reply: the command failed, the connection goes on. Codes 100–112 are the protocol's, 400–1999 are for applications.
package struct CentrifugeError: Error, Sendable, Hashable, CustomStringConvertible {
    package let code: UInt32
    package let message: String
    /// Whether the same command may succeed later; clients then try again by themselves.
    package let temporary: Bool

    package init(_ code: UInt32, _ message: String, temporary: Bool = false) {
        self.code = code
        self.message = message
        self.temporary = temporary
    }

    package var description: String { "\(code): \(message)" }

    package static let internalServerError = CentrifugeError(100, "internal server error", temporary: true)
    package static let unauthorized = CentrifugeError(101, "unauthorized")
    package static let unknownChannel = CentrifugeError(102, "unknown channel")
    package static let permissionDenied = CentrifugeError(103, "permission denied")
    package static let methodNotFound = CentrifugeError(104, "method not found")
    package static let alreadySubscribed = CentrifugeError(105, "already subscribed")
    package static let limitExceeded = CentrifugeError(106, "limit exceeded")
    package static let badRequest = CentrifugeError(107, "bad request")
    package static let notAvailable = CentrifugeError(108, "not available")
    /// Not temporary, yet clients take it as a reason to ask for a new token and try again.
    package static let tokenExpired = CentrifugeError(109, "token expired")
    package static let expired = CentrifugeError(110, "expired")
    package static let tooManyRequests = CentrifugeError(111, "too many requests", temporary: true)
    package static let unrecoverablePosition = CentrifugeError(112, "unrecoverable position")

    package static let all = [
        internalServerError, unauthorized, unknownChannel, permissionDenied, methodNotFound, alreadySubscribed, limitExceeded, badRequest,
        notAvailable, tokenExpired, expired, tooManyRequests, unrecoverablePosition,
    ]
}

/// Why a connection is ended by the server: the code and reason of the WebSocket close frame, or of a `disconnect` push elsewhere.
package struct CentrifugeDisconnect: Error, Sendable, Hashable, CustomStringConvertible {
    package let code: UInt16
    package let reason: String

    package init(_ code: UInt16, _ reason: String) {
        self.code = code
        self.reason = reason
    }

    package var description: String { "\(code): \(reason)" }

    /// Whether a client comes back by itself: 3500–3999 and 4500–4999 are final; below 3000 the transport is to blame.
    package var isReconnectable: Bool { !(3500..<4000).contains(code) && !(4500..<5000).contains(code) }

    package static let connectionClosed = CentrifugeDisconnect(3000, "connection closed")
    package static let shutdown = CentrifugeDisconnect(3001, "shutdown")
    package static let serverError = CentrifugeDisconnect(3004, "internal server error")
    package static let expired = CentrifugeDisconnect(3005, "connection expired")
    package static let subscriptionExpired = CentrifugeDisconnect(3006, "subscription expired")
    package static let slow = CentrifugeDisconnect(3008, "slow")
    package static let writeError = CentrifugeDisconnect(3009, "write error")
    package static let insufficientState = CentrifugeDisconnect(3010, "insufficient state")
    package static let forceReconnect = CentrifugeDisconnect(3011, "force reconnect")
    package static let noPong = CentrifugeDisconnect(3012, "no pong")
    package static let tooManyRequests = CentrifugeDisconnect(3013, "too many requests")

    package static let invalidToken = CentrifugeDisconnect(3500, "invalid token")
    package static let badRequest = CentrifugeDisconnect(3501, "bad request")
    package static let stale = CentrifugeDisconnect(3502, "stale")
    package static let forceNoReconnect = CentrifugeDisconnect(3503, "force disconnect")
    package static let connectionLimit = CentrifugeDisconnect(3504, "connection limit")
    package static let channelLimit = CentrifugeDisconnect(3505, "channel limit")
    package static let inappropriateProtocol = CentrifugeDisconnect(3506, "inappropriate protocol")
    package static let permissionDenied = CentrifugeDisconnect(3507, "permission denied")
    package static let notAvailable = CentrifugeDisconnect(3508, "not available")
    package static let tooManyErrors = CentrifugeDisconnect(3509, "too many errors")

    package static let all = [
        connectionClosed, shutdown, serverError, expired, subscriptionExpired, slow, writeError, insufficientState, forceReconnect, noPong,
        tooManyRequests, invalidToken, badRequest, stale, forceNoReconnect, connectionLimit, channelLimit, inappropriateProtocol,
        permissionDenied, notAvailable, tooManyErrors,
    ]
}

/// Why the server ends one subscription, told in an `unsubscribe` push. Applications use 2100–2499 and 2600–2999.
package struct CentrifugeUnsubscribe: Sendable, Hashable {
    package let code: UInt32
    package let reason: String

    package init(_ code: UInt32, _ reason: String) {
        self.code = code
        self.reason = reason
    }

    /// Whether the client subscribes again by itself.
    package var isResubscribable: Bool { code >= 2500 }

    package static let server = CentrifugeUnsubscribe(2000, "server unsubscribe")
    package static let insufficientState = CentrifugeUnsubscribe(2500, "insufficient state")
    package static let expired = CentrifugeUnsubscribe(2501, "subscription expired")

    package static let all = [server, insufficientState, expired]
}

/// A frame that is not what the protocol says. The sender has a bug: the connection ends, for good (3501).
package struct CentrifugeProtocolError: Error, Sendable, Hashable, CustomStringConvertible {
    package let reason: String
    package var disconnect: CentrifugeDisconnect { .badRequest }
    package var description: String { "bad request: \(reason)" }
}
