/// Fields of a customer, as bits; their numbers are what is stored.
package struct CustomerFields: OptionSet, Sendable, Hashable {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    package static let vendedor = CustomerFields(rawValue: 1 << 3)
    package static let descricaoCancelamento = CustomerFields(rawValue: 1 << 9)
    package static let vendedorID = CustomerFields(rawValue: 1 << 11)
    package static let valor = CustomerFields(rawValue: 1 << 12)
    package static let setup = CustomerFields(rawValue: 1 << 13)
    package static let parcelasAtrasadas = CustomerFields(rawValue: 1 << 14)
    package static let dataCancelamento = CustomerFields(rawValue: 1 << 18)
    package static let atualizadoEm = CustomerFields(rawValue: 1 << 20)
    /// Whether there is a lead at all.
    package static let lead = CustomerFields(rawValue: 1 << 21)
    /// What was said before it was kept who had said what.
    package static let unkept = CustomerFields(rawValue: 1 << 22)
    /// What they pay, to whom it was sold, and since when and until when.
    package static let ofTheSale: CustomerFields = [
        .vendedor, .vendedorID, .valor, .setup, CustomerFields(rawValue: 1 << 15), .dataCancelamento,
    ]
    package static let all = CustomerFields(rawValue: (1 << 22) - 1)
}

extension CustomerChange {
    /// What it is said of; nothing for what has no time of its own.
    package var field: CustomerFields {
        let bit: UInt32? =
            switch self {
            case .nome: 0
            case .slug: 1
            case .razaoSocial: 2
            case .vendedor: 3
            case .cs: 4
            case .status: 5
            case .pipeline: 6
            case .email: 7
            case .motivosChurn: 8
            case .descricaoCancelamento: 9
            case .cnpj: 10
            case .vendedorID: 11
            case .valor: 12
            case .setup: 13
            case .parcelasAtrasadas: 14
            case .dataAdesao: 15
            case .inicioOnboarding: 16
            case .fimOnboarding: 17
            case .dataCancelamento: 18
            case .criadoEm: 19
            case .atualizadoEm: 20
            case .inCRM: 21
            case .inSource: nil
            }
        return bit.map { CustomerFields(rawValue: 1 << $0) } ?? []
    }
}

/// What a CRM has said of a customer: of each field when, by the CRM's own clock alone, and which of them others have changed since.
///
/// So what it tells late or twice is dropped field by field, and what anybody else changes makes nothing of it old: only what it has said already does not undo that.
package struct CRMTimes: Sendable, Equatable {
    package struct Said: Sendable, Equatable {
        package let at: Timestamp
        package fileprivate(set) var fields: CustomerFields

        package init(at: Timestamp, fields: CustomerFields) {
            self.at = at
            self.fields = fields
        }
    }

    /// By time, ascending; each field in one of them at most.
    package private(set) var said: [Said] = []
    /// Others have changed them since.
    package private(set) var overridden: CustomerFields = []

    /// By how much another system's clock may be ahead of ours: what is said of a time still further away keeps nothing out.
    package static let tolerance = Duration.seconds(24 * 3600)

    package init() {}

    package init(said: [Said], overridden: CustomerFields) {
        self.said = said
        self.overridden = overridden
    }

    package func since(_ field: CustomerFields) -> Timestamp? { said.first { !$0.fields.isDisjoint(with: field) }?.at }

    /// Something newer is known of the field, or the same, and it was changed by others since.
    package func isOld(_ field: CustomerFields, at: Timestamp, now: Timestamp) -> Bool {
        guard let since = since(field), since <= now + Self.tolerance else { return false }
        return at < since || at == since && !overridden.isDisjoint(with: field)
    }

    package mutating func take(_ fields: CustomerFields, at: Timestamp) {
        guard !fields.isEmpty else { return }
        if overridden.isDisjoint(with: fields), said.contains(where: { $0.at == at && $0.fields.isSuperset(of: fields) }) { return }
        overridden.subtract(fields)
        for index in said.indices { said[index].fields.subtract(fields) }
        said.removeAll { $0.fields.isEmpty }
        let place = said.firstIndex { at <= $0.at } ?? said.count
        if place < said.count, said[place].at == at {
            said[place].fields.formUnion(fields)
        } else {
            said.insert(Said(at: at, fields: fields), at: place)
        }
    }

    package mutating func override(_ fields: CustomerFields) { overridden.formUnion(fields) }
    /// What the CRM has said of them counts as it was.
    package mutating func restore(_ fields: CustomerFields) { overridden.subtract(fields) }
}
