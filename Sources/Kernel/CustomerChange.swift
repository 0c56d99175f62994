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
}

/// What is said of one customer, who may be new.
package struct CustomerPatch: Sendable, Equatable {
    package let id: Int64
    package var changes: [CustomerChange]
    /// When this was so: it says nothing of who is known to have changed since. `nil` for what holds whatever is known.
    package var asOf: Timestamp?
    /// The first month of which it is true; the one that runs, without.
    package var from: YearMonth?

    package init(id: Int64, _ changes: [CustomerChange] = [], asOf: Timestamp? = nil, from: YearMonth? = nil) {
        self.id = id
        self.changes = changes
        self.asOf = asOf
        self.from = from
    }
}

extension Customer {
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
        case .inSource(let value): isInSource = value
        }
    }
}
