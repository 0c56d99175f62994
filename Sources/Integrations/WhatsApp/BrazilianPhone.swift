/// The two ways a Brazilian mobile number is written.
///
/// Mobile numbers got a ninth digit, a leading 9, between 2012 and 2016. WhatsApp accounts opened before that often keep the eight-digit form as
/// their `wa_id`, so the number somebody typed and the one a webhook brings may differ by that digit and be the same person
/// (research/conversations.md §5.4). The first digit of the eight tells what it was: 6–9 mobile, 2–5 landline. A landline has one form only, and
/// so has a mobile number that never had eight digits: without its 9 it would be somebody's landline.
package enum BrazilianPhone {
    /// Every form of the number, `number` itself first, as digits only.
    ///
    /// - Parameter number: digits with the country code; signs and spaces are dropped. Anything but a Brazilian mobile number comes back alone.
    package static func variants(of number: String) -> [String] {
        let digits = number.utf8.filter { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        let text = String(decoding: digits, as: UTF8.self)
        guard digits.starts(with: "55".utf8), digits.count == 12 || digits.count == 13 else { return [text] }
        // No area code has a zero in it.
        guard digits[2] != UInt8(ascii: "0"), digits[3] != UInt8(ascii: "0") else { return [text] }
        let area = digits[..<4]
        if digits.count == 13 {
            guard digits[4] == UInt8(ascii: "9"), isOldMobile(digits[5]) else { return [text] }
            return [text, String(decoding: area + digits[5...], as: UTF8.self)]
        }
        guard isOldMobile(digits[4]) else { return [text] }
        return [text, String(decoding: area + [UInt8(ascii: "9")] + digits[4...], as: UTF8.self)]
    }

    private static func isOldMobile(_ firstOfEight: UInt8) -> Bool { (UInt8(ascii: "6")...UInt8(ascii: "9")).contains(firstOfEight) }
}
