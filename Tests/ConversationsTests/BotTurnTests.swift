import Kernel
import OrderedCollections
import Storage
import TestSupport
import Testing
import Wire

@testable import Conversations

/// When the bot answers, and that it never does where a person is.
@Suite struct BotTurnTests {
    private func bench(quiet: Duration = .milliseconds(1500), canConsult: Bool = false) -> Bench {
        var settings = ConversationDesk.Settings()
        settings.canConsult = { _ in canConsult }
        return Bench(settings, quiet: quiet)
    }

    private func bot(_ bench: Bench, _ id: ConversationID) -> [String] {
        bench.ledger.messages.filter { $0.conversation == id && $0.authorKind == "bot" && $0.direction == .outbound }.sorted { $0.seq < $1.seq }.map(
            \.text
        )
    }

    // MARK: Bursts

    @Test func aBurstIsAnsweredOnceWhenTheCustomerPauses() async throws {
        let bench = bench()
        let id = try await bench.customer("oi")
        await bench.time(passes: .milliseconds(1000))
        try await bench.customer("tudo bem?")
        await bench.time(passes: .milliseconds(1000))
        try await bench.customer("quero o boleto")
        await bench.time(passes: .milliseconds(1499))
        #expect(bot(bench, id).isEmpty)
        await bench.time(passes: .milliseconds(1))
        #expect(bot(bench, id).count == 1)
        #expect(bot(bench, id)[0].contains("segunda via da fatura"), "the three messages are read as one")
        #expect(await bench.time(passes: .seconds(60)).messages("message.created").isEmpty)
    }

    @Test func whoNeverPausesIsAnsweredTenSecondsAfterTheirFirstMessage() async throws {
        let bench = bench()
        let id = try await bench.customer("oi")
        for _ in 0..<9 {
            await bench.time(passes: .seconds(1))
            try await bench.customer("e")
        }
        #expect(bot(bench, id).isEmpty)
        await bench.time(passes: .milliseconds(999))
        #expect(bot(bench, id).isEmpty)
        await bench.time(passes: .milliseconds(1))
        #expect(bot(bench, id).count == 1)
    }

