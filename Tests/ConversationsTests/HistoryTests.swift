import Foundation
import Kernel
import Storage
import Synchronization
import TestSupport
import Testing
import Wire

@testable import Consultores
@testable import Conversations

/// Long random histories over the desk and the real consultor queue. After each step everything that must always be true is looked at, from outside.
@Suite struct HistoryTests {
    private static let agents =
        (1...4).map { Principal(tenant: tenant, user: UserID(UniqueID(high: 2, low: $0)), role: .agent, name: "A\($0)") } + [admin, viewer]
    private static let numbers = (1...8).map { "551190000000\($0)" }
    private static let sentences = ["oi", "atendente", "boleto", "xyz", "english", "quero um humano", "4", "1", ""]

    private struct History {
        let seed: UInt64
        let clock = ManualEnvironment()
        let queue: ConsultorQueue
        let desk: ConversationDesk
        var ledger = Ledger()
        var changes: [Change] = []
        var wamids = 0
        var inFlight: [Job] = []

        var moment: Moment { clock.environment.moment() }

        init(seed: UInt64) {
            self.seed = seed
            let turn = TenantTurn()
            queue = ConsultorQueue(executor: turn, tenant: tenant, loaded: .init(consultores: [], lastProtocol: 0, openProtocols: []))
            desk = ConversationDesk(executor: turn, tenant: tenant, pool: queue, flow: flow, settings: .init(), loaded: .init())
        }

        mutating func took(_ change: Change) {
            ledger.absorb(change, "seed \(seed)")
            changes.append(change)
        }
    }

    @Test(arguments: 1...12) func everythingThatMustAlwaysBeTrueIs(_ seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        var history = History(seed: seed)
        for agent in Self.agents.prefix(3) {
            var profile = ConsultorProfile(nome: agent.name, idiomas: ["pt", "en"])
            profile.user = agent.user
            profile.capacity = 2
            profile.statusOnline = agent == Self.agents[0]
            history.took(await history.queue.add(profile, history.moment).1)
        }
        var seen: Set<String> = []
        for step in 0..<450 {
            try await Self.step(&history, &random)
            try await Self.check(history, "seed \(seed), step \(step)")
            for conversation in await history.desk.sessions.values.map(\.conversation) { seen.insert(conversation.state.name) }
        }
        #expect(seen == ["bot", "queued", "offered", "active", "snoozed", "resolved"], "seed \(seed): the history was too tame")
        try await Self.checkReloaded(history, "seed \(seed)")
    }

    private static func step(_ history: inout History, _ random: inout SeededGenerator) async throws {
        let desk = history.desk
        switch Int.random(in: 0..<20, using: &random) {
        case 0..<6:
            let isRepeated = history.wamids > 0 && Int.random(in: 0..<6, using: &random) == 0
            if !isRepeated { history.wamids += 1 }
            let wamid = isRepeated ? Int.random(in: 1...history.wamids, using: &random) : history.wamids
            let delay = Int64.random(in: 0..<20, using: &random) == 0 ? 90_000 : Int64.random(in: 0...30, using: &random)
            let message = CustomerMessage(
                channel: "whatsapp",
                externalID: "in.\(wamid)",
                from: ContactIdentity(waIDs: [numbers.randomElement(using: &random)!], bsuid: nil),
                name: "Ana",
                kind: ["text", "text", "text", "image", "reaction"].randomElement(using: &random)!,
                text: sentences.randomElement(using: &random)!,
                content: nil,
                replyTo: nil,
                sentAt: history.clock.now - .seconds(delay)
            )
            let isMarked = history.ledger.marks[message.mark(tenant: tenant)] != nil
            let (reception, change) = try await desk.received(message, seenBefore: isMarked, history.moment)
            #expect((reception == .duplicate) == isMarked, "seed \(history.seed)")
            history.took(change)
        case 6..<14:
            guard let id = await desk.sessions.keys.sorted().randomElement(using: &random) else { return }
            let commands: [AgentCommand] = [
                .write(text: "olá", clientMessageID: nil), .write(text: "olá", clientMessageID: "c\(Int.random(in: 0..<5, using: &random))"),
                .note(text: "n", clientMessageID: nil), .claim, .claim, .decline, .transfer(consultor: Int64.random(in: 1...4, using: &random)),
                .returnToBot, .resolve,
                .reopen, .snooze(until: history.clock.now + .seconds(Int64.random(in: -5...900, using: &random))),
                .snooze(until: history.clock.now + .seconds(60)), .read,
                .label([["vip"], []].randomElement(using: &random)!),
            ]
            let command = commands.randomElement(using: &random)!
            let agent = agents.randomElement(using: &random)!
            let earlier = command.clientMessageID.flatMap { history.ledger.marks[ConversationDesk.mark(id, clientMessageID: $0, tenant: tenant)] }
            let before = await desk.sessions[id]?.conversation
            do throws(Refusal) {
                history.took(try await desk.perform(command, on: id, by: agent, earlier: earlier, history.moment).1)
            } catch {
                #expect(await desk.sessions[id]?.conversation == before, "seed \(history.seed): a refused \(command) changed the conversation")
            }
        case 14, 15:
            history.clock.advance(by: .seconds(Int64.random(in: 1...40, using: &random)))
            history.took(await desk.timePassed(history.moment))
        case 16:
            guard let consultor = await history.queue.consultores.randomElement(using: &random) else { return }
            var changes = ConsultorChanges()
            if Int.random(in: 0..<4, using: &random) == 0 {
                changes.capacity = Int.random(in: 1...3, using: &random)
            } else {
                changes.statusOnline = Int.random(in: 0..<3, using: &random) > 0
                changes.statusAtivoSequencial = true
            }
            var change = try await history.queue.update(consultor, changes, history.moment).1
            change.append(await desk.consultoresChanged(history.moment))
            history.took(change)
        case 17, 18:
            let waiting = history.ledger.jobs.values.filter { $0.state == .ready && $0.runAt <= history.clock.now }.sorted {
                ($0.lane, $0.order) < ($1.lane, $1.order)
            }
            if let job = waiting.first, Bool.random(using: &random) {
                let (attempt, change) = await desk.attemptBegan(job, history.moment)
                history.took(change)
                if case .send(_, let next) = attempt { history.inFlight.append(next) }
            } else if !history.inFlight.isEmpty {
                let job = history.inFlight.removeFirst()
                let results: [SendResult] = [
                    .sent(externalID: "out.\(job.id)"), .sent(externalID: "out.\(job.id)"), .refused(.init(code: "1", message: "x")),
                    .again(after: nil, .init(code: "2", message: "y")), .unknown,
                ]
                history.took(await desk.attemptEnded(job, results.randomElement(using: &random)!, history.moment).1)
            }
        default:
            let outbound = await desk.messages.values.filter { $0.direction == .outbound }.sorted { $0.id < $1.id }
            guard let message = outbound.randomElement(using: &random) else { return }
            let status = [Message.Status.sent, .delivered, .read, .failed].randomElement(using: &random)!
            let report = StatusReport(
                externalID: message.externalID ?? "late.\(message.id)",
                message: Bool.random(using: &random) ? message.id : nil,
                status: status,
                failure: status == .failed ? .init(code: "3", message: "z") : nil
            )
            history.took(await desk.reported(report, history.moment))
        }
    }

