/// What a plan limits.
package enum PlanResource: String, Sendable, Hashable, CaseIterable {
    case services, staff, users, clients
    /// Companies in the portfolio.
    case customers
    case appointments
    case whatsappMessages = "whatsapp_messages"
    case emails

    /// Counted anew in each period of the account; the others are counted by what there is.
    package var isMetered: Bool {
        switch self {
        case .appointments, .whatsappMessages, .emails: true
        case .services, .staff, .users, .clients, .customers: false
        }
    }

    /// As it stands in a sentence for people.
    package var inWords: String {
        switch self {
        case .services: "serviços"
        case .staff: "profissionais"
        case .users: "usuários"
        case .clients: "clientes"
        case .customers: "clientes da carteira"
        case .appointments: "agendamentos por período"
        case .whatsappMessages: "mensagens de WhatsApp por período"
        case .emails: "e-mails por período"
        }
    }
}
