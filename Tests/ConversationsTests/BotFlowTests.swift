import Testing

@testable import Conversations

@Suite struct BotFlowTests {
    private func reply(_ text: String, greeted: Bool = true) -> BotFlow.Reply {
        var position = BotFlow.Position()
        position.hasGreeted = greeted
        return flow.answer(to: text, at: &position)
    }

    private var answers: [String] { flow.options.compactMap(\.answer) }

    @Test func theFirstWordIsAnsweredWithTheGreetingAndTheMenuOnce() {
        var position = BotFlow.Position()
        let first = flow.answer(to: "Bom dia", at: &position)
        #expect(first == BotFlow.Reply(texts: [flow.greeting], handsOff: false, language: nil))
        #expect(flow.greeting.contains("Rede Clara"))
        for option in flow.options { #expect(flow.greeting.contains("\(option.number) - \(option.title)")) }
        #expect(position.misunderstandings == 0, "not to know the menu before seeing it is no misunderstanding")
        let second = flow.answer(to: "Bom dia", at: &position)
        #expect(second.texts != first.texts)
        #expect(second.texts.first?.contains(flow.menu) == true)
    }

    @Test func aFirstWordThatIsClearIsAnsweredWithoutTheGreeting() {
        #expect(reply("boleto", greeted: false).texts == [answers[1]])
    }

    @Test(arguments: [("1", 0), (" 2 ", 1), ("3.", 2), ("*1*", 0), ("2️⃣", 1)])
    func aNumberOfTheMenuIsItsOption(_ text: String, _ index: Int) {
        #expect(reply(text) == BotFlow.Reply(texts: [answers[index]]))
    }

    @Test func theNumberOfTheWayToAPersonHandsOff() {
        #expect(reply("4") == BotFlow.Reply(texts: [], handsOff: true))
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
            var position = BotFlow.Position()
            position.hasGreeted = greeted
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
        #expect(flow.answerToMedia(at: &position).texts == [flow.greeting])
        #expect(flow.answerToMedia(at: &position).texts.first?.contains("não entendi") == true)
        #expect(!flow.answerToMedia(at: &position).handsOff)
        #expect(flow.answerToMedia(at: &position).handsOff)
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

    @Test func aPositionComesBackFromItsJSON() {
        for hasGreeted in [false, true] {
            for misunderstandings in 0...2 {
                var position = BotFlow.Position()
                position.hasGreeted = hasGreeted
                position.misunderstandings = misunderstandings
                #expect(BotFlow.position(fromJSON: BotFlow.json(of: position)) == position)
            }
        }
        #expect(BotFlow.position(fromJSON: "not json") == BotFlow.Position())
        #expect(BotFlow.position(fromJSON: "{}") == BotFlow.Position())
    }
}
