/// A company in the portfolio (contracts/ecosys-ms.md "Cliente", contracts/vendas.md "Clientes"). Not a contact.
///
/// Times are as the CRM's wall clock shows them, without a zone.
package struct Customer: Sendable, Equatable {
    package private(set) var id: Int64
    package var nome: String?
    package var slug: String?
    package var razaoSocial: String?
    package var cnpj: Int64?
    /// What they pay a month (MRR).
    package var valor = Money.zero
    package var setup = Money.zero
    package var vendedor: String?
    package var vendedorID: Int64?
    package var cs: String?
    package var status: String?
    package var pipeline: String? = Pipeline.ongoing
    package var email: String?
    package var dataAdesao: Timestamp?
    package var inicioOnboarding: Timestamp?
    package var fimOnboarding: Timestamp?
    package var dataCancelamento: Timestamp?
    package var motivosChurn: String?
    package var descricaoCancelamento: String?
    package var criadoEm: Timestamp?
    package var atualizadoEm: Timestamp?
    package var parcelasAtrasadas = 0
    package var history = SaleHistory()
    /// A row of the database that the portfolio is kept in step with says so: once it is gone, so is the customer.
    package var isInSource = false
    /// What a CRM has said of them, and when.
    package var crm = CRMTimes()
    package var version: Int64 = 0

    package init(id: Int64) { self.id = id }

    /// The same under another number.
    package func numbered(_ id: Int64, version: Int64) -> Customer {
        var customer = self
        customer.id = id
        customer.version = version
        return customer
    }

    /// The Kommo pipelines that mean something (contracts/ecosys-ms.md "Pipelines Possíveis").
    package enum Pipeline {
        package static let onboarding = "CS | ONBOARDING"
        /// Where somebody is of whom nothing else was said.
        package static let ongoing = "CS | ONGOING"
        package static let bradesco = "CS | BRADESCO"
        package static let churned = "Churns & Cancelamentos"
    }

    /// Today, or dated ahead.
    package var isCancelled: Bool { dataCancelamento != nil }
    package var isInCSPipeline: Bool { pipeline == Pipeline.ongoing || pipeline == Pipeline.onboarding || pipeline == Pipeline.bradesco }
    /// In one of the CS pipelines, and has not cancelled by that day.
    package func isActive(on day: CivilDate) -> Bool { isInCSPipeline && !hasCancelled(by: day) }
    package func isChurned(on day: CivilDate) -> Bool { hasCancelled(by: day) || pipeline == Pipeline.churned }
    private func hasCancelled(by day: CivilDate) -> Bool { dayOfCancellation.map { $0 <= day } ?? false }

    package var dayOfAdhesion: CivilDate? { dataAdesao.map { CivilDate($0) } }
    package var dayOfCancellation: CivilDate? { dataCancelamento.map { CivilDate($0) } }

    /// What was said of it, or its name in small letters and hyphens: `empresa-xyz-ltda`.
    package var shownSlug: String { slug ?? Self.slug(nome ?? "") }

    private static func slug(_ name: String) -> String {
        var slug: [UInt8] = []
        slug.reserveCapacity(name.utf8.count)
        for scalar in name.unicodeScalars {
            let plain: UInt8? =
                switch scalar {
                case "a"..."z", "0"..."9": UInt8(scalar.value)
                case "A"..."Z": UInt8(scalar.value + 32)
                case "á", "à", "â", "ã", "ä", "Á", "À", "Â", "Ã", "Ä": UInt8(ascii: "a")
                case "é", "è", "ê", "ë", "É", "È", "Ê", "Ë": UInt8(ascii: "e")
                case "í", "ì", "î", "ï", "Í", "Ì", "Î", "Ï": UInt8(ascii: "i")
                case "ó", "ò", "ô", "õ", "ö", "Ó", "Ò", "Ô", "Õ", "Ö": UInt8(ascii: "o")
                case "ú", "ù", "û", "ü", "Ú", "Ù", "Û", "Ü": UInt8(ascii: "u")
                case "ç", "Ç": UInt8(ascii: "c")
                case "ñ", "Ñ": UInt8(ascii: "n")
                default: nil
                }
            if let plain { slug.append(plain) } else if let last = slug.last, last != UInt8(ascii: "-") { slug.append(UInt8(ascii: "-")) }
        }
        if slug.last == UInt8(ascii: "-") { slug.removeLast() }
        return String(decoding: slug, as: UTF8.self)
    }
}

extension Paged<Customer> {
    /// Where they are, the lowest id first, whenever each of them came; `nil` where they are in that order anyway.
    package var placesByID: [Int]? {
        var (last, isSorted) = (Int64.min, true)
        for place in indices {
            let id = self[place].id
            if id < last { isSorted = false }
            last = id
        }
        if isSorted { return nil }
        return indices.map { (id: self[$0].id, place: $0) }.sorted { $0.id < $1.id }.map(\.place)
    }
}

/// Adhesion days that a list is restricted to, both ends included (contracts/ecosys-ms.md "data_adesao_inicio").
package struct AdhesionRange: Sendable, Equatable {
    package var from: CivilDate?
    package var to: CivilDate?

    package init(from: CivilDate? = nil, to: CivilDate? = nil) {
        self.from = from
        self.to = to
    }

    package var isOpen: Bool { from == nil && to == nil }

    package func contains(_ customer: Customer) -> Bool {
        if isOpen { return true }
        guard let day = customer.dayOfAdhesion else { return false }
        return (from.map { $0 <= day } ?? true) && (to.map { day <= $0 } ?? true)
    }
}
