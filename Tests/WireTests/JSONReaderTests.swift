import OrderedCollections
import Testing

@testable import Wire

@Suite("Reading JSON")
struct JSONReaderTests {
    @Test(
        "Every kind of value is read (RFC 8259 §3)",
        arguments: [
            ("null", JSON.null), ("true", true), ("false", false), ("0", 0), ("-0", 0), ("-12", -12), ("9223372036854775807", .int(.max)),
            ("-9223372036854775808", .int(.min)), ("1.5", .double(1.5)), ("1e3", .double(1000)), ("1E+3", .double(1000)), ("-2.5e-1", .double(-0.25)),
            ("0.0", .double(0)), ("\"\"", ""), ("\"abc\"", "abc"), ("[]", []), ("{}", [:]), (" [ 1 , 2 ] ", [1, 2]),
            ("\t\r\n{\"a\" : {\"b\":[]}}\n", ["a": ["b": []]]),
        ] as [(String, JSON)]
    )
    func everyKindOfValueIsRead(text: String, value: JSON) throws {
        #expect(try JSON.parse(text) == value)
    }

    @Test(
        "What is not JSON is refused",
        arguments: [
            "", " ", "nul", "nulll", "True", "truefalse", "NaN", "Infinity", "+1", "01", "-", "-a", "1.", ".5", "1e", "1e+", "0x10", "1 2", "'a'",
            "\"", "\"a", "\"\\\"",
            "\"\\x\"", "\"\\u12\"", "\"\\u12g4\"", "\"\u{1}\"", "\"a\nb\"", "\"\t\"", "[", "]", "[1", "[1,", "[1,]", "[,1]", "[1 2]", "{", "}",
            "{\"a\"}", "{\"a\":}",
            "{\"a\":1,}", "{,}", "{a:1}", "{1:1}", "{\"a\":1 \"b\":2}", "{\"a\" 1}", "[1}", "{\"a\":1]", "// x\n1", "/**/1", "\u{feff}1", "[1]]",
            "1e999", "-1e999",
        ]
    )
    func whatIsNotJSONIsRefused(text: String) {
        #expect(throws: JSONError.self) { try JSON.parse(text) }
        // Passing over a value is as strict as reading it.
        #expect(throws: JSONError.self) { try JSONMembers("{\"x\":\(text)}".bytes) }
        #expect(throws: JSONError.self) { try JSONMembers("{\"x\":[\(text),1]}".bytes) }
    }

    @Test(
        "Escapes are replaced (§7)",
        arguments: [
            (#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"), (#""\u0041\u00e9\u20AC""#, "Aé€"), (#""\ud83d\ude00!""#, "😀!"),
            (#""a\u0000b""#, "a\0b"),
            (#""\uD834\uDD1E""#, "𝄞"), ("\"ação 😀\"", "ação 😀"), ("\"\u{7f}\u{2028}\"", "\u{7f}\u{2028}"),
        ]
    )
    func escapesAreReplaced(text: String, value: String) throws {
        #expect(try JSON.parse(text) == .string(value))
    }

    @Test(
        "Half of a surrogate pair is refused (§8.2)",
        arguments: [
            #""\ud83d""#, #""\ud83dx""#, #""\ud83d\n""#, #""\ud83d\u0041""#, #""\ud83d\ud83d""#, #""\ude00""#, #""\ude00\ud83d""#, #""\ud83d\u""#,
        ]
    )
    func halfOfASurrogatePairIsRefused(text: String) {
        #expect(throws: JSONError.self) { try JSON.parse(text) }
    }

    @Test(
        "A string that is not UTF-8 is refused (§8.1)",
        arguments: [
            [0x80], [0xc0, 0x80], [0xe0, 0x80, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0xff], [0xe2, 0x82], [0xf0, 0x9f, 0x98],
        ] as [[UInt8]]
    )
    func aStringThatIsNotUTF8IsRefused(bytes: [UInt8]) {
        #expect(throws: JSONError.self) { try JSON.parse([0x22] + bytes + [0x22]) }
        #expect(throws: JSONError.self) { try JSON.parse(#"{"ok":1,"\n"#.bytes + bytes + #"":2}"#.bytes) }
        #expect(throws: JSONError.self) { try JSONMembers(#"{"ignored":""#.bytes + bytes + #""}"#.bytes) }
    }

    @Test("Depth is bounded, so that the stack is")
    func depthIsBounded() throws {
        let nested = { (depth: Int, open: String, close: String) in
            String(repeating: open, count: depth) + "1" + String(repeating: close, count: depth)
        }
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            _ = try JSON.parse(nested(JSON.maxDepth, open, close))
            #expect(throws: JSONError.self) { try JSON.parse(nested(JSON.maxDepth + 1, open, close)) }
            #expect(throws: JSONError.self) { try JSON.parse(nested(1_000_000, open, close)) }
            #expect(throws: JSONError.self) { try JSONMembers("{\"x\":\(nested(1_000_000, open, close))}".bytes) }
        }
    }

    @Test("An integer beyond 64 bits becomes a double, a double beyond its range is refused (§6)")
    func aBigNumberIsADoubleOrRefused() throws {
        #expect(try JSON.parse("9223372036854775808") == .double(9_223_372_036_854_775_808))
        #expect(try JSON.parse("123456789012345678901234567890") == .double(1.2345678901234568e29))
        #expect(try JSON.parse("1e308") == .double(1e308))
        #expect(try JSON.parse("1e-999") == .double(0))
        #expect(throws: JSONError.self) { try JSON.parse("1e309") }
    }

    @Test("Of members with the same name the last counts, in the first one's place")
    func theLastOfSeveralMembersCounts() throws {
        let json = try JSON.parse(#"{"a":1,"b":2,"a":3}"#)
        #expect(json == ["a": 3, "b": 2])
        #expect(json.object.map { Array($0.keys) } == ["a", "b"])
        #expect(try JSONMembers(#"{"a":1,"b":2,"a":3}"#.bytes).value("a") == 3)
    }

    @Test("An error says where")
    func anErrorSaysWhere() {
        #expect(throws: JSONError(offset: 6, reason: "not the beginning of a value")) { try JSON.parse("[1, 2,]") }
        #expect(throws: JSONError(offset: 2, reason: "text after the end of the value")) { try JSON.parse("1 2") }
    }
}
