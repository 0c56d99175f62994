package import Wire

/// A connection's number, unique within the process.
package struct ConnectionID: Sendable, Hashable {
    package let value: UInt64
    package init(_ value: UInt64) { self.value = value }
}

/// A subscription that stands, and what its client is told of it.
package struct Subscribed: Sendable {
    package let channel: String
    package let result: SubscribeResult

    package init(channel: String, result: SubscribeResult) {
        self.channel = channel
        self.result = result
    }
}

/// One connection of a client, as the hub sees it. Lives on one event loop and is called only there.
package protocol Subscriber: AnyObject {
    /// The subscriptions asked for together stand, all at once; everything published from here on follows through `deliver`.
    /// - Parameter command: the client's; `nil` for what the server subscribes it to.
    /// - Returns: whether this is the first thing since the last `flush`, as with the others here.
    func subscribed(command id: UInt32?, _ subscriptions: [Subscribed]) -> Bool
    /// None of them stands.
    func refused(command id: UInt32?, _ error: CentrifugeError) -> Bool
    /// Publications on a channel it is subscribed to, one on a line, all of one class. The same message goes to all subscribers of the loop.
    func deliver(_ message: inout PreparedMessage, _ delivery: Delivery) -> Bool
    /// The same, where nothing else goes out in this turn: no `flush` follows.
    func deliverAlone(_ message: inout PreparedMessage, _ delivery: Delivery)
    /// Something published on a channel has not reached it, nor will: it has to come back and recover.
    func fellBehind(on channel: String) -> Bool
    /// Everything of this turn has been delivered: write it out.
    func flush()
}

extension Subscriber {
    package func deliverAlone(_ message: inout PreparedMessage, _ delivery: Delivery) { if deliver(&message, delivery) { flush() } }
}
