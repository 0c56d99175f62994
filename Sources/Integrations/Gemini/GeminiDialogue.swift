package import Wire

/// An answer with the function calls on the way to it: ask, call what the model wants called, tell it what came of that, ask again. Bounded in rounds and in
/// time.
package struct GeminiDialogue: Sendable {
    package enum FunctionResult: Sendable {
        /// What the function gave back, for the model to go on with.
        case value(JSON)
        /// The model has nothing more to say: the call is the answer.
        case ends
    }

    package struct Ending: Sendable {
        package enum Outcome: Sendable, Equatable {
            case said(isTruncated: Bool)
            case called(GeminiCall)
            case failure(GeminiFailure)
        }

        package var outcome: Outcome
        /// All that was said, in all rounds.
        package var text = ""
        package var report: GeminiReport
    }

    package var maxRounds = 4
    package var timeout = Duration.seconds(30)
    private let client: GeminiClient
    private let observer: (any GeminiObserver)?

    package init(_ client: GeminiClient, observer: (any GeminiObserver)? = nil) {
        self.client = client
        self.observer = observer
    }

    /// - Parameters:
    ///   - show: all that was said so far. `false`: nobody wants to hear more.
    ///   - call: carries out a function that the model calls.
    package func run(
        _ request: GeminiRequest,
        show: @escaping @Sendable (String) async -> Bool,
        call: @Sendable (GeminiCall) async -> FunctionResult
    ) async -> Ending {
        let clock = ContinuousClock()
        let start = clock.now
        let firstText = FirstTime()
        var request = request
        var ending = Ending(outcome: .failure(.tooManyRounds), report: GeminiReport())
        rounds: for _ in 0..<maxRounds {
            ending.report.rounds += 1
            let before = ending.text
            let left = timeout - (clock.now - start)
            guard left > .zero else {
                ending.outcome = .failure(.tooSlow)
                break
            }
            let (answer, failure) = await client.stream(request, timeout: left) { text in
                firstText.note(clock.now - start)
                return await show(Self.joined(before, text))
            }
            ending.report.usage = ending.report.usage + (answer.usage ?? GeminiUsage())
            ending.text = Self.joined(before, answer.text)
            if let failure {
                ending.outcome = .failure(failure)
                break
            }
            guard case .calls = answer.conclusion else {
                if case .said(let isTruncated) = answer.conclusion { ending.outcome = .said(isTruncated: isTruncated) }
                break
            }
            var responses: [JSON] = []
            for called in answer.calls {
                switch await call(called) {
                case .ends:
                    ending.outcome = .called(called)
                    break rounds
                case .value(let value):
                    var response: JSON = ["name": .string(called.name), "response": value]
                    if let id = called.id { response = response.adding("id", .string(id)) }
                    responses.append(["functionResponse": response])
                }
            }
            request.contents.append(.init(role: "model", parts: answer.parts))
            request.contents.append(.init(role: "user", parts: responses))
        }
        ending.report.latency = clock.now - start
        ending.report.firstText = firstText.value
        ending.report.outcome =
            switch ending.outcome {
            case .said(let isTruncated): isTruncated ? "truncated" : "answered"
            case .called: "called"
            case .failure(let failure): failure.label
            }
        observer?.ended(ending.report)
        return ending
    }

    private static func joined(_ before: String, _ text: String) -> String {
        before.isEmpty ? text : text.isEmpty ? before : before + "\n" + text
    }
}
