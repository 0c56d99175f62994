import Consultores
import Kernel
import Storage
import Testing
import Wire

/// What the queue's turns say and write: idempotency keys, protocols, imports, what is pushed, and what Pipedrive is to be told.
@Suite struct ConsultorQueueTests {
    private static let tenant = TenantID(UniqueID(high: 1, low: 1))
    private let clock = ManualEnvironment()
    private var moment: Moment { clock.environment.moment() }

    private func queue(tellsPipedrive: Bool = false, openProtocols: [Protocolo] = []) -> ConsultorQueue {
        ConsultorQueue(
            executor: TenantTurn(),
            tenant: Self.tenant,
            tellsPipedrive: tellsPipedrive,
            loaded: .init(openProtocols: openProtocols)
        )
    }

    private func profile(_ name: String, _ idiomas: [String] = ["pt"], pipedrive: Int64? = nil) -> ConsultorProfile {
        var profile = ConsultorProfile(nome: name, idiomas: idiomas)
        profile.statusOnline = true
        profile.idPipedrive = pipedrive
        return profile
    }

    private func command(_ key: String, _ fingerprint: String = "pt") -> IdempotentCommand {
        IdempotentCommand("da-vez", key: key, fingerprint: fingerprint, tenant: Self.tenant)
    }

    private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

    @Test func aTurnIsOneChangeOfAConsultorAndANumber() async throws {
        let (queue, moment) = (queue(), moment)
        _ = await queue.add(profile("A"), moment)
        let (answer, change) = try await queue.takeTurn(idioma: "pt", nil, earlier: nil, moment)
        #expect(text(answer.json) == ##"{"consultor_id":1,"numero_protocolo":"#00001"}"##)
        #expect(change.rows.map(\.table.name) == ["consultores", "protocolos"])
        #expect(change.events.count == 1)
        await #expect(throws: Refusal.notFound(.consultor)) { try await queue.takeTurn(idioma: "fr", nil, earlier: nil, moment) }
        let (second, _) = try await queue.takeTurn(idioma: "PT", nil, earlier: nil, moment)
        #expect(text(second.json).contains("#00002"), "what was refused has used no number up")
    }

