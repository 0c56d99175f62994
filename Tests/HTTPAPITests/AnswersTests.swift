import Testing

@testable import HTTPAPI

@Suite struct AnswersTests {
    @Test(arguments: [
        (["gzip"], true), (["gzip, deflate, br"], true), (["x-gzip"], true), (["*"], true), (["GZIP;Q=0.5"], true), (["br", "gzip;q=0.1"], true),
        (["identity;q=0.5, gzip;q=0.6"], true), ([], false), ([""], false), (["identity"], false), (["br"], false), (["gzip;q=0"], false),
        (["gzip;q=0.0, *"], false), (["*;q=0"], false), (["identity, gzip;q=0.5"], false), (["gzip;q=nonsense"], false), (["gzipped"], false),
    ]) func gzipIsForWhoAsksForIt(_ fields: [String], _ isAsked: Bool) { #expect(CompressAnswers.accepts(fields) == isAsked) }

    @Test(arguments: [
        ("0af7651916cd43dd8448eb211c80319c", true), ("req-1.2_3", true), ("short", false), (String(repeating: "x", count: 65), false),
        ("with space", false), ("quote\"quote", false), ("acentuação", false), ("line\nline-line", false),
    ]) func onlyAPlainWordIsKeptAsARequestsID(_ id: String, _ isKept: Bool) { #expect(NameRequest.isSane(id) == isKept) }
}
