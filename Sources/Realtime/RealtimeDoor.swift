package import Kernel
package import Wire

// The ways into the streams for those who have no WebSocket: what the HTTP doors ask for, and the transports give. Same sessions, same streams, same offsets.

/// How a session's frames are written down in a response that goes on.
package enum StreamEncoding: Sendable {
    /// `text/event-stream`: each frame an event (WHATWG HTML §9.2).
    case events
    /// Each frame a line of JSON.
    case lines
}

/// The body of a response that goes on for as long as the session does.
package struct StreamBody: Sendable {
    package let chunks: AsyncStream<[UInt8]>
    /// To be told how many bytes have been written, so that a client who does not read is noticed.
    package let written: @Sendable (Int) -> Void

    package init(chunks: AsyncStream<[UInt8]>, written: @escaping @Sendable (Int) -> Void) {
        self.chunks = chunks
        self.written = written
    }
}

package struct PollRequest: Sendable {
    package let channel: String
    /// Where the client is; `nil` for the snapshot.
    package let since: StreamPosition?
    /// How long to wait for something new.
    package let wait: Duration

    package init(channel: String, since: StreamPosition?, wait: Duration) {
        self.channel = channel
        self.since = since
        self.wait = wait
    }
}

/// What a client who only listens asks for.
package struct FollowRequest: Sendable {
    package let token: String
    /// By name; none for those of the client's role.
    package let channels: [String]
    /// Where the client says it is.
    package let since: [String: StreamPosition]
    /// The id of the last event that it was given, which says so too, and more recently.
    package let lastEventID: String?

    package init(token: String, channels: [String], since: [String: StreamPosition], lastEventID: String?) {
        self.token = token
        self.channels = channels
        self.since = since
        self.lastEventID = lastEventID
    }
}

package protocol RealtimeDoor: Sendable {
    /// Begins a session whose first commands these are.
    /// - Parameter lastEventID: of the stream of events that the client comes back from.
    func open(_ commands: [UInt8], as encoding: StreamEncoding, lastEventID: String?) throws(Refusal) -> StreamBody
    /// Begins a stream of events that takes no commands. Refused before it begins, unless what is in the way will pass.
    func follow(_ request: FollowRequest) async throws(Refusal) -> StreamBody
    /// Hands commands to a session that was opened here.
    /// - Returns: whether there is one.
    func emulate(session: String, _ commands: [UInt8]) async -> Bool
    /// `{epoch, offset, data}` with a snapshot, or `{epoch, offset, publications}` with what was missed, which may be nothing.
    func poll(_ request: PollRequest, by principal: Principal) async throws(Refusal) -> [UInt8]
    /// Who was let in at any of the doors, and who was not.
    var admitted: Admission.Counters { get }
}
