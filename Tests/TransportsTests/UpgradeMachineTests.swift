import TestSupport
import Testing

@testable import Transports

@Suite struct UpgradeMachineTests {
    private var machine = UpgradeMachine<Int>()

    @Test mutating func theFirstRequestMayAskAndIsAnsweredOnceItIsWhole() {
        #expect(machine.isSilent && machine.isReading)
        #expect(machine.requestBegan(1, asks: .webSocket) == .keep)
        #expect(machine.isReading)
        #expect(machine.requestWentOn() == .keep)
        #expect(machine.requestEnded() == .change(1))
        #expect(!machine.isReading)
    }

    @Test mutating func aLaterRequestWaitsForEveryAnswerBeforeIt() {
        #expect(machine.requestBegan(1, asks: .nothing) == .begin)
        #expect(machine.requestEnded() == .pass)
        #expect(machine.requestBegan(2, asks: .nothing) == .pass)
        #expect(machine.requestEnded() == .pass)
        #expect(machine.requestBegan(3, asks: .webSocket) == .keep)
        #expect(machine.requestEnded() == .keep)
        #expect(!machine.isReading)
        #expect(machine.answerEnded() == .pass)
        #expect(machine.answerEnded() == .change(3))
    }

    @Test mutating func anAnswerThatIsOutBeforeTheRequestIsWholeWaitsForTheRequest() {
        #expect(machine.requestBegan(1, asks: .nothing) == .begin)
        #expect(machine.requestEnded() == .pass)
        #expect(machine.requestBegan(2, asks: .webSocket) == .keep)
        #expect(machine.answerEnded() == .pass)
        #expect(machine.requestEnded() == .change(2))
    }

    @Test mutating func aRequestForAnotherProtocolIsTheLast() {
        #expect(machine.requestBegan(1, asks: .nothing) == .begin)
        #expect(machine.requestEnded() == .pass)
        #expect(machine.requestBegan(2, asks: .another) == .pass)
        #expect(machine.isReading && machine.answerWentOut() == .pass)
        #expect(machine.requestEnded() == .pass)
        #expect(!machine.isReading)
        #expect(machine.answerEnded() == .pass)
        #expect(machine.answerWentOut() == .last)
        #expect(machine.answerEnded() == .pass)
    }

    @Test mutating func aParserThatReadsOnIsNotBelieved() {
        #expect(machine.requestBegan(1, asks: .webSocket) == .keep)
        #expect(machine.requestBegan(2, asks: .nothing) == .abandon)
    }

    /// Random pipelines: whatever comes in between, the change is due exactly once, after the last byte of its request and the last answer before it.
    @Test func theChangeIsDueExactlyOnceWhateverTheOrder() {
        var random = SeededGenerator.fresh()
        for _ in 0..<500 {
            var machine = UpgradeMachine<Int>()
            let before = Int.random(in: 0...4, using: &random)
            // Requests come in order: 2 steps each. Answers go out in order, at any time after their request has begun.
            var (requestSteps, answered, changes) = (0, 0, 0)
            let allSteps = 2 * (before + 1)
            while requestSteps < allSteps || answered < before {
                let begun = (requestSteps + 1) / 2
                let mayAnswer = answered < min(begun, before)
                var verdict: UpgradeMachine<Int>.Request
                if requestSteps < allSteps, !mayAnswer || Bool.random(using: &random) {
                    let (number, isHead) = (requestSteps / 2, requestSteps % 2 == 0)
                    verdict = isHead ? machine.requestBegan(number, asks: number == before ? .webSocket : .nothing) : machine.requestEnded()
                    requestSteps += 1
                } else {
                    verdict = machine.answerEnded()
                    answered += 1
                }
                if case .change(let head) = verdict {
                    changes += 1
                    #expect(head == before && requestSteps == allSteps && answered == before)
                }
            }
            #expect(changes == 1)
        }
    }

    @Test(arguments: [
        ([("upgrade", "websocket"), ("connection", "keep-alive, Upgrade")], UpgradeMachine<Int>.Asked.webSocket),
        ([("upgrade", "WebSocket"), ("connection", "upgrade")], .webSocket),
        ([("upgrade", "h2c"), ("connection", "Upgrade, HTTP2-Settings")], .another),
        ([("upgrade", "h2c, websocket"), ("connection", "Upgrade")], .webSocket),
        ([("upgrade", "websocket")], .nothing),
        ([("connection", "upgrade")], .nothing),
        ([], .nothing),
    ]) func whatIsAskedStandsInTwoHeaders(headers: [(String, String)], asked: UpgradeMachine<Int>.Asked) {
        #expect(UpgradeMachine<Int>.Asked(isConnect: false) { name in headers.filter { $0.0 == name }.map(\.1) } == asked)
        #expect(UpgradeMachine<Int>.Asked(isConnect: true) { _ in [] } == .another)
    }
}
