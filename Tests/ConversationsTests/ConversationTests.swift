import Kernel
import Storage
import Testing

@testable import Conversations

@Suite struct ConversationTests {
    static let start = Timestamp(seconds: 1_000_000)
    static let now = Timestamp(seconds: 1_000_100)
    static let later = Timestamp(seconds: 1_000_900)
    static let states: [Conversation.State] = [
        .bot, .queued(since: start), .offered(.init(consultor: 1, expiresAt: later), since: start), .active(consultor: 1),
        .snoozed(consultor: 1, until: later), .resolved(at: start),
    ]

    static func moment(_ time: Timestamp = now) -> Moment { Moment(now: time, randomBits: { (7, 7) }) }

    static func conversation(_ state: Conversation.State) -> Conversation {
        let contact = Contact(id: ContactID(UniqueID(high: 3, low: 1)), name: "Ana", waID: "5511900000001", bsuid: nil, at: start)
        var conversation = Conversation(
            id: ConversationID(UniqueID(high: 4, low: 1)),
            contact: contact,
            channel: "whatsapp",
            language: "pt",
            at: start
        )
        conversation.state = state
        return conversation
    }

    /// What an input did: the state it led to, or the code of its refusal.
    enum Outcome: Equatable, CustomStringConvertible {
        case state(Conversation.State)
        case refused(Refusal.Kind, String)
        var description: String {
            switch self {
            case .state(let state): "\(state)"
            case .refused(let kind, let code): "\(kind) \(code)"
            }
        }
    }

    private func outcome(in state: Conversation.State, _ input: (inout Conversation) throws(Refusal) -> Void) -> Outcome {
        var conversation = Self.conversation(state)
        let before = conversation
        do throws(Refusal) {
            try input(&conversation)
            return .state(conversation.state)
        } catch {
            #expect(conversation == before, "a refused input changed the conversation")
            return .refused(error.kind, error.code)
        }
    }

    private func expect(
        _ input: (inout Conversation) throws(Refusal) -> Void,
        _ expected: [Outcome],
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        for (state, outcome) in zip(Self.states, expected) {
            #expect(self.outcome(in: state, input) == outcome, "from \(state.name)", sourceLocation: sourceLocation)
        }
        #expect(expected.count == Self.states.count, sourceLocation: sourceLocation)
    }

    private let resolvedAlready = Outcome.refused(.conflict, "conversation_resolved")
    private let nobodys = Outcome.refused(.conflict, "conversation_unassigned")

    @Test func everyStateHasOneOwner() {
        #expect(Self.states.map { Self.conversation($0).owner } == [.bot, .queue, .queue, .consultor, .consultor, .none])
        #expect(Self.states.map { Self.conversation($0).assignee } == [nil, nil, nil, 1, 1, nil])
        #expect(Self.states.map { Self.conversation($0).offer?.consultor } == [nil, nil, 1, nil, nil, nil])
        #expect(Self.states.map { Self.conversation($0).waitingSince } == [nil, Self.start, Self.start, nil, nil, nil])
        #expect(Self.states.map { Self.conversation($0).isResolved } == [false, false, false, false, false, true])
    }

    @Test func claimingTakesWhatNobodyHasAndNamesWhoHasTheRest() {
        let mine = Outcome.state(.active(consultor: 2))
        let taken = Outcome.refused(.conflict, "conversation_taken")
        expect(
            { c throws(Refusal) in _ = try c.claimed(by: 2, takenBy: { "n\($0)" }, Self.moment()) },
            [mine, mine, mine, taken, taken, resolvedAlready]
        )
        var active = Self.conversation(.active(consultor: 1))
        let refusal = #expect(throws: Refusal.self) { try active.claimed(by: 2, takenBy: { "n\($0)" }, Self.moment()) }
        #expect(refusal?.facts == ["assignee": "n1", "assignee_id": "1"])
        #expect(refusal?.message.contains("n1") == true)
    }

    @Test func claimingWhatIsOnesOwnChangesNothing() throws {
        for state in [Conversation.State.active(consultor: 1), .snoozed(consultor: 1, until: Self.later)] {
            var conversation = Self.conversation(state)
            let before = conversation
            #expect(try conversation.claimed(by: 1, takenBy: { _ in "" }, Self.moment()) == .already)
            #expect(conversation == before)
        }
    }

    @Test func aClaimTellsWhomAnOfferIsWithdrawnFrom() throws {
        for (consultor, withdrawn) in [(Int64(1), Int64?.none), (2, 1)] {
            var conversation = Self.conversation(Self.states[2])
            #expect(try conversation.claimed(by: consultor, takenBy: { _ in "" }, Self.moment()) == .taken(withdrawn: withdrawn))
        }
        var queued = Self.conversation(Self.states[1])
        #expect(try queued.claimed(by: 2, takenBy: { _ in "" }, Self.moment()) == .taken(withdrawn: nil))
    }

