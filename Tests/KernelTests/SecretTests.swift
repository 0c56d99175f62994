import Kernel
import TestSupport
import Testing

@Suite struct SecretTests {
    @Test func onlyTheSecretItselfIsEqualToIt() {
        var random = SeededGenerator.fresh()
        for _ in 0..<200 {
            let secret = (0..<Int.random(in: 1...40, using: &random)).map { _ in UInt8.random(in: .min ... .max, using: &random) }
            #expect(Secret.isEqual(secret, secret))
            #expect(!Secret.isEqual(secret.dropLast(), secret) && !Secret.isEqual(secret + secret, secret) && !Secret.isEqual([], secret))
            for index in secret.indices {
                for bit in 0..<8 {
                    var other = secret
                    other[index] ^= 1 << UInt8(bit)
                    #expect(!Secret.isEqual(other, secret))
                    // A second difference does not hide the first.
                    other[Int.random(in: secret.indices, using: &random)] ^= UInt8.random(in: 1...255, using: &random)
                    #expect(Secret.isEqual(other, secret) == (other == secret))
                }
            }
        }
        #expect(Secret.isEqual("", "") && !Secret.isEqual("a", "") && Secret.isEqual("ção", "ção") && !Secret.isEqual("ção", "cao"))
    }
}
