package import Kernel
package import Storage
import Wire

#if canImport(FoundationEssentials)
    import FoundationEssentials
#else
    import Foundation
#endif

package enum CustomerTables {
    package static let customers = Table(
        "customers",
        since: 12,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .integer), .optional("nome", .text), .optional("slug", .text), .optional("razao_social", .text),
            .optional("cnpj", .integer), Column("valor", .numeric), Column("setup_value", .numeric), .optional("vendedor", .text),
            .optional("vendedor_id", .integer), .optional("cs", .text), .optional("status", .text), .optional("pipeline", .text),
            .optional("email", .text), .optional("data_adesao", .timestamp), .optional("data_start_onboarding", .timestamp),
            .optional("data_end_onboarding", .timestamp), .optional("data_cancelamento", .timestamp), .optional("motivos_churn", .text),
            .optional("descricao_cancelamento", .text), .optional("criado_em", .timestamp), .optional("atualizado_em", .timestamp),
            Column("parcelas_atrasadas", .integer), Column("sale_history", .json, since: 22), Column("in_source", .boolean, since: 23),
            Column("crm_times", .json, since: 25),
        ]
    )

    /// The customers of those of a CRM's leads that are not customers of their own number, or of whom the lead made one.
    package static let leads = Table(
        "customer_leads",
        since: 23,
        key: ["tenant_id", "lead_id"],
        columns: [
            Column("tenant_id", .uuid), Column("lead_id", .integer), Column("customer_id", .integer), Column("made", .boolean, since: 25),
            Column("said_at", .timestamp, since: 25),
        ]
    )

    /// What a customer does, as the score needs it. One row for each, whatever it does.
    package static let vitals = Table(
        "customer_vitals",
        since: 12,
        key: ["tenant_id", "customer_id"],
        columns: [
            Column("tenant_id", .uuid), Column("customer_id", .integer), .optional("last_login", .timestamp), .optional("last_entrada", .timestamp),
            .optional("last_saida", .timestamp), .optional("last_lead", .timestamp), Column("days", .json), Column("scores", .json),
            .optional("engagement", .integer), .optional("stock", .integer), .optional("crm", .integer), .optional("adoption", .integer),
            Column("category_since", .timestamp), .optional("acted_on", .integer), Column("econversa", .boolean), Column("integrators", .textArray),
            Column("econversa_since", .timestamp, since: 23), Column("integrator_times", .json, since: 23), Column("as_of", .timestamp, since: 23),
        ]
    )

    package static let logins = Table(
        "customer_logins",
        since: 12,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .integer), Column("customer_id", .integer), .optional("user_name", .text),
            .optional("user_email", .text), Column("at", .timestamp),
        ],
        indexes: [
            Index("customer_logins_by_customer", on: ["tenant_id", "customer_id", "at"]),
            Index("customer_logins_by_time", on: ["tenant_id", "at"], since: 21),
        ]
    )

    /// The score at the end of each day on which it moved. On the days between two rows it was what the earlier one says.
    package static let snapshots = Table(
        "health_snapshots",
        since: 12,
        key: ["tenant_id", "customer_id", "day"],
        columns: [
            Column("tenant_id", .uuid), Column("customer_id", .integer), Column("day", .integer), Column("engagement", .integer),
            Column("stock", .integer), Column("crm", .integer), Column("adoption", .integer),
        ]
    )

    /// What whoever is responsible for a customer was told to do.
    package static let actions = Table(
        "customer_actions",
        since: 12,
        key: ["tenant_id", "id"],
        columns: [
            Column("tenant_id", .uuid), Column("id", .uuid), Column("customer_id", .integer), .optional("cs", .text), Column("category", .integer),
            .optional("previous_category", .integer), Column("total", .integer), Column("created_at", .timestamp), .optional("done_at", .timestamp),
            .optional("done_by", .text),
        ],
        indexes: [
            Index("customer_actions_by_customer", on: ["tenant_id", "customer_id", "created_at"]),
            Index("customer_actions_open", on: ["tenant_id", "done_at", "id"], since: 21),
        ]
    )

    /// What a business's Kommo calls things.
    package static let kommoNames = Table(
        "kommo_names",
        since: 21,
        key: ["tenant_id"],
        columns: [Column("tenant_id", .uuid), Column("names", .json), Column("updated_at", .timestamp)]
    )

    package static let all = [customers, leads, vitals, logins, snapshots, actions, kommoNames]
}

