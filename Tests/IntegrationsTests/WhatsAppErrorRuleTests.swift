import Integrations
import Testing

@Suite struct WhatsAppErrorRuleTests {
    @Test(
        arguments: [
            (0, ErrorAction.stopTenant), (190, .stopTenant), (3, .stopTenant), (10, .stopTenant), (200, .stopTenant), (299, .stopTenant),
            (131_005, .stopTenant), (131_042, .stopTenant), (131_031, .stopTenant), (368, .stopTenant),
            (4, .backOffAccount), (80_007, .backOffAccount), (130_429, .slowNumber), (131_056, .parkConversation),
            (131_048, .waitADay), (131_049, .waitADay), (131_064, .waitADay), (131_047, .offerTemplate), (131_026, .markContact),
            (131_000, .retry), (131_016, .retry), (2, .retry), (131_057, .retryShortly),
            (131_008, .fixRequest), (131_009, .fixRequest), (100, .fixRequest), (131_062, .fixRequest),
            (132_000, .fixRequest), (132_001, .fixRequest), (132_005, .fixRequest), (132_007, .fixRequest), (132_008, .fixRequest),
            (132_012, .fixRequest), (132_015, .fixRequest), (132_016, .fixRequest),
            (131_030, .fixConfiguration), (131_051, .showAgent), (131_052, .showAgent), (131_053, .showAgent), (130_472, .giveUp),
        ]
    )
    func whatToDoAboutACode(code: Int, action: ErrorAction) { #expect(WhatsAppErrorRule.rule(for: code)?.action == action) }

    @Test(arguments: [1, 5, 300, 132_002, 131_001, 999_999, -1]) func otherCodesAreNotListed(code: Int) {
        #expect(WhatsAppErrorRule.rule(for: code) == nil)
    }

    @Test func noCodeStandsInTwoRows() {
        let ranges = WhatsAppErrorRule.table.flatMap(\.codes).sorted { $0.lowerBound < $1.lowerBound }
        for (range, next) in zip(ranges, ranges.dropFirst()) { #expect(range.upperBound < next.lowerBound) }
    }

    @Test func onlyWhatSaysTheServiceIsUnwellCountsAgainstTheBreaker() {
        let counting = WhatsAppErrorRule.table.filter(\.countsAgainstBreaker).flatMap(\.codes).flatMap { Array($0) }
        #expect(Set(counting) == [2, 131_000, 131_016])
        #expect(SendOutcome.unknown(reason: "").countsAgainstBreaker)
        #expect(SendOutcome.retry(after: nil, code: nil, reason: "").countsAgainstBreaker)
        #expect(SendOutcome.retry(after: nil, code: 131_016, reason: "").countsAgainstBreaker)
        #expect(!SendOutcome.retry(after: nil, code: 131_056, reason: "").countsAgainstBreaker)
        #expect(!SendOutcome.retry(after: nil, code: 429, reason: "").countsAgainstBreaker)
        #expect(!SendOutcome.refused(code: 190, title: "", action: .stopTenant).countsAgainstBreaker)
        #expect(!SendOutcome.sent(wamid: "wamid.1", waID: nil).countsAgainstBreaker)
    }
}
