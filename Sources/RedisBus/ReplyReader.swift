import CHiredis

/// hiredis's reply reader, with a bound on a reply's bytes and elements. Takes bytes however they are split; after an error it is of no more use.
///
/// hiredis itself refuses arrays nested more than seven deep. It would take any length an array claims to have and reserve memory for it at once, so the function
/// that makes arrays is wrapped by one that counts.
final class ReplyReader {
    /// Travels through hiredis as its `privdata`.
    private struct Budget {
        var elements: Int
        let createArray: (@convention(c) (UnsafePointer<redisReadTask>?, Int32) -> UnsafeMutableRawPointer?)
    }

    private let reader: UnsafeMutablePointer<redisReader>
    private let functions: UnsafeMutablePointer<redisReplyObjectFunctions>
    private let budget: UnsafeMutablePointer<Budget>
    private let maxBytes: Int
    private let maxElements: Int
    /// Bytes fed, ever; and how many of them belong to replies that were given out.
    private var fed = 0
    private var givenOut = 0

    init(maxBytes: Int, maxElements: Int) {
        guard let reader = redisReaderCreate(), let original = reader.pointee.fn else { fatalError("out of memory") }
        self.reader = reader
        self.maxBytes = maxBytes
        self.maxElements = maxElements
        budget = .allocate(capacity: 1)
        budget.initialize(to: Budget(elements: maxElements, createArray: original.pointee.createArray))
        functions = .allocate(capacity: 1)
        functions.initialize(to: original.pointee)
        functions.pointee.createArray = { task, count in
            guard let budget = task?.pointee.privdata?.assumingMemoryBound(to: Budget.self), Int(count) <= budget.pointee.elements else { return nil }
            budget.pointee.elements -= Int(count)
            return budget.pointee.createArray(task, count)
        }
        reader.pointee.fn = functions
        reader.pointee.privdata = UnsafeMutableRawPointer(budget)
    }

    deinit {
        // Frees an unfinished reply too, with the functions.
        redisReaderFree(reader)
        functions.deallocate()
        budget.deallocate()
    }

    func feed(_ bytes: UnsafeRawBufferPointer) {
        fed += bytes.count
        // Fails only when it has failed before, which `next` tells, or memory is out.
        _ = redisReaderFeed(reader, bytes.baseAddress?.assumingMemoryBound(to: CChar.self), bytes.count)
    }

    /// The next whole reply, or `nil` when more bytes are needed for it.
    /// - Throws: `violation` or `oversizedReply`.
    func next() throws(ConnectionProblem) -> RedisReply? {
        var pointer: UnsafeMutableRawPointer?
        let result = redisReaderGetReply(reader, &pointer)
        defer { freeReplyObject(pointer) }
        guard result == REDIS_OK else {
            // Nothing but our own wrapper makes hiredis run out of memory.
            if reader.pointee.err == REDIS_ERR_OOM { throw oversized }
            throw .violation(withUnsafeBytes(of: reader.pointee.errstr) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) })
        }
        let taken = pointer == nil ? fed : fed - (reader.pointee.len - reader.pointee.pos)
        guard taken - givenOut <= maxBytes else { throw oversized }
        guard let pointer else { return nil }
        givenOut = taken
        budget.pointee.elements = maxElements
        return RedisReply(pointer.assumingMemoryBound(to: redisReply.self).pointee)
    }

    private var oversized: ConnectionProblem { .oversizedReply(maxBytes: maxBytes, maxElements: maxElements) }
}

extension RedisReply {
    /// Copies what hiredis read. Recursion ends where hiredis's own does.
    fileprivate init(_ reply: redisReply) {
        let bytes = UnsafeRawBufferPointer(start: reply.str, count: reply.str == nil ? 0 : reply.len)
        switch reply.type {
        case REDIS_REPLY_STRING: self = .bulk(Array(bytes))
        case REDIS_REPLY_STATUS: self = .status(String(decoding: bytes, as: UTF8.self))
        case REDIS_REPLY_ERROR: self = .error(RedisServerError(String(decoding: bytes, as: UTF8.self)))
        case REDIS_REPLY_INTEGER: self = .integer(Int(reply.integer))
        case REDIS_REPLY_ARRAY:
            self = .array((0..<reply.elements).map { index in reply.element[index].map { RedisReply($0.pointee) } ?? .null })
        default: self = .null
        }
    }
}
