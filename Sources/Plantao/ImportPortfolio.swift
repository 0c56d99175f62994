import ArgumentParser
import AsyncHTTPClient
import Foundation
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
        try await options.run(path: "/clientes", batch: 500) { importer, lines in try await importer.sendList(lines) }
    }
}

struct ImportActivities: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "atividades",
        abstract: "Record the activities of a CSV or NDJSON file in a running server.",
        discussion: ImportOptions.discussion
    )

    @OptionGroup var options: ImportOptions

    func run() async throws {
        try await options.run(path: "/atividades", batch: 1000) { importer, lines in try await importer.sendStream(lines) }
    }
}

struct ImportOptions: ParsableArguments {
    static let discussion = """
        A CSV file names its columns in the first line, as the API names its fields; `,` or `;` stands between them. Lines that the server refuses are left out, and \
        written with the reason to FILE.recusadas. How far it came stands in FILE.progresso: run it again after an interruption, and it goes on from there; what \
        was sent twice counts once. Exits with 1 when lines were refused.
        """

    @Argument(help: "The file.") var file: String
    @Option(help: "Where the server is.") var url = "http://127.0.0.1:8080"
    @Option(help: "user:password of HTTP Basic. Default: the first of BASIC_AUTH_USERS.") var user: String?
    @Flag(help: "Begin again, whatever was sent before.") var restart = false

    func run(path: String, batch: Int, send: (PortfolioImporter, [PortfolioImporter.Line]) async throws -> Void) async throws {
        var refused = 0
        try await StartupError.reported {
            let given = user ?? ProcessInfo.processInfo.environment["BASIC_AUTH_USERS"]?.split(separator: ",").first.map(String.init)
            guard let given, given.contains(":") else { throw StartupError("--user user:password is needed, or BASIC_AUTH_USERS.") }
            let importer = try PortfolioImporter(file: file, url: url, path: path, user: given, restart: restart)
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
        var lines = 0
        var accepted = 0
        var refused = 0
    }

    private(set) var progress: Progress
    private let file: String
    private let path: String
    private let base: String
    private let authorization: String
    private let size: Int
    private let http = HTTPClient(eventLoopGroupProvider: .singleton)
    private var reader: LineReader
    private var columns: [String]?
    private var separator: Character = ","
    private var read = 0
    private var bytes = 0

    private var progressPath: String { file + ".progresso" }
    private var refusedPath: String { file + ".recusadas" }

    init(file: String, url: String, path: String, user: String, restart: Bool) throws {
        guard let reader = LineReader(path: file), let attributes = try? FileManager.default.attributesOfItem(atPath: file),
            let size = attributes[.size] as? Int
        else { throw StartupError("'\(file)' cannot be read.") }
        self.file = file
        self.path = path
        self.reader = reader
        self.size = size
        base = url.hasSuffix("/") ? String(url.dropLast()) : url
        authorization = "Basic " + Data(user.utf8).base64EncodedString()
        progress = Progress(id: UUID().uuidString, size: size)
        if restart {
            try? FileManager.default.removeItem(atPath: progressPath)
        } else if let data = FileManager.default.contents(atPath: progressPath), let kept = try? JSONDecoder().decode(Progress.self, from: data) {
            guard kept.size == size else {
                throw StartupError("'\(file)' has changed since the import of it began; import it with --restart, or bring the old one back.")
            }
            progress = kept
        }
        if progress.lines == 0 { try? FileManager.default.removeItem(atPath: refusedPath) }
    }

    func close() async throws { try await http.shutdown() }

    func run(batch: Int, send: (PortfolioImporter, [Line]) async throws -> Void) async throws {
        try readColumns()
        let start = progress.lines
        if start > 0 { Transfer.say("going on behind line \(start)", isLast: true) }
        var lines: [Line] = []
        var inBatch = 0
        while let text = try reader.next() {
            read += 1
            bytes += text.utf8.count + 1
            guard read > start else { continue }
            inBatch += 1
            if !text.allSatisfy(\.isWhitespace) {
                if let json = parse(text) {
                    lines.append(Line(number: read, json: json))
                } else {
                    try refuse(read, "não é um objeto JSON nem uma linha com as colunas da primeira")
                }
            }
            guard inBatch == batch else { continue }
            try await commit(lines, send)
            (lines, inBatch) = ([], 0)
        }
        try await commit(lines, send)
        try? FileManager.default.removeItem(atPath: progressPath)
        let hint = progress.refused > 0 ? "; see \(refusedPath)" : ""
        Transfer.say("\(progress.accepted) accepted, \(progress.refused) refused\(hint)", isLast: true)
    }

    private func commit(_ lines: [Line], _ send: (PortfolioImporter, [Line]) async throws -> Void) async throws {
        if !lines.isEmpty { try await send(self, lines) }
        progress.lines = read
        try JSONEncoder().encode(progress).write(to: URL(fileURLWithPath: progressPath), options: .atomic)
        Transfer.say("\(bytes * 100 / max(size, 1)) %  \(progress.accepted) accepted, \(progress.refused) refused")
    }

    // MARK: Reading

    /// The first line of a CSV file; one of NDJSON begins with a brace, and is no such thing.
    private func readColumns() throws {
        guard let first = LineReader(path: file), let line = try first.next() else { return }
        let text = line.hasPrefix("\u{feff}") ? String(line.dropFirst()) : line
        guard !text.hasPrefix("{") else { return }
        separator = text.contains(";") ? ";" : ","
        columns = fields(text).map { $0.lowercased().filter { $0 != " " } }
        _ = try reader.next()
        read = 1
        bytes = line.utf8.count + 1
    }

    private func parse(_ text: String) -> JSON? {
        guard let columns else {
            let json = try? JSON.parse(text)
            return json?.object == nil ? nil : json
        }
        let values = fields(text)
        guard values.count == columns.count else { return nil }
        var object = JSON.emptyObject
        for (name, value) in zip(columns, values) where !value.isEmpty {
            switch (name, value.lowercased()) {
            case ("ativo", "true"), ("ativo", "1"), ("ativo", "sim"): object = object.adding(name, true)
            case ("ativo", "false"), ("ativo", "0"), ("ativo", "não"): object = object.adding(name, false)
            default: object = object.adding(name, .string(value))
            }
        }
        return object
    }

    /// RFC 4180, of one line.
    private func fields(_ line: String) -> [String] {
        var fields: [String] = []
        var field = ""
        var isQuoted = false
        var characters = (line.hasSuffix("\r") ? line.dropLast() : line[...])
        while let character = characters.popFirst() {
            if isQuoted {
                if character == "\"" {
                    if characters.first == "\"" { field.append(characters.removeFirst()) } else { isQuoted = false }
                } else {
                    field.append(character)
                }
            } else if character == "\"", field.isEmpty {
                isQuoted = true
            } else if character == separator {
                fields.append(field)
                field = ""
            } else {
                field.append(character)
            }
        }
        return fields + [field]
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
