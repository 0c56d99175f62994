import CPostgres
import Glibc
import Kernel
import Storage

/// One statement of a pipeline.
struct PostgresStatement {
    let sql: String
    /// Made when it is the statement's turn: while the server carries out one statement, the next one's are being written down.
    var parameters: () -> [PostgresParameter]
    /// What the columns of its result are; empty when nobody reads them.
    var kinds: [Column.Kind] = []

    init(sql: String, parameters: @autoclosure @escaping () -> [PostgresParameter] = [], kinds: [Column.Kind] = []) {
        self.sql = sql
        self.parameters = parameters
        self.kinds = kinds
    }
}

/// A connection through libpq, for one thread.
///
/// Statements go out in pipeline mode, all of them before the first answer is waited for; those up to one synchronisation are one transaction, so a batch costs
/// one round trip and one commit. Every wait has a deadline, which libpq's own blocking calls have not.
final class LibPQ {
    private let handle: OpaquePointer
    /// Names of prepared statements, by text and types.
    private var prepared: [PreparedKey: String] = [:]
    private var preparedCount = 0
    private let isInterrupted: () -> Bool

    /// Statements prepared on a connection, at the most; what comes after is parsed each time.
    private static let maxPrepared = 256
    /// A statement with more parameters is one of many like it, and not worth keeping.
    private static let maxParametersToPrepare = 64

    private struct PreparedKey: Hashable {
        let sql: String
        let types: [UInt32]
    }

    /// - Parameter isInterrupted: asked now and then while waiting; when true, the wait ends with an error.
    init(_ configuration: PostgresConfiguration, isInterrupted: @escaping () -> Bool) throws(PostgresError) {
        self.isInterrupted = isInterrupted
        let parameters = configuration.connectParameters
        let words = parameters.map { strdup($0.keyword) }
        let values = parameters.map { strdup($0.value) }
        defer { for pointer in words + values { free(pointer) } }
        let started = (words.map { UnsafePointer($0) } + [nil]).withUnsafeBufferPointer { words in
            (values.map { UnsafePointer($0) } + [nil]).withUnsafeBufferPointer { PQconnectStartParams(words.baseAddress, $0.baseAddress, 0) }
        }
        guard let started else { throw PostgresError(cause: .connection, description: "libpq is out of memory") }
        handle = started
        _ = PQsetErrorVerbosity(handle, PQERRORS_VERBOSE)
        // One host after another, each for as long as `tcp_user_timeout` lets it; then this ends it whatever the state.
        let deadline = ContinuousClock.now + configuration.connectTimeout * max(configuration.hostCount, 1) + .milliseconds(500)
        try connect(deadline)
        PQsetnonblocking(handle, 1)
        // What a row holds stays out of the log.
        _ = PQsetErrorVerbosity(handle, PQERRORS_DEFAULT)
        _ = PQsetNoticeProcessor(handle, { _, _ in }, nil)
        guard PQenterPipelineMode(handle) == 1 else { throw PostgresError(cause: .connection, description: "pipeline mode was refused") }
    }

    deinit { PQfinish(handle) }

    private func connect(_ deadline: ContinuousClock.Instant) throws(PostgresError) {
        var isForWriting = true
        while true {
            guard PQstatus(handle) != CONNECTION_BAD else { break }
            try wait(forWriting: isForWriting, forReading: !isForWriting, deadline, "the server did not answer")
            switch PQconnectPoll(handle) {
            case PGRES_POLLING_OK: return
            case PGRES_POLLING_READING: isForWriting = false
            case PGRES_POLLING_WRITING: isForWriting = true
            default: throw PostgresError(connecting: String(cString: PQerrorMessage(handle)))
            }
        }
        throw PostgresError(connecting: String(cString: PQerrorMessage(handle)))
    }

    var isBroken: Bool { PQstatus(handle) == CONNECTION_BAD }

    /// Whether the server has ended the connection while nobody used it; asks without waiting.
    var hasEnded: Bool {
        while true {
            var socket = pollfd(fd: PQsocket(handle), events: Int16(POLLIN), revents: 0)
            guard socket.fd >= 0 else { return true }
            guard poll(&socket, 1, 0) > 0 else { return false }
            // The server's last words, and then the end; or a notice.
            guard PQconsumeInput(handle) == 1, !isBroken else { return true }
        }
    }

