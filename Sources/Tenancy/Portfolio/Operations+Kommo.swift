import CustomerHealth
package import Kernel
package import Storage
package import Wire

// What a business's Kommo calls things, as the business has said.

extension KommoNames {
    private static let maxNames = 1000

    /// `{pipelines, statuses, users}`, each an object of numbers and names; what is left out stays, null empties it.
    func changed(by json: JSON?) throws(Refusal) -> KommoNames {
        var fields = try RequestFields(json)
        var names = self
        for (name, path) in Self.fields where fields.has(name) {
            let given = fields.json(name).map { $0.object.map { Array($0) } } ?? []
            let pairs = given?.compactMap { number, value in value.string.map { (number, $0) } }
            let isRight = pairs.map { pairs in
                pairs.count == given?.count && pairs.count <= Self.maxNames
                    && pairs.allSatisfy { number, text in
                        (1...20).contains(number.utf8.count) && number.utf8.allSatisfy { (48...57).contains($0) }
                            && (1...500).contains(text.unicodeScalars.count) && !text.utf8.contains(0)
                    }
            }
            guard isRight == true, let pairs else {
                fields.refuse(name, "deve ser um objeto de até \(Self.maxNames) números e nomes, como {\"142\": \"CS | ONGOING\"}", type: "dict_type")
                continue
            }
            names[keyPath: path] = Dictionary(pairs) { _, last in last }
        }
        try fields.check()
        return names
    }

    package var json: [UInt8] {
        var writer = JSONWriter(capacity: 1024)
        writer.object { body in
            for (name, path) in Self.fields {
                body.field(name, object: { for (number, text) in self[keyPath: path].sorted(by: { $0.key < $1.key }) { $0.field(number, text) } })
            }
        }
        return writer.bytes
    }

    static func load(_ tenant: TenantID, from store: any Store) async throws(Refusal) -> (names: KommoNames, version: Int64)? {
        let rows = try await store.rows(
            .select(from: CustomerTables.kommoNames, "WHERE tenant_id = ?", [.id(tenant)], tenant: tenant).forDeciding
        )
        guard var row = rows.first else { return nil }
        let _: TenantID = row.id()
        let stored = try? JSON.parse(row.text())
        _ = row.timestamp()
        // As it was written, it was checked.
        let names = try? KommoNames().changed(by: stored)
        return (names ?? KommoNames(), row.integer())
    }

    func image(of tenant: TenantID, version: Int64, at now: Timestamp) -> RowImage {
        RowImage(
            CustomerTables.kommoNames,
            version: version,
            values: [.id(tenant), .json(String(decoding: json, as: UTF8.self)), .timestamp(now)]
        )
    }
}

extension Operations {
    /// `nil` where the business has said nothing.
    package func kommoNames(_ tenant: TenantID) async throws(Refusal) -> KommoNames? {
        try await withPortfolio(tenant) { cell throws(Refusal) in try await cell.kommoNames().committed() }
    }

    /// - Parameter before: what holds where the business has said nothing yet.
    package func putKommoNames(_ json: JSON?, over before: KommoNames, _ tenant: TenantID) async throws(Refusal) -> KommoNames {
        try gate.admit()
        return try await withPortfolio(tenant) { cell throws(Refusal) in try await cell.putKommoNames(json, over: before).committed() }
    }
}

extension TenantCell {
    func kommoNames() -> Pending<KommoNames?> { onPortfolio { portfolio, _ in (portfolio.kommo?.names, Change()) } }

    func putKommoNames(_ json: JSON?, over before: KommoNames) -> Pending<KommoNames> {
        let tenant = tenant
        return onPortfolio { portfolio, moment throws(Refusal) in
            let names = try (portfolio.kommo?.names ?? before).changed(by: json)
            let version = (portfolio.kommo?.version ?? 0) + 1
            portfolio.kommo = (names, version)
            var change = Change()
            change.rows = [names.image(of: tenant, version: version, at: moment.now)]
            return (names, change)
        }
    }
}