    private static func check(_ history: History, _ place: Comment) async throws {
        let desk = history.desk
        let sessions = await desk.sessions
        let live = sessions.values.map(\.conversation)

        // What is stored is what is live, and what is not in memory is resolved.
        let stored = Dictionary(uniqueKeysWithValues: history.ledger.conversations.map { ($0.id, $0) })
        for conversation in live { #expect(stored[conversation.id] == conversation, place) }
        for conversation in stored.values where sessions[conversation.id] == nil { #expect(conversation.isResolved, place) }
        let liveMessages = await desk.messages
        for message in history.ledger.messages { if let present = liveMessages[message.id] { #expect(present == message, place) } }

        // One open conversation for a contact.
        let open = live.filter { !$0.isResolved }
        #expect(Set(open.map(\.contact)).count == open.count, place)
        #expect(await Set(desk.openByContact.values) == Set(open.map(\.id)), place)

        // The line is who waits, in order.
        let waiting = open.filter { $0.waitingSince != nil }.sorted {
            ($0.waitingSince!.milliseconds, $0.protocolo ?? 0, $0.id) < ($1.waitingSince!.milliseconds, $1.protocolo ?? 0, $1.id)
        }
        #expect(await desk.line.places.map(\.conversation) == waiting.map(\.id), place)
        let shown = try parsed(await desk.queueSnapshot())["waiting"]?.array?.compactMap { $0["conversation_id"]?.string }
        #expect(shown == waiting.map(\.id.description), place)

        // Exactly one owner; who it is follows from the state, and only they are busy with it.
        var expectedBusy: [Int64: Int64] = [:]
        for conversation in live {
            let holders = [conversation.assignee, conversation.offer?.consultor].compactMap { $0 }
            #expect(holders.count <= 1, place)
            for holder in holders { expectedBusy[holder, default: 0] += 1 }
            switch conversation.owner {
            case .bot, .none: #expect(holders.isEmpty && conversation.waitingSince == nil, place)
            case .queue: #expect(conversation.assignee == nil && conversation.waitingSince != nil && conversation.protocolo != nil, place)
            case .consultor: #expect(conversation.assignee != nil && conversation.waitingSince == nil, place)
            }
        }
        let busy = try parsed(await history.queue.snapshot())["consultores"]?.array ?? []
        for consultor in busy { #expect(consultor["em_atendimento"]?.int == expectedBusy[consultor["id"]?.int ?? 0] ?? 0, place) }

        // Nobody who could be offered a conversation is left idle while somebody waits for one.
        for conversation in waiting where conversation.offer == nil {
            let able = await desk.pool(nextFor: conversation.language)
            // Whoever said no a moment ago is not asked again yet.
            if let missed = await desk.lastMissed[conversation.id], missed.notBefore > history.clock.now, able == missed.consultor { continue }
            #expect(able == nil, place)
        }

        // Numbers without gaps.
        let protocolos = Set(stored.values.compactMap(\.protocolo))
        #expect(protocolos == Set((0..<Int64(protocolos.count)).map { $0 + 1 }), place)
        let seqs = Dictionary(grouping: history.ledger.messages, by: \.conversation).mapValues { $0.map(\.seq).sorted() }
        for conversation in stored.values { #expect(seqs[conversation.id] ?? [] == Array(1..<(conversation.lastSeq + 1)), place) }

        // Something that falls due is known to.
        let due = open.compactMap { conversation -> Timestamp? in
            switch conversation.state {
            case .offered(let offer, _): offer.expiresAt
            case .snoozed(_, let until): until
            default: nil
            }
        }.min()
        if let due {
            let next = await desk.nextDeadline
            #expect(next.map { $0 <= due } == true, place)
        }
    }

    /// From what is stored, by the real store, another desk is made: it shows the same.
    private static func checkReloaded(_ history: History, _ place: Comment) async throws {
        let directory = NSTemporaryDirectory() + "plantao-test-" + UUID().uuidString
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let store = try SQLiteStore(
            directory: directory,
            schema: Schema(StorageTables.all + ConversationTables.all + DeskTables.all + ConsultorTables.all)
        )
        defer { store.close() }
        for change in history.changes { try store.commit([change]) }

        let loaded = try await ConversationDesk.load(tenant: tenant, from: store)
        let turn = TenantTurn()
        let queue = ConsultorQueue(
            executor: turn,
            tenant: tenant,
            loaded: try await ConsultorQueue.load(tenant: tenant, openProtocols: loaded.openProtocols, from: store)
        )
        for conversation in loaded.conversations {
            if let consultor = conversation.assignee ?? conversation.offer?.consultor { await queue.resume(conversation.id, consultor) }
        }
        let again = ConversationDesk(executor: turn, tenant: tenant, pool: queue, flow: flow, settings: .init(), loaded: loaded)
        let fromLedger = ConversationDesk(executor: turn, tenant: tenant, pool: queue, flow: flow, settings: .init(), loaded: history.ledger.loaded)

        let desk = history.desk
        for other in [again, fromLedger] {
            #expect(await other.conversationsSnapshot() == desk.conversationsSnapshot(), place)
            let queues = (await other.queueSnapshot(), await desk.queueSnapshot())
            #expect(try Self.stored(queues.0) == Self.stored(queues.1), place)
            for (id, session) in await desk.sessions where !session.conversation.isResolved {
                let pictures = (await other.snapshot(id, history.moment), await desk.snapshot(id, history.moment))
                #expect(try Self.stored(pictures.0) == Self.stored(pictures.1), place)
            }
        }
        #expect(await queue.snapshot() == history.queue.snapshot(), place)
        #expect(await queue.lastProtocol == history.queue.lastProtocol, place)
        let jobs = try await store.rows(.select(from: StorageTables.jobs)).map { Job($0) }
        #expect(Set(jobs.map(\.id)) == Set(history.ledger.jobs.keys), place)
        for job in jobs { #expect(job == history.ledger.jobs[job.id], place) }
        for key in history.ledger.marks.keys { #expect(try await store.marks([key])[key] == history.ledger.marks[key], place) }

        // One that was resolved and forgotten is shown as it was, when somebody asks.
        for conversation in history.ledger.conversations where conversation.isResolved {
            await again.adopt(try await ConversationDesk.load(conversation.id, tenant: tenant, from: store), history.moment)
            let live = await desk.snapshot(conversation.id, history.moment)
            if let live { #expect(await again.snapshot(conversation.id, history.moment) == live, place) }
        }
    }

    /// A snapshot without what was told of waiting, which a new desk tells anew.
    private static func stored(_ snapshot: [UInt8]?) throws -> JSON { try parsed(snapshot).adding("estimates", .null).adding("queue", .null) }
}

extension ConversationDesk {
    fileprivate func pool(nextFor language: String) -> Int64? {
        pool.nextAttendant(AttendantSearch(language: language), Moment(now: Timestamp(seconds: 0), randomBits: { (0, 0) }))?.id
    }
}

extension ConsultorQueue {
    fileprivate var consultores: [Int64] { get async { (try? parsed(snapshot())["consultores"]?.array?.compactMap { $0["id"]?.int }) ?? [] } }
    fileprivate var lastProtocol: Int64 {
        issueProtocol(for: ConversationID(UniqueID(high: 0, low: 0)), Moment(now: Timestamp(seconds: 0), randomBits: { (0, 0) })).number
    }
}
