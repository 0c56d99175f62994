package import Kernel
package import Wire

/// What a connection may do and how long, each with its default.
package struct SocketSettings: Sendable {
    /// A socket that has not said who it is by then is closed (3502).
    package var handshakeTimeout = Duration.seconds(10)
    /// From the head of an HTTP request to its end, at the most.
    package var requestTimeout = Duration.seconds(60)
    /// How long an HTTP connection is kept open for the next request.
    package var idleTimeout = Duration.seconds(60)
    /// How often the server asks whether the client is there.
    package var pingInterval = Duration.seconds(25)
    /// How long it waits for the answer before it closes (3012).
    package var pongTimeout = Duration.seconds(8)
    /// An expired token may be replaced for as long before the connection is closed (3005).
    package var expiryGrace = Duration.seconds(25)
    /// Over how long those are to spread who come back after the server has stopped.
    package var reconnectWindow = Duration.seconds(5)
    /// Frames and messages from a client, at the most (close 1009).
    package var maxMessageBytes = 64 << 10
    /// Bytes waiting for a client who does not read, at the most (3008).
    package var maxQueuedBytes = 1 << 20
    package var maxChannels = 128
    /// How long a browser waits, at the least and at the most, before it comes back to a stream of events.
    package var streamRetry = Duration.seconds(1)...Duration.seconds(4)
    /// How long the answer to a connect command waits for the subscriptions that the server makes for the client.
    package var greetingPatience = Duration.seconds(2)
    /// How long after such a subscription has failed it is tried again.
    package var subscribeAgainAfter = Duration.seconds(3)
    /// Commands of one connection waiting for their turn, at the most (3013).
    package var maxWaitingCommands = 256
    /// Whether `/connection/echo` is open.
    package var isEchoOpen = false
    /// Compression of frames (RFC 7692), where the client offers it.
    package var deflate = DeflatePolicy()
    /// Origins that browsers may connect from, besides the server's own.
    package var allowedOrigins: Set<String> = ["http://localhost:3000"]
    /// The names that the server answers to.
    package var allowedHosts = AllowedHosts.any

    /// Whether the body of a request to a path may be of any length, and so take any time.
    package var streamsBody: @Sendable (_ path: String) -> Bool = { _ in false }
    /// What such a body has to bring in each `requestTimeout`, by the second.
    package static let leastStreamedBytesPerSecond = 1024
    /// Of a request to a path, at the most. Only asked where a client waits for leave to send it.
    package var maxBodyBytes: @Sendable (_ path: String) -> Int = { _ in .max }

    package init() {}
}

/// What a token proved.
package struct Credential: Sendable {
    package let principal: Principal
    /// The login; a visitor of a web chat has none, and a token that ends by itself.
    package let session: LoginSessionID?
    package let expiresAt: Timestamp

    package init(principal: Principal, session: LoginSessionID?, expiresAt: Timestamp) {
        self.principal = principal
        self.session = session
        self.expiresAt = expiresAt
    }
}

/// Proves tokens.
package typealias Authenticate = @Sendable (String) async throws(Refusal) -> Credential
