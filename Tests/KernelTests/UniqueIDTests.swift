import Kernel
import Testing

@Suite struct UniqueIDTests {
    @Test func anIDReadsBackFromItsText() {
        let id = UniqueID(at: Timestamp(seconds: 1_790_000_000), random: (0xabc, 0x1234_5678_9abc_def0))
        #expect(UniqueID(id.description) == id)
        #expect(UniqueID(id.description.uppercased()) == id)
        #expect(id.description.count == 36)
    }

    /// RFC 9562 §5.7: version 7, variant 10.
    @Test func versionAndVariantAreThoseOfTheRFC() {
        let text = UniqueID(at: Timestamp(seconds: 1_790_000_000), random: (.max, .max)).description
        #expect(Array(text)[14] == "7")
        #expect("89ab".contains(Array(text)[19]))
        #expect(text.hasPrefix("01a0"))
    }

    @Test func laterIDsSortLater() {
        let early = UniqueID(at: Timestamp(seconds: 1), random: (.max, .max))
        let late = UniqueID(at: Timestamp(milliseconds: 1001), random: (0, 0))
        #expect(early < late)
        #expect(early.description < late.description)
    }

    @Test(arguments: [
        "", "x", "01a0c3f2-0000-7000-8000-00000000000", "01a0c3f2-0000-7000-8000-0000000000000", "01a0c3f200007000800000000000000000",
        "01a0c3f2-0000-7000-8000-00000000000g", "01a0c3f2_0000-7000-8000-000000000000",
    ])
    func otherTextsAreRefused(_ text: String) { #expect(UniqueID(text) == nil) }
}
