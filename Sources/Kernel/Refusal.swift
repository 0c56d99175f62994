/// Why something was not done: an error value for whoever asked, with a sentence they can act on.
///
/// Every door renders it in its own way: HTTP as `{"detail": …}` with a status, a socket as an error reply. It never carries a secret or the
/// text of a message.
package struct Refusal: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Kind: Sendable, Equatable {
        case malformed, unauthenticated, paymentRequired, forbidden, notFound, conflict, tooLarge, invalid, tooMany, unavailable

        /// The HTTP status (RFC 9110 §15).
        package var status: Int {
            switch self {
            case .malformed: 400
            case .unauthenticated: 401
            case .paymentRequired: 402
            case .forbidden: 403
            case .notFound: 404
            case .conflict: 409
            case .tooLarge: 413
            case .invalid: 422
            case .tooMany: 429
            case .unavailable: 503
            }
        }
    }

    /// One field that is wrong, in FastAPI's form: `{"loc": ["body", "text"], "msg": …, "type": …}`.
    package struct Field: Sendable, Equatable {
        package let location: [String]
        package let message: String
        package let type: String

        package init(_ location: [String], _ message: String, type: String) {
            self.location = location
            self.message = message
            self.type = type
        }
    }

    package let kind: Kind
    /// A word for programs: `conversation_taken`, `journal_unavailable`.
    package let code: String
    /// A sentence for people, in Portuguese.
    package let message: String
    /// The fields at fault, when `kind` is `.invalid`.
    package var fields: [Field] = []
    /// Facts that go with the answer, such as who has the conversation.
    package var facts: [String: String] = [:]
    /// The same, as numbers: a limit, and how much of it is used.
    package var numbers: [String: Int] = [:]
    /// Those of them that there are none of: said as null, so that nobody has to guess what is missing.
    package var nulls: [String] = []
    /// What there is now, as JSON, where somebody would have written over it unseen.
    package var current: [UInt8]?
    /// The same, several of a kind: times to choose from.
    package var lists: [String: [String]] = [:]
    /// Seconds after which trying again makes sense.
    package var retryAfterSeconds: Int?

    package init(_ kind: Kind, _ code: String, _ message: String, facts: [String: String] = [:], retryAfterSeconds: Int? = nil) {
        self.kind = kind
        self.code = code
        self.message = message
        self.facts = facts
        self.retryAfterSeconds = retryAfterSeconds
    }

    package static func invalid(_ fields: [Field]) -> Refusal {
        var refusal = Refusal(
            .invalid,
            "validation_error",
            fields.map { "\($0.location.joined(separator: ".")): \($0.message)" }.joined(separator: "; ")
        )
        refusal.fields = fields
        return refusal
    }

    package static func invalid(_ location: String..., message: String, type: String = "value_error") -> Refusal {
        .invalid([Field(["body"] + location, message, type: type)])
    }

    /// What a client may ask for by an id.
    package enum Thing: String, Sendable {
        case conversation, message, consultor, user, tenant, session, flow, cannedReply, protocolo, apiKey
        case service, category, staff, timeOff, appointment, hold, waitlistEntry, image
        case customer, seller, action, client, queue, template, subscription

        fileprivate var isMissing: String {
            switch self {
            case .conversation: "Conversa não encontrada"
            case .message: "Mensagem não encontrada"
            case .consultor: "Consultor não encontrado"
            case .user: "Usuário não encontrado"
            case .tenant: "Empresa não encontrada"
            case .session: "Sessão não encontrada"
            case .flow: "Versão do fluxo não encontrada"
            case .cannedReply: "Resposta pronta não encontrada"
            case .protocolo: "Protocolo não encontrado"
            case .apiKey: "Chave não encontrada"
            case .service: "Serviço não encontrado"
            case .category: "Categoria não encontrada"
            case .staff: "Profissional não encontrado"
            case .timeOff: "Ausência não encontrada"
            case .appointment: "Agendamento não encontrado"
            case .hold: "Reserva temporária não encontrada"
            case .waitlistEntry: "Espera não encontrada"
            case .image: "Imagem não encontrada"
            case .customer: "Cliente não encontrado"
            case .seller: "Vendedor não encontrado"
            case .action: "Ação não encontrada"
            case .client: "Cliente não encontrado"
            case .template: "Modelo de mensagem não encontrado"
            case .subscription: "Este endereço não vale"
            case .queue: "Fila não encontrada"
            }
        }
    }

    /// There is no such thing in the tenant, which is also what is said of another tenant's.
    package static func notFound(_ thing: Thing) -> Refusal { Refusal(.notFound, "not_found", thing.isMissing) }

    /// Somebody changes what they have not seen: it has another revision by now.
    /// - Parameter what: with its article, `O agendamento`.
    package static func stale(_ what: String, revision: Int64, current: [UInt8]) -> Refusal {
        var refusal = Refusal(
            .conflict,
            "stale_revision",
            "\(what) mudou depois que você leu; recarregue e tente de novo.",
            facts: ["revision": String(revision)]
        )
        refusal.current = current
        return refusal
    }

    /// A web chat's token was used for something other than its own conversation. Said before anything is looked up, so it tells nothing of what there is.
    package static let visitorOnly = Refusal(.forbidden, "visitor_forbidden", "Este token só dá acesso à sua própria conversa.")
    /// A viewer tried to do more than look.
    package static let viewerOnly = Refusal(.forbidden, "role_forbidden", "Seu perfil só permite consultar.")
    /// Whoever asks has yet to prove that they read their e-mail.
    package static let emailUnverified = Refusal(
        .forbidden,
        "email_unverified",
        "Confirme o seu e-mail antes de alterar dados: informe o código que enviamos (POST /api/users/verify-email)."
    )

    /// The change could not be made durable; nothing of it happened.
    package static let journalUnavailable = Refusal(
        .unavailable,
        "journal_unavailable",
        "Não foi possível gravar a alteração em disco; nada foi alterado. Tente novamente em instantes.",
        retryAfterSeconds: 1
    )
    /// More is waiting at the gate than the server is willing to hold.
    package static let overloaded = Refusal(
        .unavailable,
        "overloaded",
        "Servidor sobrecarregado; nada foi alterado. Tente novamente em instantes.",
        retryAfterSeconds: 1
    )
    /// The server is stopping.
    package static let stopping = Refusal(
        .unavailable,
        "stopping",
        "O servidor está reiniciando; nada foi alterado. Tente novamente em instantes.",
        retryAfterSeconds: 2
    )

    package var description: String { "\(code): \(message)" }
}
