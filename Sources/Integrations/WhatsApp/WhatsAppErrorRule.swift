/// What to do about an error code of the Cloud API. The code decides, not the HTTP status and not the title; the same code may come in the answer
/// to a send or later by webhook (research/conversations.md §5.6).
package enum ErrorAction: String, Sendable, Hashable, CaseIterable {
    /// Stop sending for the tenant and call a person: credentials, permissions, payment or a locked account.
    case stopTenant
    /// The account's call budget is spent: leave it alone for minutes.
    case backOffAccount
    /// Too fast for the number: slow its token bucket.
    case slowNumber
    /// Too fast for this one recipient: park the conversation, 4^n seconds at the n-th time; others go on.
    case parkConversation
    /// Something of theirs failed: try again with backoff.
    case retry
    /// The number is being upgraded, which takes about a minute.
    case retryShortly
    /// Not to this person today.
    case waitADay
    /// The 24-hour window is closed: offer to send a template.
    case offerTemplate
    /// This person cannot be reached on WhatsApp.
    case markContact
    /// The request or its template is wrong: for a developer or an administrator.
    case fixRequest
    /// The number is a test number and the recipient is not on its list.
    case fixConfiguration
    /// Show it with the message; the agent can do something else.
    case showAgent
    /// Not sent, and not to be sent again.
    case giveUp
    /// A code that is not in the table.
    case reportUnlisted

    /// The message was certainly not sent and may be later.
    package var isTransient: Bool {
        switch self {
        case .backOffAccount, .slowNumber, .parkConversation, .retry, .retryShortly: true
        default: false
        }
    }

    /// The least to wait before another attempt; `nil` where the caller's backoff decides alone.
    package var wait: Duration? {
        switch self {
        case .backOffAccount: .seconds(300)
        case .slowNumber: .seconds(1)
        case .parkConversation: .seconds(6)
        case .retryShortly: .seconds(60)
        case .waitADay: .seconds(86_400)
        default: nil
        }
    }
}

package struct WhatsAppErrorRule: Sendable, Hashable {
    package let codes: [ClosedRange<Int>]
    /// A sentence for agents and operators, in Portuguese.
    package let meaning: String
    package let action: ErrorAction
    /// It says that the service is unwell, rather than that this message, recipient or account is.
    package let countsAgainstBreaker: Bool

    private init(_ codes: ClosedRange<Int>..., meaning: String, action: ErrorAction, countsAgainstBreaker: Bool = false) {
        self.codes = codes
        self.meaning = meaning
        self.action = action
        self.countsAgainstBreaker = countsAgainstBreaker
    }

    package static func rule(for code: Int) -> WhatsAppErrorRule? { table.first { $0.codes.contains { $0.contains(code) } } }

    package static let table: [WhatsAppErrorRule] = [
        WhatsAppErrorRule(0...0, 190...190, meaning: "O token de acesso do WhatsApp é inválido ou expirou", action: .stopTenant),
        WhatsAppErrorRule(
            3...3,
            10...10,
            200...299,
            131_005...131_005,
            meaning: "A conta não tem permissão para esta operação no WhatsApp",
            action: .stopTenant
        ),
        WhatsAppErrorRule(131_042...131_042, meaning: "Há um problema de pagamento na conta do WhatsApp", action: .stopTenant),
        WhatsAppErrorRule(131_031...131_031, meaning: "A conta do WhatsApp está bloqueada", action: .stopTenant),
        WhatsAppErrorRule(368...368, meaning: "A conta do WhatsApp foi suspensa por violar uma política", action: .stopTenant),
        WhatsAppErrorRule(4...4, 80_007...80_007, meaning: "O limite de chamadas da conta do WhatsApp foi atingido", action: .backOffAccount),
        WhatsAppErrorRule(130_429...130_429, meaning: "O limite de mensagens por segundo do número foi atingido", action: .slowNumber),
        WhatsAppErrorRule(131_056...131_056, meaning: "Mensagens demais para o mesmo contato em pouco tempo", action: .parkConversation),
        WhatsAppErrorRule(
            2...2,
            131_000...131_000,
            131_016...131_016,
            meaning: "O WhatsApp está temporariamente indisponível",
            action: .retry,
            countsAgainstBreaker: true
        ),
        WhatsAppErrorRule(131_057...131_057, meaning: "O número do WhatsApp está em manutenção", action: .retryShortly),
        WhatsAppErrorRule(131_048...131_048, meaning: "O WhatsApp limitou o envio por suspeita de spam", action: .waitADay),
        WhatsAppErrorRule(131_049...131_049, meaning: "O contato já recebeu mensagens de marketing demais", action: .waitADay),
        WhatsAppErrorRule(131_064...131_064, meaning: "O limite de envio para este contato foi atingido", action: .waitADay),
        WhatsAppErrorRule(131_047...131_047, meaning: "A janela de 24 horas está fechada; use um modelo de mensagem", action: .offerTemplate),
        WhatsAppErrorRule(131_026...131_026, meaning: "O contato não pode receber mensagens no WhatsApp", action: .markContact),
        WhatsAppErrorRule(
            100...100,
            131_008...131_009,
            meaning: "O pedido de envio ao WhatsApp tem um parâmetro ausente ou inválido",
            action: .fixRequest
        ),
        WhatsAppErrorRule(131_062...131_062, meaning: "Este tipo de mensagem exige o número de telefone do contato", action: .fixRequest),
        WhatsAppErrorRule(
            132_000...132_001,
            132_005...132_005,
            132_007...132_008,
            132_012...132_012,
            132_015...132_016,
            meaning: "O modelo de mensagem não existe, está pausado ou foi desativado, ou seus parâmetros estão errados",
            action: .fixRequest
        ),
        WhatsAppErrorRule(131_030...131_030, meaning: "O contato não está na lista de destinatários do número de teste", action: .fixConfiguration),
        WhatsAppErrorRule(131_051...131_051, meaning: "Tipo de mensagem não suportado pelo WhatsApp", action: .showAgent),
        WhatsAppErrorRule(131_052...131_052, meaning: "Não foi possível baixar a mídia", action: .showAgent),
        WhatsAppErrorRule(131_053...131_053, meaning: "Não foi possível enviar a mídia", action: .showAgent),
        WhatsAppErrorRule(
            130_472...130_472,
            meaning: "O contato participa de um experimento do WhatsApp e não recebe esta mensagem",
            action: .giveUp
        ),
    ]
}
