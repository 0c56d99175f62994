import Conversations
import Fernet
import Foundation
import Identity
import Integrations
import Kernel
import Storage
import Tenancy

/// The keys that marked columns are encrypted with, and which columns these are.
enum Vault {
    /// Those whose text is sealed. None of them is searched in: e-mails, names, numbers and messages are, and stay plain.
    static let sealed: [(table: Table, columns: Set<String>)] = [
        (IdentityTables.loginAudit, ["address", "agent"]),
        (IdentityTables.loginSessions, ["address", "agent"]),
        (ConversationTables.setAside, ["body"]),
        (WhatsAppNumber.table, ["sealed_token"]),
    ]

    /// `FERNET_KEYS`, of which the first encrypts; or else one that is made up once and kept with the data, for its owner alone to read.
    static func keys(_ settings: Settings) throws -> FernetKeys {
        if let first = settings.fernetKeys.first { return FernetKeys(first, Array(settings.fernetKeys.dropFirst())) }
        let path = settings.dataDirectory + "/fernet.key"
        if FileManager.default.fileExists(atPath: path) {
            let text = (try? String(contentsOfFile: path, encoding: .utf8))?.trimmingCharacters(in: .whitespacesAndNewlines)
            // Another one would not open what this one has sealed: it is not silently replaced.
            guard let key = text.flatMap(FernetKey.init) else {
                throw StartupError("PLANTAO_DATA: '\(path)' cannot be read, or is no key. Restore it from a backup, or set FERNET_KEYS.")
            }
            return FernetKeys(key)
        }
        let key = FernetKey.random()
        guard FileManager.default.createFile(atPath: path, contents: Data(key.text.utf8), attributes: [.posixPermissions: 0o600]) else {
            throw StartupError("PLANTAO_DATA: '\(path)' cannot be written. Set FERNET_KEYS, or free some space.")
        }
        return FernetKeys(key)
    }

    static func seal(_ keys: FernetKeys, _ environment: Kernel.Environment) -> Seal {
        Seal(
            close: { text in
                do { return try keys.encrypt(Array(text.utf8), atSeconds: environment.now().milliseconds / 1000) } catch {
                    preconditionFailure("a key of the right length encrypts anything")
                }
            },
            open: { text in
                guard FernetKeys.isToken(text) else { return text }
                return (try? keys.decrypt(text)).map { String(decoding: $0, as: UTF8.self) }
            }
        )
    }

    /// What access tokens were sealed with before. `nil` before there is a secret.
    static func oldTokens(_ settings: Settings) -> TokenSeal? {
        let kept = try? String(contentsOfFile: settings.dataDirectory + "/secret.key", encoding: .utf8)
        return (settings.secretKey ?? kept).map { TokenSeal(secret: $0) }
    }
}
