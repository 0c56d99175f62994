import Kernel
import Testing

@Suite struct MoneyTests {
    @Test(
        arguments: [
            ("0", 0), ("1500", 150_000), ("1500.00", 150_000), ("299.9", 29_990), ("0.05", 5), ("0.005", 1), ("0.0049", 0), ("0.004999", 0),
            (".5", 50),
            ("7.", 700), ("-3.25", -325), ("1.005", 101), ("10000000000", 1_000_000_000_000),
        ]
    )
    func decimalsAreReadAndRoundedToCentavos(_ text: String, _ centavos: Int64) { #expect(Money(decimal: text)?.centavos == centavos) }

    @Test(arguments: ["", "-", ".", "1,5", "1e3", "1.2.3", "abc", "10000000000.01", "99999999999999999999"])
    func whatIsNoAmountIsRefused(_ text: String) { #expect(Money(decimal: text) == nil) }

    @Test(arguments: [(0, "0.0"), (150_000, "1500.0"), (29_990, "299.9"), (5, "0.05"), (-325, "-3.25"), (101, "1.01")])
    func theyAreWrittenAsPythonWritesFloats(_ centavos: Int64, _ text: String) { #expect(Money(centavos: centavos).description == text) }

    @Test(arguments: [(0, "0,00"), (123_456_789, "1.234.567,89"), (-100_005, "-1.000,05"), (99_999, "999,99")])
    func andForPeople(_ centavos: Int64, _ text: String) { #expect(Money(centavos: centavos).brazilian == text) }

    /// Half a centavo goes away from zero.
    @Test(arguments: [
        (29_990, "30", 8_997), (33_333, "10", 3_333), (5, "10", 1), (4, "10", 0), (-5, "10", -1), (15, "10", 2), (25, "10", 3),
        (10_000, "12.3456", 1_235),
    ])
    func sharesAreRounded(_ centavos: Int64, _ percentage: String, _ share: Int64) {
        #expect(Money(centavos: centavos).share(Percentage(decimal: percentage)!).centavos == share)
    }

    @Test func partsAreRounded() {
        #expect(Money(centavos: 100).divided(by: 3).centavos == 33 && Money(centavos: 200).divided(by: 3).centavos == 67)
        #expect(Money(centavos: 5).divided(by: 2).centavos == 3 && Money(centavos: 5).divided(by: 0) == .zero)
    }

    @Test func theLargestAmountAtTheLargestShareIsExact() {
        #expect(Money.max.share(Percentage(100)) == .max)
    }

    @Test(arguments: [("0", "0.0"), ("5", "5.0"), ("12.5", "12.5"), ("33.3333", "33.3333"), ("100", "100.0")])
    func percentages(_ text: String, _ written: String) { #expect(Percentage(decimal: text)?.description == written) }

    /// More than four decimals would be cut, which nobody asked for; what binary fractions leave behind is none.
    @Test func percentagesAreExactOrNone() {
        #expect(Percentage(percent: 0.1 + 0.2)?.description == "0.3" && Percentage(percent: 33.3333)?.description == "33.3333")
        for wrong in [33.33334, 0.00001, 100.00001, -0.0001, .nan, .infinity] { #expect(Percentage(percent: wrong) == nil, "\(wrong)") }
    }

    @Test func sumsOfMonthsHaveNoEnd() {
        var sum = MoneySum.zero
        for _ in 0..<3 { sum += Money(centavos: .max).over(months: 120_000) }
        #expect(sum.description == "33204139332677192905200.0")
        sum -= sum
        #expect(sum == .zero)
    }

    @Test(arguments: ["-1", "100.0001", "101", "x", "", "1e1", "33.33334", "nan"])
    func whatIsNoPercentage(_ text: String) { #expect(Percentage(decimal: text) == nil) }
}

@Suite struct CivilDateTests {
    @Test func daysAndMonths() {
        #expect(CivilDate("2024-02-29")?.description == "2024-02-29" && CivilDate("2023-02-29") == nil && CivilDate("2024-2-9") == nil)
        #expect(CivilDate("2024-02-29")!.month == YearMonth(year: 2024, month: 2))
        #expect(YearMonth("2024-02")!.lastDay.description == "2024-02-29" && YearMonth("2023-02")!.lastDay.description == "2023-02-28")
        #expect(YearMonth("2024-12")!.lastDay.description == "2024-12-31" && YearMonth("2024-13") == nil && YearMonth("2024-1") == nil)
        #expect(YearMonth("2025-01")! - YearMonth("2024-11")! == 2)
        #expect(YearMonth("2024-07")!.description == "2024-07")
    }

    @Test func theBusinesssDayBeginsAtThreeUTC() {
        #expect(BusinessZone.today(Timestamp(rfc3339: "2024-03-01T02:59:59Z")!).description == "2024-02-29")
        #expect(BusinessZone.today(Timestamp(rfc3339: "2024-03-01T03:00:00Z")!).description == "2024-03-01")
        #expect(BusinessZone.start(of: CivilDate("2024-03-01")!) == Timestamp(rfc3339: "2024-03-01T03:00:00Z"))
    }

    @Test func wallClocks() {
        #expect(Timestamp(wallClock: "2024-03-15")?.wallClock == "2024-03-15T00:00:00")
        #expect(Timestamp(wallClock: "2024-03-15T22:00:00-03:00")?.wallClock == "2024-03-15T22:00:00", "the zone is dropped, the day stays")
        #expect(Timestamp(wallClock: "2024/03/15") == nil && Timestamp(wallClock: "15.03.2024") == nil && Timestamp(wallClock: "") == nil)
    }

    @Test func aPageIsCopiedOnlyForWhoHoldsIt() {
        var pages = Paged<Int>()
        for number in 0..<1000 { pages.append(number) }
        let before = pages
        pages[300] = -1
        #expect(before[300] == 300 && pages[300] == -1 && pages.count == 1000 && Array(before) == Array(0..<1000))
    }
}
