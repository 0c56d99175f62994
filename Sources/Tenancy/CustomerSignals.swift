package import Kernel
import Synchronization

/// What customers see of us beside messages, on its way to them: that something was read, that somebody writes. Bounded, and what finds no room is left out:
/// it is worth nothing later.
package final class CustomerSignals: Sendable {
    package struct Signal: Sendable, Equatable {
        package let tenant: TenantID
        package let conversation: ConversationID
        /// The customer's last message.
        package let externalID: String
        package let phoneNumberID: String?
        package let isTyping: Bool
    }

    /// What shows as typing does so for 25 seconds; agents' clients tell every few (research/conversations.md §5.5).
    package static let typingLasts = Duration.seconds(20)
    package static let maxWaiting = 1000
    package static let maxInFlight = 8

    private struct Shown: Sendable {
        var externalID: String
        var typingUntil: Timestamp?
    }

    private let shown = Mutex<[ConversationID: Shown]>([:])
    private let environment: Environment
    private let stream: AsyncStream<Signal>
    private let continuation: AsyncStream<Signal>.Continuation
    private let send: @Sendable (Signal) async -> Void

    /// - Parameter send: one attempt, bounded in time.
    package init(environment: Environment, send: @escaping @Sendable (Signal) async -> Void) {
        self.environment = environment
        self.send = send
        (stream, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingOldest(Self.maxWaiting))
    }

    /// Leaves out what the customer sees already.
    package func put(_ signal: Signal) {
        let now = environment.now()
        let isNews = shown.withLock { shown in
            let before = shown[signal.conversation]
            let isSame = before?.externalID == signal.externalID
            if isSame, !signal.isTyping { return false }
            if isSame, let until = before?.typingUntil, now < until { return false }
            if shown.count > 10_000 { shown.removeAll() }
            shown[signal.conversation] = Shown(externalID: signal.externalID, typingUntil: signal.isTyping ? now + Self.typingLasts : nil)
            return true
        }
        if isNews { continuation.yield(signal) }
    }

    /// Sends until cancelled. Once only.
    package func run() async {
        await withTaskGroup(of: Void.self) { group in
            var running = 0
            for await signal in stream {
                if running == Self.maxInFlight {
                    await group.next()
                    running -= 1
                }
                group.addTask { await self.send(signal) }
                running += 1
            }
        }
    }
}
