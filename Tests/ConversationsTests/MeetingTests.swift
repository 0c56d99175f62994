import Kernel
import Synchronization
import Testing
import Wire

@testable import Conversations

/// Where the bot, WhatsApp, the desk's rules and its people meet.
@Suite struct MeetingTests {
    let bench = Bench()

    private func govern(_ change: (inout DeskSettings) -> Void) async {
        var settings = await bench.desk.deskSettings
        change(&settings)
        _ = settings.setHours()
        bench.ledger.absorb(await bench.desk.govern(settings, by: admin, bench.moment).1)
    }

    private func attended(by principal: Principal = maria, from number: String = "5511900000001") async throws -> ConversationID {
        let id = try await bench.customer("atendente", from: number)
        try await bench.perform(.claim, on: id, by: principal)
        return id
    }

    private func echo(_ text: String, to number: String = "5511900000001") -> CustomerMessage {
        var echo = bench.message(text, from: number)
        echo.isEcho = true
        return echo
    }

    private func ownFlow(_ handOff: JSON) throws -> BotFlow {
        try BotFlow.read([
            "start": "menu", "nodes": everything["nodes"]!, "keywords": everything["keywords"]!, "hand_off": handOff,
            "variables": everything["variables"]!, "assistant": everything["assistant"]!,
        ])
    }

    private func saved(_ flow: BotFlow) async { bench.ledger.absorb(await bench.desk.saveFlow(flow, by: admin, bench.moment).1) }

    private var audit: [AuditEntry] { bench.ledger.images(DeskTables.audit).map(AuditEntry.init).sorted { $0.seq < $1.seq } }
    private func sent(_ id: ConversationID) -> [String] {
        bench.ledger.messages.filter { $0.conversation == id && $0.direction == .outbound }.sorted { $0.seq < $1.seq }.map(\.text)
    }

    // MARK: What is a word of the customer's

    @Test func onlyWhatWantsAnAnswerIsOwedOneAndWakesAPausedConversation() async throws {
        await govern { $0.nextAnswer = .seconds(600) }
        let id = try await attended()
        try await bench.perform(.write(text: "oi", clientMessageID: nil), on: id, by: maria)
        try await bench.perform(.read, on: id, by: maria)
        let window = try await bench.conversation(id).windowExpiresAt
        bench.clock.advance(by: .seconds(10))
        for (kind, annotation) in [("edit", Annotation.edited("x")), ("revoke", .revoked), ("system", nil)] {
            var told = bench.message("algo", kind: kind)
            told.annotation = annotation.map { ("wamid.1", $0) }
            try await bench.receives(told)
            #expect(try await bench.conversation(id).windowExpiresAt == window, "\(kind)")
        }
        try await bench.perform(.snooze(until: bench.clock.now + .seconds(3600)), on: id, by: maria)
        var reaction = bench.message("👍", kind: "reaction")
        reaction.annotation = ("wamid.1", .reaction("👍"))
        try await bench.receives(reaction)
        let after = try await bench.conversation(id)
        #expect(after.owedSince == nil && after.unread == 0 && after.levels.clocks.isEmpty && after.state.name == "snoozed")
        #expect(after.windowExpiresAt.map { $0 > window! } == true, "WhatsApp counts from a reaction too")
        try await bench.receives(bench.message("?", kind: "unsupported"))
        #expect(try await bench.conversation(id).owedSince != nil)
        #expect(try await bench.conversation(id).state.name == "active")
    }

    // MARK: The business's own telephone

    @Test func whoIsWrittenToFromTheHandsetIsOfferedToNobodyBeforeTheyAnswer() async throws {
        bench.pool.arrives(1, maria)
        let (reception, change) = try await bench.receives(echo("Bom dia! Seu técnico está a caminho."))
        guard case .taken(let id) = reception else { throw Surprise("not taken") }
        #expect(change.jobs.isEmpty && bench.pool.lastNumber == 0)
        #expect(try await bench.state(id) == .bot)
        #expect(try await bench.customer("obrigado, e a fatura?") == id)
        #expect(try await bench.conversation(id).offer?.consultor == 1, "a person goes on, and not the bot")
    }

    @Test func aWordFromTheHandsetAfterTheEndKeepsTheQuestionHowItWas() async throws {
        await govern { $0.asksSatisfaction = true }
        let id = try await attended()
        try await bench.perform(.resolve, on: id, by: maria)
        try await bench.receives(echo("obrigado!"))
        #expect(try await bench.conversation(id).isResolved && bench.ledger.conversations.count == 1)
        #expect(try await bench.customer("5") == id)
        #expect(try await bench.conversation(id).satisfaction?.score == 5)
    }

    // MARK: The deadline of a hand-off

