import Kernel
import Storage
import Synchronization
import Testing
import Wire

@testable import Conversations

let tenant = TenantID(UniqueID(high: 1, low: 0xa))
let maria = Principal(tenant: tenant, user: UserID(UniqueID(high: 2, low: 1)), role: .agent, name: "Maria")
let joao = Principal(tenant: tenant, user: UserID(UniqueID(high: 2, low: 2)), role: .agent, name: "João")
let admin = Principal(tenant: tenant, user: UserID(UniqueID(high: 2, low: 3)), role: .admin, name: "Ada")
let viewer = Principal(tenant: tenant, user: UserID(UniqueID(high: 2, low: 4)), role: .viewer, name: "Vera")

let flow = BotFlow.standard(businessName: "Rede Clara")

/// Consultors who speak Portuguese unless told otherwise, in a list that whoever takes a conversation goes to the end of.
final class FakePool: AttendantPool {
    struct State {
        var attendants: [Int64: Attendant] = [:]
        var languages: [Int64: String] = [:]
        var turns: [Int64] = []
        var capacity = 5
        var busy: [Int64: Set<ConversationID>] = [:]
        var missed: [(consultor: Int64, bySilence: Bool)] = []
        var lastNumber: Int64 = 0
        var closed: [Int64] = []
        var counted: [Int64] = []
        var finished: [Int64] = []
        var rules = AssignmentRules()
    }
    let state = Mutex(State())

    func arrives(_ id: Int64, _ principal: Principal, language: String = "pt") {
        state.withLock {
            $0.attendants[id] = Attendant(id: id, user: principal.user, name: principal.name)
            $0.languages[id] = language
            $0.turns.append(id)
        }
    }
    func leaves(_ id: Int64) { state.withLock { state in state.turns.removeAll { $0 == id } } }

    func busy(_ id: Int64) -> Set<ConversationID> { state.withLock { $0.busy[id] ?? [] } }
    var lastNumber: Int64 { state.withLock { $0.lastNumber } }

    func nextAttendant(_ search: AttendantSearch, _ moment: Moment) -> Attendant? {
        state.withLock { state in
            let able = state.turns.filter { state.languages[$0] == search.language && state.busy[$0, default: []].count < state.capacity }
            return (able.first { $0 != search.skipping } ?? able.first).flatMap { state.attendants[$0] }
        }
    }
    func staffing(language: String, _ moment: Moment) -> Staffing {
        state.withLock { state in
            var staffing = Staffing()
            for id in state.turns where state.languages[id] == language {
                staffing.online += 1
                staffing.seats += Double(state.capacity)
                staffing.free += max(0, state.capacity - state.busy[id, default: []].count)
            }
            return staffing
        }
    }
    func isOnline(_ id: Int64) -> Bool { state.withLock { $0.turns.contains(id) } }
    func hasRoom(_ id: Int64) -> Bool { state.withLock { $0.busy[id, default: []].count < $0.capacity } }
    func govern(_ rules: AssignmentRules) { state.withLock { $0.rules = rules } }
    var attendants: [Attendant] { state.withLock { $0.attendants.values.sorted { $0.id < $1.id } } }
    func finished(_ conversation: ConversationID, by id: Int64, _ moment: Moment) -> Change {
        state.withLock { $0.finished.append(id) }
        return released(conversation, by: id, moment)
    }
    var nextWrapUpEnd: Timestamp? { nil }
    func timePassed(_ moment: Moment) -> Change { Change() }
    func attendant(_ id: Int64) -> Attendant? { state.withLock { $0.attendants[id] } }
    func attendant(of principal: Principal, _ moment: Moment) -> (Attendant, Change) {
        state.withLock { state in
            if let present = state.attendants.values.filter({ $0.user == principal.user }).min(by: { $0.id < $1.id }) { return (present, Change()) }
            let new = Attendant(id: (state.attendants.keys.max() ?? 0) + 1, user: principal.user, name: principal.name)
            state.attendants[new.id] = new
            return (new, Change())
        }
    }
    func offered(_ conversation: ConversationID, to id: Int64, _ moment: Moment) -> Change {
        state.withLock { _ = $0.busy[id, default: []].insert(conversation) }
        return Change()
    }
    func took(_ conversation: ConversationID, _ id: Int64, protocolo: Int64?, countsAsTurn: Bool, _ moment: Moment) -> Change {
        state.withLock { state in
            state.busy[id, default: []].insert(conversation)
            guard countsAsTurn else { return }
            state.counted.append(id)
            if state.turns.contains(id) {
                state.turns.removeAll { $0 == id }
                state.turns.append(id)
            }
        }
        return Change()
    }
    func released(_ conversation: ConversationID, by id: Int64, _ moment: Moment) -> Change {
        state.withLock { _ = $0.busy[id]?.remove(conversation) }
        return Change()
    }
    func missed(_ conversation: ConversationID, _ id: Int64, bySilence: Bool, _ moment: Moment) -> Change {
        state.withLock { state in
            state.busy[id]?.remove(conversation)
            state.missed.append((id, bySilence))
        }
        return Change()
    }
    func issueProtocol(for conversation: ConversationID, _ moment: Moment) -> (number: Int64, Change) {
        state.withLock { state in
            state.lastNumber += 1
            return (state.lastNumber, Change())
        }
    }
    func closed(protocolo: Int64) { state.withLock { $0.closed.append(protocolo) } }
}

