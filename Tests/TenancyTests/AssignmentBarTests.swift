import Consultores
import Conversations
import Kernel
import Synchronization
import TestSupport
import Testing
import Wire

/// Stands between the desk and the queue, and counts what must never happen. Asked within the turn, so it sees the order in which things are decided.
private final class Referee: AttendantPool {
    struct Score {
        var offers = 0
        var taken = 0
        var transfers = 0
        var overCapacity = 0
        var doubleAssigned = 0
        var refused = 0
        var holders: [ConversationID: Int64] = [:]
        var busy: [Int64: Set<ConversationID>] = [:]
    }

    let queue: ConsultorQueue
    let capacity: Int
    let score = Mutex(Score())

    init(queue: ConsultorQueue, capacity: Int) {
        self.queue = queue
        self.capacity = capacity
    }

    func offered(_ conversation: ConversationID, to id: Int64, _ moment: Moment) -> Change {
        score.withLock {
            $0.offers += 1
            if $0.busy[id, default: []].count >= capacity { $0.overCapacity += 1 }
            if $0.holders[conversation] != nil { $0.doubleAssigned += 1 }
            $0.busy[id, default: []].insert(conversation)
            $0.holders[conversation] = id
        }
        return queue.offered(conversation, to: id, moment)
    }

    func took(_ conversation: ConversationID, _ id: Int64, protocolo: Int64?, countsAsTurn: Bool, _ moment: Moment) -> Change {
        score.withLock {
            if countsAsTurn { $0.taken += 1 } else { $0.transfers += 1 }
            if let holder = $0.holders[conversation], holder != id { $0.doubleAssigned += 1 }
            if $0.busy[id, default: []].union([conversation]).count > capacity { $0.overCapacity += 1 }
            $0.busy[id, default: []].insert(conversation)
            $0.holders[conversation] = id
        }
        return queue.took(conversation, id, protocolo: protocolo, countsAsTurn: countsAsTurn, moment)
    }

    private func freed(_ conversation: ConversationID, _ id: Int64) {
        score.withLock {
            $0.busy[id]?.remove(conversation)
            if $0.holders[conversation] == id { $0.holders[conversation] = nil }
        }
    }

    func released(_ conversation: ConversationID, by id: Int64, _ moment: Moment) -> Change {
        freed(conversation, id)
        return queue.released(conversation, by: id, moment)
    }
    func finished(_ conversation: ConversationID, by id: Int64, _ moment: Moment) -> Change {
        freed(conversation, id)
        return queue.finished(conversation, by: id, moment)
    }
    func missed(_ conversation: ConversationID, _ id: Int64, bySilence: Bool, _ moment: Moment) -> Change {
        freed(conversation, id)
        return queue.missed(conversation, id, bySilence: bySilence, moment)
    }

    func nextAttendant(_ search: AttendantSearch, _ moment: Moment) -> Attendant? { queue.nextAttendant(search, moment) }
    func staffing(language: String, _ moment: Moment) -> Staffing { queue.staffing(language: language, moment) }
    func govern(_ rules: AssignmentRules) { queue.govern(rules) }
    func isOnline(_ id: Int64) -> Bool { queue.isOnline(id) }
    func hasRoom(_ id: Int64) -> Bool { queue.hasRoom(id) }
    var attendants: [Attendant] { queue.attendants }
    func attendant(_ id: Int64) -> Attendant? { queue.attendant(id) }
    func attendant(of principal: Principal, _ moment: Moment) -> (Attendant, Change) { queue.attendant(of: principal, moment) }
    var nextWrapUpEnd: Timestamp? { queue.nextWrapUpEnd }
    func timePassed(_ moment: Moment) -> Change { queue.timePassed(moment) }
    func issueProtocol(for conversation: ConversationID, _ moment: Moment) -> (number: Int64, Change) {
        queue.issueProtocol(for: conversation, moment)
    }
    func closed(protocolo: Int64) { queue.closed(protocolo: protocolo) }
}

/// The bars of research/conversations.md §10 that are about who gets what. Each prints its number.
@Suite struct AssignmentBarTests {
    private static let tenant = TenantID(UniqueID(high: 1, low: 1))

    private static func agent(_ number: Int) -> Principal {
        Principal(tenant: tenant, user: UserID(UniqueID(high: 5, low: UInt64(number))), role: .agent, name: "Agente \(number)")
    }

    private static func profile(_ number: Int, capacity: Int) -> ConsultorProfile {
        var profile = ConsultorProfile(nome: "Agente \(number)", idiomas: ["pt"])
        profile.statusOnline = true
        profile.user = agent(number).user
        profile.capacity = capacity
        return profile
    }

    private static func message(_ number: Int, _ serial: Int, at time: Timestamp) -> CustomerMessage {
        CustomerMessage(
            channel: "whatsapp",
            externalID: "w\(number).\(serial)",
            from: ContactIdentity(waIDs: ["55119\(10_000_000 + number)"], bsuid: nil),
            name: "Cliente \(number)",
            kind: "text",
            text: "atendente",
            content: nil,
            replyTo: nil,
            sentAt: time
        )
    }