    var backendPID: Int32 { PQbackendPID(handle) }
    var serverVersion: Int32 { PQserverVersion(handle) }
    var isEncrypted: Bool { PQsslInUse(handle) == 1 }

    // MARK: Running

    /// Runs the statements as one transaction: all of them or none.
    /// - Returns: the rows of each.
    func run(_ statements: [PostgresStatement], deadline: ContinuousClock.Instant) throws(PostgresError) -> [[Row]] {
        var preparing: [PreparedKey?] = []
        for statement in statements {
            preparing.append(try send(statement))
            // On its way while the next one is being made; what the socket does not take now, it takes later.
            guard PQflush(handle) >= 0 else { throw lost() }
        }
        guard PQpipelineSync(handle) == 1 else { throw lost() }
        try flush(deadline)

        // The answers, in the order of the statements. After the first error the server passes over the rest.
        var results: [[Row]] = []
        var failure: PostgresError?
        for (statement, key) in zip(statements, preparing) {
            if let key {
                try answer(deadline) { result in
                    if PQresultStatus(result) != PGRES_COMMAND_OK {
                        prepared[key] = nil
                        if failure == nil, PQresultStatus(result) != PGRES_PIPELINE_ABORTED { failure = PostgresError(result: result) }
                    }
                }
            }
            var rows: [Row] = []
            try answer(deadline) { result in
                switch PQresultStatus(result) {
                case PGRES_TUPLES_OK:
                    do throws(PostgresError) { rows = try Self.rows(result, statement.kinds) } catch { failure = failure ?? error }
                case PGRES_COMMAND_OK, PGRES_PIPELINE_ABORTED, PGRES_EMPTY_QUERY: break
                default: if failure == nil { failure = PostgresError(result: result) }
                }
            }
            results.append(rows)
        }
        // The synchronisation is where the transaction commits, and may fail there.
        var isOver = false
        while !isOver {
            let result = try nextResult(deadline)
            defer { PQclear(result) }
            isOver = PQresultStatus(result) == PGRES_PIPELINE_SYNC
            if !isOver, failure == nil { failure = PostgresError(result: result) }
        }
        if let failure { throw failure }
        return results
    }

    /// - Returns: the key under which the statement is being prepared, when it is.
    private func send(_ statement: PostgresStatement) throws(PostgresError) -> PreparedKey? {
        let parameters = statement.parameters()
        let types = parameters.map(\.oid)
        let key = PreparedKey(sql: statement.sql, types: types)
        var isNew = false
        var name = prepared[key]
        if name == nil, prepared.count < Self.maxPrepared, types.count <= Self.maxParametersToPrepare {
            isNew = true
            preparedCount += 1
            name = "p\(preparedCount)"
            prepared[key] = name
        }
        let sent: Int32
        if let name {
            if isNew, PQsendPrepare(handle, name, statement.sql, Int32(types.count), types) != 1 { throw lost() }
            sent = withParameters(parameters) { values, lengths, formats in
                PQsendQueryPrepared(handle, name, Int32(types.count), values, lengths, formats, 1)
            }
        } else {
            sent = withParameters(parameters) { values, lengths, formats in
                PQsendQueryParams(handle, statement.sql, Int32(types.count), types, values, lengths, formats, 1)
            }
        }
        guard sent == 1 else { throw lost() }
        return isNew ? key : nil
    }

    private func withParameters(
        _ parameters: [PostgresParameter],
        _ body: (UnsafePointer<UnsafePointer<CChar>?>?, UnsafePointer<Int32>?, UnsafePointer<Int32>?) -> Int32
    ) -> Int32 {
        let lengths = parameters.map { Int32($0.bytes?.count ?? 0) }
        let formats = [Int32](repeating: 1, count: parameters.count)
        var pointers: [UnsafePointer<CChar>?] = []
        /// Holds every array still while libpq copies from it.
        func pin(_ rest: ArraySlice<PostgresParameter>) -> Int32 {
            guard let parameter = rest.first else { return body(pointers, lengths, formats) }
            guard let bytes = parameter.bytes else {
                pointers.append(nil)
                return pin(rest.dropFirst())
            }
            // An empty array has no address, which libpq would take for NULL.
            return (bytes.isEmpty ? [0] : bytes).withUnsafeBytes { buffer in
                pointers.append(buffer.baseAddress?.assumingMemoryBound(to: CChar.self))
                return pin(rest.dropFirst())
            }
        }
        return pin(parameters[...])
    }

