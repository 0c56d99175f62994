/// An amount of money, in whole centavos: exact, and never a binary fraction.
///
/// Rounding, wherever a share of an amount is taken: to the nearest centavo, half a centavo away from zero, once for each line of a statement. Sums are sums
/// of rounded lines, so that a statement adds up.
package struct Money: Hashable, Comparable, Sendable, CustomStringConvertible {
    package var centavos: Int64

    package init(centavos: Int64) { self.centavos = centavos }
    package static let zero = Money(centavos: 0)
    /// Ten billion.
    package static let max = Money(centavos: 1_000_000_000_000)

    /// Reads a decimal such as `299.9` or `1500`, rounded to centavos. `nil` for what is no plain decimal number or larger than `max`.
    package init?(decimal text: some StringProtocol) {
        guard let (value, isNegative) = Self.scaled(text, digits: 2), value <= Self.max.centavos else { return nil }
        centavos = isNegative ? -value : value
    }

    /// `|text|` × 10^digits, rounded half up.
    fileprivate static func scaled(_ text: some StringProtocol, digits: Int) -> (Int64, isNegative: Bool)? {
        var rest = Substring(text).utf8[...]
        var isNegative = false
        if rest.first == UInt8(ascii: "-") {
            isNegative = true
            rest = rest.dropFirst()
        }
        var value: Int64 = 0
        var taken = -1
        var roundsUp = false
        var any = false
        for byte in rest {
            switch byte {
            case UInt8(ascii: "."):
                guard taken < 0 else { return nil }
                taken = 0
            case UInt8(ascii: "0")...UInt8(ascii: "9"):
                any = true
                let digit = Int64(byte - UInt8(ascii: "0"))
                if taken >= digits {
                    if taken == digits { roundsUp = digit >= 5 }
                    taken += 1
                    continue
                }
                guard value < 100_000_000_000_000 else { return nil }
                value = value * 10 + digit
                if taken >= 0 { taken += 1 }
            default: return nil
            }
        }
        guard any else { return nil }
        for _ in Swift.max(taken, 0)..<Swift.max(digits, Swift.max(taken, 0)) {
            guard value < 100_000_000_000_000 else { return nil }
            value *= 10
        }
        return (value + (roundsUp ? 1 : 0), isNegative)
    }

    package static func + (a: Money, b: Money) -> Money { Money(centavos: a.centavos + b.centavos) }
    package static func - (a: Money, b: Money) -> Money { Money(centavos: a.centavos - b.centavos) }
    package static func += (a: inout Money, b: Money) { a.centavos += b.centavos }
    package static func -= (a: inout Money, b: Money) { a.centavos -= b.centavos }
    package static func * (a: Money, count: Int) -> Money { Money(centavos: a.centavos * Int64(count)) }
    package static func < (a: Money, b: Money) -> Bool { a.centavos < b.centavos }

    /// A share of it, rounded half away from zero.
    package func share(_ percentage: Percentage) -> Money {
        let (quotient, remainder) = (centavos.magnitude * UInt64(percentage.tenThousandths)).quotientAndRemainder(dividingBy: 1_000_000)
        let value = Int64(quotient + (remainder >= 500_000 ? 1 : 0))
        return Money(centavos: centavos < 0 ? -value : value)
    }

    /// What so many months of it come to.
    package func over(months: Int) -> MoneySum { MoneySum(centavos: Int128(centavos) * Int128(months)) }

    /// The nth part, rounded half away from zero; zero of nobody.
    package func divided(by count: Int) -> Money {
        guard count > 0 else { return .zero }
        let (quotient, remainder) = centavos.magnitude.quotientAndRemainder(dividingBy: UInt64(count))
        let value = Int64(quotient + (remainder * 2 >= UInt64(count) ? 1 : 0))
        return Money(centavos: centavos < 0 ? -value : value)
    }

    /// `1500.0`, `299.9`, `0.05`: the shortest decimal, with at least one digit behind the point, as Python writes floats.
    package var description: String { Self.described(centavos) }

    fileprivate static func described(_ centavos: some SignedInteger) -> String {
        let (whole, cents) = centavos.magnitude.quotientAndRemainder(dividingBy: 100)
        let fraction = cents % 10 == 0 ? "\(cents / 10)" : (cents < 10 ? "0\(cents)" : "\(cents)")
        return "\(centavos < 0 ? "-" : "")\(whole).\(fraction)"
    }

    /// `1.234,50`, as people in Brazil write it.
    package var brazilian: String {
        let (whole, cents) = centavos.magnitude.quotientAndRemainder(dividingBy: 100)
        var digits = String(whole)
        var groups: [Substring] = []
        while digits.count > 3 {
            groups.insert(digits.suffix(3), at: 0)
            digits.removeLast(3)
        }
        groups.insert(digits[...], at: 0)
        return "\(centavos < 0 ? "-" : "")\(groups.joined(separator: ".")),\(cents < 10 ? "0" : "")\(cents)"
    }
}

/// A sum of amounts times months, which may be larger than any amount.
package struct MoneySum: Hashable, Sendable, CustomStringConvertible {
    package var centavos: Int128

    package init(centavos: Int128) { self.centavos = centavos }
    package init(_ amount: Money) { centavos = Int128(amount.centavos) }
    package static let zero = MoneySum(centavos: 0)

    package static func += (a: inout MoneySum, b: MoneySum) { a.centavos += b.centavos }
    package static func -= (a: inout MoneySum, b: MoneySum) { a.centavos -= b.centavos }

    /// As `Money` writes it.
    package var description: String { Money.described(centavos) }
}

/// A percentage, exact to four decimals.
package struct Percentage: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// 10 % is 100 000.
    package let tenThousandths: Int64

    package init(tenThousandths: Int64) { self.tenThousandths = tenThousandths }
    package init(_ percent: Int64) { tenThousandths = percent * 10_000 }
    package static let zero = Percentage(0)

    /// Reads `12.5`. `nil` for anything but 0 to 100, and for what has more than four decimals.
    package init?(decimal text: some StringProtocol) {
        guard Money.scaled(text, digits: 4) != nil, let value = Double(String(text)) else { return nil }
        self.init(percent: value)
    }

    /// `nil` likewise. What binary fractions leave behind, as in 0.1 + 0.2, is no decimal.
    package init?(percent: Double) {
        let exact = percent * 10_000
        guard exact >= 0, exact <= 1_000_000, abs(exact - exact.rounded()) < 1e-6 else { return nil }
        tenThousandths = Int64(exact.rounded())
    }

    package static func < (a: Percentage, b: Percentage) -> Bool { a.tenThousandths < b.tenThousandths }

    /// `10.0`, `12.5`.
    package var description: String {
        let (whole, rest) = tenThousandths.quotientAndRemainder(dividingBy: 10_000)
        var fraction = String(10_000 + rest).dropFirst()
        while fraction.count > 1, fraction.last == "0" { fraction.removeLast() }
        return "\(whole).\(fraction)"
    }
}
