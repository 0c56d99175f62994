import Foundation

/// A small generator with a seed (SplitMix64: Steele, Lea, Flood 2014), so that a failing history can be run again.
package struct SeededGenerator: RandomNumberGenerator {
    package let seed: UInt64
    private var state: UInt64

    package init(seed: UInt64) {
        self.seed = seed
        state = seed
    }

    /// With a seed of its own, which is printed; `PLANTAO_SEED` gives one again.
    package static func fresh(_ test: String = #function) -> SeededGenerator {
        let given = ProcessInfo.processInfo.environment["PLANTAO_SEED"].flatMap { UInt64($0) }
        let generator = SeededGenerator(seed: given ?? UInt64.random(in: 1...UInt64.max))
        print("\(test): PLANTAO_SEED=\(generator.seed)")
        return generator
    }

    package mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
