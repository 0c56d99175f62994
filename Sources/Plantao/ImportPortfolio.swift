import ArgumentParser
import AsyncHTTPClient
import Crypto
import Foundation
import Kernel
import NIOCore
import NIOHTTP1
import Storage
import Wire

struct ImportCustomers: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "clientes",
        abstract: "Put the customers of a CSV or NDJSON file into a running server.",
        discussion: ImportOptions.discussion
    )

    @OptionGroup var options: ImportOptions

    func run() async throws {
        // Who is put again is as they are already.
        try await options.run(path: "/clientes", .customers, batch: 500, isOnce: false) { importer, lines in try await importer.sendList(lines) }
    }
}

struct ImportActivities: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "atividades",
        abstract: "Record the activities of a CSV or NDJSON file in a running server.",
        discussion: ImportOptions.discussion + ImportOptions.once
    )

    @OptionGroup var options: ImportOptions

    func run() async throws {
        try await options.run(path: "/atividades", .activities, batch: 1000, isOnce: true) { importer, lines in try await importer.sendStream(lines) }
    }
}

struct ImportOptions: ParsableArguments {
    static let discussion = """
        A CSV file names its columns in the first line, as the API names its fields, and has no others; `,` or `;` stands between them. Amounts may be written as \
        1.234,56 and days as 31/01/2024; times without a zone are São Paulo's. Lines that the server refuses are left out, and written with the reason to \
        FILE.recusadas. How far it came stands in FILE.progresso: run it again after an interruption, and it goes on from there; what was sent twice counts once. \
        Exits with 1 when lines were refused.
        """
    static let once = """
         FILE.progresso stays: as long as the file is the same, activities that are all in are not sent to the same server again without --restart.
        """

    @Argument(help: "The file.") var file: String
    @Option(help: "Where the server is.") var url = "http://127.0.0.1:8080"
    @Option(help: "user:password of HTTP Basic. Default: the first of BASIC_AUTH_USERS.") var user: String?
    @Flag(help: "Begin again, whatever was sent before.") var restart = false
    @Flag(help: "The file is Windows-1252 or ISO-8859-1, and not UTF-8.") var latin1 = false

    /// - Parameter isOnce: what is sent again would count again.
    func run(
        path: String,
        _ table: ImportTable,
        batch: Int,
        isOnce: Bool,
        send: (PortfolioImporter, [PortfolioImporter.Line]) async throws -> Void
    ) async throws {
        var refused = 0
        try await StartupError.reported {
            let given = user ?? ProcessInfo.processInfo.environment["BASIC_AUTH_USERS"]?.split(separator: ",").first.map(String.init)
            guard let given, given.contains(":") else { throw StartupError("--user user:password is needed, or BASIC_AUTH_USERS.") }
            let importer = try PortfolioImporter(self, path: path, table, user: given, isOnce: isOnce)
            do {
                try await importer.run(batch: batch, send: send)
                try await importer.close()
            } catch {
                try? await importer.close()
                throw error
            }
            refused = importer.progress.refused
        }
        if refused > 0 { throw ExitCode(1) }
    }
}

/// Sends a file in batches, and remembers how far it came.
final class PortfolioImporter {
    struct Line {
        let number: Int
        let json: JSON
    }

    struct Progress: Codable {
        /// Made anew with each import: batches are sent under it, so that one that is sent twice counts once.
        var id: String
        var size: Int
        /// SHA-256 of the file; `nil` where an earlier version began.
        var digest: String?
        /// Where it was sent, once all of it was.
        var sentTo: String?
        var lines = 0
        var accepted = 0
        var refused = 0
    }

    private(set) var progress: Progress
    private let file: String
    private let path: String
    private let table: ImportTable
    private let isLatin1: Bool
    private let base: String
    private let authorization: String
    private let size: Int
    private let isOnce: Bool
    private let http: HTTPClient
    private let reader: RecordReader
    private var columns: [String]?
    private var read = 0

    private static let progressSuffix = ".progresso"
    private var progressPath: String { file + Self.progressSuffix }
    private var refusedPath: String { file + ".recusadas" }

    init(_ options: ImportOptions, path: String, _ table: ImportTable, user: String, isOnce: Bool) throws {
        let (file, url) = (options.file, options.url)
        guard let reader = RecordReader(path: file), let attributes = try? FileManager.default.attributesOfItem(atPath: file),
            let size = attributes[.size] as? Int
        else { throw StartupError("'\(file)' cannot be read.") }
        self.file = file
        self.path = path
        self.table = table
        isLatin1 = options.latin1
        self.reader = reader
        self.size = size
        self.isOnce = isOnce
        base = url.hasSuffix("/") ? String(url.dropLast()) : url
        authorization = "Basic " + Data(user.utf8).base64EncodedString()
        let fresh = Progress(id: UUID().uuidString, size: size, digest: try Self.digest(of: file))
        progress = options.restart ? fresh : try Self.kept(of: file, sentTo: base, else: fresh)
        // Once nothing can be wrong any more: it has to be shut down.
        http = HTTPClient(eventLoopGroupProvider: .singleton)
        if options.restart { try? FileManager.default.removeItem(atPath: progressPath) }
        if progress.lines == 0 { try? FileManager.default.removeItem(atPath: refusedPath) }
    }

