package import NIOCore
package import Wire

/// How a client behaves. The defaults suit a person's screen on a good network.
package struct RealtimeConfiguration: Sendable {
    /// From opening the socket to the connect reply.
    package var connectTimeout = TimeAmount.seconds(10)
    /// From sending a command to its reply.
    package var commandTimeout = TimeAmount.seconds(10)
    /// How late a server's ping may be before the connection counts as lost.
    package var maxPingDelay = TimeAmount.seconds(10)
    /// The largest message taken from the server; a snapshot is one message.
    package var maxMessageBytes = 16 << 20
    /// Publications an unread `AsyncStream` may hold before it is ended.
    package var maxUnreadPublications = 1024
    /// Nil: once lost, a connection stays so.
    package var reconnect: Reconnect?
    /// What the client calls itself.
    package var name = "plantao-swift"
    package var version = ""
    /// Sent with the upgrade request.
    package var headers: [(name: String, value: String)] = []

    package init() {}

    /// Waiting between attempts: a random time up to a bound that doubles ("full jitter"), so that a restarted server is not stormed.
    package struct Reconnect: Sendable {
        package var first = TimeAmount.milliseconds(500)
        package var longest = TimeAmount.seconds(20)

        package init(first: TimeAmount = .milliseconds(500), longest: TimeAmount = .seconds(20)) {
            self.first = first
            self.longest = longest
        }

        /// - Parameter told: the `data` of the reply to `connect`. A server that stops has said there over how long those it sends away are to spread their
        ///   coming back.
        func delay(attempt: Int, after error: RealtimeError, told: [UInt8]?) -> TimeAmount {
            guard case .closed(CentrifugeDisconnect.shutdown.code, _) = error, let told,
                let seconds = (try? JSON.parse(told))?["reconnect_within"]?.int, (1...3600).contains(seconds)
            else { return delay(attempt: attempt) }
            return .nanoseconds(.random(in: 0...TimeAmount.seconds(seconds).nanoseconds))
        }

        func delay(attempt: Int) -> TimeAmount {
            let doubled = first.nanoseconds.multipliedReportingOverflow(by: 1 << Int64(min(attempt, 30)))
            return .nanoseconds(.random(in: 0...max(1, doubled.overflow ? longest.nanoseconds : min(doubled.partialValue, longest.nanoseconds))))
        }
    }
}

/// What happens on a connection. Called on its event loop, in the order the server said it: answer quickly, never block.
package struct RealtimeEvents: Sendable {
    /// Connected, also after a reconnect.
    package var onConnected: @Sendable (ConnectResult) -> Void = { _ in }
    /// Subscribed, also after a reconnect: a snapshot replaces what is known of the channel, unless `recovered`.
    package var onSubscribed: @Sendable (_ channel: String, SubscribeResult) -> Void = { _, _ in }
    package var onPublication: @Sendable (_ channel: String, Publication) -> Void = { _, _ in }
    /// The server ended a subscription for good.
    package var onUnsubscribed: @Sendable (_ channel: String, CentrifugeUnsubscribe) -> Void = { _, _ in }
    /// Joins, leaves and messages.
    package var onOtherPush: @Sendable (CentrifugePush) -> Void = { _ in }
    /// The connection was lost or refused again; `willReconnect` says whether this client tries to get it back.
    package var onDisconnected: @Sendable (RealtimeError, _ willReconnect: Bool) -> Void = { _, _ in }

    package init() {}
}
