// Every code that Centrifuge documents, and where this server says it. Those that it never says are here to be understood, when it is the client.

/// An error in a reply: the command failed, the connection goes on. Codes 100–112 are the protocol's, 400–1999 are for applications: an RPC that the business
/// refuses answers the HTTP status that REST would have given.
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

    /// A subscription that could not be made now: the business could not be loaded, or the journal refused. SDKs try again.
    package static let internalServerError = CentrifugeError(100, "internal server error", temporary: true)
    /// Never in a reply: who has no good token is disconnected (3500).
    package static let unauthorized = CentrifugeError(101, "unauthorized")
    /// There is no channel of this name, for this client.
    package static let unknownChannel = CentrifugeError(102, "unknown channel")
    /// Publishing, which no client may; asking about a channel without being subscribed to it; a channel that is not open to the role.
    package static let permissionDenied = CentrifugeError(103, "permission denied")
    /// An RPC that there is not.
    package static let methodNotFound = CentrifugeError(104, "method not found")
    /// A second subscription of the client's own.
    package static let alreadySubscribed = CentrifugeError(105, "already subscribed")
    /// More channels than one connection may have (`SocketSettings.maxChannels`).
    package static let limitExceeded = CentrifugeError(106, "limit exceeded")
    /// A subscription refused as wrong in itself.
    package static let badRequest = CentrifugeError(107, "bad request")
    /// Never: presence, history and positions are there for every channel.
    package static let notAvailable = CentrifugeError(108, "not available")
    /// In the replies to connect and refresh. Not temporary, yet clients take it as a reason to ask for a new token and try again.
    package static let tokenExpired = CentrifugeError(109, "token expired")
    /// Never: nothing expires without a token.
    package static let expired = CentrifugeError(110, "expired")
    /// A command past the rates of the connection or its tenant; try again a little later.
    package static let tooManyRequests = CentrifugeError(111, "too many requests", temporary: true)
    /// History since a position that is not the stream's or no longer remembered, and a subscription that asked for this error in place of a snapshot.
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

    /// Never: the name of an ending that nobody gave a reason for.
    package static let connectionClosed = CentrifugeDisconnect(3000, "connection closed")
    /// The server stops.
    package static let shutdown = CentrifugeDisconnect(3001, "shutdown")
    /// Who connects could not be looked up; a one-way stream's channels could not be read now.
    package static let serverError = CentrifugeDisconnect(3004, "internal server error")
    /// The token has expired and was not replaced within the grace.
    package static let expired = CentrifugeDisconnect(3005, "connection expired")
    /// Never: subscriptions do not expire.
    package static let subscriptionExpired = CentrifugeDisconnect(3006, "subscription expired")
    /// The client does not read what it is sent.
    package static let slow = CentrifugeDisconnect(3008, "slow")
    /// Never: after an error in writing there is nobody to tell.
    package static let writeError = CentrifugeDisconnect(3009, "write error")
    /// Something was not delivered on a channel that the server had subscribed the client to, or on any of a one-way stream.
    package static let insufficientState = CentrifugeDisconnect(3010, "insufficient state")
    /// Never: who is to come back is told 3001.
    package static let forceReconnect = CentrifugeDisconnect(3011, "force reconnect")
    /// A ping was not answered in time.
    package static let noPong = CentrifugeDisconnect(3012, "no pong")
    /// More commands waiting than may wait (`SocketSettings.maxWaitingCommands`), or far more than the rates allow.
    package static let tooManyRequests = CentrifugeDisconnect(3013, "too many requests")

    /// A token that proves nothing, is another user's than before, or whose login has ended.
    package static let invalidToken = CentrifugeDisconnect(3500, "invalid token")
    /// What is not the protocol: no JSON, an unknown command, a command before connect, a second connect.
    package static let badRequest = CentrifugeDisconnect(3501, "bad request")
    /// Connect did not come in time.
    package static let stale = CentrifugeDisconnect(3502, "stale")
    /// Never: who may not come back has no good token (3500).
    package static let forceNoReconnect = CentrifugeDisconnect(3503, "force disconnect")
    /// One connection more than a user, a tenant or the server may have.
    package static let connectionLimit = CentrifugeDisconnect(3504, "connection limit")
    /// Never: one channel too many is error 106.
    package static let channelLimit = CentrifugeDisconnect(3505, "channel limit")
    /// Never: a binary frame is answered by WebSocket's own 1003.
    package static let inappropriateProtocol = CentrifugeDisconnect(3506, "inappropriate protocol")
    /// Never: every role may connect.
    package static let permissionDenied = CentrifugeDisconnect(3507, "permission denied")
    /// Never: a `send` is taken, and means nothing here.
    package static let notAvailable = CentrifugeDisconnect(3508, "not available")
    /// Never: an error costs no more than an answer.
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

    /// Never: what a user may see changes with their login, which ends the connection.
    package static let server = CentrifugeUnsubscribe(2000, "server unsubscribe")
    /// Something was not delivered on a channel that the client has subscribed to.
    package static let insufficientState = CentrifugeUnsubscribe(2500, "insufficient state")
    /// Never: subscriptions do not expire.
    package static let expired = CentrifugeUnsubscribe(2501, "subscription expired")

    package static let all = [server, insufficientState, expired]
}

/// A frame that is not what the protocol says. The sender has a bug: the connection ends, for good (3501).
package struct CentrifugeProtocolError: Error, Sendable, Hashable, CustomStringConvertible {
    package let reason: String
    package var disconnect: CentrifugeDisconnect { .badRequest }
    package var description: String { "bad request: \(reason)" }
}