    // MARK: Results

    /// The next statement's results, each cleared after `body`. A nil of libpq's ends a statement.
    private func answer(_ deadline: ContinuousClock.Instant, _ body: (OpaquePointer) -> Void) throws(PostgresError) {
        var result: OpaquePointer? = try nextResult(deadline)
        while let found = result {
            body(found)
            PQclear(found)
            result = try next(deadline)
        }
    }

    /// The next result, past the nil that ended the statement before.
    private func nextResult(_ deadline: ContinuousClock.Instant) throws(PostgresError) -> OpaquePointer {
        if let result = try next(deadline) { return result }
        guard let result = try next(deadline) else {
            throw PostgresError(cause: .connection, description: "the server's answers do not fit the statements")
        }
        return result
    }

    private func next(_ deadline: ContinuousClock.Instant) throws(PostgresError) -> OpaquePointer? {
        while PQisBusy(handle) == 1 {
            try wait(forWriting: false, forReading: true, deadline, "the server did not answer in time")
            guard PQconsumeInput(handle) == 1 else { throw lost() }
        }
        let result = PQgetResult(handle)
        guard PQstatus(handle) != CONNECTION_BAD else {
            // The server's last words say why.
            guard let result else { throw lost() }
            defer { PQclear(result) }
            throw PostgresError(result: result)
        }
        return result
    }

    private static func rows(_ result: OpaquePointer, _ kinds: [Column.Kind]) throws(PostgresError) -> [Row] {
        guard !kinds.isEmpty else { return [] }
        let columns = PQnfields(result)
        guard columns == kinds.count else {
            throw PostgresError(cause: .unreadable, description: "\(columns) columns, where \(kinds.count) were asked for")
        }
        let oids = (0..<columns).map { PQftype(result, $0) }
        var rows: [Row] = []
        rows.reserveCapacity(Int(PQntuples(result)))
        for number in 0..<PQntuples(result) {
            var values: [SQLValue] = []
            values.reserveCapacity(kinds.count)
            for (column, kind) in zip(0..<columns, kinds) {
                if PQgetisnull(result, number, column) == 1 {
                    values.append(.null)
                    continue
                }
                let field = UnsafeRawBufferPointer(start: PQgetvalue(result, number, column), count: Int(PQgetlength(result, number, column)))
                guard let value = SQLValue(field, oid: oids[Int(column)], as: kind) else {
                    throw PostgresError(cause: .unreadable, description: "column \(column) is not \(kind) (type \(oids[Int(column)]))")
                }
                values.append(value)
            }
            rows.append(Row(values))
        }
        return rows
    }

    // MARK: The socket

    private func flush(_ deadline: ContinuousClock.Instant) throws(PostgresError) {
        while true {
            switch PQflush(handle) {
            case 0: return
            case 1:
                // The server may be unable to take more before we have read what it says.
                try wait(forWriting: true, forReading: true, deadline, "the server did not take a statement in time")
                guard PQconsumeInput(handle) == 1 else { throw lost() }
            default: throw lost()
            }
        }
    }

    private func wait(forWriting: Bool, forReading: Bool, _ deadline: ContinuousClock.Instant, _ what: String) throws(PostgresError) {
        var socket = pollfd(fd: PQsocket(handle), events: Int16((forWriting ? POLLOUT : 0) | (forReading ? POLLIN : 0)), revents: 0)
        guard socket.fd >= 0 else { throw lost() }
        while true {
            let left = (deadline - ContinuousClock.now).inMilliseconds
            guard left > 0 else { throw PostgresError(cause: .silence, description: what) }
            guard !isInterrupted() else { throw PostgresError(cause: .connection, description: "the connection is being closed") }
            let ready = poll(&socket, 1, Int32(min(left, 100)))
            if ready > 0 { return }
            if ready < 0, errno != EINTR { throw PostgresError(cause: .connection, description: "poll: \(String(cString: strerror(errno)))") }
        }
    }

    private func lost() -> PostgresError {
        let message = String(cString: PQerrorMessage(handle)).split(whereSeparator: \.isNewline).joined(separator: " ")
        return PostgresError(cause: .connection, description: message.isEmpty ? "the connection is lost" : message)
    }
}