extension Money {
    var decimal: Decimal { Decimal(sign: centavos < 0 ? .minus : .plus, exponent: -2, significand: Decimal(centavos.magnitude)) }

    /// As it was stored: never more than centavos.
    init(stored: Decimal) { self = Money(decimal: stored.description) ?? .zero }
}

extension Customer {
    package init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        self.init(id: row.integer())
        nome = row.optionalText()
        slug = row.optionalText()
        razaoSocial = row.optionalText()
        cnpj = row.optionalInteger()
        valor = Money(stored: row.numeric())
        setup = Money(stored: row.numeric())
        vendedor = row.optionalText()
        vendedorID = row.optionalInteger()
        cs = row.optionalText()
        status = row.optionalText()
        pipeline = row.optionalText()
        email = row.optionalText()
        dataAdesao = row.optionalTimestamp()
        inicioOnboarding = row.optionalTimestamp()
        fimOnboarding = row.optionalTimestamp()
        dataCancelamento = row.optionalTimestamp()
        motivosChurn = row.optionalText()
        descricaoCancelamento = row.optionalText()
        criadoEm = row.optionalTimestamp()
        atualizadoEm = row.optionalTimestamp()
        parcelasAtrasadas = Int(row.integer())
        history = SaleHistory(stored: row.optionalText())
        isInSource = row.optionalBoolean() ?? false
        crm = CRMTimes(stored: row.optionalText(), updatedAt: atualizadoEm)
        version = row.integer()
    }

    func image(of tenant: TenantID) -> RowImage {
        RowImage(
            CustomerTables.customers,
            version: version,
            values: [
                .id(tenant), .integer(id), .optional(nome), .optional(slug), .optional(razaoSocial), .optional(cnpj), .numeric(valor.decimal),
                .numeric(setup.decimal), .optional(vendedor), .optional(vendedorID), .optional(cs), .optional(status), .optional(pipeline),
                .optional(email), .optional(dataAdesao), .optional(inicioOnboarding), .optional(fimOnboarding), .optional(dataCancelamento),
                .optional(motivosChurn), .optional(descricaoCancelamento), .optional(criadoEm), .optional(atualizadoEm),
                .integer(Int64(parcelasAtrasadas)), history.stored.map { .json($0) } ?? .null, .boolean(isInSource), .json(crm.stored),
            ]
        )
    }
}

extension CRMTimes {
    /// `[overridden, [milliseconds, fields], …]`, fields as bits.
    var stored: String {
        JSON.array([.int(Int64(overridden.rawValue))] + said.map { .array([.int($0.at.milliseconds), .int(Int64($0.fields.rawValue))]) }).text
    }

    /// - Parameter updatedAt: of a row that says nothing of it, since when all of it is as it is.
    init(stored text: String?, updatedAt: Timestamp?) {
        guard let list = text.flatMap({ try? JSON.parse($0) })?.array, let overridden = list.first?.int else {
            self.init(said: updatedAt.map { [Said(at: $0, fields: [.all, .unkept])] } ?? [], overridden: [])
            return
        }
        func fields(_ bits: Int64) -> CustomerFields { CustomerFields(rawValue: UInt32(clamping: bits)) }
        self.init(
            said: list.dropFirst().compactMap { entry in
                guard let parts = entry.array, parts.count == 2, let at = parts[0].int, let bits = parts[1].int else { return nil }
                return Said(at: Timestamp(milliseconds: at), fields: fields(bits))
            },
            overridden: fields(overridden)
        )
    }
}