    @Test func onlyWhatSomebodyHasIsTransferred() throws {
        let theirs = Outcome.state(.active(consultor: 3))
        expect({ c throws(Refusal) in _ = try c.transferred(to: 3, Self.moment()) }, [nobodys, nobodys, nobodys, theirs, theirs, resolvedAlready])
        var active = Self.conversation(.active(consultor: 1))
        #expect(try active.transferred(to: 3, Self.moment()) == 1)
    }

    @Test func everythingButAResolvedOneGoesBackToTheBotWhichBeginsAnew() throws {
        let bot = Outcome.state(.bot)
        expect({ c throws(Refusal) in _ = try c.returnedToBot(Self.moment()) }, [bot, bot, bot, bot, bot, resolvedAlready])
        let had: [Int64?] = try Self.states.dropLast().map { state in
            var conversation = Self.conversation(state)
            conversation.bot.node = "menu"
            conversation.bot.misunderstandings = 2
            let present = try conversation.returnedToBot(Self.moment())
            #expect(conversation.bot == BotFlow.Position())
            return present
        }
        #expect(had == [nil, nil, 1, 1, 1])
    }

    @Test func everyStateIsResolvedOnce() {
        let end = Outcome.state(.resolved(at: Self.now))
        expect({ c throws(Refusal) in _ = c.resolved(Self.moment()) }, [end, end, end, end, end, .state(.resolved(at: Self.start))])
        let released: [Int64?] = Self.states.map { state in
            var conversation = Self.conversation(state)
            conversation.unread = 3
            let (changed, released) = conversation.resolved(Self.moment())
            #expect(changed == (state.name != "resolved"))
            #expect(conversation.unread == (changed ? 0 : 3))
            return released
        }
        #expect(released == [nil, nil, 1, 1, 1, nil])
    }

    @Test func onlyAResolvedOneIsReopened() {
        let open = Outcome.refused(.conflict, "conversation_open")
        expect({ c throws(Refusal) in try c.reopened(by: 2, Self.moment()) }, [open, open, open, open, open, .state(.active(consultor: 2))])
    }

    @Test func onlyWhatSomebodyHasIsSnoozedAndOnlyIntoTheComingYear() {
        let paused = Outcome.state(.snoozed(consultor: 1, until: Self.later))
        expect(
            { c throws(Refusal) in try c.snoozed(until: Self.later, Self.moment()) },
            [nobodys, nobodys, nobodys, paused, paused, resolvedAlready]
        )
        let year = Duration.seconds(366 * 86_400)
        for (until, fits) in [
            (Self.now, false), (Self.now + .milliseconds(1), true), (Self.now + year - .milliseconds(1), true), (Self.now + year, false),
        ] {
            let expected: Outcome = fits ? .state(.snoozed(consultor: 1, until: until)) : .refused(.invalid, "validation_error")
            #expect(outcome(in: .active(consultor: 1)) { c throws(Refusal) in try c.snoozed(until: until, Self.moment()) } == expected)
        }
    }

    @Test func aSnoozeEndsExactlyAtItsTimeAndALateAlarmDoesNothing() {
        for state in Self.states {
            var conversation = Self.conversation(state)
            let isSnoozed = state.name == "snoozed"
            #expect(conversation.snoozeEnded(Self.moment(Self.later - .milliseconds(1))) == false)
            #expect(conversation.state == state)
            #expect(conversation.snoozeEnded(Self.moment(Self.later)) == isSnoozed)
            #expect(conversation.state == (isSnoozed ? .active(consultor: 1) : state))
        }
    }

    @Test func aHandOffQueuesAnOfferKeepsThePlaceAndItsEndGivesItBack() {
        var conversation = Self.conversation(.bot)
        conversation.handedOff(protocolo: 12, Self.moment())
        #expect(conversation.state == .queued(since: Self.now))
        #expect(conversation.protocolo == 12)
        conversation.offered(to: 5, until: Self.later, Self.moment(Self.now + .seconds(10)))
        #expect(conversation.state == .offered(.init(consultor: 5, expiresAt: Self.later), since: Self.now))
        conversation.offerEnded(Self.moment(Self.now + .seconds(20)))
        #expect(conversation.state == .queued(since: Self.now))
        #expect(conversation.updatedAt == Self.now + .seconds(20))
    }

