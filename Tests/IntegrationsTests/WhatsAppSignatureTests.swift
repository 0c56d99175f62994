import Integrations
import Testing

@Suite struct WhatsAppSignatureTests {
    /// RFC 4231 §4.3, test case 2.
    @Test func theVectorOfTheStandardIsValid() {
        let header = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        #expect(WhatsAppSignature(appSecret: "Jefe").verdict(on: Array("what do ya want for nothing?".utf8), header: header) == .valid)
    }

    private let signature = WhatsAppSignature(appSecret: "segredo-de-teste")
    /// As Meta writes it: lower-case escapes and an escaped slash.
    private let body = Array(
        #"{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"value":{"text":"Jos\u00e9 \ud83d\ude00 ana\/b\u0040c"}}]}]}"#.utf8
    )
    private let header = "sha256=0ad0dfb3e3cecb1301b04dc9ee6c7bbb6dcd00c639042ede23dba2c1536de6cd"

    @Test func itIsTakenOverTheBytesAsTheyCame() {
        #expect(signature.verdict(on: body, header: header) == .valid)
        // The same JSON, written again without the escapes.
        let rewritten = Array(#"{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"value":{"text":"José 😀 ana/b@c"}}]}]}"#.utf8)
        #expect(signature.verdict(on: rewritten, header: header) == .wrong)
    }

    @Test func anEmptyBodyCanBeSigned() {
        let header = "sha256=ce720bd5d7c5ac6fc78d52d5da2e741627614f566f614543547e4576c000e8d8"
        #expect(signature.verdict(on: [], header: header) == .valid)
    }

    @Test func aChangedByteOrAnotherSecretIsWrong() {
        var changed = body
        changed[10] ^= 1
        #expect(signature.verdict(on: changed, header: header) == .wrong)
        #expect(WhatsAppSignature(appSecret: "outro").verdict(on: body, header: header) == .wrong)
        #expect(signature.verdict(on: body, header: "sha256=" + String(repeating: "0", count: 64)) == .wrong)
    }

    @Test func noHeaderIsMissing() { #expect(signature.verdict(on: body, header: nil) == .missing) }

    @Test(arguments: ["", "sha256=", "sha1=da39a3ee5e6b4b0d3255bfef95601890afd80709", "sha256=abc", "SHA256=" + String(repeating: "a", count: 64)])
    func aHeaderOfAnotherFormIsMalformed(header: String) { #expect(signature.verdict(on: body, header: header) == .malformed) }

    @Test func digitsMustBeHexadecimalAndExactlySixtyFour() {
        #expect(signature.verdict(on: body, header: String(header.dropLast()) + "g") == .malformed)
        #expect(signature.verdict(on: body, header: header + "0") == .malformed)
        #expect(signature.verdict(on: body, header: String(header.dropLast())) == .malformed)
    }
}
