/// A telephone number in one form, whichever way it was written: its digits with the country's code (E.164 without the plus), by the rules of Brazil where no
/// country is named.
///
/// Brazil's mobile numbers got a ninth digit between 2012 and 2016 and are written, and kept by WhatsApp, with and without it (research/conversations.md §5.4):
/// here they have it. The first of the eight digits tells what a number was: 6–9 mobile, 2–5 landline.
package enum PhoneNumber {
    /// `nil` where there is no digit at all.
    package static func canonical(_ text: String) -> String? {
        var digits = text.utf8.filter { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        guard !digits.isEmpty else { return nil }
        var namesCountry = text.utf8.first { $0 != UInt8(ascii: " ") } == UInt8(ascii: "+")
        if !namesCountry, digits.starts(with: "00".utf8), digits.count > 11 {
            digits.removeFirst(2)
            namesCountry = true
        }
        if !namesCountry {
            // The trunk prefix of a call within the country.
            if digits.first == zero, (11...12).contains(digits.count) { digits.removeFirst() }
            let isMobile = digits.count == 11 && digits[2] == UInt8(ascii: "9")
            if digits.count == 10 || isMobile, isAreaCode(digits[0], digits[1]) { digits = Array("55".utf8) + digits }
        }
        if isBrazilian(digits), digits.count == 12, isOldMobile(digits[4]) { digits.insert(UInt8(ascii: "9"), at: 4) }
        return String(decoding: digits, as: UTF8.self)
    }

    /// The digits of a canonical number as they may have been written down before: with and without the country, and the ninth digit. Itself comes first.
    package static func forms(of canonical: String) -> [String] {
        let digits = Array(canonical.utf8)
        guard isBrazilian(digits) else { return [canonical] }
        var all = [digits]
        if digits.count == 13, digits[4] == UInt8(ascii: "9"), isOldMobile(digits[5]) { all.append(Array(digits[..<4] + digits[5...])) }
        return (all + all.map { Array($0[2...]) }).map { String(decoding: $0, as: UTF8.self) }
    }

    private static let zero = UInt8(ascii: "0")

    private static func isBrazilian(_ digits: [UInt8]) -> Bool {
        digits.starts(with: "55".utf8) && (12...13).contains(digits.count) && isAreaCode(digits[2], digits[3])
    }

    /// No area code has a zero in it.
    private static func isAreaCode(_ first: UInt8, _ second: UInt8) -> Bool { first != zero && second != zero }
    private static func isOldMobile(_ firstOfEight: UInt8) -> Bool { (UInt8(ascii: "6")...UInt8(ascii: "9")).contains(firstOfEight) }
}
