import CHiredis
import NIOCore

/// Commands as Redis reads them (RESP2 arrays of strings), written by hiredis's formatter.
enum CommandFormat {
    /// About as many bytes as the command has on the wire, and never fewer than its words have.
    static func size(_ commands: [[RedisArgument]]) -> Int {
        commands.reduce(0) { $1.reduce($0 + 16) { $0 + $1.bytes.count + 16 } }
    }

    /// - Precondition: every command has a name, and is shorter than 2 GiB (hiredis counts in `int`).
    static func encode(_ commands: [[RedisArgument]]) -> ByteBuffer {
        var buffer = ByteBufferAllocator().buffer(capacity: size(commands))
        for command in commands { encode(command, into: &buffer) }
        return buffer
    }

    private static func encode(_ command: [RedisArgument], into buffer: inout ByteBuffer) {
        precondition(!command.isEmpty, "a Redis command has at least its name")
        // hiredis wants a pointer to each word: into one copy of them all, which stands still meanwhile.
        let words = command.flatMap(\.bytes)
        var lengths = command.map(\.bytes.count)
        words.withUnsafeBytes { words in
            var position = 0
            var pointers = lengths.map { length in
                defer { position += length }
                return words.baseAddress.map { ($0 + position).assumingMemoryBound(to: CChar.self) }
            }
            var formatted: UnsafeMutablePointer<CChar>?
            let count = redisFormatCommandArgv(&formatted, Int32(command.count), &pointers, &lengths)
            guard count >= 0, let formatted else { preconditionFailure("hiredis could not format a command of \(words.count) bytes") }
            defer { redisFreeCommand(formatted) }
            buffer.writeBytes(UnsafeRawBufferPointer(start: formatted, count: Int(count)))
        }
    }
}
