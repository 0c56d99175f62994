import Integrations
import Testing

@Suite struct WhatsAppTextTests {
    private func repaired(_ text: String) -> String { String(decoding: WhatsAppText.repaired(Array(text.utf8)), as: UTF8.self) }

    @Test(
        arguments: [
            #"{"a":"caf\u00e9 \ud83d\ude00 \/ \\ \" \n"}"#, #"{"a":"é 😀"}"#, "", #"\"#, #"\u"#, #"\u12"#, #""\\ud83d""#, #"\u+123"#, #"\uD83D\uDE00"#,
        ]
    )
    func soundTextIsLeftAsItIs(text: String) { #expect(repaired(text) == text) }

    @Test(
        arguments: [
            (#""\ud83d""#, #""\ufffd""#), (#""\ude00""#, #""\ufffd""#), (#""\ude00\ud83d""#, #""\ufffd\ufffd""#),
            (#""\ud83d\ud83d\ude00""#, #""\ufffd\ud83d\ude00""#), (#""\ud83dx""#, #""\ufffdx""#), (#""\ud83d\n""#, #""\ufffd\n""#),
            (#""a\u0000b""#, #""a\ufffdb""#), (#""\\\ud83d""#, #""\\\ufffd""#), (#""\\\\ud83d""#, #""\\\\ud83d""#),
        ]
    )
    func halfACharacterBecomesTheReplacementSign(text: String, mended: String) { #expect(repaired(text) == mended) }

    @Test func bytesThatAreNotUTF8BecomeTheReplacementSign() {
        let mended = WhatsAppText.repaired(Array("\"a".utf8) + [0xff] + Array("b\"".utf8))
        #expect(String(decoding: mended, as: UTF8.self) == "\"a\u{fffd}b\"")
    }
}
