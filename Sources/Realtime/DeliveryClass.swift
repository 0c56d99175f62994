/// What a publication is to those who missed the one before it, and so what may be done with it when a socket is slow. A property of the channel
/// (`TenantCell.Channel.delivery`), but for what is not stored.
package enum DeliveryClass: Sendable, Hashable {
    /// A change to what came before: none is left out by itself. Who cannot keep up loses the channel's whole backlog, is told, and recovers or gets a snapshot.
    case ordered
    /// A whole new value: whoever has it needs none of those before, on the way and on recovery alike.
    case latest
    /// Not stored and stale in a moment, as typing is: may be left out.
    case lossy
}

/// What a subscriber may want to know of a message that it is given.
package struct Delivery: Sendable {
    package let channel: String
    package let kind: DeliveryClass
    /// The offsets of its publications, one a line, but of values, of which it holds the last; `nil` for what has no place in the stream.
    package let offsets: ClosedRange<UInt64>?

    package init(channel: String, kind: DeliveryClass, offsets: ClosedRange<UInt64>?) {
        self.channel = channel
        self.kind = kind
        self.offsets = offsets
    }
}
