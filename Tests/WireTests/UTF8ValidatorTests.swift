import TestSupport
import Testing

@testable import Wire

@Suite("UTF-8 as it arrives")
struct UTF8ValidatorTests {
    @Test("It agrees with the standard library on every character and its neighbours")
    func itAgreesOnEveryCharacter() {
        for value in UInt32(0)...0x10ffff {
            guard let scalar = Unicode.Scalar(value) else { continue }
            #expect(isValid(Array(String(scalar).utf8)))
        }
        for first in UInt8.min ... .max {
            for second in UInt8.min ... .max {
                for tail in [[], [0x80], [0xbf, 0x80], [0x41], [0x80, 0x80, 0x80]] as [[UInt8]] {
                    let bytes = [first, second] + tail
                    #expect(isValid(bytes) == (String(validating: bytes, as: UTF8.self) != nil), "\(bytes)")
                }
            }
        }
    }

    @Test("It agrees with the standard library on random bytes, however they are cut")
    func itAgreesOnRandomBytes() {
        var random = SeededGenerator.fresh()
        for _ in 0..<20_000 {
            var bytes = Array("olá, 😀 plantão — ".utf8.prefix(Int.random(in: 0...30, using: &random)))
            if Bool.random(using: &random) {
                bytes.insert(UInt8.random(in: 0x70...0xff, using: &random), at: Int.random(in: 0...bytes.count, using: &random))
            }
            let expected = String(validating: bytes, as: UTF8.self) != nil
            let cut = Int.random(in: 0...bytes.count, using: &random)
            var validator = UTF8Validator()
            let isValid =
                bytes[..<cut].withUnsafeBytes { validator.consume($0) } && bytes[cut...].withUnsafeBytes { validator.consume($0) }
                && validator.isComplete
            #expect(isValid == expected, "PLANTAO_SEED=\(random.seed) \(bytes) at \(cut)")
        }
    }

    @Test("The first byte that cannot be right is refused at once")
    func theFirstWrongByteIsRefusedAtOnce() {
        // κόσμε, then a surrogate and a code point beyond the last: Autobahn 6.4.
        for (good, bad) in [("κόσμε".bytes + [0xed], [0xa0]), ("κόσμε".bytes + [0xf4], [0x90])] as [([UInt8], [UInt8])] {
            var validator = UTF8Validator()
            let first = good.withUnsafeBytes { validator.consume($0) }
            #expect(first && !validator.isComplete)
            let second = bad.withUnsafeBytes { validator.consume($0) }
            #expect(!second)
        }
    }

    private func isValid(_ bytes: [UInt8]) -> Bool { bytes.withUnsafeBytes { UTF8Validator.isValid($0) } }
}
