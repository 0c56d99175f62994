import Identity
import Kernel
import Testing

@Suite struct PasswordStrengthTests {
    private func objections(_ password: String, _ email: String = "ana.lima@loja.example") -> [String] {
        PasswordStrength.objections(to: password, email: email)
    }

    /// contracts/agendazap.md "Exemplo de Registro".
    @Test func theContractsExamplePasses() { #expect(objections("Senha123!", "usuario@exemplo.com").isEmpty) }

    @Test func accentsCountAsLetters() { #expect(objections("ÁguaMole7!").isEmpty) }

    @Test(arguments: [
        ("Ab1!xyz", "8 caracteres"), ("forte#2026", "maiúscula"), ("FORTE#2026", "minúscula"), ("Forte#abcd", "número"), ("Forte2026x", "símbolo"),
        ("Ana.lima#1", "e-mail"), ("Password1!", "mais usadas"), ("Ab1!" + String(repeating: "x", count: 69), "72 bytes"),
    ]) func eachLackIsNamed(password: String, reason: String) {
        let objections = objections(password)
        #expect(objections.count == 1 && objections[0].contains(reason), "\(objections)")
    }

    @Test func everythingThatIsWrongIsSaidAtOnce() { #expect(objections("").count == 5) }

    @Test func aWeakOneIsRefusedNamingTheField() async throws {
        let refusal = try await refusal { try PasswordStrength.check("fraca", email: ownerEmail) }
        #expect(refusal.kind == .invalid)
        #expect(refusal.fields.count == 4)
        #expect(refusal.fields.allSatisfy { $0.location == ["body", "password"] })
        #expect(refusal.description.contains("fraca") == false, "the password is not repeated")
    }
}