    @Test func whatCannotHappenStopsTheProgram() async {
        await #expect(processExitsWith: .failure) {
            var conversation = ConversationTests.conversation(.active(consultor: 1))
            conversation.handedOff(protocolo: 1, ConversationTests.moment())
        }
        await #expect(processExitsWith: .failure) {
            var conversation = ConversationTests.conversation(.bot)
            conversation.offered(to: 1, until: ConversationTests.later, ConversationTests.moment())
        }
        await #expect(processExitsWith: .failure) {
            var conversation = ConversationTests.conversation(.queued(since: ConversationTests.start))
            conversation.offerEnded(ConversationTests.moment())
        }
        await #expect(processExitsWith: .failure) {
            var conversation = ConversationTests.conversation(.resolved(at: ConversationTests.start))
            _ = conversation.customerWrote(providerTime: ConversationTests.now, ConversationTests.moment())
        }
    }

    @Test func aCustomersWordWakesASnoozedOneAndLeavesTheOthersWhereTheyAre() {
        for state in Self.states.dropLast() {
            var conversation = Self.conversation(state)
            let woke = conversation.customerWrote(providerTime: Self.now, Self.moment())
            #expect(woke == (state.name == "snoozed"))
            #expect(conversation.state == (woke ? .active(consultor: 1) : state))
            #expect(conversation.unread == 1)
        }
    }

    // MARK: The 24 hours

    @Test func theWindowIsOpenForADayFromTheCustomersMessageAndNotAMillisecondLonger() {
        var conversation = Self.conversation(.bot)
        #expect(!conversation.isWindowOpen(at: Self.now))
        _ = conversation.customerWrote(providerTime: Self.start, Self.moment())
        #expect(conversation.windowExpiresAt == Self.start + .seconds(86_400), "it counts from when the customer wrote, not from when we heard")
        #expect(conversation.isWindowOpen(at: Self.start + .seconds(86_400) - .milliseconds(1)))
        #expect(!conversation.isWindowOpen(at: Self.start + .seconds(86_400)))
    }

    @Test func aLateMessageNeverShortensTheWindowAndAClockAheadNeverLengthensIt() {
        var conversation = Self.conversation(.bot)
        _ = conversation.customerWrote(providerTime: Self.now, Self.moment())
        _ = conversation.customerWrote(providerTime: Self.start, Self.moment())
        #expect(conversation.windowExpiresAt == Self.now + .seconds(86_400))
        _ = conversation.customerWrote(providerTime: Self.later, Self.moment())
        #expect(conversation.windowExpiresAt == Self.now + .seconds(86_400))
    }

    // MARK: Messages

    @Test func messagesAreNumberedFromOneWithoutGapsAndRecordsAreNotShownAsTheLastOne() {
        var conversation = Self.conversation(.bot)
        var shown: [Int64?] = []
        let drafts: [MessageDraft] = [
            MessageDraft(.inbound, from: .customer, text: "a"), .activity("b", by: .system), MessageDraft(.outbound, from: .bot, text: "c"),
            .activity("d", by: .system),
        ]
        let seqs = drafts.map { draft in
            let message = conversation.appended(draft, Self.moment())
            shown.append(conversation.lastMessage?.seq)
            return message.seq
        }
        #expect(seqs == [1, 2, 3, 4])
        #expect(shown == [1, 1, 3, 3])
        #expect(conversation.lastSeq == 4)
        #expect(conversation.updatedAt == Self.now)
    }

    @Test func theLastMessageShownIsCutAt160Characters() {
        var conversation = Self.conversation(.bot)
        _ = conversation.appended(MessageDraft(.inbound, from: .customer, text: String(repeating: "é", count: 200)), Self.moment())
        #expect(conversation.lastMessage?.text == String(repeating: "é", count: 160))
    }

    @Test func readingAndLabellingTellWhetherAnythingChanged() {
        var conversation = Self.conversation(.active(consultor: 1))
        #expect(conversation.read(Self.moment()) == false)
        _ = conversation.customerWrote(providerTime: Self.now, Self.moment())
        #expect(conversation.read(Self.moment()) == true)
        #expect(conversation.unread == 0)
        #expect(conversation.labelled([], Self.moment()) == false)
        #expect(conversation.labelled(["vip"], Self.moment()) == true)
        #expect(conversation.labelled(["vip"], Self.moment()) == false)
        #expect(conversation.labels == ["vip"])
    }

    // MARK: Rows

    @Test(arguments: states) func everyStateComesBackFromItsRow(_ state: Conversation.State) {
        var bare = Self.conversation(state)
        let image = bare.image(tenant: tenant)
        #expect(image.version == 1)
        #expect(Conversation(image.row) == bare)

        var full = Self.conversation(.bot)
        _ = full.appended(MessageDraft(.inbound, from: .customer, text: "\"olá\"\n😀"), Self.moment(Self.now + .milliseconds(7)))
        _ = full.customerWrote(providerTime: Self.now, Self.moment())
        full.protocolo = 123_456
        full.language = "en"
        full.labels = ["a,b", "ç\"", ""]
        full.bot.node = "menu"
        full.bot.misunderstandings = 2
        full.contactName = "Zé"
        full.contactNumber = nil
        full.state = state
        #expect(Conversation(full.image(tenant: tenant).row) == full)
        #expect(full.image(tenant: tenant).version == 2)
    }
}
