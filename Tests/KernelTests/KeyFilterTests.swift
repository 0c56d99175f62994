import Kernel
import Testing

@Suite struct KeyFilterTests {
    private static func keys(_ range: Range<Int>) -> [String] { range.map { "5511\(900_000_000 + $0)" } }

    @Test func excludesNobodyUntilAllKeysAreRead() {
        var filter = KeyFilter()
        #expect(!filter.excludes("a"))
        filter.add("b")
        let begins = filter.begin()
        #expect(begins)
        let another = filter.begin()
        #expect(!filter.excludes("a") && !another, "one reads at a time")
        // Written while the others were read.
        filter.add("c")
        filter.read(["d"])
        #expect(filter.excludes("a") && !filter.excludes("b") && !filter.excludes("c") && !filter.excludes("d"))
        let again = filter.begin()
        #expect(!again)
    }

    @Test func isReadAgainAfterAFailureAndKeepsWhatWasAdded() {
        var filter = KeyFilter()
        _ = filter.begin()
        filter.add("b")
        filter.read(nil)
        let again = filter.begin()
        #expect(!filter.excludes("a") && again)
        filter.read([])
        #expect(filter.excludes("a") && !filter.excludes("b"))
    }

    @Test func excludesNobodyWhereThereAreTooMany() {
        var filter = KeyFilter()
        _ = filter.begin()
        filter.read(Self.keys(0..<KeyFilter.limit + 1))
        let again = filter.begin()
        #expect(!filter.excludes("a") && !again)
    }

    @Test func hasEveryKeyAndExcludesNearlyAllOthers() {
        var filter = KeyFilter()
        _ = filter.begin()
        filter.read(Self.keys(0..<100_000))
        #expect(Self.keys(0..<100_000).allSatisfy { !filter.excludes($0) })
        // One in 43,000 is taken for one that is there.
        #expect(Self.keys(100_000..<200_000).filter(filter.excludes).count > 99_900)
    }
}