/// What a store would hold after the changes it was given. Looks at each one for what must be true of every change.
struct Ledger {
    struct Key: Hashable {
        let table: String
        let values: [SQLValue]
    }

    private(set) var rows: [Key: RowImage] = [:]
    private(set) var jobs: [JobID: Job] = [:]
    private(set) var marks: [Mark.Key: String] = [:]
    private var lastOrders: [String: Int64] = [:]

    mutating func absorb(_ change: Change, _ comment: Comment? = nil, sourceLocation: SourceLocation = #_sourceLocation) {
        var outbound: [String] = []
        for event in change.events {
            let json = try? JSON.parse(String(decoding: event.payload, as: UTF8.self))
            #expect(json?["type"]?.string?.isEmpty == false, comment, sourceLocation: sourceLocation)
            if json?["type"]?.string == "message.created", let message = json?["message"], message["direction"]?.string == "out",
                message["status"]?.string == "queued"
            {
                outbound.append(message["id"]?.string ?? "?")
            }
        }
        for row in change.rows {
            guard case .values(let values) = row.content else { continue }
            let key = Key(table: row.table.name, values: row.table.key.map { name in values[row.table.columns.firstIndex { $0.name == name }!] })
            if let before = rows[key] {
                #expect(
                    row.version > before.version,
                    "a \(row.table.name) row went from version \(before.version) to \(row.version)",
                    sourceLocation: sourceLocation
                )
            } else {
                #expect(row.version == 1, "the first image of a \(row.table.name) row", sourceLocation: sourceLocation)
            }
            rows[key] = row
        }
        let new = change.jobs.filter { jobs[$0.id] == nil && $0.kind == ConversationDesk.sendJobKind }
        #expect(
            new.compactMap { ConversationDesk.message(of: $0)?.description } == outbound,
            "one job for each message that goes out",
            sourceLocation: sourceLocation
        )
        for job in new {
            #expect(job.lane == ConversationDesk.conversation(of: job)?.description, comment, sourceLocation: sourceLocation)
            #expect(job.order > lastOrders[job.lane] ?? 0, "the order within a lane grows", sourceLocation: sourceLocation)
            lastOrders[job.lane] = job.order
        }
        for job in change.jobs { jobs[job.id] = job }
        for job in change.endedJobs { jobs[job.id] = nil }
        for mark in change.marks { marks[mark.key] = mark.result }
    }

    func images(_ table: Table) -> [Row] { rows.values.filter { $0.table == table }.map(\.row) }
    var conversations: [Conversation] { images(ConversationTables.conversations).map(Conversation.init) }
    var messages: [Message] { images(ConversationTables.messages).map(Message.init) }
    var contacts: [Contact] { images(ConversationTables.contacts).map(Contact.init) }

    /// What `ConversationDesk.load` would read.
    var loaded: ConversationDesk.Loaded {
        var loaded = ConversationDesk.Loaded()
        loaded.conversations = conversations.filter { !$0.isResolved }
        let lastSeqs = Dictionary(uniqueKeysWithValues: loaded.conversations.map { ($0.id, $0.lastSeq) })
        let people = Set(loaded.conversations.map(\.contact))
        loaded.contacts = contacts.filter { people.contains($0.id) }
        loaded.messages = messages.filter { message in
            lastSeqs[message.conversation].map { message.seq > $0 - Int64(ConversationDesk.recentMessages) } ?? false
        }
        return loaded
    }
}

extension RowImage {
    var row: Row {
        guard case .values(let values) = content else { preconditionFailure("a deleted row has no values") }
        return Row(values + [.integer(version)])
    }
}

