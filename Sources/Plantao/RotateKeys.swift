import ArgumentParser
import Conversations
import Fernet
import Foundation
import Integrations
import Kernel
import Storage

struct RotateKeys: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate-keys",
        abstract: "Encrypt everything that is sealed anew, with the first of FERNET_KEYS.",
        discussion:
            "Put a new key in front of the old ones, run this while no server runs on the store, and take the old ones away. What was written before there was a key is sealed as well. May be run again at any time."
    )

    func run() async throws {
        try await StartupError.reported {
            let settings = try Settings(environment: ProcessInfo.processInfo.environment)
            try await Transfer.withStore { store in
                let keys = try Vault.keys(settings)
                let environment = Kernel.Environment.system
                let oldTokens = Vault.oldTokens(settings)
                var (rotated, kept, lost) = (0, 0, 0)
                for (table, columns) in Vault.sealed {
                    let positions = table.columns.indices.filter { columns.contains(table.columns[$0].name) }
                    for row in try await Self.rows(of: table, in: store) {
                        var values = row
                        var isChanged = false
                        for position in positions {
                            guard case .text(let text) = values[position], !keys.isCurrent(text) else { continue }
                            let plain: [UInt8]
                            if FernetKeys.isToken(text) {
                                do throws(FernetKeys.NotOurs) { plain = try keys.decrypt(text) } catch {
                                    throw StartupError(
                                        "FERNET_KEYS: none of the keys opens a row of \(table.name). \(rotated) values were encrypted anew; add the key that is missing and run this again."
                                    )
                                }
                            } else if TokenSeal.isSealed(text) {
                                guard let token = oldTokens?.open(text) else {
                                    lost += 1
                                    continue
                                }
                                plain = Array(token.utf8)
                            } else {
                                plain = Array(text.utf8)
                            }
                            values[position] = .text(try keys.encrypt(plain, atSeconds: environment.now().milliseconds / 1000))
                            isChanged = true
                            rotated += 1
                        }
                        guard isChanged, case .integer(let version)? = values.popLast() else {
                            kept += 1
                            continue
                        }
                        try await store.bring([RowImage(table, version: version + 1, values: values)])
                    }
                }
                print("encrypted \(rotated) values anew; \(kept) rows needed nothing")
                if lost > 0 {
                    print("SECRET_KEY: opens \(lost) access tokens of WhatsApp numbers no more; they stay as they are. Register those numbers again.")
                }
            }
        }
    }

    /// All of a table, with each row's version at its end; some at a time, as bodies may be large.
    private static func rows(of table: Table, in store: any ManagedStore) async throws -> [[SQLValue]] {
        let order = table.key.map { "\"\($0)\"" }.joined(separator: ", ")
        var found: [[SQLValue]] = []
        while true {
            let page = try await store.rows(
                .select(from: table, "ORDER BY \(order) LIMIT 500 OFFSET ?", [.integer(Int64(found.count))])
            )
            found += page.map { row in table.columns.indices.map { row[$0] } }
            if page.count < 500 { return found }
        }
    }
}

struct SetAside: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set-aside",
        abstract: "Show the deliveries of WhatsApp's that could not be read or placed, whole, as they came.",
        discussion: "Works on the store that the environment names, while no server runs on it. A line of JSON for each."
    )

    func run() async throws {
        try await StartupError.reported {
            let settings = try Settings(environment: ProcessInfo.processInfo.environment)
            try await Transfer.withStore { store in
                let seal = Vault.seal(try Vault.keys(settings), .system)
                for row in try await store.rows(.select(from: ConversationTables.setAside, "ORDER BY received_at, id")) {
                    guard case .timestamp(let at) = row[1], case .text(let reason) = row[2], case .text(let body) = row[3] else { continue }
                    let line: [String: String] = ["received_at": at.description, "reason": reason, "body": seal.open(body) ?? "(no key opens it)"]
                    let json = try JSONSerialization.data(withJSONObject: line, options: [.sortedKeys, .withoutEscapingSlashes])
                    print(String(decoding: json, as: UTF8.self))
                }
            }
        }
    }
}
