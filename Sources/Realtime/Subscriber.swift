package import Wire

/// A connection's number, unique within the process.
package struct ConnectionID: Sendable, Hashable {
    package let value: UInt64
    package init(_ value: UInt64) { self.value = value }
}

/// One connection of a client, as the hub sees it. Lives on one event loop and is called only there.
package protocol Subscriber: AnyObject {
    /// The subscription asked for with command `id` stands; everything published from here on follows through `deliver`.
    /// - Returns: whether this is the first thing since the last `flush`, as with the others here.
    func subscribed(command id: UInt32, channel: String, _ result: SubscribeResult) -> Bool
    /// It does not stand.
    func refused(command id: UInt32, channel: String, _ error: CentrifugeError) -> Bool
    /// Publications on a channel it is subscribed to, one on a line, all of one class. The same message goes to all subscribers of the loop.
    func deliver(_ message: inout PreparedMessage, _ delivery: Delivery) -> Bool
    /// Everything of this turn has been delivered: write it out.
    func flush()
}
