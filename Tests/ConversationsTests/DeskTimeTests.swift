import Kernel
import Testing
import Wire

@testable import Conversations

/// Transfers back to the line, promises, inactivity, hours, and how it was.
@Suite struct DeskTimeTests {
    let bench = Bench()

    private func govern(_ change: (inout DeskSettings) -> Void) async {
        var settings = await bench.desk.deskSettings
        change(&settings)
        _ = settings.setHours()
        bench.ledger.absorb(await bench.desk.govern(settings, by: admin, bench.moment).1)
    }

    private func events(_ change: Change, _ type: String, on channel: String) -> [JSON] {
        change.events.filter { $0.channel == channel }.compactMap { try? parsed($0.payload) }.filter { $0["type"]?.string == type }
    }

    private var audit: [AuditEntry] { bench.ledger.images(DeskTables.audit).map(AuditEntry.init).sorted { $0.seq < $1.seq } }

    private func attended(by principal: Principal = maria, from number: String = "5511900000001") async throws -> ConversationID {
        let id = try await bench.customer("atendente", from: number)
        try await bench.perform(.claim, on: id, by: principal)
        return id
    }

    // MARK: Back to the line

    @Test func backInLineIsAheadOfEverybodyWhoCameLater() async throws {
        let first = try await attended()
        let since = try #require(try await bench.conversation(first).askedAt)
        bench.clock.advance(by: .seconds(100))
        let second = try await bench.customer("atendente", from: "5511900000002")
        bench.clock.advance(by: .seconds(100))
        try await bench.perform(.requeue(language: nil), on: first, by: maria)
        #expect(try await bench.state(first) == .queued(since: since))
        #expect(await bench.desk.line.places.map(\.conversation) == [first, second])
        #expect(bench.pool.busy(1).isEmpty)
    }

    @Test func toAnotherLanguageItWaitsForWhoSpeaksItWithItsOriginalTime() async throws {
        bench.pool.arrives(1, maria)
        bench.pool.arrives(2, joao, language: "en")
        let id = try await bench.customer("atendente")
        try await bench.perform(.claim, on: id, by: maria)
        bench.clock.advance(by: .seconds(100))
        try await bench.perform(.requeue(language: "en"), on: id, by: maria)
        #expect(try await bench.conversation(id).offer?.consultor == 2)
        #expect(try await bench.conversation(id).language == "en")
    }

    @Test func whoGaveItBackIsNotOfferedItAgainAtOnce() async throws {
        bench.pool.arrives(1, maria)
        let id = try await bench.customer("atendente")
        try await bench.perform(.claim, on: id, by: maria)
        try await bench.perform(.requeue(language: nil), on: id, by: maria)
        #expect(try await bench.conversation(id).offer == nil)
        await bench.time(passes: .seconds(30))
        #expect(try await bench.conversation(id).offer?.consultor == 1, "there is nobody else")
    }

    @Test func onlyWhoHasItGivesItBack() async throws {
        let id = try await attended()
        #expect(try await bench.refusal(.requeue(language: nil), on: id, by: joao).code == "conversation_taken")
        try await bench.perform(.requeue(language: nil), on: id, by: admin)
        #expect(try await bench.refusal(.requeue(language: nil), on: id, by: admin).code == "conversation_unassigned")
    }

    // MARK: Promises

    @Test func theFirstAnswerIsWarnedOfThenBrokenAndToldToWhoHasIt() async throws {
        await govern {
            $0.firstAnswer = .seconds(600)
            $0.warnBefore = .seconds(120)
        }
        let id = try await attended()
        let user = "user:\(maria.user)"
        #expect(await bench.time(passes: .seconds(479)).events.isEmpty)
        let warned = await bench.time(passes: .seconds(1))
        #expect(events(warned, "sla.warned", on: user).map { $0["metric"]?.string } == ["first_answer"])
        #expect(events(warned, "sla.warned", on: "supervision").count == 1)
        let broken = await bench.time(passes: .seconds(120))
        #expect(events(broken, "sla.breached", on: user).map { $0["conversation_id"]?.string } == [id.description])
        #expect(try await bench.conversation(id).levels.breaches == [.firstAnswer])
        #expect(audit.last?.cause == "sla_first_answer_breached")
        #expect(await bench.time(passes: .seconds(9999)).events.isEmpty, "once")
    }

