import Integrations
import Kernel
import Synchronization
import TestSupport
import Testing
import Wire

/// A hand-off in Pipedrive, begun again whenever it breaks off.
@Suite struct PipedriveSyncTests {
    /// Pipedrive in memory. At a fault it may have done what it was asked, or not.
    private final class Memory: PipedriveAPI {
        struct State {
            var persons: [Int64: (phone: String?, owner: Int64, name: String)] = [:]
            var deals: [Int64: (person: Int64, owner: Int64, title: String, isOpen: Bool)] = [:]
            var activities: [Int64: (deal: Int64, owner: Int64, title: String)] = [:]
            var last: Int64 = 0
            var random = SeededGenerator(seed: 0)
            var faultPercent = 0
        }
        let state = Mutex(State())

        enum Fate { case done, lost, refused }
        private func fate(_ state: inout State) -> Fate {
            guard Int.random(in: 0..<100, using: &state.random) < state.faultPercent else { return .done }
            return Bool.random(using: &state.random) ? .lost : .refused
        }

        private func perform<T: Sendable>(_ body: @Sendable (inout State) -> T) throws(PipedriveFault) -> T {
            let result: Result<T, PipedriveFault> = state.withLock { state in
                switch fate(&state) {
                case .done: return .success(body(&state))
                case .lost:
                    _ = body(&state)
                    return .failure(.unavailable("lost"))
                case .refused: return .failure(.unavailable("refused"))
                }
            }
            return try result.get()
        }

        func me() async throws(PipedriveFault) -> Int64 { 1 }
        func persons(withPhone phone: String) async throws(PipedriveFault) -> [Int64] {
            try perform { state in state.persons.filter { $0.value.phone == phone }.map(\.key).sorted() }
        }
        func person(_ id: Int64) async throws(PipedriveFault) -> PipedriveRecord? {
            try perform { state in state.persons[id].map { PipedriveRecord(id: id, owner: $0.owner, title: $0.name) } }
        }
        func deal(_ id: Int64) async throws(PipedriveFault) -> PipedriveRecord? {
            try perform { state in state.deals[id].map { PipedriveRecord(id: id, owner: $0.owner, title: $0.title, isOpen: $0.isOpen) } }
        }
        func openDeals(of person: Int64) async throws(PipedriveFault) -> [PipedriveRecord] {
            try perform { state in
                state.deals.filter { $0.value.person == person && $0.value.isOpen }.map {
                    PipedriveRecord(id: $0.key, owner: $0.value.owner, title: $0.value.title)
                }
            }
        }
        func activities(of deal: Int64) async throws(PipedriveFault) -> [PipedriveRecord] {
            try perform { state in
                state.activities.filter { $0.value.deal == deal }.map { PipedriveRecord(id: $0.key, owner: $0.value.owner, title: $0.value.title) }
            }
        }
        func create(_ thing: PipedriveThing, _ fields: JSON) async throws(PipedriveFault) -> Int64 {
            try perform { state in
                state.last += 1
                let owner = fields["owner_id"]?.int ?? 0
                switch thing {
                case .persons:
                    let phone = fields["phones"]?.array?.first?["value"]?.string.map { String($0.drop { $0 == "+" }) }
                    state.persons[state.last] = (phone, owner, fields["name"]?.string ?? "")
                case .deals: state.deals[state.last] = (fields["person_id"]?.int ?? 0, owner, fields["title"]?.string ?? "", true)
                case .activities: state.activities[state.last] = (fields["deal_id"]?.int ?? 0, owner, fields["subject"]?.string ?? "")
                }
                return state.last
            }
        }
        func update(_ thing: PipedriveThing, _ id: Int64, _ fields: JSON) async throws(PipedriveFault) {
            try perform { state in
                guard let owner = fields["owner_id"]?.int else { return }
                switch thing {
                case .persons: state.persons[id]?.owner = owner
                case .deals: state.deals[id]?.owner = owner
                case .activities: state.activities[id]?.owner = owner
                }
            }
        }
    }

    private struct Crash: Error {}

    private func handOff(_ number: Int, phone: String = "5511987654321", owner: Int64 = 11) -> PipedriveHandOff {
        PipedriveHandOff(name: "Ana", phones: [phone], owner: owner, title: "Atendimento #0000\(number)", note: "")
    }

