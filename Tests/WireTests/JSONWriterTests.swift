import OrderedCollections
import TestSupport
import Testing

@testable import Wire

@Suite("Writing JSON")
struct JSONWriterTests {
    @Test("Commas and colons take care of themselves")
    func commasTakeCareOfThemselves() {
        var writer = JSONWriter()
        writer.object {
            $0.field("a", 1)
            $0.list("b") { _ in }
            $0.object("c") { $0.field("d", true) }
            $0.field("e", strings: ["x", "y"])
            $0.field("f", raw: "[1]")
            $0.key("g")
            $0.array {
                $0.null()
                $0.object { _ in }
                $0.array { $0.double(0.5) }
                $0.bool(false)
            }
            $0.field("h", nil as String?)
            $0.field("i", nil as Int?)
        }
        #expect(
            String(decoding: writer.bytes, as: UTF8.self)
                == #"{"a":1,"b":[],"c":{"d":true},"e":["x","y"],"f":[1],"g":[null,{},[0.5],false],"h":null,"i":null}"#
        )
    }

    @Test("Only what must be escaped is (RFC 8259 §7)")
    func onlyWhatMustBeEscapedIs() {
        #expect(JSON.string("\"\\/\u{8}\u{c}\n\r\t\u{1}\u{1f}\u{7f}é😀\u{2028}").text == #""\"\\/\b\f\n\r\t\u0001\u001f"# + "\u{7f}é😀\u{2028}\"")
        #expect(JSON.object(["a\"b": 1]).text == #"{"a\"b":1}"#)
    }

    @Test("Numbers are written so that they are read as they were")
    func numbersAreReadAsTheyWere() throws {
        for value in [0, 1, -1, 0.1, 1e300, .leastNonzeroMagnitude, 1.7976931348623157e308, 123_456_789.123, -0.0, 1e16] as [Double] {
            let text = JSON.double(value).text
            #expect(try JSON.parse(text) == .double(value), "\(text)")
        }
        for value in [Int64.min, -1, 0, 1, .max] { #expect(try JSON.parse(JSON.int(value).text) == .int(value)) }
        var writer = JSONWriter()
        writer.int(UInt64.max)
        #expect(writer.bytes == "18446744073709551615".bytes)
    }

    @Test("A random tree comes back as it was")
    func aRandomTreeComesBack() throws {
        var random = SeededGenerator.fresh()
        for _ in 0..<2000 {
            let tree = randomTree(depth: 5, using: &random)
            let bytes = tree.bytes
            #expect(try JSON.parse(bytes) == tree, "PLANTAO_SEED=\(random.seed)")
            #expect(!bytes.contains(UInt8(ascii: "\n")), "a line must hold a value")
            // Skipping accepts what reading accepts, and keeps its bytes.
            let wrapped = try JSONMembers("{\"x\" : ".bytes + bytes + " , \"y\":1}".bytes)
            #expect(wrapped["x"].map(Array.init) == (tree.isNull ? nil : bytes), "PLANTAO_SEED=\(random.seed)")
        }
    }

    @Test("Damaged text never crashes, and is skipped only if it is read")
    func damagedTextNeverCrashes() throws {
        var random = SeededGenerator.fresh()
        for _ in 0..<4000 {
            var bytes = randomTree(depth: 4, using: &random).bytes
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                switch Int.random(in: 0..<3, using: &random) {
                case 0: bytes[place] = "[]{}\",:\\u0e-9 \u{1}".bytes.randomElement(using: &random)!
                case 1: bytes[place] = UInt8.random(in: .min ... .max, using: &random)
                default: bytes.remove(at: place)
                }
                if bytes.isEmpty { break }
            }
            let isRead = (try? JSON.parse(bytes)) != nil
            let isSkipped = (try? JSONMembers("{\"x\":".bytes + bytes + "}".bytes)) != nil
            // Text such as `1,"y":2` is no value but makes members; nothing that is a value fails to be skipped.
            if isRead { #expect(isSkipped, "PLANTAO_SEED=\(random.seed) \(String(decoding: bytes, as: UTF8.self))") }
        }
    }

    private func randomTree(depth: Int, using random: inout SeededGenerator) -> JSON {
        switch Int.random(in: 0..<(depth == 0 ? 6 : 9), using: &random) {
        case 0: .null
        case 1: .bool(.random(using: &random))
        case 2: .int(Int64(truncatingIfNeeded: random.next() >> UInt64.random(in: 0..<64, using: &random)))
        case 3: .double(Double(Int64(truncatingIfNeeded: random.next())) / 1e6)
        case 4, 5: .string(randomString(using: &random))
        case 6, 7: .array((0..<Int.random(in: 0..<5, using: &random)).map { _ in randomTree(depth: depth - 1, using: &random) })
        default:
            .object(
                OrderedDictionary(
                    (0..<Int.random(in: 0..<5, using: &random)).map { _ in
                        (randomString(using: &random), randomTree(depth: depth - 1, using: &random))
                    },
                    uniquingKeysWith: { _, last in last }
                )
            )
        }
    }

    private func randomString(using random: inout SeededGenerator) -> String {
        let ranges: [ClosedRange<UInt32>] = [0...0x1f, 0x20...0x7e, 0x20...0x7e, 0x7f...0x7ff, 0x800...0xd7ff, 0xe000...0xffff, 0x10000...0x10ffff]
        var text = String.UnicodeScalarView()
        for _ in 0..<Int.random(in: 0..<12, using: &random) {
            text.append(Unicode.Scalar(UInt32.random(in: ranges.randomElement(using: &random)!, using: &random))!)
        }
        return String(text)
    }
}