    @Test func anAnswerKeepsThePromiseAndTheNextWordMakesAnother() async throws {
        await govern {
            $0.firstAnswer = .seconds(600)
            $0.nextAnswer = .seconds(300)
            $0.warnBefore = .zero
        }
        let id = try await attended()
        #expect(try await bench.conversation(id).owedSince != nil)
        try await bench.perform(.write(text: "oi", clientMessageID: nil), on: id, by: maria)
        #expect(try await bench.conversation(id).owedSince == nil)
        #expect(try await bench.conversation(id).levels.clocks.isEmpty)
        bench.clock.advance(by: .seconds(60))
        try await bench.customer("e a minha fatura?")
        let asked = bench.clock.now
        bench.clock.advance(by: .seconds(60))
        try await bench.customer("alô?")
        #expect(try await bench.conversation(id).levels.clocks[.nextAnswer]?.dueAt == asked + .seconds(300), "from the first word unanswered")
        let broken = await bench.time(passes: .seconds(240))
        #expect(events(broken, "sla.breached", on: "supervision").map { $0["metric"]?.string } == ["next_answer"])
    }

    @Test func promisesCountWorkingTimeOnlyIfSoSet() async throws {
        await govern {
            $0.firstAnswer = .seconds(3600)
            $0.warnBefore = .zero
            $0.countsOnlyHours = true
            $0.week = Array(repeating: [.init(opens: 9 * 60, closes: 10 * 60)], count: 7)
        }
        let id = try await bench.customer("atendente")
        let due = try #require(try await bench.conversation(id).levels.clocks[.firstAnswer]?.dueAt)
        let hours = try #require(await bench.desk.deskSettings.hours)
        #expect(due == hours.time(after: .seconds(3600), from: bench.clock.now))
        #expect(due > bench.clock.now + .seconds(3600))
    }

    @Test func theEndOfAnAttendanceEndsItsPromises() async throws {
        await govern { $0.resolution = .seconds(600) }
        let id = try await attended()
        try await bench.perform(.resolve, on: id, by: maria)
        #expect(try await bench.conversation(id).levels == ServiceLevels())
        #expect(await bench.time(passes: .seconds(9999)).events.isEmpty)
    }

    // MARK: Inactivity

    @Test func aSilentConversationOfTheBotIsClosed() async throws {
        await govern {
            $0.botInactivity = .seconds(600)
            $0.inactivityMessage = "Até logo!"
        }
        let id = try await bench.customer("oi")
        await bench.time(passes: .seconds(599))
        try await bench.customer("planos")
        await bench.time(passes: .seconds(599))
        #expect(try await bench.state(id) == .bot, "the customer wrote meanwhile")
        await bench.everythingLeaves()
        let change = await bench.time(passes: .seconds(1))
        #expect(try await bench.conversation(id).isResolved)
        let said = change.messages("message.created").compactMap { $0["text"]?.string }
        #expect(said.contains("Até logo!"))
        let last = try #require(audit.last)
        #expect([last.cause, last.to ?? "", last.actorKind] == ["inactivity", "resolved", "system"])
    }

    @Test func aConsultorsIsClosedOnlyWhenNothingIsOwedToTheCustomer() async throws {
        await govern { $0.consultorInactivity = .seconds(600) }
        let id = try await attended()
        await bench.time(passes: .seconds(5000))
        #expect(try await bench.conversation(id).assignee == 1, "the customer waits for an answer")
        try await bench.perform(.write(text: "Ficou alguma dúvida?", clientMessageID: nil), on: id, by: maria)
        await bench.everythingLeaves()
        await bench.time(passes: .seconds(600))
        #expect(try await bench.conversation(id).isResolved)
        #expect(bench.pool.busy(1).isEmpty)
    }

    // MARK: Hours

    private func notice(_ change: Change) -> String? {
        change.messages("message.created").last { $0["direction"]?.string == "out" }?["text"]?.string
    }