    /// How far an import of the same file has come.
    private static func kept(of file: String, sentTo base: String, else fresh: Progress) throws -> Progress {
        guard let data = FileManager.default.contents(atPath: file + progressSuffix), var kept = try? JSONDecoder().decode(Progress.self, from: data)
        else {
            return fresh
        }
        let isSame = kept.size == fresh.size && (kept.digest == nil || kept.digest == fresh.digest)
        // What is over stands in nobody's way.
        if let sentTo = kept.sentTo { return isSame && sentTo == base ? kept : fresh }
        guard isSame else {
            throw StartupError("'\(file)' has changed since the import of it began; import it with --restart, or bring the old one back.")
        }
        kept.digest = fresh.digest
        return kept
    }

    func close() async throws { try await http.shutdown() }

    /// What a file is known by, however large it is.
    private static func digest(of path: String) throws -> String {
        guard let file = FileHandle(forReadingAtPath: path) else { throw StartupError("'\(path)' cannot be read.") }
        var hash = SHA256()
        while let bytes = try file.read(upToCount: 1 << 20), !bytes.isEmpty { hash.update(data: bytes) }
        return hash.finalize().map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
    }

    func run(batch: Int, send: (PortfolioImporter, [Line]) async throws -> Void) async throws {
        if progress.sentTo != nil {
            let counts = "\(progress.accepted) accepted, \(progress.refused) refused"
            return Transfer.say("'\(file)' was imported before (\(counts)); nothing was sent. --restart sends it again", isLast: true)
        }
        let start = progress.lines
        // Before anything of it is sent.
        if start == 0, !isLatin1 { try checkEncoding() }
        try readColumns()
        if start > 0 { Transfer.say("going on behind line \(start)", isLast: true) }
        var lines: [Line] = []
        var inBatch = 0
        while let record = try reader.next() {
            read = record.lastLine
            guard record.line > start else { continue }
            inBatch += 1
            let text = text(record)
            if !text.allSatisfy(\.isWhitespace) {
                do { lines.append(Line(number: record.line, json: try parse(text))) } catch let error as ImportTable.Unreadable {
                    try refuse(record.line, error.reason)
                }
            }
            guard inBatch == batch else { continue }
            try await commit(lines, send)
            (lines, inBatch) = ([], 0)
        }
        try await commit(lines, send)
        if isOnce {
            progress.sentTo = base
            try keepProgress()
        } else {
            try? FileManager.default.removeItem(atPath: progressPath)
        }
        let hint = progress.refused > 0 ? "; see \(refusedPath)" : ""
        Transfer.say("\(progress.accepted) accepted, \(progress.refused) refused\(hint)", isLast: true)
    }

    private func commit(_ lines: [Line], _ send: (PortfolioImporter, [Line]) async throws -> Void) async throws {
        if !lines.isEmpty { try await send(self, lines) }
        progress.lines = read
        try keepProgress()
        Transfer.say("\(reader.bytesRead * 100 / max(size, 1)) %  \(progress.accepted) accepted, \(progress.refused) refused")
    }

    private func keepProgress() throws {
        try JSONEncoder().encode(progress).write(to: URL(fileURLWithPath: progressPath), options: .atomic)
    }

    // MARK: Reading

    private func checkEncoding() throws {
        guard let reader = RecordReader(path: file) else { return }
        while let record = try reader.next() {
            guard String(validating: record.bytes, as: UTF8.self) == nil else { continue }
            throw StartupError(
                "'\(file)' is not UTF-8 (line \(record.line)); nothing was sent. Save it as CSV UTF-8, or say --latin1 if it is Windows-1252 or ISO-8859-1."
            )
        }
    }

    private func text(_ record: RecordReader.Record) -> String {
        guard isLatin1 else { return String(decoding: record.bytes, as: UTF8.self) }
        let data = Data(record.bytes)
        return String(data: data, encoding: .windowsCP1252) ?? String(data: data, encoding: .isoLatin1) ?? ""
    }

    /// The first line of a CSV file; one of NDJSON begins with a brace, and is no such thing.
    private func readColumns() throws {
        guard !reader.beginsWithBrace, let record = try reader.nextOfColumns() else { return }
        read = record.lastLine
        let columns = try fields(text(record)).map { $0.lowercased().filter { $0 != " " } }
        if let fault = table.fault(in: columns) { throw StartupError("'\(file)': \(fault) Nothing was sent.") }
        self.columns = columns
    }

