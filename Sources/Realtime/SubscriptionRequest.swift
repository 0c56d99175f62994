package import Wire

/// A subscription that is asked for, by a client or by the server for it.
package struct SubscriptionRequest: Sendable {
    package let stream: StreamKey
    /// What the stream's publications are; the same for all who subscribe to it.
    package let delivery: DeliveryClass
    /// The subscriber, as others see it in presence.
    package let info: ClientInfo
    /// Wants to be told who comes to the stream and who leaves it.
    package var isTold = false
    /// The position to recover from, if the client knows one.
    package var since: StreamPosition?
    /// Wants an error in place of a snapshot when it cannot recover.
    package var rejectsUnrecovered = false

    package init(
        _ stream: StreamKey,
        delivery: DeliveryClass = .ordered,
        info: ClientInfo,
        isTold: Bool = false,
        since: StreamPosition? = nil,
        rejectsUnrecovered: Bool = false
    ) {
        self.stream = stream
        self.delivery = delivery
        self.info = info
        self.isTold = isTold
        self.since = since
        self.rejectsUnrecovered = rejectsUnrecovered
    }
}