    @Test func theSameKeyIsAnsweredAlikeAndForSomethingElseRefused() async throws {
        let (queue, moment) = (queue(), moment)
        for name in ["A", "B"] { _ = await queue.add(profile(name), moment) }
        let (first, change) = try await queue.takeTurn(idioma: "pt", command("k"), earlier: nil, moment)
        let mark = try #require(change.marks.first)
        // Before it is on disk, from memory; afterwards, from the journal.
        let (again, nothing) = try await queue.takeTurn(idioma: "pt", command("k"), earlier: nil, moment)
        #expect(again.json == first.json && again.isRepeated && !first.isRepeated)
        #expect(nothing.isDurablyEmpty && nothing.events.isEmpty)
        let other = self.queue()
        let (later, _) = try await other.takeTurn(idioma: "pt", command("k"), earlier: mark.result, moment)
        #expect(later.json == first.json)
        do {
            _ = try await queue.takeTurn(idioma: "en", command("k", "en"), earlier: nil, moment)
            Issue.record("a key for something else was taken")
        } catch { #expect((error as? Refusal)?.fields.first?.type == "idempotency_key_reused") }
        let (next, _) = try await queue.takeTurn(idioma: "pt", command("k2"), earlier: nil, moment)
        #expect(text(next.json) == ##"{"consultor_id":2,"numero_protocolo":"#00002"}"##)
    }

    @Test func eachChangePushesTheLineAndTheNextOfEachLanguage() async throws {
        let (queue, moment) = (queue(), moment)
        _ = await queue.add(profile("A", ["pt", "en"]), moment)
        _ = await queue.add(profile("B"), moment)
        let (_, turn) = try await queue.takeTurn(idioma: "pt", nil, earlier: nil, moment)
        let event = try JSON.parse(try #require(turn.events.first).payload)
        #expect(event["type"] == "consultor.changed")
        #expect(event["ordem"] == [2, 1])
        #expect(event["proximos"] == ["en": 1, "pt": 2])
        let removal = try await queue.remove(2, moment)
        let gone = try JSON.parse(try #require(removal.events.first).payload)
        #expect(gone["ordem"] == [1] && gone["proximos"] == ["en": 1, "pt": 1])
        #expect(try JSON.parse(await queue.snapshot())["ordem"] == [1])
    }

    @Test func aProtocolIsGivenToAnotherAndItsHistorySaysSo() async throws {
        let (queue, moment) = (queue(), moment)
        for name in ["A", "B"] { _ = await queue.add(profile(name), moment) }
        let (_, issued) = try await queue.issueProtocol(consultor: 1, nil, earlier: nil, moment)
        guard case .values(let values) = issued.rows[0].content else { return }
        let stored = Protocolo(Row(values + [.integer(issued.rows[0].version)]))
        #expect(await !queue.hasProtocol(1), "only what is read or open is kept")
        await queue.adopt(stored)
        var changes = ProtocoloChanges()
        changes.consultor = .some(2)
        changes.observacao = .some("retornar amanhã")
        let (json, change) = try await queue.update(protocolo: 1, changes, by: "Ana", moment)
        #expect(text(json).contains(#""consultor_id":2"#))
        #expect(change.rows.map(\.table.name) == ["protocolos", "protocolo_history"])
        // Somebody read it before that, and comes with what it was.
        await queue.adopt(stored)
        let (_, same) = try await queue.update(protocolo: 1, changes, by: "Ana", moment)
        #expect(same.isDurablyEmpty, "nothing new, nothing written")
        changes.consultor = .some(9)
        let wrong = changes
        await #expect(throws: Refusal.self) { try await queue.update(protocolo: 1, wrong, by: "Ana", moment) }
        await #expect(throws: Refusal.notFound(.protocolo)) { try await queue.update(protocolo: 2, wrong, by: "Ana", moment) }
    }

    @Test func aListMakesNobodyTwiceAndKnowsPeopleByWhatItHas() async throws {
        let (queue, moment) = (queue(), moment)
        func line(_ name: String, pipedrive: Int64? = nil, id: Int64? = nil) -> ConsultorLine {
            var changes = ConsultorChanges()
            changes.nome = name
            changes.idiomas = ["pt"]
            if let pipedrive { changes.idPipedrive = .some(pipedrive) }
            var line = ConsultorLine(profile: profile(name, pipedrive: pipedrive), changes: changes)
            line.id = id
            return line
        }
        #expect(try await queue.imported(line("Ana", pipedrive: 5), moment).0 == .created(1))
        #expect(try await queue.imported(line("Ana", pipedrive: 5), moment).0 == .unchanged(1))
        #expect(try await queue.imported(line("Ana Souza", pipedrive: 5), moment).0 == .updated(1))
        #expect(try await queue.imported(line("ana souza"), moment).0 == .updated(1), "by the name, in any case")
        #expect(try await queue.imported(line("Ana Souza", pipedrive: 6), moment).0 == .created(2), "another whom Pipedrive knows")
        #expect(try await queue.imported(line("Rui", id: 30), moment).0 == .created(30))
        #expect(try await queue.imported(line("Rui", id: 30), moment).0 == .unchanged(30))
        #expect(try await queue.imported(line("Eva"), moment).0 == .created(31))
        _ = try await queue.imported(line("Ana Souza", id: 1), moment)
        await #expect(throws: Refusal.self, "two of that name") { try await queue.imported(line("Ana Souza"), moment) }
        _ = try await queue.remove(30, moment)
        await #expect(throws: Refusal.self, "an id is never given twice") { try await queue.imported(line("Rui", id: 30), moment) }
    }

    @Test func aHandOffLeavesAJobForPipedriveOnlyWhereThereIsSomebodyToTellOf() async throws {
        let moment = moment
        let conversation = ConversationID(UniqueID(high: 3, low: 3))
        for (tells, pipedrive, jobs) in [(true, 11, 1), (true, nil, 0), (false, 11, 0)] as [(Bool, Int64?, Int)] {
            let queue = queue(tellsPipedrive: tells)
            _ = await queue.add(profile("A", pipedrive: pipedrive), moment)
            let change = await taken(queue, conversation, moment)
            #expect(change.jobs.count == jobs)
            if let job = change.jobs.first {
                let handOff = try #require(HandOff(job))
                #expect((handOff.conversation, handOff.owner, handOff.protocolo) == (conversation, 11, 7))
            }
        }
    }

    private func taken(_ queue: isolated ConsultorQueue, _ conversation: ConversationID, _ moment: Moment) -> Change {
        queue.took(conversation, 1, protocolo: 7, countsAsTurn: true, moment)
    }
}
