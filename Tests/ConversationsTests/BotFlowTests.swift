import Kernel
import Testing
import Wire

@testable import Conversations

private let context = BotFlow.Context(now: Timestamp(seconds: 1_790_000_000), contactName: "Ana", canConsult: false)

extension BotFlow {
    fileprivate func answer(to text: String, at position: inout Position) -> Reply { answer(Input(text: text), at: &position, context) }

    fileprivate var mainMenu: Menu {
        guard case .menu(let menu) = nodes[start] else { preconditionFailure("the standard flow begins with its menu") }
        return menu
    }
    fileprivate var menuText: String { rendered(mainMenu, Position(), context) }
    fileprivate var greetingText: String { filled(greeting ?? "", Position(), context) + "\n\n" + menuText }
}

/// What every business's bot does that has not made its own.
@Suite struct BotFlowTests {
    private static func position(greeted: Bool) -> BotFlow.Position {
        var position = BotFlow.Position()
        if greeted {
            position.node = "menu"
            position.menu = "menu"
        }
        return position
    }

    private func reply(_ text: String, greeted: Bool = true) -> BotFlow.Reply {
        var position = Self.position(greeted: greeted)
        return flow.answer(to: text, at: &position)
    }

    private var answers: [String] {
        flow.mainMenu.options.compactMap { option in if case .say(let text, _) = flow.nodes[option.next] { text } else { nil } }
    }