    @Test func aTappedButtonIsAnsweredAtOnce() async throws {
        let bench = bench()
        try await bench.customer("oi")
        let (_, change) = try await bench.receives(bench.message("Segunda via", kind: "interactive", content: #"{"id":"2","title":"Segunda via"}"#))
        #expect(change.jobs.count == 1)
        #expect(change.messages("message.created").last?["text"]?.string?.contains("segunda via da fatura") == true)
    }

    @Test func aWordForAPersonIsObeyedAtOnce() async throws {
        let bench = bench()
        try await bench.customer("oi")
        let id = try await bench.customer("ATENDENTE!")
        #expect(try await bench.state(id) == .queued(since: bench.clock.now))
        await bench.time(passes: .seconds(20))
        #expect(bot(bench, id).count == 1, "the notice, and no greeting after it")
    }

    @Test func whoWroteBeforeACrashIsAnsweredAfterIt() async throws {
        let bench = bench()
        let id = try await bench.customer("oi")
        let loaded = bench.ledger.loaded
        let again = ConversationDesk(executor: TenantTurn(), tenant: tenant, pool: FakePool(), flow: flow, settings: .init(), loaded: loaded)
        #expect(await again.nextDeadline == bench.clock.now + .milliseconds(1500))
        #expect(await !again.isQuiet)
        bench.clock.advance(by: .milliseconds(1500))
        let change = await again.timePassed(bench.moment)
        #expect(change.messages("message.created").map { $0["conversation_id"]?.string } == [id.description])
        #expect(await again.timePassed(bench.moment).messages("message.created").isEmpty)
    }

    @Test func aPersonWhoTakesOverWithinTheBurstIsTheOnlyOneToAnswer() async throws {
        let bench = bench()
        let id = try await bench.customer("oi")
        try await bench.perform(.claim, on: id, by: maria)
        await bench.time(passes: .seconds(60))
        #expect(bot(bench, id).isEmpty)
        try await bench.perform(.returnToBot, on: id, by: maria)
        await bench.time(passes: .seconds(60))
        #expect(bot(bench, id).isEmpty, "what was written to people is not the bot's to answer")
        try await bench.customer("boleto")
        await bench.time(passes: .seconds(2))
        #expect(bot(bench, id).count == 1)
    }

    // MARK: The assistant

    /// A conversation whose turn the assistant has.
    private func consulting(_ bench: Bench, _ text: String = "minha tv não liga") async throws -> (ConversationID, ConsultationRequest) {
        let id = try await bench.customer("oi")
        await bench.time(passes: .milliseconds(1500))
        try await bench.customer(text)
        await bench.time(passes: .milliseconds(1500))
        let (begun, _) = await bench.desk.takeConsultations()
        return (id, try #require(begun.last))
    }

    private func ended(_ bench: Bench, _ request: ConsultationRequest, _ outcome: ConsultationOutcome) async -> Bool {
        let (isCurrent, change) = await bench.desk.consultationEnded(request.turn, of: request.conversation, outcome, bench.moment)
        bench.ledger.absorb(change)
        return isCurrent
    }

    @Test func whatTheMenuDoesNotKnowTheAssistantIsAsked() async throws {
        let bench = bench(canConsult: true)
        let (id, request) = try await consulting(bench)
        #expect(request.lines.map(\.isCustomer) == [true, false, true])
        #expect(request.lines.last?.text == "minha tv não liga")
        #expect(await bench.desk.streamed("Vamos", in: request.turn, of: id) != nil)
        #expect(await ended(bench, request, .said("Vamos ver isso.")))
        #expect(bot(bench, id).last == "Vamos ver isso.")
        #expect(await bench.desk.streamed("Vamos", in: request.turn, of: id) == nil, "a turn that has ended shows nothing more")
        #expect(await !ended(bench, request, .said("de novo")))
    }

    @Test func anAssistantThatFailsOrDoesNotComeBackLeavesTheFlowAlone() async throws {
        for isSilent in [false, true] {
            let bench = bench(canConsult: true)
            let (id, request) = try await consulting(bench)
            if isSilent { await bench.time(passes: .seconds(45)) } else { #expect(await ended(bench, request, .failed)) }
            #expect(bot(bench, id).last?.contains("não entendi") == true)
            #expect(await !ended(bench, request, .said("tarde demais")))
        }
    }

    @Test func aCustomerWhoWritesOnIsAnsweredOnceToAllOfIt() async throws {
        let bench = bench(canConsult: true)
        let (id, first) = try await consulting(bench)
        try await bench.customer("e o controle também não")
        #expect(await bench.desk.takeConsultations().cancelled.map(\.0) == [first.turn])
        #expect(await !ended(bench, first, .said("resposta velha")))
        await bench.time(passes: .milliseconds(1500))
        let second = try #require(await bench.desk.takeConsultations().begun.last)
        #expect(second.lines.suffix(2).map(\.text) == ["minha tv não liga", "e o controle também não"])
        #expect(await ended(bench, second, .said("Os dois.")))
        #expect(bot(bench, id).filter { $0 == "Os dois." || $0 == "resposta velha" } == ["Os dois."])
    }

    @Test func anAssistantThatCallsForAPersonLeavesThemABrief() async throws {
        let bench = bench(canConsult: true)
        let (id, request) = try await consulting(bench)
        #expect(await ended(bench, request, .handOff(text: "Um momento.", reason: "TV", summary: "A TV não liga.", language: "es")))
        #expect(try await bench.conversation(id).language == "es")
        #expect(try await bench.state(id) == .queued(since: bench.clock.now))
        let note = try #require(bench.ledger.messages.first { $0.kind == "note" })
        #expect(note.text == "Motivo: TV\nIdioma: es\nResumo: A TV não liga.")
        #expect(note.direction == .internal)
        #expect(bot(bench, id).contains("Um momento."))
    }

    @Test(arguments: ["claim", "resolve", "handOff"]) func aTurnWhoseConversationIsTakenOverIsCancelled(_ how: String) async throws {
        let bench = bench(canConsult: true)
        let (id, request) = try await consulting(bench)
        let before = bot(bench, id)
        switch how {
        case "claim": try await bench.perform(.claim, on: id, by: maria)
        case "resolve": try await bench.perform(.resolve, on: id, by: maria)
        default: try await bench.customer("atendente")
        }
        #expect(await bench.desk.takeConsultations().cancelled.map(\.0) == [request.turn])
        #expect(await bench.desk.streamed("…", in: request.turn, of: id) == nil)
        #expect(await !ended(bench, request, .said("fala por cima")))
        #expect(bot(bench, id).filter { !before.contains($0) && !$0.contains("protocolo") }.isEmpty)
    }

    @Test func whatTheBotSaidAndHasNotLeftYetIsWithdrawn() async throws {
        let bench = bench(quiet: .zero)
        let id = try await bench.customer("oi")
        let job = try #require(bench.jobs.first)
        try await bench.perform(.claim, on: id, by: maria)
        let (attempt, change) = await bench.desk.attemptBegan(job, bench.moment)
        guard case .ended = attempt else { throw Surprise("a bot's message was sent over a person") }
        bench.ledger.absorb(change)
        #expect(bench.ledger.messages.first { $0.direction == .outbound }?.failure?.code == "withdrawn")
        #expect(bench.jobs.isEmpty)
    }

    // MARK: The hand-off's deadline

    @Test func whoWaitsForTooLongIsToldOnce() async throws {
        let bench = bench(quiet: .zero)
        let id = try await bench.customer("atendente")
        await bench.time(passes: .milliseconds(599_999))
        #expect(bench.ledger.messages.filter { $0.authorKind == "system" && $0.direction == .outbound }.isEmpty)
        await bench.time(passes: .milliseconds(1))
        #expect(bench.ledger.messages.filter { $0.authorKind == "system" && $0.direction == .outbound }.count == 1)
        #expect(try await bench.state(id) == .queued(since: bench.clock.now + .seconds(-600)), "they keep their place")
        await bench.time(passes: .seconds(6000))
        #expect(bench.ledger.messages.filter { $0.authorKind == "system" && $0.direction == .outbound }.count == 1)
    }

    @Test func aFlowMaySayThatTheBotTakesThemBack() async throws {
        let bench = bench(quiet: .zero)
        guard case .object(var members) = everything else { throw Surprise("an object") }
        members["hand_off"] = ["deadline_seconds": 60, "then": "bot"]
        let (_, change) = await bench.desk.saveFlow(try BotFlow.read(.object(members)), by: admin, bench.moment)
        bench.ledger.absorb(change)
        bench.pool.arrives(1, maria)
        let id = try await bench.customer("atendente")
        #expect(try await bench.conversation(id).offer?.consultor == 1)
        bench.pool.leaves(1)
        await bench.time(passes: .seconds(60))
        #expect(try await bench.state(id) == .bot)
        #expect(bench.pool.busy(1).isEmpty)
    }

    // MARK: Versions

    @Test func aConversationFinishesOnTheVersionThatItBeganWith() async throws {
        let bench = bench(quiet: .zero)
        let (first, change) = await bench.desk.saveFlow(try BotFlow.read(everything), by: admin, bench.moment)
        bench.ledger.absorb(change)
        #expect(first.number == 1)
        let id = try await bench.customer("cadastrar")
        #expect(bot(bench, id).last == "Seu CPF?")
        let (second, other) = await bench.desk.saveFlow(flow, by: admin, bench.moment)
        bench.ledger.absorb(other)
        #expect(second.number == 2)
        try await bench.customer("52998224725")
        #expect(bot(bench, id).last?.hasPrefix("Casa ou empresa?") == true, "the old version's next question")
        let new = try await bench.customer("oi", from: "5511900000002")
        #expect(bot(bench, new).last?.contains("Segunda via da fatura") == true, "new conversations begin with the new one")
        // Also after a restart.
        var immediate = ConversationDesk.Settings()
        immediate.burst.quiet = .zero
        var loaded = bench.ledger.loaded
        loaded.flows = bench.ledger.images(FlowVersion.table).compactMap(FlowVersion.init)
        #expect(loaded.flows.filter(\.isActive).map(\.number) == [2])
        let again = ConversationDesk(executor: TenantTurn(), tenant: tenant, pool: FakePool(), flow: flow, settings: immediate, loaded: loaded)
        let (_, answer) = try await again.received(bench.message("casa"), seenBefore: false, bench.moment)
        #expect(answer.messages("message.created").last?["text"]?.string == "Pronto, Ana: 52998224725.")
        // And back.
        let (_, rollback) = await again.activateFlow(first, by: admin, bench.moment)
        #expect(rollback.rows.filter { $0.table == FlowVersion.table }.count == 2)
        #expect(await again.activeFlow?.number == 1)
        #expect(await again.activateFlow(first, by: admin, bench.moment).1.rows.isEmpty, "what is active already changes nothing")
        #expect(await again.saveFlow(flow, by: admin, bench.moment).0.number == 3, "numbers are not used again")
    }

    // MARK: Schedules at random

    /// Customers, agents, time, assistants that answer late, twice or never, and an outbox that sends when it likes. A naive model follows what subscribers are
    /// told, and holds every word of the bot against it.
    @Test(arguments: 1...6) func theBotIsNeverHeardWhereItIsNotItsTurn(_ seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let bench = bench(canConsult: true)
        let desk = bench.desk
        bench.pool.arrives(1, maria)
        var model = Model()
        let sentences = ["oi", "minha tv não liga", "xyz", "boleto", "atendente", "english", "e agora?"]
        for _ in 0..<4_000 {
            let ids = model.owners.filter { $0.value != "none" }.keys.sorted()
            let anybody = ids.randomElement(using: &random)
            switch Int.random(in: 0..<20, using: &random) {
            case 0..<7:
                let kind = ["text", "text", "text", "interactive", "image"].randomElement(using: &random)!
                let message = bench.message(
                    sentences.randomElement(using: &random)!,
                    from: "55119000000\(Int.random(in: 10...30, using: &random))",
                    kind: kind
                )
                model.took(try await desk.received(message, seenBefore: false, bench.moment).1)
            case 7..<10:
                bench.clock.advance(by: .milliseconds(Int64.random(in: 0...2500, using: &random)))
                model.took(await desk.timePassed(bench.moment))
            case 10:
                bench.clock.advance(by: .seconds(50))
                model.took(await desk.timePassed(bench.moment))
            case 11..<14:
                guard let request = model.oneTurn(&random) else { break }
                let isShown = await desk.streamed("…", in: request.turn, of: request.conversation) != nil
                model.streamed += isShown ? 1 : 0
                if isShown, !model.mayShow(request) { model.violations.append("shown out of turn") }
            case 14:
                guard let request = model.oneTurn(&random) else { break }
                let outcome: ConsultationOutcome =
                    [
                        .said("resposta"), .said("resposta"), .failed,
                        .handOff(text: "Um momento.", reason: "r", summary: "s", language: nil),
                    ].randomElement(using: &random)!
                let may = model.mayShow(request)
                let (isPresent, change) = await desk.consultationEnded(request.turn, of: request.conversation, outcome, bench.moment)
                if isPresent, !may { model.violations.append("answered out of turn") }
                if !isPresent, !change.events.isEmpty { model.violations.append("a stale turn did something") }
                if isPresent { model.ended.insert(request.turn) }
                model.took(change)
            case 15...17:
                guard let anybody else { break }
                let command: AgentCommand =
                    [.claim, .resolve, .resolve, .returnToBot, .write(text: "oi, sou a Ada", clientMessageID: nil)].randomElement(using: &random)!
                do throws(Refusal) { model.took(try await desk.perform(command, on: anybody, by: admin, earlier: nil, bench.moment).1) } catch {}
            default:
                guard let job = model.jobs.values.sorted(by: { $0.id < $1.id }).randomElement(using: &random) else { break }
                let (attempt, change) = await desk.attemptBegan(job, bench.moment)
                model.took(change)
                if case .send(let order, let begun) = attempt {
                    model.sent(order.message)
                    model.took(await desk.attemptEnded(begun, .sent(externalID: "w.\(order.message)"), bench.moment).1)
                }
            }
            let (begun, cancelled) = await desk.takeConsultations()
            model.cancelled(cancelled.map(\.0))
            model.begin(begun)
        }
        print("seed \(seed): \(model)")
        #expect(model.violations.isEmpty, "seed \(seed)")
        #expect(model.botMessages > 200 && model.streamed > 20 && model.withdrawn > 0 && model.takeOvers > 20, "seed \(seed): too tame")
    }

    private struct Model: CustomStringConvertible {
        var owners: [ConversationID: String] = [:]
        var begun: [ConsultationRequest] = []
        var ended: Set<BotTurnID> = []
        var jobs: [JobID: Job] = [:]
        /// What the bot has said in a turn of its own.
        var words: [MessageID: ConversationID] = [:]
        var violations: [String] = []
        var botMessages = 0
        var streamed = 0
        var withdrawn = 0
        var takeOvers = 0

        var description: String {
            "\(botMessages) messages of the bot, \(begun.count) turns of the assistant, \(streamed) pushes, \(takeOvers) take-overs, \(withdrawn) withdrawn, \(violations.count) out of turn"
        }

        mutating func took(_ change: Change) {
            for event in change.events {
                guard let json = try? parsed(event.payload), event.channel.hasPrefix("conversation:") else { continue }
                switch json["type"]?.string {
                case "message.created":
                    guard let message = json["message"], message["content"]?["turn_id"] != nil,
                        let id = message["conversation_id"]?.string.flatMap({ ConversationID($0) })
                    else { continue }
                    botMessages += 1
                    words[MessageID(message["id"]!.string!)!] = id
                    if owners[id] ?? "bot" != "bot" { violations.append("said to one that is \(owners[id]!)'s") }
                case "message.changed":
                    if json["message"]?["error"]?["code"]?.string == "withdrawn" { withdrawn += 1 }
                case "conversation.changed":
                    guard let conversation = json["conversation"], let id = conversation["id"]?.string.flatMap({ ConversationID($0) }) else {
                        continue
                    }
                    let owner = conversation["owner"]!.string!
                    if owners[id] == "bot", owner != "bot" { takeOvers += 1 }
                    owners[id] = owner
                default: break
                }
            }
            for job in change.jobs { jobs[job.id] = job.state == .ready ? job : nil }
            for job in change.endedJobs { jobs[job.id] = nil }
        }

        /// Mostly one that is under way; now and then one that is over.
        func oneTurn(_ random: inout SeededGenerator) -> ConsultationRequest? {
            let present = begun.suffix(100).filter { !ended.contains($0.turn) }
            return Int.random(in: 0..<4, using: &random) == 0 ? begun.suffix(12).randomElement(using: &random) : present.randomElement(using: &random)
        }

        mutating func begin(_ requests: [ConsultationRequest]) {
            for request in requests {
                if begun.contains(where: { $0.conversation == request.conversation && !ended.contains($0.turn) }) {
                    violations.append("two turns at once")
                }
                begun.append(request)
            }
        }

        mutating func cancelled(_ turns: [BotTurnID]) { ended.formUnion(turns) }

        func mayShow(_ request: ConsultationRequest) -> Bool { owners[request.conversation] == "bot" && !ended.contains(request.turn) }

        mutating func sent(_ message: MessageID) {
            if let id = words[message], owners[id] != "bot" { violations.append("sent to one that is \(owners[id] ?? "?")'s") }
        }
    }
}
