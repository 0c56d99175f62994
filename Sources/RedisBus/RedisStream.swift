/// An entry of a stream. A field given twice counts as it was given last.
package struct RedisStreamEntry: Sendable, Hashable {
    /// The stream's name, without the prefix.
    package let stream: String
    /// `milliseconds-sequence`.
    package let id: String
    package let fields: [String: [UInt8]]
}

/// What XAUTOCLAIM brings.
package struct RedisClaim: Sendable, Hashable {
    /// Where the next call is to start; `0-0` when everything has been looked at.
    package let next: String
    /// Ours now.
    package let entries: [RedisStreamEntry]
    /// Were somebody's, and are not in the stream any more. Redis has forgotten them (from 7.0 on, before that they are not told).
    package let deleted: [String]
}

/// What is delivered in a group and not acknowledged.
package struct RedisPending: Sendable, Hashable {
    package let count: Int
    package let first: String?
    package let last: String?
    package let consumers: [String: Int]
}

// How RESP2 shapes them.

extension RedisStreamEntry {
    /// `[id, [field, value, …]]`; `nil` for anything else, so also for an entry that is deleted while it is pending (`[id, null]`).
    init?(_ reply: RedisReply, stream: String) {
        guard let parts = reply.elements, parts.count == 2, let id = parts[0].text, let pairs = parts[1].elements else { return nil }
        var fields: [String: [UInt8]] = [:]
        for index in stride(from: 0, to: pairs.count - 1, by: 2) {
            guard let name = pairs[index].text, let value = pairs[index + 1].bytes else { return nil }
            fields[name] = value
        }
        self.init(stream: stream, id: id, fields: fields)
    }
}

extension RedisClaim {
    init?(_ reply: RedisReply, stream: String) {
        guard let parts = reply.elements, parts.count >= 2, let next = parts[0].text, let entries = parts[1].elements else { return nil }
        self.next = next
        self.entries = entries.compactMap { RedisStreamEntry($0, stream: stream) }
        deleted = parts.count > 2 ? parts[2].elements?.compactMap(\.text) ?? [] : []
    }
}

extension RedisPending {
    init?(_ reply: RedisReply) {
        guard let parts = reply.elements, parts.count == 4, let count = parts[0].integer else { return nil }
        self.count = count
        first = parts[1].text
        last = parts[2].text
        var consumers: [String: Int] = [:]
        for consumer in parts[3].elements ?? [] {
            guard let pair = consumer.elements, pair.count == 2, let name = pair[0].text, let count = pair[1].text.flatMap({ Int($0) }) else {
                return nil
            }
            consumers[name] = count
        }
        self.consumers = consumers
    }
}
