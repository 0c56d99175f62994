import NIOCore
import TestSupport
import Testing

@testable import Wire

/// Class 6 of the Autobahn test suite: text that is UTF-8, or not, in every way it can be cut.
@Suite("Autobahn 6: UTF-8")
struct AutobahnUTF8Tests {
    /// κόσμε, its second letter of three bytes.
    static let kosme: [UInt8] = [0xce, 0xba, 0xe1, 0xbd, 0xb9, 0xcf, 0x83, 0xce, 0xbc, 0xce, 0xb5]

    /// 6.2 and 6.5–6.23 (after Markus Kuhn's stress test): the bytes in hexadecimal, and whether they are text.
    static let sequences: [(id: String, hex: String, isValid: Bool)] = {
        var rows: [(String, String, Bool)] = [
            ("6.5 some valid text", "cebae1bdb9cf83cebcceb5", true), ("6.7 first of 1 byte", "00", true), ("6.7 of 2", "c280", true),
            ("6.7 of 3", "e0a080", true), ("6.7 of 4", "f0908080", true), ("6.8 first of 5", "f888808080", false),
            ("6.8 of 6", "fc8480808080", false),
            ("6.9 last of 1", "7f", true), ("6.9 of 2", "dfbf", true), ("6.9 of 3", "efbfbf", true), ("6.9 of 4", "f48fbfbf", true),
            ("6.10 last of 4, beyond Unicode", "f7bfbfbf", false), ("6.10 of 5", "fbbfbfbfbf", false), ("6.10 of 6", "fdbfbfbfbfbf", false),
            ("6.11 before the surrogates", "ed9fbf", true), ("6.11 after them", "ee8080", true), ("6.11 replacement character", "efbfbd", true),
            ("6.11 the last character", "f48fbfbf", true), ("6.11 one beyond it", "f4908080", false),
            ("6.14 last byte missing, of 2", "c0", false), ("6.14 of 3", "e080", false), ("6.14 of 4", "f08080", false),
            ("6.14 of 5", "f8808080", false), ("6.14 of 6", "fc80808080", false), ("6.14 of 2", "df", false), ("6.14 of 3", "efbf", false),
            ("6.14 of 4", "f7bfbf", false), ("6.14 of 5", "fbbfbfbf", false), ("6.14 of 6", "fdbfbfbfbf", false),
            ("6.15 all of these", "c0e080f08080f8808080fc80808080dfefbff7bfbffbbfbfbffdbfbfbfbf", false),
            ("6.16 impossible", "fe", false), ("6.16 impossible", "ff", false), ("6.16 impossible", "fefeffff", false),
            ("6.17 overlong slash", "c0af", false), ("6.17", "e080af", false), ("6.17", "f08080af", false), ("6.17", "f8808080af", false),
            ("6.17", "fc80808080af", false), ("6.18 longest overlong", "c1bf", false), ("6.18", "e09fbf", false), ("6.18", "f08fbfbf", false),
            ("6.18", "f887bfbfbf", false), ("6.18", "fc83bfbfbfbf", false), ("6.19 overlong zero", "c080", false), ("6.19", "e08080", false),
            ("6.19", "f0808080", false), ("6.19", "f880808080", false), ("6.19", "fc8080808080", false),
        ]
        for surrogate in ["eda080", "edadbf", "edae80", "edafbf", "edb080", "edbe80", "edbfbf"] {
            rows.append(("6.20 a surrogate", surrogate, false))
        }
        for high in ["eda080", "edadbf", "edae80", "edafbf"] {
            for low in ["edb080", "edbfbf"] { rows.append(("6.21 a pair of surrogates", high + low, false)) }
        }
        for plane in 0...16 as ClosedRange<UInt32> {
            for last in [0xfffe, 0xffff] as [UInt32] {
                let character = String(Unicode.Scalar(plane << 16 | last)!)
                rows.append(("6.22 a non-character", character.bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(), true))
            }
        }
        rows += [("6.23 the replacement character", "efbfbd", true), ("6.23 in text", "efbfbd6162", true)]
        rows += ["80", "bf", "80bf", "80bf80", "80bf80bf", "80bf80bf80", "80bf80bf80bf"].map { ("6.12 unexpected continuations", $0, false) }
        for lead in [0xc0...0xdf, 0xe0...0xef, 0xf0...0xf7, 0xf8...0xfb, 0xfc...0xfd] as [ClosedRange<Int>] {
            rows.append(("6.13 lonely starts", lead.map { String($0, radix: 16) + "20" }.joined(), false))
        }
        return rows
    }()

