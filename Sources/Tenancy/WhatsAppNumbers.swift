package import Kernel
package import Storage
import Synchronization
package import Wire

/// A WhatsApp number of a business. One business may have several; a number belongs to one business.
package struct WhatsAppNumber: Sendable, Equatable {
    package static let table = Table(
        "whatsapp_numbers",
        since: 6,
        key: ["tenant_id", "phone_number_id"],
        columns: [
            Column("tenant_id", .uuid), Column("phone_number_id", .text), .optional("waba_id", .text), .optional("display_number", .text),
            .optional("sealed_token", .text), Column("created_at", .timestamp),
        ],
        indexes: [Index("whatsapp_numbers_by_id", on: ["phone_number_id"], isUnique: true)]
    )

    package let tenant: TenantID
    /// Meta's id of the number, which webhooks name.
    package let phoneNumberID: String
    package let wabaID: String?
    /// As people dial it.
    package let displayNumber: String?
    /// Its own access token, sealed; `nil`: the server's.
    package let sealedToken: String?
    package let createdAt: Timestamp
    fileprivate(set) var version: Int64 = 0

    package init(
        tenant: TenantID,
        phoneNumberID: String,
        wabaID: String?,
        displayNumber: String?,
        sealedToken: String?,
        createdAt: Timestamp
    ) {
        self.tenant = tenant
        self.phoneNumberID = phoneNumberID
        self.wabaID = wabaID
        self.displayNumber = displayNumber
        self.sealedToken = sealedToken
        self.createdAt = createdAt
    }

    init(_ row: Row) {
        var row = row
        tenant = row.id()
        phoneNumberID = row.text()
        wabaID = row.optionalText()
        displayNumber = row.optionalText()
        sealedToken = row.optionalText()
        createdAt = row.timestamp()
        version = row.integer()
    }

    fileprivate var image: RowImage {
        RowImage(
            Self.table,
            version: version,
            values: [
                .id(tenant), .text(phoneNumberID), .optional(wabaID), .optional(displayNumber), .optional(sealedToken), .timestamp(createdAt),
            ]
        )
    }

    /// Never the token.
    package func write(to writer: inout JSONWriter) {
        writer.object {
            $0.field("phone_number_id", phoneNumberID)
            $0.field("waba_id", wabaID)
            $0.field("display_number", displayNumber)
            $0.field("source", "registered")
            $0.field("own_token", sealedToken != nil)
            $0.field("created_at", createdAt.description)
        }
    }
}

/// The live register of all businesses' numbers. A delivery finds its business here, change by change.
///
/// Each mutation is one turn and one change, answered when it is on disk; what is looked up with every delivery is only what was committed.
package actor WhatsAppNumbers {
    package static let maxPerTenant = 50

    private let store: any Store
    private let gate: Gate
    private let environment: Environment
    /// Which other business has the number by the server's own configuration.
    private let configured: @Sendable (String) async -> TenantID?
    private var numbers: [String: WhatsAppNumber] = [:]
    private var lastVersion: [String: Int64] = [:]
    private var activation: Activation?
    private nonisolated let committed = Mutex<[String: WhatsAppNumber]>([:])

    package init(
        store: any Store,
        gate: Gate,
        environment: Environment,
        configured: @escaping @Sendable (String) async -> TenantID?
    ) {
        self.store = store
        self.gate = gate
        self.environment = environment
        self.configured = configured
    }

    package func load() async throws(Refusal) {
        let ended = activation
        guard ended?.isEnded ?? true else { return }
        let loaded = try await store.everything(in: WhatsAppNumber.table).map(WhatsAppNumber.init)
        guard activation === ended else { return }
        let numbers = Dictionary(loaded.map { ($0.phoneNumberID, $0) }) { first, _ in first }
        self.numbers = numbers
        activation = Activation(tenant: TenantID(UniqueID(high: 0, low: 3)))
        committed.withLock { $0 = numbers }
    }

    // MARK: Looking up

    package nonisolated func tenant(of phoneNumberID: String) -> TenantID? { committed.withLock { $0[phoneNumberID]?.tenant } }

    package nonisolated func number(_ phoneNumberID: String, of tenant: TenantID) -> WhatsAppNumber? {
        committed.withLock { $0[phoneNumberID] }.flatMap { $0.tenant == tenant ? $0 : nil }
    }

    /// The oldest first.
    package nonisolated func numbers(of tenant: TenantID) -> [WhatsAppNumber] {
        committed.withLock { $0.values.filter { $0.tenant == tenant } }.sorted { ($0.createdAt, $0.phoneNumberID) < ($1.createdAt, $1.phoneNumberID) }
    }

    // MARK: Turns

    /// Makes the number the business's, or changes what is known of it.
    /// - Returns: whether it is new.
    package func register(_ number: WhatsAppNumber) async throws(Refusal) -> Bool {
        try gate.admit()
        try await load()
        if let other = await configured(number.phoneNumberID), other != number.tenant { throw Self.taken }
        if let before = numbers[number.phoneNumberID], before.tenant != number.tenant { throw Self.taken }
        let isNew = numbers[number.phoneNumberID] == nil
        guard !isNew || numbers.values.count(where: { $0.tenant == number.tenant }) < Self.maxPerTenant else {
            throw Refusal(.conflict, "too_many_numbers", "A empresa já tem \(Self.maxPerTenant) números.")
        }
        var number = number
        // A number that went and came back goes on counting from where its deleted row was.
        number.version = max(numbers[number.phoneNumberID]?.version ?? 0, lastVersion[number.phoneNumberID] ?? 0) + 1
        numbers[number.phoneNumberID] = number
        var change = Change()
        change.rows = [number.image]
        try await commit(change)
        return isNew
    }

    package func remove(_ phoneNumberID: String, of tenant: TenantID) async throws(Refusal) {
        try gate.admit()
        try await load()
        guard let number = numbers[phoneNumberID], number.tenant == tenant else {
            throw Refusal(.notFound, "not_found", "Número não encontrado")
        }
        numbers[phoneNumberID] = nil
        lastVersion[phoneNumberID] = number.version + 1
        var change = Change()
        change.rows = [RowImage(deleting: [.id(tenant), .text(phoneNumberID)], from: WhatsAppNumber.table, version: number.version + 1)]
        try await commit(change)
    }

    private static let taken = Refusal(.conflict, "number_taken", "Este número já está em uso por outra empresa.")

    private func commit(_ change: Change) async throws(Refusal) {
        guard let activation else { preconditionFailure("a turn before anything was loaded") }
        let now = numbers
        let ticket = Ticket()
        gate.enqueue(change, activation) { [self] result in
            if case .success = result { committed.withLock { $0 = now } }
            ticket.settle(result)
        }
        try await ticket.committed()
    }
}
