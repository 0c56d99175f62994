import Integrations
import Testing

@Suite struct MediaRulesTests {
    private static let heads: [(type: String, head: [UInt8])] = [
        ("image/jpeg", [0xff, 0xd8, 0xff, 0xe0]), ("image/png", [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
        ("image/webp", Array("RIFF....WEBPVP8 ".utf8)), ("video/mp4", Array("\0\0\0\u{18}ftypmp42".utf8)), ("audio/ogg", Array("OggS\0\u{2}".utf8)),
        ("audio/amr", Array("#!AMR\n".utf8)), ("audio/mpeg", [0xff, 0xfb, 0x90, 0x00]), ("audio/aac", [0xff, 0xf1, 0x50, 0x80]),
        ("application/pdf", Array("%PDF-1.7".utf8)), ("text/plain", Array("bom dia".utf8)),
    ]

    @Test func aFileAgreesWithItsOwnTypeAndWithNoOther() {
        for (type, head) in Self.heads {
            #expect(MediaRules.agrees(head, with: type), "\(type)")
            for (other, _) in Self.heads where other != type { #expect(!MediaRules.agrees(head, with: other), "\(type) taken for \(other)") }
            if type != "text/plain" { #expect(MediaRules.detected(head) == type) }
        }
    }

    @Test func parametersOfATypeDoNotMatter() {
        #expect(MediaRules.essence(of: "Audio/OGG; codecs=opus") == "audio/ogg")
        #expect(MediaRules.agrees(Array("OggS".utf8), with: "audio/ogg; codecs=opus"))
        #expect(MediaRules.kind(of: "audio/ogg; codecs=opus") == .audio)
    }

    @Test(arguments: ["<!DOCTYPE html>", "  \n<HTML>", "<script>", "<svg onload=x>"]) func aPageIsNoImageAndNoText(_ page: String) {
        for type in ["image/png", "image/jpeg", "text/plain", "application/pdf"] { #expect(!MediaRules.agrees(Array(page.utf8), with: type)) }
    }

    @Test func whatWhatsAppDoesNotTakeHasNoKind() {
        for type in ["text/html", "image/svg+xml", "application/x-msdownload", "image/gif", ""] { #expect(MediaRules.kind(of: type) == nil) }
    }

    @Test func aTokenOfBeforeOpensUnderItsOwnSecretOnly() throws {
        let seal = TokenSeal(secret: "um segredo")
        // Made with Python's `cryptography`: HKDF-SHA256, AES-256-GCM, the nonce 0…11.
        let one = "g1.AAECAwQFBgcICQoLNFk2kvHEQNR+5W1O+a2E2Nyei0+DuwcsdRs="
        #expect(seal.open(one) == "EAAG-token")
        #expect(TokenSeal(secret: "outro").open(one) == nil)
        #expect(seal.open(String(one.dropLast(4)) + "AAAA") == nil)
        #expect(seal.open("EAAG-token") == nil)
    }
}
