package import Resilience

/// Where Redis is, and how much may wait for it.
package struct RedisConfiguration: Sendable {
    package enum Address: Sendable, Hashable {
        case tcp(host: String, port: Int)
        case unix(path: String)
    }

    package var address: Address
    package var user: String?
    package var password: String?
    package var database = 0

    /// Stands before every channel and stream name of ours; commands given to `send` and `pipeline` go out as they are.
    package var prefix = "plantao:"
    /// What is counted as a failure: an attempt to connect that came to nothing, a connection that broke, one that fell silent.
    package var breaker = CircuitBreaker.Settings.redis
    /// For finding the address, connecting and the first answers together.
    package var connectTimeout = Duration.seconds(2)
    /// How long a command waits for its answer, connecting included. Redis silent for this long with a command before it: the connection is given up.
    package var commandTimeout = Duration.seconds(5)
    /// The wait before the second attempt; it doubles up to `reconnectLimit`.
    package var reconnectFirst = Duration.milliseconds(50)
    package var reconnectLimit = Duration.seconds(5)
    /// How long the subscriber's connection is quiet before it is asked for a sign of life.
    package var keepalive = Duration.seconds(10)

    /// Commands that wait to be sent or answered, at the most, on each connection; past it `RedisError.overloaded`.
    package var maxPendingCommands = 16_384
    /// Their bytes, at the most. Also the longest single command.
    package var maxPendingBytes = 64 << 20
    /// One reply, at the most; a longer one closes the connection.
    package var maxReplyBytes = 64 << 20
    /// Array elements in one reply, nested ones included.
    package var maxReplyElements = 1 << 20
    /// Reads that block at the same time: each has a connection of its own.
    package var maxBlockingReads = 8
    /// The longest that such a read may block.
    package var maxBlock = Duration.seconds(60)
    /// Channels with a subscriber, at the most.
    package var maxChannels = 10_000
    /// Messages that wait for one subscriber, at the most; past it they are dropped, and it is told of the gap.
    package var maxBufferedMessages = 1024
    package var maxBufferedBytes = 8 << 20

    package init(address: Address) { self.address = address }

    /// The URL without user and password, for logs.
    package var redacted: String {
        switch address {
        case .tcp(let host, let port): "redis://\(host.contains(":") ? "[\(host)]" : host):\(port)/\(database)"
        case .unix(let path): "unix://\(path)?db=\(database)"
        }
    }
}

// A configuration that is printed, dumped or interpolated by mistake does not give its password away.
extension RedisConfiguration: CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
    package var description: String { redacted }
    package var debugDescription: String { redacted }
    package var customMirror: Mirror { Mirror(self, children: ["address": redacted]) }
}