extension SaleHistory {
    /// `{periods: [[month, valor, setup, vendedor_id, vendedor, parcelas]], absences: [[from, back]], steps: [[month, before, after]], churned}`: months since January of
    /// the year 0, days since 1970-01-01, amounts in centavos. `nil` where there is nothing to remember.
    var stored: String? {
        if isEmpty { return nil }
        var writer = JSONWriter()
        writer.object {
            $0.list("periods") { list in
                for period in periods {
                    list.array {
                        $0.int(Int64(period.through.index))
                        $0.int(period.terms.valor.centavos)
                        $0.int(period.terms.setup.centavos)
                        if let id = period.terms.vendedorID { $0.int(id) } else { $0.raw("null") }
                        if let name = period.terms.vendedor { $0.string(name) } else { $0.raw("null") }
                        $0.int(Int64(period.terms.parcelasAtrasadas))
                    }
                }
            }
            $0.list("absences") { list in
                for absence in absences {
                    list.array {
                        $0.int(Int64(absence.from.days))
                        $0.int(Int64(absence.back.days))
                    }
                }
            }
            $0.list("steps") { list in
                for step in steps {
                    list.array {
                        $0.int(Int64(step.month.index))
                        $0.int(step.before.centavos)
                        $0.int(step.after.centavos)
                    }
                }
            }
            $0.field("churned", churnedOn.map { Int64($0.days) })
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    init(stored text: String?) {
        guard let json = text.flatMap({ try? JSON.parse($0) }) else {
            self.init()
            return
        }
        func rows(_ name: String, _ count: Int) -> [[JSON]] { (json[name]?.array ?? []).compactMap(\.array).filter { $0.count == count } }
        func month(_ json: JSON) -> YearMonth { YearMonth(index: Int32(clamping: json.int ?? 0)) }
        func day(_ json: JSON) -> CivilDate { CivilDate(days: Int32(clamping: json.int ?? 0)) }
        func money(_ json: JSON) -> Money { Money(centavos: json.int ?? 0) }
        self.init(
            periods: rows("periods", 6).map {
                Period(
                    through: month($0[0]),
                    terms: Terms(
                        valor: money($0[1]),
                        setup: money($0[2]),
                        vendedor: $0[4].string,
                        vendedorID: $0[3].int,
                        parcelasAtrasadas: Int($0[5].int ?? 0)
                    )
                )
            },
            absences: rows("absences", 2).map { Absence(from: day($0[0]), back: day($0[1])) },
            steps: rows("steps", 3).map { Step(month: month($0[0]), before: money($0[1]), after: money($0[2])) },
            churnedOn: json["churned"]?.int.map { CivilDate(days: Int32(clamping: $0)) }
        )
    }
}

extension CustomerVitals {
    /// What a row says, and whose it is.
    static func stored(_ row: Row) -> (customer: Int64, StoredVitals) {
        var row = row
        let _: TenantID = row.id()
        let customer = row.integer()
        let last = (0..<4).map { _ in row.optionalTimestamp() }
        let days = numbers(row.text())
        let scores = numbers(row.text())
        let pillars = (0..<4).map { _ in row.optionalInteger() }
        let since = row.timestamp()
        let acted = row.optionalInteger()
        let hasEConversa = row.boolean()
        let integrators = row.textArray()
        let econversaSince = row.optionalTimestamp()
        let times = row.optionalText()
        let asOf = row.optionalTimestamp()
        let current = pillars.contains(nil) ? nil : pillars.compactMap { $0 }
        var vitals = CustomerVitals(
            last: last,
            days: days.nested,
            day: Int32(clamping: days.head),
            scores: scores.flat,
            scoreDay: Int32(clamping: scores.head),
            current: current.map { HealthScore(engagement: $0[0], stock: $0[1], crm: $0[2], adoption: $0[3]) },
            categorySince: since,
            hasEConversa: hasEConversa,
            econversaSince: econversaSince
        )
        vitals.actedOn = acted.flatMap { HealthCategory(rawValue: UInt8(clamping: $0)) }
        vitals.version = row.integer()
        var stored = StoredVitals()
        stored.vitals = vitals
        stored.integrators = times.flatMap { Self.integrators($0) } ?? integrators.map { Integrator(name: $0, isActive: true) }
        stored.asOf = asOf
        return (customer, stored)
    }

    /// `[[name, connected, milliseconds], …]`
    private static func integrators(_ text: String) -> [Integrator]? {
        (try? JSON.parse(text))?.array?.compactMap { entry in
            guard let parts = entry.array, parts.count == 3, let name = parts[0].string else { return nil }
            return Integrator(name: name, isActive: parts[1].bool ?? false, at: parts[2].int.map { Timestamp(milliseconds: $0) })
        }
    }

    private static func text(_ integrators: [Integrator]) -> String {
        JSON.array(
            integrators.map { .array([.string($0.name), .bool($0.isActive), $0.at.map { .int($0.milliseconds) } ?? .null]) }
        ).text
    }

    private static func numbers(_ text: String) -> (head: Int64, flat: [Int64], nested: [[Int64]]) {
        guard let list = (try? JSON.parse(text))?.array, let head = list.first?.int else { return (0, [], []) }
        return (head, list.dropFirst().compactMap(\.int), list.dropFirst().compactMap { $0.array?.compactMap(\.int) })
    }

    /// - Parameter now: the score is what it is.
    func image(of customer: Int64, integrators: [Integrator], tenant: TenantID, now: Timestamp) -> RowImage {
        func pillar(_ value: UInt8) -> SQLValue { hasScore ? .integer(Int64(value)) : .null }
        return RowImage(
            CustomerTables.vitals,
            version: version,
            values: [
                .id(tenant), .integer(customer), .optional(lastOne(.login)), .optional(lastOne(.entrada)), .optional(lastOne(.saida)),
                .optional(lastOne(.lead)), .json(storedDays), .json(storedScores), pillar(current.engagement), pillar(current.stock),
                pillar(current.crm), pillar(current.adoption), .timestamp(categorySince), .optional(actedOn.map { Int64($0.rawValue) }),
                .boolean(hasEConversa), .textArray(integrators.filter(\.isActive).map(\.name)), .optional(econversaSince),
                integrators.isEmpty ? .null : .json(Self.text(integrators)), .timestamp(now),
            ]
        )
    }

    /// Of the end of a day, as far as is known.
    func snapshot(of customer: Int64, _ score: HealthScore, on day: CivilDate, tenant: TenantID) -> RowImage {
        RowImage(
            CustomerTables.snapshots,
            version: version,
            values: [
                .id(tenant), .integer(customer), .integer(Int64(day.days)), .integer(Int64(score.engagement)), .integer(Int64(score.stock)),
                .integer(Int64(score.crm)), .integer(Int64(score.adoption)),
            ]
        )
    }
}

extension Login {
    package init(_ row: Row) {
        var row = row
        let _: TenantID = row.id()
        id = row.integer()
        customer = row.integer()
        userName = row.optionalText()
        userEmail = row.optionalText()
        at = row.timestamp()
    }

    package static func deletion(_ id: Int64, of tenant: TenantID) -> RowImage {
        RowImage(deleting: [.id(tenant), .integer(id)], from: CustomerTables.logins, version: 2)
    }

    func image(of tenant: TenantID) -> RowImage {
        RowImage(
            CustomerTables.logins,
            version: 1,
            values: [.id(tenant), .integer(id), .integer(customer), .optional(userName), .optional(userEmail), .timestamp(at)]
        )
    }
}