    @Test func nobodyIsThrownOutOfTheLineWhileTheDeskIsClosed() async throws {
        await saved(try ownFlow(["deadline_seconds": 600, "then": "bot"]))
        // From Monday 2026-09-21 20:00 in São Paulo; open from Tuesday 09:00.
        let open = BusinessHours.Interval(opens: 9 * 60, closes: 18 * 60)
        await govern { $0.week = Array(repeating: [open], count: 7) }
        bench.clock.advance(by: Timestamp(rfc3339: "2030-01-07T23:00:00Z")! - bench.clock.now)
        let id = try await bench.customer("atendente")
        await bench.time(passes: .seconds(12 * 3600))
        #expect(try await bench.state(id).name == "queued", "eight in the morning")
        await bench.time(passes: .seconds(3600 + 599))
        #expect(try await bench.state(id).name == "queued")
        await bench.time(passes: .seconds(1))
        #expect(try await bench.state(id) == .bot, "ten minutes of working time")
    }

    @Test func aPromiseThatIsGivenUpIsABrokenOne() async throws {
        await saved(try ownFlow(["deadline_seconds": 60, "then": "bot"]))
        await govern { $0.firstAnswer = .seconds(600) }
        let id = try await bench.customer("atendente")
        let change = await bench.time(passes: .seconds(60))
        #expect(try await bench.state(id) == .bot)
        #expect(change.types(on: "supervision").contains("sla.breached"))
        #expect(try await bench.conversation(id).levels.breaches == [.firstAnswer])
        #expect(audit.map(\.cause).contains("hand_off_deadline"))
    }

    @Test func whomAPersonHasAnsweredWaitsAnewAndIsNotGivenToTheBot() async throws {
        await saved(try ownFlow(["deadline_seconds": 60, "then": "bot"]))
        let id = try await attended()
        try await bench.perform(.write(text: "já volto", clientMessageID: nil), on: id, by: maria)
        bench.clock.advance(by: .seconds(600))
        try await bench.perform(.requeue(language: nil), on: id, by: maria)
        await bench.time(passes: .seconds(59))
        #expect(try await bench.conversation(id).isLateTold == false)
        await bench.time(passes: .seconds(1))
        #expect(try await bench.conversation(id).isLateTold)
        #expect(try await bench.state(id).name == "queued")
    }

    @Test func aDeadlineIsThatOfTheVersionAlsoAfterARestart() async throws {
        await saved(try ownFlow(["deadline_seconds": 60]))
        let id = try await bench.customer("atendente")
        await saved(try ownFlow(["deadline_seconds": 6000]))
        var loaded = bench.ledger.loaded
        loaded.flows = bench.ledger.images(FlowVersion.table).compactMap(FlowVersion.init)
        let again = ConversationDesk(
            executor: TenantTurn(),
            tenant: tenant,
            pool: FakePool(),
            flow: flow,
            settings: .init(),
            loaded: loaded
        )
        bench.clock.advance(by: .seconds(60))
        _ = await again.timePassed(bench.moment)
        #expect(await again.sessions[id]?.conversation.isLateTold == true)
    }

    // MARK: People who go

    @Test func whatSomebodyHadWhoseConnectionIsLostGoesBackToItsPlaceIfTheBusinessWantsIt() async throws {
        for requeues in [false, true] {
            let bench = Bench()
            var settings = await bench.desk.deskSettings
            settings.requeuesWhenLost = requeues
            _ = await bench.desk.govern(settings, by: admin, bench.moment)
            bench.pool.arrives(1, maria)
            let id = try await bench.customer("atendente")
            let asked = try #require(try await bench.conversation(id).askedAt)
            try await bench.perform(.claim, on: id, by: maria)
            bench.clock.advance(by: .seconds(100))
            bench.pool.leaves(1)
            let change = await bench.desk.attendantLeft(1, .lost, bench.moment)
            #expect(try await bench.state(id) == (requeues ? .queued(since: asked) : .active(consultor: 1)))
            #expect(change.types(on: "supervision").contains("work.changed"), "supervisors see that nobody is with it")
        }
    }

    @Test func whatAClosedAccountHadGoesBackEvenWhatWasPaused() async throws {
        bench.pool.arrives(1, maria)
        let (active, paused) = (try await attended(), try await attended(from: "5511900000002"))
        try await bench.perform(.snooze(until: bench.clock.now + .seconds(3600)), on: paused, by: maria)
        bench.pool.leaves(1)
        bench.ledger.absorb(await bench.desk.attendantLeft(1, .closed, by: .user(admin.user, name: "Ada"), bench.moment))
        #expect(try await bench.state(active).name == "queued")
        #expect(try await bench.state(paused).name == "queued")
        let entry = try #require(audit.first { $0.cause == "account_closed" })
        #expect(entry.actorName == "Ada" && entry.to == "offline" && entry.toConsultor == 1)
    }