    /// Each step may fail having been done or not, and we may crash before what was made is saved: there is one person, one deal and one activity all the same.
    @Test(arguments: 1...200) func whateverBreaksOffNothingIsThereTwice(_ seed: UInt64) async throws {
        let api = Memory()
        api.state.withLock {
            $0.random = SeededGenerator(seed: seed)
            $0.faultPercent = 35
        }
        var random = SeededGenerator(seed: seed &+ 1000)
        var saved = PipedriveProgress()
        for round in 1...3 {
            // The second attendance is somebody else's, the third one's deal has been won meanwhile.
            if round == 3 { api.state.withLock { state in for id in state.deals.keys { state.deals[id]?.isOpen = false } } }
            let owner: Int64 = round == 1 ? 11 : 12
            var attempts = 0
            saved = PipedriveProgress(person: saved.person, deal: saved.deal)
            while true {
                attempts += 1
                try #require(attempts < 2000, "seed \(seed)")
                let crashes = Bool.random(using: &random)
                let before = saved
                do {
                    saved = try await PipedriveSync(api).tell(handOff(round, owner: owner), from: before) { progress in
                        if crashes { throw Crash() }
                        saved = progress
                    }
                    break
                } catch is Crash {} catch is PipedriveFault {}
            }
            api.state.withLock { state in
                #expect(state.persons.count == 1, "seed \(seed), round \(round)")
                #expect(state.deals.count == (round == 3 ? 2 : 1), "seed \(seed), round \(round)")
                #expect(state.activities.count == round, "seed \(seed), round \(round)")
                #expect(state.persons.values.first?.owner == owner)
                #expect(saved.deal.flatMap { state.deals[$0]?.owner } == owner)
                #expect(saved.activity.flatMap { state.activities[$0]?.owner } == owner)
            }
        }
    }

    @Test func aPersonWhoIsGoneIsLookedForByTheNumberAndElseMadeAnew() async throws {
        let api = Memory()
        let first = try await PipedriveSync(api).tell(handOff(1), from: PipedriveProgress()) { _ in }
        api.state.withLock { $0.persons = [99: ("5511987654321", 11, "A mesma")] }
        let found = try await PipedriveSync(api).tell(handOff(2), from: PipedriveProgress(person: first.person)) { _ in }
        #expect(found.person == 99)
        api.state.withLock { $0.persons = [:] }
        let made = try await PipedriveSync(api).tell(handOff(3), from: PipedriveProgress(person: 99)) { _ in }
        #expect(made.person != 99 && made.person != nil)
    }
}

@Suite struct PipedriveNewsTests {
    private func read(_ text: String) throws -> PipedriveNews.Reading { PipedriveNews.read(try JSON.parse(text)) }

    @Test func aChangeAMergeAndADeletionAreReadAndTheRestPassedOver() throws {
        let change = try read(
            #"{"meta":{"action":"change","entity":"person","entity_id":"7","user_id":"11","change_source":"app","timestamp":"2026-03-01T09:30:00.123Z"},"data":{"id":7,"name":"Ana"},"previous":{"name":"A"}}"#
        )
        let at = Timestamp(rfc3339: "2026-03-01T09:30:00.123Z")
        #expect(change == .news(PipedriveNews(person: 7, event: .named("Ana"), at: at, apiUser: nil)))
        let own = try read(
            #"{"meta":{"action":"create","entity":"person","entity_id":7,"user_id":9,"change_source":"api","timestamp":1772357400},"data":{"id":7,"name":"Ana"}}"#
        )
        #expect(own == .news(PipedriveNews(person: 7, event: .named("Ana"), at: Timestamp(seconds: 1_772_357_400), apiUser: 9)))
        let merge = try read(#"{"meta":{"action":"delete","entity":"person","entity_id":"7","merged_to_id":8},"data":null,"previous":{"id":7}}"#)
        #expect(merge == .news(PipedriveNews(person: 7, event: .merged(into: 8), at: nil, apiUser: nil)))
        #expect(
            try read(#"{"meta":{"action":"delete","entity":"person"},"previous":{"id":7}}"#)
                == .news(PipedriveNews(person: 7, event: .deleted, at: nil, apiUser: nil))
        )
        #expect(try read(#"{"meta":{"action":"change","entity":"deal","entity_id":"1"},"data":{}}"#) == .nothing)
        #expect(try read(#"{"meta":{"action":"change","entity":"person","entity_id":"1"},"data":{"id":1}}"#) == .nothing)
        for wrong in [
            "{}", #"{"meta":5}"#, #"{"meta":{"entity":"person"}}"#, #"{"meta":{"entity":"person","action":"change"},"data":{"name":"x"}}"#, "[]",
            "null",
        ] {
            #expect(try read(wrong) == .unreadable)
        }
    }

    @Test func asAJobItIsWhatItWas() {
        for event in [PipedriveNews.Event.named("Ana \"Bê\""), .deleted, .merged(into: 8)] {
            let news = PipedriveNews(person: 7, event: event, at: Timestamp(milliseconds: 5), apiUser: 9)
            #expect(PipedriveNews(payload: news.payload) == news)
        }
        #expect(PipedriveNews(payload: "{}") == nil)
    }

    @Test(
        arguments: [
            ("https://api.pipedrive.com", "https://api.pipedrive.com"), ("https://empresa.pipedrive.com/api/v2/", "https://empresa.pipedrive.com"),
            ("http://127.0.0.1:9200/v1", "http://127.0.0.1:9200"), ("pipedrive.com", nil), ("https://", nil),
        ] as [(String, String?)]
    )
    func anAddressIsTakenWithOrWithoutItsVersion(_ given: String, _ read: String?) {
        var configuration = PipedriveClient.Configuration(token: "t")
        let isURL = configuration.setURL(given)
        #expect((isURL ? configuration.baseURL : nil) == read)
    }
}
