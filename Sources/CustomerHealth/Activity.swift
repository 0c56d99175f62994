package import Kernel

/// Something a customer did in the product (DESIGN §7.1 `POST /atividades`).
package struct Activity: Sendable, Equatable {
    package enum Content: Sendable, Equatable {
        case login(userName: String?, userEmail: String?)
        case entrada, saida, lead
        case econversa(isActive: Bool)
        /// Counted by distinct name.
        case integrador(name: String, isActive: Bool)

        var counted: ActivityKind? {
            switch self {
            case .login: .login
            case .entrada: .entrada
            case .saida: .saida
            case .lead: .lead
            case .econversa, .integrador: nil
            }
        }
    }

    package let customer: Int64
    package let content: Content
    /// `nil`: now.
    package let at: Timestamp?

    package init(customer: Int64, _ content: Content, at: Timestamp? = nil) {
        self.customer = customer
        self.content = content
        self.at = at
    }
}

/// One access, as `GET /logins` lists it.
package struct Login: Sendable, Equatable {
    package let id: Int64
    package let customer: Int64
    package let userName: String?
    package let userEmail: String?
    package let at: Timestamp
}