    @Test func nothingIsGivenToWhoIsNotThereButByWhoAdministers() async throws {
        bench.pool.arrives(1, maria)
        bench.pool.arrives(2, joao)
        let id = try await attended()
        bench.pool.leaves(2)
        #expect(try await bench.refusal(.transfer(consultor: 2), on: id, by: maria).code == "consultor_offline")
        try await bench.perform(.transfer(consultor: 2), on: id, by: admin)
        #expect(try await bench.conversation(id).assignee == 2)
    }

    @Test func nobodyTakesMoreThanTheyCanHaveByHandEither() async throws {
        bench.pool.arrives(1, maria)
        bench.pool.state.withLock { $0.capacity = 1 }
        _ = try await attended()
        let second = try await bench.customer("atendente", from: "5511900000002")
        #expect(try await bench.refusal(.claim, on: second, by: maria).code == "consultor_full")
        #expect(try await bench.refusal(.write(text: "oi", clientMessageID: nil), on: second, by: maria).code == "consultor_full")
    }

    // MARK: Silence

    @Test func nobodyIsSilentWhoIsOwedAnAnswer() async throws {
        await govern { $0.botInactivity = .seconds(60) }
        let id = try await bench.customer("oi")
        #expect(bench.jobs.count == 1)
        await bench.time(passes: .seconds(60))
        #expect(try await bench.state(id) == .bot, "what the bot said has not left")
        await bench.everythingLeaves()
        await bench.time(passes: .seconds(30))
        #expect(try await bench.conversation(id).isResolved)
    }

    // MARK: The bot, interrupted

    @Test func whatTheBotSaidBeforeItWasInterruptedIsNotSaidAfterItIsBack() async throws {
        let id = try await bench.customer("oi")
        let job = try #require(bench.jobs.first)
        for command in [AgentCommand.claim, .write(text: "sou a Maria", clientMessageID: nil), .returnToBot] {
            try await bench.perform(command, on: id, by: maria)
        }
        guard case (.ended, let change) = await bench.desk.attemptBegan(job, bench.moment) else { throw Surprise("the stale menu was sent") }
        #expect(change.messages("message.changed").first?["error"]?["code"] == "withdrawn")
        try await bench.customer("de novo")
        #expect(bench.jobs.count == 3, "what it says from now on is sent")
    }

    @Test func theTrailSaysWhoHandedOverAndWhy() async throws {
        func cause(_ words: [String], from number: String) async throws -> [String] {
            for word in words { try await bench.customer(word, from: number) }
            let id = try #require(bench.ledger.conversations.first { $0.contactNumber == number }?.id)
            return audit.filter { $0.conversation == id && $0.to == "queued" }.map { "\($0.actorKind) \($0.cause)" }
        }
        #expect(try await cause(["oi", "quero um atendente"], from: "5511900000001") == ["customer person_asked_for"])
        #expect(try await cause(["oi", "xyz", "xyz", "xyz"], from: "5511900000002") == ["bot bot_misunderstood"])
        #expect(try await cause(["oi", "4"], from: "5511900000003") == ["bot flow_hands_off"])
        await saved(try ownFlow([:]))
        #expect(audit.last?.cause == "flow_saved" && audit.last?.actorName == "Ada")
    }

    // MARK: What people are told

    @Test func aPlaceInLineIsAmongThoseOfOnesOwnLanguage() async throws {
        for number in 2...4 { try await bench.customer("atendente", from: "551190000000\(number)") }
        try await bench.customer("english")
        let id = try await bench.customer("human")
        #expect(sent(id).last?.contains("number 1 in line") == true)
    }

    @Test func unreadIsCountedOnAfterARestartAndClearedByWhoseItIs() async throws {
        bench.pool.arrives(1, maria)
        bench.pool.arrives(2, joao)
        let id = try await attended()
        try await bench.perform(.read, on: id, by: maria)
        try await bench.customer("um")
        try await bench.customer("dois")
        let again = ConversationDesk(
            executor: TenantTurn(),
            tenant: tenant,
            pool: bench.pool,
            flow: flow,
            settings: .init(),
            loaded: bench.ledger.loaded
        )
        _ = try await again.perform(.read, on: id, by: joao, earlier: nil, bench.moment)
        #expect(await again.unread(1).messages == 2, "others may look")
        let (_, change) = try await again.perform(.read, on: id, by: maria, earlier: nil, bench.moment)
        #expect(change.types(on: "user:\(maria.user)") == ["unread.counted"])
    }
}