/// A desk with a clock that stands still, a fake pool, and a ledger of everything it decided.
final class Bench {
    let clock = ManualEnvironment()
    let pool = FakePool()
    let desk: ConversationDesk
    var ledger = Ledger()
    private var deliveries = 0

    /// - Parameter quiet: how long the bot waits for a customer to finish. By default it answers every message as it comes.
    init(_ settings: ConversationDesk.Settings = ConversationDesk.Settings(), quiet: Duration = .zero) {
        var settings = settings
        settings.burst.quiet = quiet
        desk = ConversationDesk(executor: TenantTurn(), tenant: tenant, pool: pool, flow: flow, settings: settings, loaded: ConversationDesk.Loaded())
    }

    var moment: Moment { clock.environment.moment() }

    func message(
        _ text: String,
        from number: String? = "5511900000001",
        bsuid: String? = nil,
        name: String? = "Ana",
        kind: String = "text",
        wamid: String? = nil,
        content: String? = nil
    ) -> CustomerMessage {
        deliveries += 1
        return CustomerMessage(
            channel: "whatsapp",
            externalID: wamid ?? "wamid.\(deliveries)",
            from: ContactIdentity(waIDs: number.map { [$0] } ?? [], bsuid: bsuid),
            name: name,
            kind: kind,
            text: text,
            content: content,
            replyTo: nil,
            sentAt: clock.now
        )
    }

    @discardableResult
    func receives(_ message: CustomerMessage, seenBefore: Bool = false) async throws(Refusal) -> (ConversationDesk.Reception, Change) {
        let (reception, change) = try await desk.received(message, seenBefore: seenBefore, moment)
        ledger.absorb(change)
        return (reception, change)
    }

    /// - Returns: the conversation.
    @discardableResult
    func customer(_ text: String, from number: String = "5511900000001") async throws -> ConversationID {
        let (reception, _) = try await receives(message(text, from: number))
        guard case .taken(let id) = reception else { throw Surprise("taken for a duplicate") }
        return id
    }

    @discardableResult
    func perform(
        _ command: AgentCommand,
        on id: ConversationID,
        by principal: Principal,
        earlier: String? = nil
    ) async throws(Refusal) -> (ConversationDesk.Answer, Change) {
        let (answer, change) = try await desk.perform(command, on: id, by: principal, earlier: earlier, moment)
        ledger.absorb(change)
        return (answer, change)
    }

    @discardableResult
    func time(passes duration: Duration) async -> Change {
        clock.advance(by: duration)
        let change = await desk.timePassed(moment)
        ledger.absorb(change)
        return change
    }

    /// WhatsApp takes all that waits to go out.
    func everythingLeaves() async {
        for job in jobs {
            let (attempt, change) = await desk.attemptBegan(job, moment)
            ledger.absorb(change)
            guard case .send(_, let attempting) = attempt else { continue }
            ledger.absorb(await desk.attemptEnded(attempting, .sent(externalID: "sent.\(job.id)"), moment).1)
        }
    }

    func somebodyCameOrWent() async { ledger.absorb(await desk.consultoresChanged(moment)) }

    func conversation(_ id: ConversationID) async throws -> Conversation {
        guard let session = await desk.sessions[id] else { throw Surprise("conversation \(id) is not in memory") }
        return session.conversation
    }

    func state(_ id: ConversationID) async throws -> Conversation.State { try await conversation(id).state }

    /// The refusal that the command meets. Nothing may have changed by it.
    func refusal(_ command: AgentCommand, on id: ConversationID, by principal: Principal) async throws -> Refusal {
        let before = try await conversation(id)
        do throws(Refusal) { try await perform(command, on: id, by: principal) } catch {
            #expect(try await conversation(id) == before, "a refused command changed the conversation")
            return error
        }
        throw Surprise("\(command) was not refused")
    }

    /// The jobs that wait, by conversation and order.
    var jobs: [Job] { ledger.jobs.values.sorted { ($0.lane, $0.order) < ($1.lane, $1.order) } }
}

struct Surprise: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

func parsed(_ bytes: [UInt8]?) throws -> JSON {
    guard let bytes else { throw Surprise("nothing to parse") }
    return try JSON.parse(String(decoding: bytes, as: UTF8.self))
}

extension Change {
    func types(on channel: String) -> [String] {
        events.filter { $0.channel == channel }.compactMap { try? parsed($0.payload)["type"]?.string }
    }
    func messages(_ type: String) -> [JSON] {
        events.compactMap { try? parsed($0.payload) }.filter { $0["type"]?.string == type }.compactMap { $0["message"] }
    }
}