    @Test("6.1: empty messages, whole and in fragments, are text")
    func emptyMessages() {
        for stream in [
            masked(0x81, []), masked(0x01, []) + masked(0x00, []) + masked(0x80, []),
        ] { #expect(Outcome([stream], WebSocketFrameParser()).messages == [.text("")]) }
        let middle = masked(0x01, []) + masked(0x00, "middle frame payload".bytes) + masked(0x80, [])
        #expect(Outcome([middle], WebSocketFrameParser()).messages == [.text("middle frame payload")])
    }

    @Test("6.2: text is text in one frame, in two, in frames of a byte, and in frames chopped")
    func validText() {
        let text = "Hello-µ@ßöäüàá-UTF-8!!".bytes
        for size in [text.count, 12, 1] {
            let stream = fragmented(1, text, size: size)
            for pieces in [[stream], stream.chunked(1)] { #expect(Outcome(pieces, WebSocketFrameParser()).messages == [.text(text.buffer)]) }
        }
    }

    @Test("6.3 and 6.4: what is not text is refused at its first bad byte, whatever is still to come")
    func failsFast() {
        let bad = Self.kosme + [0xed, 0xa0, 0x80] + "edited".bytes
        for size in [bad.count, 1] { #expect(Outcome([fragmented(1, bad, size: size)], WebSocketFrameParser()).violation?.code == 1007) }
        // 6.4.1–2: in the second of three frames; 6.4.3–4: in the second of three pieces of one frame.
        let beyond: [UInt8] = [0xf4, 0x90, 0x80, 0x80]
        #expect(Outcome([masked(0x01, Self.kosme) + masked(0x00, beyond)], WebSocketFrameParser()).violation?.code == 1007)
        #expect(Outcome([masked(0x01, Self.kosme + [0xf4]) + masked(0x00, [0x90])], WebSocketFrameParser()).violation?.code == 1007)
        let frame = masked(0x81, Self.kosme + beyond + "edited".bytes)
        let upTo = { (payload: Int) in Array(frame.prefix(6 + payload)) }
        #expect(Outcome([upTo(Self.kosme.count + 1)], WebSocketFrameParser()).violation == nil)
        #expect(Outcome([upTo(Self.kosme.count + 1), [frame[6 + Self.kosme.count + 1]]], WebSocketFrameParser()).violation?.code == 1007)
    }

    @Test("6.6: every beginning of κόσμε is text where a character ends, and nowhere else")
    func prefixes() {
        let ends: Set = [0, 2, 5, 7, 9, 11]
        for count in 0...Self.kosme.count {
            let prefix = Array(Self.kosme.prefix(count))
            expect("6.6.\(count)", prefix, ends.contains(count))
        }
    }

    @Test("6.5–6.23: each sequence is text or is not, alone, in text, in one frame or many, compressed or not", arguments: sequences)
    func eachSequence(id: String, hex: String, isValid: Bool) {
        let digits = hex.utf8.map { $0 < 0x60 ? $0 - 0x30 : $0 - 0x57 }
        expect(id, stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }, isValid)
    }

    private func expect(_ id: String, _ bytes: [UInt8], _ isValid: Bool) {
        let deflater = MessageDeflater(windowBits: 15, takesContextOver: false)
        for text in [bytes, "a".bytes + bytes + "z".bytes] {
            let compressed = deflater.deflated(text)
            let streams = [
                masked(0x81, text), fragmented(1, text, size: 1), masked(0xc1, compressed), fragmented(1, compressed, size: 2, isCompressed: true),
            ]
            for (index, stream) in streams.enumerated() {
                let outcome = Outcome([stream], deflateParser())
                if isValid {
                    #expect(outcome.messages == [.text(text.buffer)], "case \(id), stream \(index)")
                } else {
                    #expect(outcome.messages.isEmpty && outcome.violation?.code == 1007, "case \(id), stream \(index)")
                }
            }
        }
    }
}
