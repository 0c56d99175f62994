/// One thing said of a customer. What is not said stays as it is.
package enum CustomerChange: Sendable, Equatable {
    case nome(String?), slug(String?), razaoSocial(String?), vendedor(String?), cs(String?), status(String?), pipeline(String?), email(String?)
    case motivosChurn(String?), descricaoCancelamento(String?)
    case cnpj(Int64?), vendedorID(Int64?)
    case valor(Money), setup(Money)
    case parcelasAtrasadas(Int)
    case dataAdesao(Timestamp?), inicioOnboarding(Timestamp?), fimOnboarding(Timestamp?), dataCancelamento(Timestamp?)
    case criadoEm(Timestamp?), atualizadoEm(Timestamp?)
    case inSource(Bool)
    /// There is a lead of theirs, or it was deleted.
    case inCRM(Bool)
}

/// What is said of one customer, who may be new.
package struct CustomerPatch: Sendable, Equatable {
    package let id: Int64
    package var changes: [CustomerChange]
    /// When this was so, by a CRM's clock: it says nothing of what the CRM has said since (`CRMTimes`). `nil` for what holds whatever is known.
    package var asOf: Timestamp?
    /// The first month of which it is true; the one that runs, without.
    package var from: YearMonth?

    package init(id: Int64, _ changes: [CustomerChange] = [], asOf: Timestamp? = nil, from: YearMonth? = nil) {
        self.id = id
        self.changes = changes
        self.asOf = asOf
        self.from = from
    }

    package var fields: CustomerFields { changes.reduce(into: []) { $0.formUnion($1.field) } }
}

extension Customer {
    /// What is said, but for what is older than what the same CRM has said already.
    package mutating func apply(_ patch: CustomerPatch, now: Timestamp) {
        var taken: CustomerFields = []
        for change in patch.changes {
            let field = change.field
            if let asOf = patch.asOf {
                if crm.isOld(field, at: asOf, now: now) { continue }
                taken.formUnion(field)
            } else if !isAlready(change) {
                crm.override(field)
            }
            apply(change)
        }
        guard let asOf = patch.asOf else { return }
        crm.take(taken, at: asOf)
        // Only what is newer than its deletion brings a lead back.
        if patch.changes.contains(.inCRM(false)), taken.contains(.lead) { crm.override(.lead) }
    }

    private func isAlready(_ change: CustomerChange) -> Bool {
        switch change {
        case .nome(let value): nome == value
        case .slug(let value): slug == value
        case .razaoSocial(let value): razaoSocial == value
        case .vendedor(let value): vendedor == value
        case .cs(let value): cs == value
        case .status(let value): status == value
        case .pipeline(let value): pipeline == value
        case .email(let value): email == value
        case .motivosChurn(let value): motivosChurn == value
        case .descricaoCancelamento(let value): descricaoCancelamento == value
        case .cnpj(let value): cnpj == value
        case .vendedorID(let value): vendedorID == value
        case .valor(let value): valor == value
        case .setup(let value): setup == value
        case .parcelasAtrasadas(let value): parcelasAtrasadas == value
        case .dataAdesao(let value): dataAdesao == value
        case .inicioOnboarding(let value): inicioOnboarding == value
        case .fimOnboarding(let value): fimOnboarding == value
        case .dataCancelamento(let value): dataCancelamento == value
        case .criadoEm(let value): criadoEm == value
        case .atualizadoEm(let value): atualizadoEm == value
        case .inSource(let value): isInSource == value
        case .inCRM: true
        }
    }

    package mutating func apply(_ change: CustomerChange) {
        switch change {
        case .nome(let value): nome = value
        case .slug(let value): slug = value
        case .razaoSocial(let value): razaoSocial = value
        case .vendedor(let value): vendedor = value
        case .cs(let value): cs = value
        case .status(let value): status = value
        case .pipeline(let value): pipeline = value
        case .email(let value): email = value
        case .motivosChurn(let value): motivosChurn = value
        case .descricaoCancelamento(let value): descricaoCancelamento = value
        case .cnpj(let value): cnpj = value
        case .vendedorID(let value): vendedorID = value
        case .valor(let value): valor = value
        case .setup(let value): setup = value
        case .parcelasAtrasadas(let value): parcelasAtrasadas = value
        case .dataAdesao(let value): dataAdesao = value
        case .inicioOnboarding(let value): inicioOnboarding = value
        case .fimOnboarding(let value): fimOnboarding = value
        case .dataCancelamento(let value): dataCancelamento = value
        case .criadoEm(let value): criadoEm = value
        case .atualizadoEm(let value): atualizadoEm = value
        case .inSource(let value):
            if value, !isInSource { comesBack(from: Self.goneFromSource) }
            isInSource = value
        case .inCRM(let value): if value { comesBack(from: Self.goneFromCRM) }
        }
    }
}

extension Customer {
    /// Why somebody cancelled whose row is gone.
    package static let goneFromSource = "Excluído da base do Kommo"
    /// Why somebody cancelled whose lead is gone.
    package static let goneFromCRM = "Lead excluído no Kommo"

    /// What was gone is there again: what its absence said is not so.
    private mutating func comesBack(from absence: String) {
        guard descricaoCancelamento == absence else { return }
        dataCancelamento = nil
        descricaoCancelamento = nil
        crm.restore([.dataCancelamento, .descricaoCancelamento])
    }
}
