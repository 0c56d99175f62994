import Kernel

// Streams with consumer groups. Names of streams get the prefix; groups and consumers stand as they are.
//
// Redis keeps what was delivered and not acknowledged, by consumer, until XACK. It may forget all of it (FLUSHALL, a failover, a disk that was lost): then reading
// throws an error whose `isGroupGone` is true, and `xgroupCreate` makes the group again. What matters has to be in the store, not here.

extension RedisBus {
    /// Appends.
    /// - Parameter maxLength: about so many entries are kept, the oldest go first.
    /// - Returns: the entry's id.
    @discardableResult
    package func xadd(_ stream: String, maxLength: Int? = nil, fields: [String: [UInt8]]) async throws(RedisError) -> String {
        var command: [RedisArgument] = ["XADD", key(stream)]
        if let maxLength { command += ["MAXLEN", "~", RedisArgument(maxLength)] }
        command.append("*")
        for (name, value) in fields.sorted(by: { $0.key < $1.key }) { command += [RedisArgument(name), RedisArgument(value)] }
        return try await send(command).expected("XADD", \.text)
    }

    /// Makes the group, and the stream where there is none.
    /// - Parameter after: entries after this id are the group's; `$` for those to come, `0` for all.
    /// - Returns: whether it was made; `false` when it was there.
    @discardableResult
    package func xgroupCreate(_ stream: String, group: String, after: String = "0") async throws(RedisError) -> Bool {
        do {
            _ = try await send(["XGROUP", "CREATE", key(stream), RedisArgument(group), RedisArgument(after), "MKSTREAM"])
            return true
        } catch .server(let error) where error.code == "BUSYGROUP" { return false }
    }

    /// Entries that no consumer of the group has had; they are this consumer's from then on, until XACK.
    /// - Parameter block: how long to wait for one; at most `maxBlock`. Waits on a connection of its own.
    /// - Returns: nothing when there are none.
    /// - Throws: `RedisError`; `isGroupGone` when the group has to be made again, `overloaded` when `maxBlockingReads` wait already. When the outcome is unknown, or the
    ///   task was cancelled, entries may have become this consumer's unseen: XAUTOCLAIM finds them.
    package func xreadgroup(
        _ group: String,
        consumer: String,
        streams: [String],
        count: Int,
        block: Duration? = nil
    ) async throws(RedisError) -> [RedisStreamEntry] {
        var command: [RedisArgument] = ["XREADGROUP", "GROUP", RedisArgument(group), RedisArgument(consumer), "COUNT", RedisArgument(count)]
        let block = block.map { min($0, configuration.maxBlock) }.flatMap { $0 > .zero ? $0 : nil }
        // BLOCK 0 would be for ever.
        if let block { command += ["BLOCK", RedisArgument(max(1, block.inMilliseconds))] }
        command.append("STREAMS")
        command += streams.map { key($0) } + streams.map { _ in ">" }
        let reply: RedisReply
        if let block { reply = try await sendBlocking(command, block: block) } else { reply = try await send(command) }
        if reply == .null { return [] }
        let batches = try reply.expected("XREADGROUP", \.elements)
        var entries: [RedisStreamEntry] = []
        for batch in batches {
            guard let parts = batch.elements, parts.count == 2, let name = parts[0].text, let found = parts[1].elements else {
                throw .unexpectedReply(to: "XREADGROUP")
            }
            entries += found.compactMap { RedisStreamEntry($0, stream: String(name.dropFirst(configuration.prefix.count))) }
        }
        return entries
    }

    /// - Returns: how many of them were pending.
    @discardableResult
    package func xack(_ stream: String, group: String, ids: [String]) async throws(RedisError) -> Int {
        if ids.isEmpty { return 0 }
        return try await send(["XACK", key(stream), RedisArgument(group)] + ids.map { RedisArgument($0) }).expected("XACK", \.integer)
    }

    /// Takes over what others, or this consumer, have had for `minIdle` without acknowledging it. Redis 6.2 and later.
    /// - Parameter start: where to look from: `0`, and then `next` of the call before.
    package func xautoclaim(
        _ stream: String,
        group: String,
        consumer: String,
        minIdle: Duration,
        start: String = "0-0",
        count: Int
    ) async throws(RedisError) -> RedisClaim {
        let command: [RedisArgument] = [
            "XAUTOCLAIM", key(stream), RedisArgument(group), RedisArgument(consumer), RedisArgument(minIdle.inMilliseconds), RedisArgument(start),
            "COUNT", RedisArgument(count),
        ]
        return try await send(command).expected("XAUTOCLAIM") { RedisClaim($0, stream: stream) }
    }

    /// - Returns: how many were there.
    @discardableResult
    package func xdel(_ stream: String, ids: [String]) async throws(RedisError) -> Int {
        if ids.isEmpty { return 0 }
        return try await send(["XDEL", key(stream)] + ids.map { RedisArgument($0) }).expected("XDEL", \.integer)
    }

    package func xlen(_ stream: String) async throws(RedisError) -> Int {
        try await send(["XLEN", key(stream)]).expected("XLEN", \.integer)
    }

    package func xpending(_ stream: String, group: String) async throws(RedisError) -> RedisPending {
        try await send(["XPENDING", key(stream), RedisArgument(group)]).expected("XPENDING", RedisPending.init)
    }
}