    private func parse(_ text: String) throws -> JSON {
        guard let columns else {
            guard let json = try? JSON.parse(text), json.object != nil else { throw ImportTable.Unreadable("não é um objeto JSON") }
            return json
        }
        let values = try fields(text)
        guard values.count == columns.count else {
            throw ImportTable.Unreadable("tem \(values.count) campos, e a primeira linha nomeia \(columns.count) colunas")
        }
        return try table.object(columns, values)
    }

    private func fields(_ text: String) throws -> [String] {
        do { return try CSVRecords.read(text, separator: reader.separator).first?.fields ?? [] } catch {
            throw ImportTable.Unreadable("não pode ser lida como CSV")
        }
    }

    // MARK: Sending

    /// As one list. Elements that the server names are left out, and the others sent again.
    func sendList(_ lines: [Line]) async throws {
        var lines = lines
        while !lines.isEmpty {
            let (status, answer) = try await post(JSON.array(lines.map(\.json)).bytes, type: "application/json")
            if status == 200 {
                progress.accepted += lines.count
                return
            }
            var reasons: [Int: String] = [:]
            for fault in answer["detail"]?.array ?? [] {
                guard let location = fault["loc"]?.array, location.count > 1, let index = location[1].int.map(Int.init),
                    lines.indices.contains(index)
                else {
                    continue
                }
                let reason = "\(location.dropFirst(2).compactMap(\.string).joined(separator: ".")): \(fault["msg"]?.string ?? "")"
                reasons[index] = reasons[index].map { "\($0); \(reason)" } ?? reason
            }
            guard status == 422, !reasons.isEmpty else { throw failure(status, answer) }
            for (index, reason) in reasons.sorted(by: { $0.key < $1.key }) { try refuse(lines[index].number, reason) }
            lines = lines.enumerated().filter { reasons[$0.offset] == nil }.map(\.element)
        }
    }

    /// A line for each, of which the server leaves out the wrong ones.
    func sendStream(_ lines: [Line]) async throws {
        let body = lines.flatMap { $0.json.bytes + [UInt8(ascii: "\n")] }
        let (status, answer) = try await post(body, type: "application/x-ndjson", key: "import \(progress.id) \(lines[0].number)")
        guard status == 200 else { throw failure(status, answer) }
        progress.accepted += Int(answer["aceitas"]?.int ?? 0)
        let faults = answer["erros"]?.array ?? []
        for fault in faults {
            guard let line = fault["linha"]?.int, lines.indices.contains(Int(line) - 1) else { continue }
            try refuse(lines[Int(line) - 1].number, fault["erro"]?.string ?? "")
        }
        let untold = Int(answer["recusadas"]?.int ?? 0) - faults.count
        if untold > 0 { try refuse(lines[0].number, "e mais \(untold) linhas do mesmo lote", count: untold) }
    }

    private func refuse(_ line: Int, _ reason: String, count: Int = 1) throws {
        progress.refused += count
        let text = Data("\(line)\t\(reason)\n".utf8)
        if let handle = FileHandle(forWritingAtPath: refusedPath) {
            try handle.seekToEnd()
            try handle.write(contentsOf: text)
            try handle.close()
        } else {
            try text.write(to: URL(fileURLWithPath: refusedPath))
        }
    }

    private func failure(_ status: Int, _ answer: JSON) -> StartupError {
        StartupError(
            "the server answered \(status): \(answer["detail"]?.string ?? answer.text). \(progress.accepted) are in; run this again to go on."
        )
    }

    private func post(_ body: [UInt8], type: String, key: String? = nil) async throws -> (Int, JSON) {
        var attempt = 0
        while true {
            var request = HTTPClientRequest(url: base + path)
            request.method = .POST
            request.headers.add(name: "authorization", value: authorization)
            request.headers.add(name: "content-type", value: type)
            if let key { request.headers.add(name: "idempotency-key", value: key) }
            request.body = .bytes(ByteBuffer(bytes: body))
            do {
                let response = try await http.execute(request, timeout: .seconds(120))
                let bytes = Array(try await response.body.collect(upTo: 4 << 20).readableBytesView)
                // It has too much to do, or is coming up.
                guard response.status.code == 503 || response.status.code == 429, attempt < 20 else {
                    return (Int(response.status.code), (try? JSON.parse(bytes)) ?? .null)
                }
            } catch {
                guard attempt < 3 else {
                    throw StartupError("\(base) does not answer (\(error)). \(progress.accepted) are in; run this again to go on.")
                }
            }
            attempt += 1
            try await Task.sleep(for: .seconds(1))
        }
    }
}
