package import Kernel

/// Whether a password is good enough (contracts/isp-support.md "Validação de força de senha").
package enum PasswordStrength {
    /// What stands against a password, one sentence each; none when it will do.
    package static func objections(to password: String, email: String) -> [String] {
        var objections: [String] = []
        if password.count < 8 { objections.append("deve ter pelo menos 8 caracteres") }
        if password.utf8.count > PasswordHasher.maxPasswordBytes { objections.append("deve ter no máximo \(PasswordHasher.maxPasswordBytes) bytes") }
        if password.utf8.contains(0) { objections.append("não pode conter caracteres nulos") }
        if !password.contains(where: \.isUppercase) { objections.append("deve ter uma letra maiúscula") }
        if !password.contains(where: \.isLowercase) { objections.append("deve ter uma letra minúscula") }
        if !password.contains(where: \.isNumber) { objections.append("deve ter um número") }
        if !password.contains(where: { !$0.isLetter && !$0.isNumber && !$0.isWhitespace }) { objections.append("deve ter um símbolo, como ! ou #") }
        let name = email.prefix { $0 != "@" }.lowercased()
        if name.count >= 4, password.lowercased().contains(name) { objections.append("não pode conter o seu e-mail") }
        if common.contains(password.lowercased().filter { $0.isLetter || $0.isNumber }) { objections.append("é uma das senhas mais usadas") }
        return objections
    }

    /// - Throws: a 422 that names `password`, with every objection.
    package static func check(_ password: String, email: String, field: String = "password") throws(Refusal) {
        let objections = objections(to: password, email: email)
        guard objections.isEmpty else { throw .invalid(objections.map { .init(["body", field], $0, type: "password_strength") }) }
    }

    /// Without symbols, since a symbol put behind one of these does not make it better.
    private static let common: Set<String> = [
        "password", "password1", "password123", "passw0rd", "p4ssw0rd", "qwerty123", "abc12345", "welcome1", "admin123", "admin1234", "letmein1",
        "mudar123",
        "senha", "senha1", "senha12", "brasil123", "teste123", "12345678", "123456789",
    ]
}
