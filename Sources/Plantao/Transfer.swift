import ArgumentParser
import Foundation
import Identity
import Kernel
import Logging
import Storage

struct Export: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Write a whole tenant to a file, which import brings into another store.",
        discussion: "Works on the store that the environment names (DATABASE_URL, PLANTAO_DATA), while no server runs on it."
    )

    @Option(help: "The tenant's id or slug. May be left out when there is only one.")
    var tenant: String?

    @Option(name: .shortAndLong, help: "The file to write, which must not exist; - for standard output.")
    var output = "-"

    func run() async throws {
        try await StartupError.reported {
            try await Transfer.withStore { store in
                let id = try await Transfer.tenant(tenant, in: store)
                let held = try await store.quarantined(of: id).filter { $0.tenant == id }
                if let first = held.first {
                    throw StartupError(
                        "\(held.count) rows of this tenant wait in quarantine and would be missing: \(first.table) \(first.key.last ?? ""), \(first.reason), and so on. Mend the cause, start the server or run this again, and export then."
                    )
                }
                let file = try Transfer.create(output)
                let summary: TenantArchive.Summary
                do {
                    summary = try await TenantArchive(schema: Server.schema).export(
                        id,
                        from: store,
                        now: Kernel.Environment.system.now(),
                        progress: { Transfer.say("\($0) rows") },
                        write: { try file.write(contentsOf: Data(($0 + "\n").utf8)) }
                    )
                    if output != "-" { try file.synchronize() }
                } catch {
                    // A part of an archive is of no use, and must not be taken for one.
                    if output != "-" { try? FileManager.default.removeItem(atPath: output) }
                    throw StartupError("the export failed, and left no file: \(error)")
                }
                Transfer.say("exported '\(summary.name)': \(summary.described)", isLast: true)
            }
        }
    }
}

struct Import: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Bring a tenant in from a file that export wrote; or customers and what they did, into a running server.",
        subcommands: [ImportTenant.self, ImportCustomers.self, ImportActivities.self],
        defaultSubcommand: ImportTenant.self
    )
}

struct ImportTenant: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tenant",
        abstract: "Bring a tenant in from a file that export wrote.",
        discussion:
            "The file is read to its end before anything is written. Works on the store that the environment names (DATABASE_URL, PLANTAO_DATA), while no server runs on it. Run it again if it was interrupted."
    )

    @Argument(help: "The file.")
    var file: String

    func run() async throws {
        try await StartupError.reported {
            guard let lines = LineReader(path: file) else { throw StartupError("'\(file)' cannot be read.") }
            let archive = TenantArchive(schema: Server.schema)
            let summary: TenantArchive.Summary
            do { summary = try archive.check(lines.next) } catch let error as ArchiveError {
                throw StartupError("'\(file)' is not imported: \(error). Nothing was changed.")
            }
            try await Transfer.withStore { store in
                let present = try await store.rows(.select(from: IdentityTables.tenants)).map(Tenant.init)
                if let same = present.first(where: { $0.id == summary.tenant }) {
                    throw StartupError("'\(same.name)' (\(same.id)) is here already; nothing was changed.")
                }
                guard let again = LineReader(path: file) else { throw StartupError("'\(file)' cannot be read.") }
                do {
                    _ = try await archive.bring(again.next, into: store) { Transfer.say("\($0) of \(summary.rows) rows") }
                } catch let error as JournalError where error.kind == .content {
                    throw StartupError(
                        "the tenant cannot be brought in: another one here has the same slug, WhatsApp number or user's e-mail (\(error)). It is not visible; change one of them and import again."
                    )
                } catch let error as JournalError {
                    throw StartupError("the store failed (\(error)). What was written is not visible; import again once it is well.")
                }
                Transfer.say("imported '\(summary.name)': \(summary.described)", isLast: true)
            }
        }
    }
}

enum Transfer {
    /// Opens the store that the environment names, as a server would: alone.
    static func withStore(_ body: (any ManagedStore) async throws -> Void) async throws {
        let settings = try Settings(environment: ProcessInfo.processInfo.environment)
        LoggingSystem.bootstrap { label in JSONLogHandler(logLevel: .warning, label: label) }
        let store = try await Server(settings: settings, logger: Logger(label: "plantao")).openStore(.system)
        do { try await body(store) } catch {
            await store.close()
            if let refusal = error as? Refusal { throw StartupError("the store cannot be read: \(refusal)") }
            throw error
        }
        await store.close()
    }

    static func tenant(_ name: String?, in store: any ManagedStore) async throws -> TenantID {
        let tenants = try await store.rows(.select(from: IdentityTables.tenants)).map(Tenant.init)
        let list = tenants.map { "  \($0.id)  \($0.slug)  \($0.name)" }.joined(separator: "\n")
        guard let name else {
            guard tenants.count == 1, let only = tenants.first else {
                throw StartupError("--tenant is needed; there are:\n\(list)")
            }
            return only.id
        }
        guard let found = tenants.first(where: { $0.slug == name || $0.id.description == name.lowercased() }) else {
            throw StartupError("there is no tenant '\(name)'; there are:\n\(list)")
        }
        return found.id
    }

    static func create(_ path: String) throws -> FileHandle {
        if path == "-" { return .standardOutput }
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw StartupError("'\(path)' cannot be made: \(String(cString: strerror(errno))).") }
        return FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    }

    /// Progress, on standard error: over and over in one line where somebody looks at it.
    static func say(_ text: String, isLast: Bool = false) {
        let isTerminal = isatty(2) == 1
        guard isLast || isTerminal else { return }
        FileHandle.standardError.write(Data((isTerminal ? "\r\u{1b}[K" : "").utf8) + Data((text + (isLast ? "\n" : "")).utf8))
    }
}

extension TenantArchive.Summary {
    fileprivate var described: String {
        "\(rows) rows (" + tables.sorted { $0.key < $1.key }.map { "\($0.value) \($0.key)" }.joined(separator: ", ") + ")"
    }
}

/// Reads a text file line by line, however large it is.
final class LineReader {
    private let file: FileHandle
    private var buffer: [UInt8] = []
    private var position = 0
    private var isAtEnd = false

    init?(path: String) {
        guard let file = FileHandle(forReadingAtPath: path) else { return nil }
        self.file = file
    }

    /// The next line without its end; `nil` after the last.
    func next() throws -> String? {
        var searched = position
        while true {
            if let end = buffer[searched...].firstIndex(of: UInt8(ascii: "\n")) {
                defer { position = end + 1 }
                return String(decoding: buffer[position..<end], as: UTF8.self)
            }
            searched = buffer.count - position
            buffer.removeFirst(position)
            position = 0
            if isAtEnd {
                guard !buffer.isEmpty else { return nil }
                defer { buffer = [] }
                return String(decoding: buffer, as: UTF8.self)
            }
            guard let more = try file.read(upToCount: 1 << 20), !more.isEmpty else {
                isAtEnd = true
                continue
            }
            buffer.append(contentsOf: more)
        }
    }
}