    /// 10 × 10,000 actions of 16 people and time, at once.
    @Test(arguments: [UInt64](1...10)) func nobodyIsGivenMoreThanTheyCanTakeAndNothingToTwo(_ seed: UInt64) async throws {
        let (actions, people, agents, capacity) = (10_000, 16, 12, 3)
        let clock = ManualEnvironment()
        let environment = clock.environment
        let turn = TenantTurn()
        let queue = ConsultorQueue(executor: turn, tenant: Self.tenant, loaded: ConsultorQueue.Loaded())
        let referee = Referee(queue: queue, capacity: capacity)
        for number in 1...agents { _ = await queue.add(Self.profile(number, capacity: capacity), environment.moment()) }
        var rules = AssignmentRules()
        rules.policy = AssignmentRules.Policy.allCases[Int(seed) % 3]
        rules.wrapUp = .seconds(seed % 2 == 0 ? 0 : 5)
        rules.awayAfterMissed = 1_000_000
        await queue.begin(with: rules)
        let desk = ConversationDesk(
            executor: turn,
            tenant: Self.tenant,
            pool: referee,
            flow: .standard(businessName: "Empresa"),
            settings: ConversationDesk.Settings(),
            loaded: ConversationDesk.Loaded()
        )
        await withTaskGroup(of: Void.self) { group in
            for person in 0..<people {
                group.addTask { await Self.act(actions / people, as: person, of: agents, seed, desk, referee, clock) }
            }
        }
        let score = referee.score.withLock { $0 }
        print(
            "BAR assignment: seed \(seed) \(rules.policy.rawValue), \(actions) actions (\(score.refused) refused): \(score.offers) offers, \(score.taken) taken, \(score.transfers) transfers; over capacity \(score.overCapacity), assigned twice \(score.doubleAssigned)"
        )
        #expect(score.overCapacity == 0, "seed \(seed)")
        #expect(score.doubleAssigned == 0, "seed \(seed)")
        #expect(
            score.offers > 500 && score.taken > 200 && score.transfers > 0,
            "seed \(seed): the test did not test much: \(score.offers), \(score.taken), \(score.transfers)"
        )
    }

    private static func act(
        _ steps: Int,
        as person: Int,
        of agents: Int,
        _ seed: UInt64,
        _ desk: ConversationDesk,
        _ referee: Referee,
        _ clock: ManualEnvironment
    ) async {
        var random = SeededGenerator(seed: seed &* 1000 &+ UInt64(person))
        let environment = clock.environment
        for step in 0..<steps {
            let moment = environment.moment()
            let held = referee.score.withLock { $0.holders.randomElement(using: &random) }
            do throws(Refusal) {
                switch Int.random(in: 0..<20, using: &random) {
                case 0...4:
                    // Fewer than there are seats, or more.
                    let customer = Int.random(in: 0..<(seed % 3 == 0 ? 120 : 30), using: &random)
                    let serial = person * 100_000 + step
                    _ = try await desk.received(
                        Self.message(customer, serial, at: moment.now),
                        seenBefore: false,
                        moment
                    )
                case 5:
                    clock.advance(by: .seconds(Int64.random(in: 0...8, using: &random)))
                    _ = await desk.timePassed(environment.moment())
                case 6...12:
                    // Who was offered it accepts; meanwhile it may be somebody else's.
                    guard let (some, holder) = held.map({ ($0.key, $0.value) }) else { continue }
                    _ = try await desk.accept(some, Self.agent(Int(holder)), moment)
                case 13...14:
                    guard let (some, holder) = held.map({ ($0.key, $0.value) }) else { continue }
                    let other = Int64.random(in: 1...Int64(agents), using: &random)
                    _ = try await desk.perform(.transfer(consultor: other), on: some, by: Self.agent(Int(holder)), earlier: nil, moment)
                case 15:
                    guard let (some, holder) = held.map({ ($0.key, $0.value) }) else { continue }
                    _ = try await desk.perform(.requeue(language: nil), on: some, by: Self.agent(Int(holder)), earlier: nil, moment)
                case 16:
                    guard let (some, holder) = held.map({ ($0.key, $0.value) }) else { continue }
                    _ = try await desk.perform(.decline, on: some, by: Self.agent(Int(holder)), earlier: nil, moment)
                default:
                    guard let (some, holder) = held.map({ ($0.key, $0.value) }) else { continue }
                    _ = try await desk.perform(.resolve, on: some, by: Self.agent(Int(holder)), earlier: nil, moment)
                }
            } catch { referee.score.withLock { $0.refused += 1 } }
        }
    }
}

extension ConversationDesk {
    /// As a client does it: a claim of what is on offer to oneself. Looked at and claimed in one turn, so that it is no claim by hand.
    fileprivate func accept(_ id: ConversationID, _ agent: Principal, _ moment: Moment) throws(Refusal) {
        guard let json = json(id), let offer = (try? JSON.parse(json))?["offer"], offer["user_id"]?.string == agent.user.description else { return }
        _ = try perform(.claim, on: id, by: agent, earlier: nil, moment)
    }
}
