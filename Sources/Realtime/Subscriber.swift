package import NIOCore
package import Wire

/// A connection's number, unique within the process.
package struct ConnectionID: Sendable, Hashable {
    package let value: UInt64
    package init(_ value: UInt64) { self.value = value }
}

/// One connection of a client, as the hub sees it. Lives on one event loop and is called only there.
package protocol Subscriber: AnyObject {
    /// The subscription asked for with command `id` stands; everything published from here on follows through `deliver`.
    func subscribed(command id: UInt32, channel: String, _ result: SubscribeResult)
    /// It does not stand.
    func refused(command id: UInt32, channel: String, _ error: CentrifugeError)
    /// A publication on a channel it is subscribed to. The same buffer goes to all subscribers of the loop.
    func deliver(_ frame: ByteBuffer)
    /// Everything of this turn has been delivered: write it out.
    func flush()
}
