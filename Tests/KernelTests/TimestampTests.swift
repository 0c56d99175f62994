import Kernel
import Testing

@Suite struct TimestampTests {
    @Test(arguments: [
        (0, "1970-01-01T00:00:00.000Z"), (1_790_000_000_123, "2026-09-21T14:13:20.123Z"), (951_782_400_000, "2000-02-29T00:00:00.000Z"),
        (-1, "1969-12-31T23:59:59.999Z"), (4_102_444_799_999, "2099-12-31T23:59:59.999Z"),
    ])
    func aTimeIsWrittenAndReadBack(_ milliseconds: Int64, _ text: String) {
        #expect(Timestamp(milliseconds: milliseconds).description == text)
        #expect(Timestamp(rfc3339: text)?.milliseconds == milliseconds)
    }

    @Test(arguments: [
        ("2026-03-01T09:30:00-03:00", "2026-03-01T12:30:00.000Z"), ("2026-03-01T00:30:00+02:00", "2026-02-28T22:30:00.000Z"),
        ("2026-03-01 09:30:00.5Z", "2026-03-01T09:30:00.500Z"), ("2026-03-01T09:30:00", "2026-03-01T09:30:00.000Z"),
        ("2026-03-01T09:30:00.123456789Z", "2026-03-01T09:30:00.123Z"),
    ])
    func offsetsAndFractionsAreTakenIn(_ text: String, _ expected: String) { #expect(Timestamp(rfc3339: text)?.description == expected) }

    @Test(arguments: [
        "", "2026", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-04-31T00:00:00Z", "2026-03-01T24:00:00Z", "2026-03-01T09:30:00x",
        "2026-03-01T09:30:00+3", "2026-03-01T09:30:00.Z", "2026-3-1T09:30:00Z", "2026-03-01T09:60:00Z",
    ])
    func otherTextsAreRefused(_ text: String) { #expect(Timestamp(rfc3339: text) == nil) }

    @Test func everyDayOfFourCenturiesSurvivesTheRoundTrip() {
        for day in stride(from: -40_000, through: 110_000, by: 1) {
            let time = Timestamp(seconds: Int64(day) * 86_400 + 3661)
            #expect(Timestamp(rfc3339: time.description) == time)
        }
    }

    @Test func whatNobodyCouldWriteIsNotRead() {
        for text in [
            "0000-01-01T00:00:00Z", "0000-01-01T00:00:00+23:59", "0001-01-01T12:00:00Z", "9999-12-31T23:59:59-23:59", "9999-01-01T00:00:00Z",
        ] {
            #expect(Timestamp(rfc3339: text) == nil, "\(text)")
        }
        for text in ["0001-01-02T00:00:00.000Z", "9998-12-30T23:59:59.999Z"] { #expect(Timestamp(rfc3339: text)?.description == text) }
    }

    @Test func whatIsTooFarAwayToCountIsAsFarAsCanBe() {
        for time in [
            Timestamp(milliseconds: .min), Timestamp(milliseconds: -62_200_000_000_000), .distantFuture, Timestamp(seconds: .max),
            Timestamp(seconds: .min),
        ] {
            #expect(time.description.count == 24)
            #expect((time + .seconds(86_400)).description.count == 24 && (time - .seconds(86_400)).description.count == 24)
            #expect((time - Timestamp(milliseconds: -1)) != .zero && (Timestamp(milliseconds: -1) - time) != .zero)
        }
        #expect(Timestamp.distantFuture + .seconds(1) == .distantFuture)
    }
}
