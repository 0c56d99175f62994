import Foundation
import Logging
import Realtime
import ServiceLifecycle
import Transports
import UnixSignals

/// The doors. When the server stops nobody new is let in, and who is in is let go in turn, streams and waiting polls too: a response that never ends would hold
/// it up.
struct Doors: Service {
    let application: any Service
    let registries: LoopRegistries
    let admission: Admission
    let presence: PresenceBook
    let drainWindow: Duration

    func run() async throws {
        try await withGracefulShutdownHandler {
            try await application.run()
            // The application does not know sockets any more; the business behind them stays until the last is gone.
            while admission.counters.connections > 0, !Task.isCancelled { try? await Task.sleep(for: .milliseconds(10)) }
        } onGracefulShutdown: {
            presence.serverStops()
            registries.drain(over: drainWindow)
        }
    }
}

/// Ends the process at the second signal: somebody does not want to wait until everything is in order. What was acknowledged is on disk either way.
struct Impatience {
    let logger: Logger

    func run() async {
        var count = 0
        for await signal in await UnixSignalsSequence(trapping: .sigterm, .sigint) {
            count += 1
            guard count > 1 else { continue }
            logger.warning("a second signal: stopped at once")
            _exit(128 + signal.rawValue)
        }
    }
}