    @Test func outOfHoursTheCustomerIsToldAndKeepsTheirPlace() async throws {
        await govern {
            $0.week = Array(repeating: [], count: 7)
            $0.outOfHoursMessage = "Abrimos às 9h."
        }
        let (reception, change) = try await bench.receives(bench.message("atendente"))
        guard case .taken(let id) = reception else { throw Surprise("taken") }
        #expect(notice(change)?.hasSuffix("\n\nAbrimos às 9h.") == true)
        #expect(try await bench.conversation(id).waitingSince != nil)
    }

    @Test func withNobodyOnlineTheCustomerIsToldSo() async throws {
        let (_, change) = try await bench.receives(bench.message("atendente"))
        #expect(notice(change)?.hasSuffix(DeskWords.nobodyOnline("pt")) == true)
        bench.pool.arrives(1, maria)
        let (_, other) = try await bench.receives(bench.message("atendente", from: "5511900000002"))
        #expect(notice(other)?.hasSuffix(DeskWords.nobodyOnline("pt")) == false)
    }

    // MARK: How it was

    @Test func aNumberAfterTheEndIsTheAnswerAndOpensNothing() async throws {
        await govern { $0.asksSatisfaction = true }
        let id = try await attended()
        try await bench.perform(.resolve, on: id, by: maria)
        #expect(try await bench.conversation(id).satisfaction?.until != nil)
        bench.clock.advance(by: .seconds(60))
        #expect(try await bench.customer(" 5 ") == id)
        let answered = try await bench.conversation(id)
        #expect(answered.satisfaction?.score == 5)
        #expect(answered.satisfaction?.until == nil)
        #expect(answered.isResolved)
        #expect(bench.ledger.conversations.count == 1)
        #expect(try await bench.customer("4") != id, "answered once; this is somebody who wants something")
    }

    @Test func anythingElseIsANewConversation() async throws {
        await govern { $0.asksSatisfaction = true }
        let id = try await attended()
        try await bench.perform(.resolve, on: id, by: maria)
        #expect(try await bench.customer("minha internet caiu de novo") != id)
        #expect(try await bench.conversation(id).satisfaction?.until == nil)
        #expect(try await bench.conversation(id).satisfaction?.score == nil)
    }

    @Test func theQuestionIsOverAfterItsTime() async throws {
        await govern {
            $0.asksSatisfaction = true
            $0.satisfactionWait = .seconds(600)
        }
        let id = try await attended()
        try await bench.perform(.resolve, on: id, by: maria)
        await bench.time(passes: .seconds(600))
        #expect(try await bench.conversation(id).satisfaction?.until == nil)
        #expect(try await bench.customer("5") != id)
    }

    @Test func theBotsConversationsAreNotAskedAbout() async throws {
        await govern { $0.asksSatisfaction = true }
        let id = try await bench.customer("oi")
        try await bench.perform(.resolve, on: id, by: maria)
        #expect(try await bench.conversation(id).satisfaction == nil)
    }

    // MARK: Audit

    @Test func everyTransitionLeavesItsActorAndCauseAndWhatChangesNothingLeavesNone() async throws {
        bench.pool.arrives(1, maria)
        let id = try await bench.customer("atendente")
        await bench.time(passes: .seconds(30))
        try await bench.perform(.claim, on: id, by: maria)
        try await bench.perform(.claim, on: id, by: maria)
        try await bench.perform(.read, on: id, by: maria)
        try await bench.perform(.resolve, on: id, by: maria)
        try await bench.perform(.resolve, on: id, by: maria)
        #expect(audit.map(\.seq) == Array(1...Int64(audit.count)))
        #expect(audit.allSatisfy { $0.conversation == id })
        #expect(
            audit.map { "\($0.actorKind) \($0.cause): \($0.from ?? "-") > \($0.to ?? "-")" } == [
                "customer customer_wrote: - > bot", "customer person_asked_for: bot > queued", "system offer: queued > offered",
                "system offer_expired: offered > queued", "system offer: queued > offered", "agent claim: offered > active",
                "agent resolve: active > resolved",
            ]
        )
        #expect(audit.last?.fromConsultor == 1)
        #expect(audit.last?.actorName == "Maria")
    }

    @Test func settingsThatAreTheSameAreNoChange() async throws {
        await govern { $0.resolution = .seconds(60) }
        let count = audit.count
        await govern { $0.resolution = .seconds(60) }
        #expect(audit.count == count)
        #expect(audit.last?.cause == "settings_changed")
    }
}
