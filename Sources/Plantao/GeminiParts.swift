import AsyncHTTPClient
import Integrations
import Kernel
import Logging
import Realtime
import Resilience
import ServiceLifecycle
import Tenancy

/// The assistant and what belongs to it, put together.
struct GeminiParts: Sendable {
    let turns: BotTurns
    let counters: GeminiCounters
    /// When the desk gives a turn up: a little after the turn itself would.
    let deadline: Duration

    init(_ settings: Settings.Gemini, http: HTTPClient, hub: StreamHub, breakers: BreakerBoard, environment: Kernel.Environment, logger: Logger) {
        counters = GeminiCounters(prices: settings.prices)
        breakers.uses(.gemini)
        var dialogue = GeminiDialogue(GeminiClient(http: http, configuration: settings.client), observer: counters)
        dialogue.timeout = settings.timeout
        deadline = settings.timeout + .seconds(5)
        turns = BotTurns(
            assistant: GeminiBridge(dialogue: dialogue, environment: environment),
            breakers: breakers,
            hub: hub,
            logger: logger
        )
    }
}

struct BotTurnService: Service {
    let turns: BotTurns

    func run() async throws { await cancelWhenGracefulShutdown { await turns.run() } }
}
