import Crypto
package import Kernel
package import Storage
import Synchronization
package import Wire

package enum APIKeyKind {}
package typealias APIKeyID = Identifier<APIKeyKind>

/// What a key opens: of the endpoints of contracts/consultores.md, and of those of customers and sales.
package enum APIKeyScope: String, Sendable, CaseIterable {
    case readConsultores = "consultores:read"
    case writeConsultores = "consultores:write"
    /// `da-vez`, which gives a turn away.
    case takeTurns = "da-vez"
    case readProtocolos = "protocolos:read"
    /// Also `gerar-protocolo`.
    case writeProtocolos = "protocolos:write"
    /// Customers and sales (contracts/ecosys-ms.md, contracts/vendas.md), where the key may also be the password of HTTP Basic.
    case readPortfolio = "portfolio:read"
    /// Also reads.
    case writePortfolio = "portfolio:write"
    /// Kommo's webhooks, as the `token` of their address.
    case tellKommo = "kommo:webhook"

    /// Those of contracts/consultores.md: what a key opens of which nothing else was said.
    package static let ofConsultores: Set<APIKeyScope> = [.readConsultores, .writeConsultores, .takeTurns, .readProtocolos, .writeProtocolos]
}

/// A key with which another program speaks for a business (contracts/consultores.md "Segurança"). Of the key itself only a hash is kept: a key is 256 random bits, so
/// nobody finds it by trying, however fast the hash.
package struct APIKey: Sendable, Equatable {
    package static let table = Table(
        "api_keys",
        since: 8,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .uuid), Column("name", .text), Column("prefix", .text), Column("hash", .text),
            .optional("previous_hash", .text), .optional("previous_until", .timestamp), Column("scopes", .textArray), Column("created_by", .text),
            Column("created_at", .timestamp), .optional("rotated_at", .timestamp), .optional("expires_at", .timestamp),
            .optional("last_used_at", .timestamp),
        ],
        indexes: [Index("api_keys_by_hash", on: ["hash"], isUnique: true)]
    )

    package let tenant: TenantID
    package let id: APIKeyID
    package let name: String
    /// How it begins, by which people tell keys apart.
    package fileprivate(set) var prefix: String
    fileprivate var hash: String
    /// The one before, which goes on opening until then.
    fileprivate var previousHash: String?
    package fileprivate(set) var previousUntil: Timestamp?
    package let scopes: Set<APIKeyScope>
    package let createdBy: String
    package let createdAt: Timestamp
    package fileprivate(set) var rotatedAt: Timestamp?
    package let expiresAt: Timestamp?
    package fileprivate(set) var lastUsedAt: Timestamp?
    fileprivate var version: Int64 = 0

    fileprivate init(_ draft: APIKeyDraft, tenant: TenantID, id: APIKeyID, secret: APIKeySecret, at now: Timestamp) {
        self.tenant = tenant
        self.id = id
        name = draft.name
        scopes = draft.scopes
        expiresAt = draft.expiresAt
        createdBy = draft.createdBy
        createdAt = now
        prefix = secret.prefix
        hash = secret.hash
    }

    fileprivate init(_ row: Row) {
        var row = row
        tenant = row.id()
        id = row.id()
        name = row.text()
        prefix = row.text()
        hash = row.text()
        previousHash = row.optionalText()
        previousUntil = row.optionalTimestamp()
        scopes = Set(row.textArray().compactMap { APIKeyScope(rawValue: $0) })
        createdBy = row.text()
        createdAt = row.timestamp()
        rotatedAt = row.optionalTimestamp()
        expiresAt = row.optionalTimestamp()
        lastUsedAt = row.optionalTimestamp()
        version = row.integer()
    }

    fileprivate mutating func image() -> RowImage {
        version += 1
        return RowImage(
            Self.table,
            version: version,
            values: [
                .id(tenant), .id(id), .text(name), .text(prefix), .text(hash), .optional(previousHash), .optional(previousUntil),
                .textArray(scopes.map(\.rawValue).sorted()), .text(createdBy), .timestamp(createdAt), .optional(rotatedAt), .optional(expiresAt),
                .optional(lastUsedAt),
            ]
        )
    }

    /// Never the key.
    package func writeMembers(to writer: inout JSONWriter) {
        writer.field("id", id.description)
        writer.field("name", name)
        writer.field("prefix", prefix)
        writer.field("scopes", strings: scopes.map(\.rawValue).sorted())
        writer.field("source", "registered")
        writer.field("created_by", createdBy)
        writer.field("created_at", createdAt.description)
        writer.field("rotated_at", rotatedAt?.description)
        writer.field("previous_until", previousUntil?.description)
        writer.field("expires_at", expiresAt?.description)
        writer.field("last_used_at", lastUsedAt?.description)
    }
}

