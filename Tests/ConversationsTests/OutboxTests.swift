import Kernel
import Storage
import Testing
import Wire

@testable import Conversations

/// A message on its way out: attempts, their ends, and what the provider tells.
@Suite struct OutboxTests {
    let bench = Bench()

    /// An agent's message, and the job that carries it out.
    private func written(_ text: String = "olá", on id: ConversationID? = nil) async throws -> (MessageID, Job) {
        let conversation: ConversationID
        if let id { conversation = id } else { conversation = try await bench.customer("oi") }
        let (_, change) = try await bench.perform(.write(text: text, clientMessageID: nil), on: conversation, by: maria)
        let job = try #require(change.jobs.first)
        return (try #require(ConversationDesk.message(of: job)), job)
    }

    private func began(_ job: Job) async -> (order: SendOrder?, job: Job) {
        let (attempt, change) = await bench.desk.attemptBegan(job, bench.moment)
        bench.ledger.absorb(change)
        if case .send(let order, let next) = attempt { return (order, next) }
        return (nil, job)
    }

    private func ended(_ job: Job, _ result: SendResult) async -> Job? {
        let (end, change) = await bench.desk.attemptEnded(job, result, bench.moment)
        bench.ledger.absorb(change)
        if case .again(let next) = end { return next }
        return nil
    }

    private func told(_ status: Message.Status, externalID: String = "wamid.out", message: MessageID? = nil, failure: Message.Failure? = nil) async
        -> Change
    {
        let change = await bench.desk.reported(StatusReport(externalID: externalID, message: message, status: status, failure: failure), bench.moment)
        bench.ledger.absorb(change)
        return change
    }

    private func message(_ id: MessageID) async throws -> Message { try #require(await bench.desk.messages[id]) }

    @Test func everyMessageThatGoesOutMakesOneJobInItsConversationsLane() async throws {
        let id = try await bench.customer("oi")
        for number in 0..<5 { _ = try await written("\(number)", on: id) }
        try await bench.perform(.note(text: "nota", clientMessageID: nil), on: id, by: maria)
        let jobs = bench.jobs
        // The greeting of the bot, and the five.
        #expect(jobs.count == 6)
        #expect(Set(jobs.map(\.lane)) == [id.description])
        #expect(jobs.map(\.order) == jobs.map(\.order).sorted())
        #expect(Set(jobs.map(\.order)).count == 6)
        #expect(jobs.allSatisfy { $0.kind == "whatsapp.send" && $0.tenant == tenant && $0.state == .ready && $0.attempts == 0 })
        #expect(
            Set(jobs.compactMap { ConversationDesk.message(of: $0) }) == Set(bench.ledger.messages.filter { $0.direction == .outbound }.map(\.id))
        )
    }

    @Test func anAttemptIsStoredBeforeAnythingIsSent() async throws {
        let (id, job) = try await written()
        let (attempt, change) = await bench.desk.attemptBegan(job, bench.moment)
        bench.ledger.absorb(change)
        guard case .send(let order, let next) = attempt else { throw Unexpected() }
        #expect(order.message == id)
        #expect(order.text == "olá")
        #expect(order.toWaID == "5511900000001")
        #expect(next.state == .attempting)
        #expect(next.attempts == 1)
        #expect(change.jobs == [next])
        #expect(change.endedJobs.isEmpty)
        #expect(change.messages("message.changed").map { $0["status"]?.string } == ["sending"])
        #expect(bench.ledger.messages.first { $0.id == id }?.status == .sending)
    }

    @Test func whatWasSentIsOverAndKnownByTheProvidersID() async throws {
        let (id, job) = try await written()
        let next = await began(job).job
        #expect(await ended(next, .sent(externalID: "wamid.out")) == nil)
        #expect(try await message(id).status == .sent)
        #expect(try await message(id).externalID == "wamid.out")
        #expect(bench.ledger.jobs[job.id] == nil)
        #expect(await bench.desk.hasMessage(externalID: "wamid.out"))
    }

    @Test func whatWasRefusedFailsWithItsReasonAndIsOver() async throws {
        let (id, job) = try await written()
        let failure = Message.Failure(code: "131026", message: "Número sem WhatsApp")
        #expect(await ended(await began(job).job, .refused(failure)) == nil)
        #expect(try await message(id).status == .failed)
        #expect(try await message(id).failure == failure)
        #expect(bench.ledger.jobs[job.id] == nil)
        #expect(bench.ledger.messages.first { $0.id == id }?.failure == failure)
    }

    @Test func whatNobodyKnowsIsNotSentAgainUntilAStatusSaysMore() async throws {
        let (id, job) = try await written()
        let next = await began(job).job
        #expect(await ended(next, .unknown) == nil)
        #expect(try await message(id).status == .unknown)
        #expect(bench.ledger.jobs[job.id] == nil)
        let (order, _) = await began(next)
        #expect(order == nil)
        _ = await told(.delivered, message: id)
        #expect(try await message(id).status == .delivered)
    }

    @Test func aTransientRefusalIsTriedAgainAfterGrowingPausesAndTheLastAttemptFails() async throws {
        let (id, first) = try await written()
        let failure = Message.Failure(code: "503", message: "indisponível")
        var job = first
        var pauses: [Duration] = []
        for attempt in 1...ConversationDesk.maxAttempts {
            let (order, begun) = await began(job)
            #expect(order != nil, "attempt \(attempt)")
            #expect(begun.attempts == attempt)
            guard let next = await ended(begun, .again(after: nil, failure)) else { break }
            #expect(next.state == .ready)
            #expect(try await message(id).status == .queued)
            #expect(bench.ledger.jobs[job.id] == next)
            pauses.append(next.runAt - bench.clock.now)
            bench.clock.advance(by: next.runAt - bench.clock.now)
            job = next
        }
        #expect(pauses == [1, 4, 16, 64, 256].map { .seconds($0) } + Array(repeating: .seconds(600), count: 6))
        #expect(try await message(id).status == .failed)
        #expect(try await message(id).failure == failure)
        #expect(bench.ledger.jobs[job.id] == nil)
    }

    @Test func aProvidersOwnPauseIsWaitedForWhenItIsLonger() async throws {
        let failure = Message.Failure(code: "429", message: "devagar")
        let (_, job) = try await written()
        let slow = try #require(await ended(await began(job).job, .again(after: .seconds(90), failure)))
        #expect(slow.runAt == bench.clock.now + .seconds(90))
        let quick = try #require(await ended(await began(slow).job, .again(after: .milliseconds(1), failure)))
        #expect(quick.runAt == bench.clock.now + .seconds(4))
    }

    @Test func aWindowThatClosedMeanwhileFailsTheMessageWithoutSending() async throws {
        let (id, job) = try await written()
        bench.clock.advance(by: .seconds(86_400))
        let (order, _) = await began(job)
        #expect(order == nil)
        #expect(try await message(id).status == .failed)
        #expect(try await message(id).failure?.code == "131047")
        #expect(bench.ledger.jobs[job.id] == nil)
    }

    @Test func aJobOfAMessageThatIsGoneOrDoneEnds() async throws {
        let (_, job) = try await written()
        let begun = await began(job).job
        _ = await ended(begun, .sent(externalID: "wamid.out"))
        let (attempt, change) = await bench.desk.attemptBegan(job, bench.moment)
        guard case .ended = attempt else { throw Unexpected() }
        #expect(change.endedJobs == [job])
        #expect(change.rows.isEmpty)
        let lost = Job(
            id: JobID(UniqueID(high: 9, low: 9)),
            tenant: tenant,
            kind: "whatsapp.send",
            lane: "x",
            order: 1,
            runAt: bench.clock.now,
            payload: "{}"
        )
        guard case (.ended, let end) = await bench.desk.attemptBegan(lost, bench.moment) else { throw Unexpected() }
        #expect(end.endedJobs == [lost])
    }

    @Test func aMessageThatIsNotInMemoryIsAskedForAndItsJobKept() async throws {
        let payload = #"{"conversation_id": "01a00000-0000-7000-8000-000000000001", "message_id": "01a00000-0000-7000-8000-000000000002"}"#
        let job = Job(
            id: JobID(UniqueID(high: 9, low: 9)),
            tenant: tenant,
            kind: "whatsapp.send",
            lane: "x",
            order: 1,
            runAt: bench.clock.now,
            payload: payload
        )
        guard case (.missing, let began) = await bench.desk.attemptBegan(job, bench.moment) else { throw Unexpected() }
        #expect(began.isDurablyEmpty)
        guard case (.missing, let ended) = await bench.desk.attemptEnded(job, .unknown, bench.moment) else { throw Unexpected() }
        #expect(ended.isDurablyEmpty)
    }

    private struct Unexpected: Error {}

    // MARK: Statuses

    static let ranks: [Message.Status: Int] = [.sent: 0, .delivered: 1, .read: 2, .failed: 3]

    /// All orders of all four, each told twice.
    static let orders: [[Message.Status]] = {
        func permutations(_ rest: [Message.Status]) -> [[Message.Status]] {
            rest.isEmpty ? [[]] : rest.flatMap { first in permutations(rest.filter { $0 != first }).map { [first, first] + $0 } }
        }
        return permutations([.sent, .delivered, .read, .failed])
    }()

    @Test(arguments: orders) func statusesInAnyOrderNeverClimbDownAndFailedStays(_ order: [Message.Status]) async throws {
        let (id, job) = try await written()
        _ = await ended(await began(job).job, .sent(externalID: "wamid.out"))
        var best = Message.Status.sent
        // That it was sent is known from the answer.
        var heard: Set<Message.Status> = [.sent, .failed]
        for status in order {
            let failure = status == .failed ? Message.Failure(code: "1", message: "x") : nil
            let change = await told(status, failure: failure)
            let climbs = Self.ranks[status]! > Self.ranks[best]!
            if climbs { best = status }
            // When it was first heard of is kept, however late that comes.
            let isNews = heard.insert(status).inserted || climbs
            #expect(try await message(id).status == best)
            #expect(change.isDurablyEmpty == !isNews, "only news has an effect")
            #expect(change.messages("message.changed").count == (isNews ? 1 : 0))
        }
        let settled = try await message(id)
        #expect(settled.failure?.code == "1")
        #expect(settled.annotations.sentAt != nil && settled.annotations.deliveredAt != nil && settled.annotations.readAt != nil)
    }

    @Test func aStatusWithOurOwnIDIsUnderstoodBeforeOurAnswerCame() async throws {
        let (id, job) = try await written()
        let next = await began(job).job
        _ = await told(.delivered, externalID: "wamid.out", message: id)
        #expect(try await message(id).status == .delivered)
        #expect(try await message(id).externalID == "wamid.out")
        #expect(await ended(next, .sent(externalID: "wamid.out")) == nil)
        #expect(try await message(id).status == .delivered, "our answer comes late and takes nothing back")
        _ = await told(.read, externalID: "wamid.out")
        #expect(try await message(id).status == .read, "known by the provider's id from then on")
    }

    @Test func aStatusWithoutOurIDWaitsForTheAnswerThatSaysWhoseItIs() async throws {
        let (id, job) = try await written()
        let next = await began(job).job
        #expect(await told(.read, externalID: "wamid.out").isDurablyEmpty)
        _ = await ended(next, .sent(externalID: "wamid.out"))
        #expect(try await message(id).status == .read)
    }

    @Test func whatIsHeldBackIsTriedForAsLongAsItMayBeSentAndItsOtherAttemptsStillCount() async throws {
        let (id, first) = try await written()
        let failure = Message.Failure(code: "unavailable", message: "fora do ar")
        var job = first
        for _ in 0..<40 {
            job = try #require(await ended(await began(job).job, .held(after: nil, failure)))
            #expect(job.runAt - bench.clock.now <= ConversationDesk.longestHold)
            #expect(try await message(id).status == .queued)
            #expect(try await message(id).failure == failure, "shown why it waits")
            bench.clock.advance(by: job.runAt - bench.clock.now)
        }
        for _ in 1..<ConversationDesk.maxAttempts {
            job = try #require(await ended(await began(job).job, .again(after: nil, failure)))
            bench.clock.advance(by: job.runAt - bench.clock.now)
        }
        #expect(await ended(await began(job).job, .again(after: nil, failure)) == nil)
        #expect(try await message(id).status == .failed)
    }

    @Test func aStoppedAccountsMessageWaitsAndSaysWhy() async throws {
        let (id, job) = try await written()
        let next = try #require(await ended(await began(job).job, .stopped(after: .seconds(60), .init(code: "190", message: "token"))))
        #expect(next.runAt == bench.clock.now + .seconds(60))
        #expect(try await message(id).failure?.code == "190")
        bench.clock.advance(by: .seconds(60))
        _ = await ended(await began(next).job, .sent(externalID: "wamid.out"))
        #expect(try await message(id).status == .sent)
        #expect(try await message(id).failure == nil)
    }

    @Test func aRefusalForTheWindowEndsItAndATemplateGoesAllTheSame() async throws {
        let (_, job) = try await written()
        let conversation = try #require(ConversationDesk.conversation(of: job))
        _ = await ended(await began(job).job, .refused(.init(code: "131047", message: "janela")))
        #expect(try await bench.conversation(conversation).windowExpiresAt == bench.clock.now)
        let refusal = try await bench.refusal(.write(text: "oi", clientMessageID: nil), on: conversation, by: maria)
        #expect(refusal.code == "outside_window")
        let template = Outgoing(kind: "template", text: "[Modelo]", content: "{}")
        let (_, change) = try await bench.perform(.send(template, clientMessageID: nil), on: conversation, by: maria)
        #expect(await began(try #require(change.jobs.first)).order?.kind == "template")
    }

    @Test func aStatusAlreadyThereKeepsATransientRefusalFromSendingAgain() async throws {
        let (id, job) = try await written()
        let next = await began(job).job
        _ = await told(.sent, externalID: "wamid.out", message: id)
        let again = await ended(next, .again(after: nil, .init(code: "500", message: "")))
        #expect(try await message(id).status == .sent)
        if let again {
            bench.clock.advance(by: .seconds(60))
            #expect(await began(again).order == nil)
        }
        #expect(bench.ledger.jobs[job.id] == nil)
    }

    @Test func aStatusOfNobodysMessageOrOfACustomersHasNoEffect() async throws {
        try await bench.receives(bench.message("oi", wamid: "wamid.in"))
        #expect(await told(.read, externalID: "wamid.nobody").events.isEmpty)
        #expect(await told(.failed, externalID: "wamid.in").events.isEmpty)
        let status = bench.ledger.messages.first { $0.externalID == "wamid.in" }?.status
        #expect(status == .received)
    }

    // MARK: Rows

    @Test func everyMessageComesBackFromItsRow() async throws {
        let (failed, job) = try await written()
        _ = await ended(await began(job).job, .refused(.init(code: "1", message: "não")))
        let (sent, other) = try await written("dois")
        _ = await ended(await began(other).job, .sent(externalID: "wamid.2"))
        try await bench.receives(
            CustomerMessage(
                channel: "whatsapp",
                externalID: "wamid.img",
                from: ContactIdentity(waIDs: ["5511900000001"], bsuid: nil),
                name: "Ana",
                kind: "image",
                text: "",
                content: #"{"id":"1","mime":"image/png"}"#,
                replyTo: "wamid.2",
                sentAt: bench.clock.now
            )
        )
        let id = try #require(await bench.desk.messages[failed]?.conversation)
        try await bench.perform(.note(text: "nota", clientMessageID: "c"), on: id, by: maria)
        let live = await bench.desk.messages
        let stored = bench.ledger.messages
        #expect(stored.count == live.count)
        for message in stored { #expect(live[message.id] == message) }
        #expect(stored.contains { $0.id == failed && $0.failure == .init(code: "1", message: "não") })
        #expect(stored.contains { $0.id == sent && $0.externalID == "wamid.2" })
        #expect(stored.contains { $0.kind == "image" && $0.replyTo == "wamid.2" && $0.content != nil })
    }

    // MARK: What clients are told beside their conversation

    @Test func whatAClientWasToldStandsInTheirConversationAndMovesNothing() async throws {
        let id = try await bench.customer("oi")
        let (before, jobs) = (try #require(await bench.desk.sessions[id]).conversation, bench.jobs.count)
        let told = ToldByWhatsApp(waIDs: ["5511999990000"], text: "Lembrete: amanhã às 9h", template: nil, externalID: "wamid.told")
        for _ in 0..<2 { bench.ledger.absorb(await bench.desk.told(told, in: id, bench.moment)) }
        let after = try #require(await bench.desk.sessions[id]).conversation
        #expect(after.state == before.state && after.unread == before.unread && after.lastSeq == before.lastSeq + 1)
        #expect(bench.jobs.count == jobs, "nobody sends it a second time")
        let shown = try #require(bench.ledger.messages.first { $0.externalID == "wamid.told" })
        #expect(shown.direction == .outbound && shown.authorKind == "system" && shown.status == .sent && shown.kind == "text")
        // What becomes of it is shown as of any other.
        _ = await self.told(.delivered, externalID: "wamid.told", message: MessageID(UniqueID(high: 7, low: 7)))
        #expect(try await message(shown.id).status == .delivered)
        // Also where the news of it came first.
        _ = await self.told(.failed, externalID: "wamid.early", failure: .init(code: "131026", message: "x"))
        let template = ToldByWhatsApp(waIDs: ["5511999990000"], text: "Olá", template: "{\"template\":{\"name\":\"ok\"}}", externalID: "wamid.early")
        bench.ledger.absorb(await bench.desk.told(template, in: id, bench.moment))
        let failed = try #require(bench.ledger.messages.last { $0.externalID == "wamid.early" })
        #expect(failed.status == .failed && failed.kind == "template" && failed.failure?.code == "131026")
    }
}