    @Test func theFirstWordIsAnsweredWithTheGreetingAndTheMenuOnce() {
        var position = BotFlow.Position()
        let first = flow.answer(to: "Bom dia", at: &position)
        #expect(first == BotFlow.Reply(texts: [flow.greetingText]))
        #expect(flow.greetingText.contains("Rede Clara"))
        for option in flow.mainMenu.options { #expect(flow.greetingText.contains("\(option.key) - \(option.title)")) }
        #expect(position.misunderstandings == 0, "not to know the menu before seeing it is no misunderstanding")
        let second = flow.answer(to: "Bom dia", at: &position)
        #expect(second.texts != first.texts)
        #expect(second.texts.first?.contains(flow.menuText) == true)
    }

    @Test func aFirstWordThatIsClearIsAnsweredWithoutTheGreeting() {
        #expect(reply("boleto", greeted: false).texts == [answers[1]])
    }

    @Test(arguments: [("1", 0), (" 2 ", 1), ("3.", 2), ("*1*", 0), ("2️⃣", 1)])
    func aNumberOfTheMenuIsItsOption(_ text: String, _ index: Int) {
        #expect(reply(text) == BotFlow.Reply(texts: [answers[index]]))
    }

    @Test func theNumberOfTheWayToAPersonHandsOff() {
        #expect(reply("4").handsOff)
        #expect(reply("4").texts.isEmpty)
    }

    @Test(arguments: ["5", "0", "11", "1 2", "99999999999999999999999"])
    func aNumberThatIsNotOnTheMenuIsNotUnderstood(_ text: String) {
        #expect(reply(text).texts.first?.contains("não entendi") == true)
        #expect(!reply(text).handsOff)
    }

    @Test(arguments: [
        ("PREÇO", 0), ("Qual o preço?", 0), ("qual o prec\u{327}o", 0), ("Quero a SEGUNDA VIA!", 1), ("segunda, via", 1), ("boleto...", 1),
        ("estou sem internet", 2),
        ("A internet caiu!!!", 2), ("está LENTO", 2),
    ])
    func keywordsAreFoundWhateverTheirAccentsCaseAndPunctuation(_ text: String, _ index: Int) {
        #expect(reply(text).texts == [answers[index]])
    }

    @Test(arguments: ["planosaurus", "desconta", "via segunda", "sem a internet"])
    func aKeywordInsideAnotherWordOrOutOfOrderIsNone(_ text: String) {
        #expect(reply(text).texts.first?.contains("não entendi") == true)
    }

    @Test(arguments: [
        "atendente", "ATENDENTE", "Atendente!", "quero falar com um atendente, por favor", "Não quero boleto, quero ATENDENTE.", "1 atendente",
        "atende\u{301}nte",
        "I want an atendente please", "quiero un atendente", "english atendente", "falar com uma pessoa", "humano?", "Can I talk to a HUMAN",
        "quiero un agente", "atendente\natendente",
    ])
    func whoAsksForAPersonGetsOneAlsoWithTheFirstWord(_ text: String) {
        for greeted in [false, true] {
            var position = Self.position(greeted: greeted)
            position.misunderstandings = 2
            let reply = flow.answer(to: text, at: &position)
            #expect(reply.handsOff)
            #expect(reply.texts.isEmpty)
            #expect(position.misunderstandings == 0)
        }
    }

    @Test func theLanguageAskedForWithAPersonGoesAlong() {
        #expect(reply("english, human please").language == "en")
    }

    @Test func theThirdMisunderstandingInARowHandsOffAndAnUnderstoodWordBetweenBeginsAnew() {
        var position = BotFlow.Position()
        var handOffs: [Bool] = []
        for text in ["oi", "xyz", "xyz", "boleto", "xyz", "xyz", "xyz"] { handOffs.append(flow.answer(to: text, at: &position).handsOff) }
        #expect(handOffs == [false, false, false, false, false, false, true])
        #expect(position.misunderstandings == 0)
    }

    @Test(arguments: [("english", "en"), ("ENGLISH please", "en"), ("Español", "es"), ("português", "pt"), ("em PORTUGUÊS, por favor", "pt")])
    func aLanguagesWordChangesTheLanguageAndAnswersInIt(_ text: String, _ language: String) {
        for greeted in [false, true] {
            let reply = reply(text, greeted: greeted)
            #expect(reply.language == language)
            #expect(reply.texts.count == 1)
            #expect(!reply.handsOff)
        }
        #expect(reply("english").texts.first?.contains("human") == true)
        #expect(reply("español").texts.first?.contains("agente") == true)
    }

    @Test func theWordsThatTheBotAdvertisesWork() {
        for word in ["atendente", "human", "agente"] { #expect(reply(word).handsOff) }
        for word in ["english", "español"] { #expect(reply(word).language != nil) }
    }

    @Test func mediaIsGreetedFirstAndThenNotUnderstood() {
        var position = BotFlow.Position()
        #expect(flow.answer(to: "", at: &position).texts == [flow.greetingText])
        #expect(flow.answer(to: "", at: &position).texts.first?.contains("não entendi") == true)
        #expect(!flow.answer(to: "", at: &position).handsOff)
        #expect(flow.answer(to: "", at: &position).handsOff)
    }

    @Test func theNoticeNamesTheProtocolAndThePlaceInTheCustomersLanguage() {
        for language in ["pt", "en", "es", "fr"] {
            let notice = BotFlow.handOffNotice(protocolo: "#00042", position: 3, language: language)
            #expect(notice.contains("#00042"))
            #expect(notice.contains("3"))
        }
        #expect(Set(["pt", "en", "es"].map { BotFlow.handOffNotice(protocolo: "#1", position: 1, language: $0) }).count == 3)
    }

    @Test(arguments: [
        ("É o Atendente?", ["e", "o", "atendente"]), ("  ", []), ("a-b_c.d", ["a", "b", "c", "d"]), ("ÀÇÃO", ["acao"]), ("", []),
        ("日本 語", ["日本", "語"]),
    ])
    func wordsAreLowerCaseAndWithoutAccents(_ text: String, _ words: [String]) { #expect(BotFlow.words(of: text) == words) }

    @Test func aVeryLongTextIsReadAtItsBeginningOnly() {
        let words = BotFlow.words(of: "atendente " + String(repeating: "x", count: 100_000))
        #expect(words.first == "atendente")
        #expect(words.map(\.count).reduce(0, +) < 4096)
    }

    @Test func whereAConversationIsComesBackFromItsJSON() {
        let contact = Contact(id: ContactID(UniqueID(high: 1, low: 1)), name: "Ana", waID: "1", bsuid: nil, at: context.now)
        var conversation = Conversation(
            id: ConversationID(UniqueID(high: 1, low: 2)),
            contact: contact,
            channel: "whatsapp",
            language: "pt",
            at: context.now
        )
        conversation.bot.flow = 3
        conversation.bot.node = "cpf"
        conversation.bot.menu = "menu"
        conversation.bot.misunderstandings = 2
        conversation.bot.variables = ["cpf": "52998224725", "a\"b": "ç"]
        conversation.botAnsweredSeq = 7
        conversation.isLateTold = true
        var read = conversation
        read.readBot(conversation.botJSON)
        #expect(read == conversation)
        read.readBot("not json")
        #expect(read.bot == BotFlow.Position())
    }

    @Test func aConversationFromBeforeFlowsWereDataIsWhereItWas() {
        let contact = Contact(id: ContactID(UniqueID(high: 1, low: 1)), name: "Ana", waID: "1", bsuid: nil, at: context.now)
        var conversation = Conversation(
            id: ConversationID(UniqueID(high: 1, low: 2)),
            contact: contact,
            channel: "whatsapp",
            language: "pt",
            at: context.now
        )
        conversation.lastSeq = 9
        conversation.readBot(#"{"greeted":true,"misunderstandings":2}"#)
        #expect(conversation.bot.flow == 0)
        #expect(conversation.bot.node == "menu")
        #expect(conversation.bot.misunderstandings == 2)
        #expect(conversation.botAnsweredSeq == 9, "what was written before has been answered")
    }
}