package struct APIKeyDraft: Sendable {
    package let name: String
    package let scopes: Set<APIKeyScope>
    package let expiresAt: Timestamp?
    package let createdBy: String

    package init(name: String, scopes: Set<APIKeyScope>, expiresAt: Timestamp?, createdBy: String) {
        self.name = name
        self.scopes = scopes
        self.expiresAt = expiresAt
        self.createdBy = createdBy
    }
}

/// A key as it is shown, once.
private struct APIKeySecret {
    let text: String
    var prefix: String { String(text.prefix(12)) }
    var hash: String { Self.hash(text) }

    init() {
        var generator = SystemRandomNumberGenerator()
        let bytes = (0..<4).flatMap { _ in withUnsafeBytes(of: generator.next() as UInt64) { Array($0) } }
        text = "plk_" + Self.hexadecimal(bytes)
    }

    static func hash(_ text: String) -> String { hexadecimal(Array(SHA256.hash(data: Array(text.utf8)))) }

    private static func hexadecimal(_ bytes: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }
}

/// The live register of all businesses' keys.
///
/// Each mutation is one turn and one change, answered when it is on disk; what a request is held against is only what was committed, and is read without a wait.
package actor APIKeys {
    package static let maxPerTenant = 100
    /// How long the key before goes on opening, unless told.
    package static let usualGrace = Duration.seconds(24 * 3600)
    package static let longestGrace = Duration.seconds(30 * 24 * 3600)
    /// The last use is written down no more often than this.
    static let useIsNotedEvery = Duration.seconds(60)

    private struct Committed {
        var byHash: [String: APIKey] = [:]
        /// When each was used last, which may not be written down yet.
        var used: [APIKeyID: Timestamp] = [:]
    }

    private let store: any Store
    private let gate: Gate
    private let environment: Environment
    private var keys: [APIKeyID: APIKey] = [:]
    private var activation: Activation?
    private nonisolated let committed = Mutex(Committed())

    package init(store: any Store, gate: Gate, environment: Environment) {
        self.store = store
        self.gate = gate
        self.environment = environment
    }

    package func load() async throws(Refusal) {
        let ended = activation
        guard ended?.isEnded ?? true else { return }
        let loaded = try await store.everything(in: APIKey.table).map(APIKey.init)
        guard activation === ended else { return }
        keys = Dictionary(uniqueKeysWithValues: loaded.map { ($0.id, $0) })
        activation = Activation(tenant: TenantID(UniqueID(high: 0, low: 8)))
        let keys = keys
        committed.withLock { $0.byHash = Self.index(keys) }
    }

    private static func index(_ keys: [APIKeyID: APIKey]) -> [String: APIKey] {
        var byHash: [String: APIKey] = [:]
        for key in keys.values {
            byHash[key.hash] = key
            if let previous = key.previousHash { byHash[previous] = key }
        }
        return byHash
    }

    // MARK: At the door

    package enum Verdict: Sendable {
        case good(APIKey)
        case expired
        case unknown
    }

    /// Whose key it is. That it was used is written down by and by, and delays nobody.
    package nonisolated func verify(_ text: String) -> Verdict {
        // Longer than any of ours: not worth a hash.
        guard text.utf8.count <= 256 else { return .unknown }
        let hash = APIKeySecret.hash(text)
        let now = environment.now()
        return committed.withLock { committed in
            guard let key = committed.byHash[hash] else { return .unknown }
            if let end = key.expiresAt, end <= now { return .expired }
            if key.hash != hash, key.previousUntil.map({ $0 <= now }) ?? true { return .expired }
            committed.used[key.id] = max(committed.used[key.id] ?? now, now)
            return .good(key)
        }
    }

    /// Writes down when keys were used last. To be called now and then.
    package func noteUse() async {
        let used = committed.withLock { $0.used }
        guard !used.isEmpty, let activation, !activation.isEnded else { return }
        var change = Change()
        for (id, time) in used {
            guard var key = keys[id], key.lastUsedAt.map({ $0 + Self.useIsNotedEvery <= time }) ?? true else { continue }
            key.lastUsedAt = time
            change.rows.append(key.image())
            keys[id] = key
        }
        // One that cannot be written is written with the next use.
        if !change.rows.isEmpty { try? await commit(change) }
    }

    // MARK: Turns

    /// A business's, the oldest first, with the last use as it is known and not only as it was written.
    package func keys(of tenant: TenantID) async throws(Refusal) -> [APIKey] {
        try await load()
        try await commit(Change())
        let used = committed.withLock { $0.used }
        return keys.values.filter { $0.tenant == tenant }.map { key in
            var key = key
            if let time = used[key.id] { key.lastUsedAt = max(key.lastUsedAt ?? time, time) }
            return key
        }.sorted { $0.id < $1.id }
    }

    /// - Returns: the key, and its text, which nobody sees again.
    package func create(_ draft: APIKeyDraft, tenant: TenantID) async throws(Refusal) -> (APIKey, String) {
        try gate.admit()
        try await load()
        let mine = keys.values.filter { $0.tenant == tenant }
        guard mine.count < Self.maxPerTenant else {
            throw Refusal(.conflict, "too_many_api_keys", "A empresa já tem \(Self.maxPerTenant) chaves; revogue as que não usa.")
        }
        guard !mine.contains(where: { $0.name == draft.name }) else {
            throw Refusal(.conflict, "api_key_name_taken", "Já há uma chave com este nome.")
        }
        let secret = APIKeySecret()
        let moment = environment.moment()
        var key = APIKey(draft, tenant: tenant, id: moment.id(), secret: secret, at: moment.now)
        var change = Change()
        change.rows = [key.image()]
        keys[key.id] = key
        try await commit(change)
        return (key, secret.text)
    }

    /// A new text for the same key; the one before goes on opening for `grace`, so that its programs can be changed over one by one.
    package func rotate(_ id: APIKeyID, of tenant: TenantID, grace: Duration) async throws(Refusal) -> (APIKey, String) {
        try gate.admit()
        try await load()
        guard var key = keys[id], key.tenant == tenant else { throw .notFound(.apiKey) }
        let secret = APIKeySecret()
        let now = environment.now()
        key.previousHash = grace > .zero ? key.hash : nil
        key.previousUntil = grace > .zero ? now + grace : nil
        key.hash = secret.hash
        key.prefix = secret.prefix
        key.rotatedAt = now
        var change = Change()
        change.rows = [key.image()]
        keys[id] = key
        try await commit(change)
        return (key, secret.text)
    }

    /// From the moment this is answered, it opens nothing.
    package func revoke(_ id: APIKeyID, of tenant: TenantID) async throws(Refusal) {
        try gate.admit()
        try await load()
        guard let key = keys[id], key.tenant == tenant else { throw .notFound(.apiKey) }
        keys[id] = nil
        var change = Change()
        change.rows = [RowImage(deleting: [.id(tenant), .id(id)], from: APIKey.table, version: key.version + 1)]
        try await commit(change)
    }

    private func commit(_ change: Change) async throws(Refusal) {
        guard let activation else { preconditionFailure("a turn before anything was loaded") }
        let now = keys
        let isSilent = change.rows.isEmpty
        let ticket = Ticket()
        gate.enqueue(change, activation) { [self] result in
            if case .success = result, !isSilent { committed.withLock { $0.byHash = Self.index(now) } }
            ticket.settle(result)
        }
        try await ticket.committed()
    }
}
