import Kernel
import Testing

/// A mark that joins the character beside it hides nothing.
@Suite struct EscapingTests {
    private static let marks = ["", "\u{600}", "\u{301}", "\u{200d}", "\u{fe0f}"]

    @Test(arguments: marks, marks)
    func noTagIsMadeOfText(_ before: String, _ behind: String) {
        let text = HTMLText.escaped("\(before)<\(behind)img src=\(before)\"\(behind)x\(before)'\(behind)\(before)&\(behind)>")
        for byte in "<>\"'".utf8 { #expect(!text.utf8.contains(byte)) }
        #expect(text.utf8.count { $0 == UInt8(ascii: "&") } == 5)
    }

    @Test(arguments: marks, marks)
    func noFieldEndsWithinItsText(_ before: String, _ behind: String) throws {
        let text = "a\(before)\"\(behind);=1+1;\(before)\"\(behind)\r\nb"
        let field = CSVField.quoted(text)
        #expect(try CSVRecords.read("x;y;z\n1;\(field);2").last?.fields == ["1", text, "2"])
        #expect(CSVField.written(text) == field)
    }

    @Test(arguments: ["=1", "+1", "-1", "@a", "\t1", "\r\n=1+1", "\n1", " =1", "\u{feff}=1", "=\u{301}cmd", "＝1"])
    func aFormulaIsText(_ text: String) {
        #expect(CSVField.isFormula(text) && CSVField.written(text).utf8.starts(with: "\"'".utf8))
    }

    @Test(arguments: ["", "a=1", "Loja", "1-2"])
    func whatIsNoneIsLeft(_ text: String) { #expect(!CSVField.isFormula(text) && CSVField.written(text) == text) }
}
