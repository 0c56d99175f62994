import Testing

@testable import Fernet

/// https://github.com/fernet/spec: generate.json, verify.json and invalid.json.
@Suite struct FernetTests {
    private let secret = "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4="
    private let token = "gAAAAAAdwJ6wAAECAwQFBgcICQoLDA0ODy021cpGVWKZ_eEwCGM4BLLF_5CV9dOPmrhuVUPgJobwOz7JcbmrR64jVmpU4IwqDA=="

    private func key(_ text: String) throws -> FernetKey { try #require(FernetKey(text)) }

    @Test func whatTheSpecificationGeneratesIsGenerated() throws {
        #expect(try key(secret).encrypt(Array("hello".utf8), atSeconds: 499_162_800, iv: Array(0..<16)) == token)
    }

    @Test func whatTheSpecificationVerifiesIsOpened() throws {
        #expect(try FernetKeys(key(secret)).decrypt(token) == Array("hello".utf8))
    }

    @Test(arguments: [
        // An incorrect mac, too short, not base64, a payload size that is no multiple of the block, a payload padding error: invalid.json.
        "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykQUFBQUFBQUFBQQ==",
        "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPA==",
        "%%%%%%%%%%%%%AECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPAl1-szkFVzXTuGb4hR8AKtwcaX1YdykRtfsH-p1YsUD2Q==",
        "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0OD3HkMATM5lFqGaerZ-fWPOm73QeoCk9uGib28Xe5vz6oxq5nmxbx_v7mrfyudzUm",
        "gAAAAAAdwJ6xAAECAwQFBgcICQoLDA0ODz4LEpdELGQAad7aNEHbf-JkLPIpuiYRLQ3RtXatOYREu2FWke6CnJNYIbkuKNqOhw==", "", "gAAAAA==",
    ])
    func whatTheSpecificationRefusesIsRefused(_ token: String) throws {
        #expect(throws: FernetKeys.NotOurs.self) { try FernetKeys(key(secret)).decrypt(token) }
    }

    @Test func everyBitCounts() throws {
        let keys = FernetKeys(FernetKey.random())
        let bytes = try #require(Base64URL.decode(keys.encrypt(Array("segredo".utf8), atSeconds: 1_790_000_000)))
        for position in bytes.indices {
            var changed = bytes
            changed[position] ^= 1 << UInt8(position % 8)
            #expect(throws: FernetKeys.NotOurs.self) { try keys.decrypt(Base64URL.encode(changed)) }
        }
    }

    @Test func anyLengthComesBackAsItWas() throws {
        let keys = FernetKeys(FernetKey.random())
        for length in [0, 1, 15, 16, 17, 31, 32, 1000, 65_537] {
            let plain = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            let first = try keys.encrypt(plain, atSeconds: 1_790_000_000)
            #expect(try keys.decrypt(first) == plain && FernetKeys.isToken(first))
            #expect(try first != keys.encrypt(plain, atSeconds: 1_790_000_000), "the same is never written twice alike")
        }
    }

    @Test func theFirstKeyEncryptsAndAllDecrypt() throws {
        let (old, new) = (FernetKey.random(), FernetKey.random())
        let before = try FernetKeys(old).encrypt([1, 2, 3], atSeconds: 1)
        let both = FernetKeys(new, [old])
        #expect(try both.decrypt(before) == [1, 2, 3] && !both.isCurrent(before))
        let after = try both.encrypt([1, 2, 3], atSeconds: 1)
        #expect(both.isCurrent(after))
        #expect(try FernetKeys(new).decrypt(after) == [1, 2, 3])
        #expect(throws: FernetKeys.NotOurs.self) { try FernetKeys(old).decrypt(after) }
    }

    @Test(arguments: ["", "short", "cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4", "cw/0x689RpI+jtRR7oE8h/eQsKImvJapLeSbXpwF4e4="])
    func whatIsNoKeyIsNone(_ text: String) { #expect(FernetKey(text) == nil) }
}
