/// The zlib streams that connections of one event loop use in turn, because nothing is kept in them between messages.
///
/// At rest: one deflater per window size that was asked for (seven at the most, in practice one) and `maxIdleInflaters` inflaters of 40 KB. One
/// more is made for each further connection that is in the middle of a compressed message, and freed after it.
package final class DeflatePool {
    package static let maxIdleInflaters = 2

    package let policy: DeflatePolicy
    private var deflaters: [Int: MessageDeflater] = [:]
    private var idleInflaters: [InflateStream] = []

    package init(_ policy: DeflatePolicy) { self.policy = policy.validated() }

    /// The compressor for all who can read `windowBits` (9...15) and expect no context.
    package func deflater(windowBits: Int) -> MessageDeflater {
        if let deflater = deflaters[windowBits] { return deflater }
        let deflater = MessageDeflater(windowBits: windowBits, takesContextOver: false, policy)
        deflaters[windowBits] = deflater
        return deflater
    }

    /// A stream as new, of the largest window, which reads the smaller ones too.
    func takeInflateStream() -> InflateStream { idleInflaters.popLast() ?? InflateStream(windowBits: 15) }

    package var idleInflaterCount: Int { idleInflaters.count }

    func giveBack(_ stream: InflateStream) {
        guard idleInflaters.count < Self.maxIdleInflaters else { return }
        stream.reset()
        idleInflaters.append(stream)
    }
}
