import Kernel
import OrderedCollections
import TestSupport
import Testing
import Wire

@testable import Conversations

private let time = Timestamp(seconds: 1_790_000_000)
private func context(_ now: Timestamp = time, canConsult: Bool = false) -> BotFlow.Context {
    BotFlow.Context(now: now, contactName: "Ana", canConsult: canConsult)
}

/// A small flow that has one of everything.
let everything: JSON = [
    "start": "menu",
    "greeting": "Olá, {{nome}}! Aqui é {{empresa}}.",
    "nodes": [
        "menu": [
            "kind": "menu", "text": "Escolha:",
            "options": [
                ["key": "1", "title": "Cadastro", "keywords": ["cadastrar"], "next": "cpf"],
                ["key": "2", "title": "Assistente", "next": "ia"],
                ["key": "9", "title": "Pessoa", "next": "pessoa"],
            ],
        ],
        "cpf": ["kind": "ask", "text": "Seu CPF?", "variable": "cpf", "answer": ["type": "cpf"], "retries": 1, "next": "tipo"],
        "tipo": [
            "kind": "ask", "text": "Casa ou empresa?", "variable": "tipo",
            "answer": [
                "type": "choice", "choices": [["value": "casa", "title": "Casa"], ["value": "pj", "title": "Empresa", "keywords": ["firma"]]],
            ],
            "next": "por_tipo", "otherwise": "menu",
        ],
        "por_tipo": ["kind": "branch", "variable": "tipo", "cases": [["equals": "pj", "next": "vendas"]], "otherwise": "pronto"],
        "pronto": ["kind": "say", "text": "Pronto, {{nome}}: {{cpf}}."],
        "vendas": ["kind": "hand_off", "text": "Vou chamar a área de empresas.", "reason": "Empresa"],
        "ia": ["kind": "assistant", "text": "Pergunte.", "otherwise": "pessoa"],
        "pessoa": ["kind": "hand_off"],
    ],
    "keywords": [["words": ["cancelar"], "next": "vendas"]],
    "hand_off": ["words": ["gente"], "after_misunderstandings": 2],
    "hours": [
        "utc_offset": "-03:00", "weekly": ["mon": ["08:00-12:00", "13:00-18:00"], "tue": ["08:00-18:00"]], "closed_text": "Estamos fechados.",
    ],
    "variables": ["empresa": "Rede Clara"],
    "assistant": ["instructions": "Ajude.", "answers_unknown": false],
]

@Suite struct FlowDataTests {
    @Test func whatIsTappedStandsBesideTheTextAndNotInIt() throws {
        var json = everything
        json = json.adding("nodes", json["nodes"]!.adding("menu", json["nodes"]!["menu"]!.adding("tapped", true)))
        json = json.adding("nodes", json["nodes"]!.adding("tipo", json["nodes"]!["tipo"]!.adding("tapped", true)))
        let flow = try BotFlow.read(json)
        var position = BotFlow.Position()
        let menu = flow.answer(.init(text: "oi"), at: &position, context())
        #expect(menu.texts.last?.hasSuffix("Escolha:") == true)
        #expect(menu.choices == [.init(id: "1", title: "Cadastro"), .init(id: "2", title: "Assistente"), .init(id: "9", title: "Pessoa")])
        _ = flow.answer(.init(text: "Cadastro", choice: "1"), at: &position, context())
        let kind = flow.answer(.init(text: "529.982.247-25"), at: &position, context())
        #expect(kind.texts == ["Casa ou empresa?"] && kind.choices.map(\.id) == ["casa", "pj"])
        #expect(flow.answer(.init(text: "barco"), at: &position, context()).choices.map(\.id) == ["casa", "pj"], "asked again, to be tapped again")
        #expect(flow.answer(.init(text: "Empresa", choice: "pj"), at: &position, context()).handsOff)
        #expect(position.variables["tipo"] == "pj")
    }

    @Test func whatWhatsAppWouldNotTakeForAButtonIsTold() {
        func menu(_ titles: [String]) -> [String] {
            faults { json in
                let options = JSON.array(titles.enumerated().map { ["key": .string("k\($0.offset)"), "title": .string($0.element), "next": "pessoa"] })
                let menu = json["nodes"]!["menu"]!.adding("tapped", true).adding("options", options)
                json = json.adding("nodes", json["nodes"]!.adding("menu", menu))
            }.filter { !$0.hasSuffix("unreachable_node") }
        }
        let (twenty, twentyFour) = (String(repeating: "b", count: 20), String(repeating: "r", count: 24))
        #expect(menu([twenty, "B", "C"]).isEmpty)
        #expect(menu([twenty + "b", "B", "C"]) == ["nodes.menu.options.0.title string_too_long"])
        #expect(menu([twentyFour, "B", "C", "D"]).isEmpty)
        #expect(menu([twentyFour + "r", "B", "C", "D"]) == ["nodes.menu.options.0.title string_too_long"])
        #expect(menu((0..<10).map { "t\($0)" }).isEmpty && menu((0..<11).map { "t\($0)" }) == ["nodes.menu.options too_long"])
        #expect(
            faults { $0 = $0.adding("nodes", $0["nodes"]!.adding("cpf", $0["nodes"]!["cpf"]!.adding("tapped", true))) } == ["nodes.cpf.tapped value_error"]
        )
    }

    private func faults(_ change: (inout JSON) -> Void) -> [String] {
        var json = everything
        change(&json)
        do throws(Refusal) {
            _ = try BotFlow.read(json)
            return []
        } catch {
            return error.fields.map { "\($0.location.dropFirst().joined(separator: ".")) \($0.type)" }
        }
    }

    private func with(_ path: [String], _ value: JSON?, in json: JSON) -> JSON {
        guard let name = path.first else { return value ?? .null }
        guard case .object(var members) = json else { return json }
        if path.count == 1, value == nil {
            members[name] = nil
        } else {
            members[name] = with(Array(path.dropFirst()), value, in: members[name] ?? .emptyObject)
        }
        return .object(members)
    }

    // MARK: Faults

    @Test func aFlowWithOneOfEverythingHasNoFaults() throws { _ = try BotFlow.read(everything) }

    @Test func everyFaultIsNamedWithItsPlaceAtOnce() {
        let found = faults { json in
            json = with(["start"], nil, in: json)
            json = with(["colour"], "red", in: json)
            json = with(["nodes", "cpf", "answer", "type"], "rg", in: json)
            json = with(["nodes", "cpf", "retries"], 99, in: json)
            json = with(["nodes", "menu", "options"], [], in: json)
            json = with(["nodes", "x"], ["kind": "jump"], in: json)
            json = with(["hours", "weekly", "mon"], ["18:00-08:00"], in: json)
            json = with(["hand_off", "then"], "cry", in: json)
        }
        #expect(
            Set(found) == [
                "start missing", "colour extra_forbidden", "nodes.cpf.answer.type enum", "nodes.cpf.retries int_range", "nodes.menu.options missing",
                "nodes.x.kind enum", "hours.weekly.mon.0 value_error", "hand_off.then enum",
            ]
        )
    }

    @Test func aTargetThatIsNotThereIsNamedWhereItStands() {
        let found = faults { json in
            json = with(["nodes", "cpf", "next"], "nowhere", in: json)
            json = with(["hours", "closed"], "nowhere", in: json)
        }
        #expect(found.contains("nodes.cpf.next missing_target"))
        #expect(found.contains("hours.closed missing_target"))
        #expect(faults { $0 = with(["start"], "nowhere", in: $0) } == ["start missing_target"])
    }

    @Test func aNodeThatNothingLeadsToIsNamed() {
        #expect(faults { $0 = with(["nodes", "ilha"], ["kind": "hand_off"], in: $0) } == ["nodes.ilha unreachable_node"])
    }

    @Test func aNodeWithoutAWayToAPersonIsNamed() {
        let trap: JSON = ["kind": "ask", "text": "?", "variable": "cpf", "answer": ["type": "cpf"], "next": "beco"]
        let found = faults { json in
            json = with(["nodes", "beco"], trap, in: json)
            json = with(["nodes", "por_tipo", "otherwise"], "beco", in: json)
            json = with(["nodes", "pronto"], nil, in: json)
        }
        #expect(found == ["nodes.beco no_way_to_a_person"])
    }

    @Test func aLoopThatWaitsForNobodyIsNamed() {
        let found = faults { json in
            json = with(["nodes", "pronto", "next"], "de_novo", in: json)
            json = with(
                ["nodes", "de_novo"],
                ["kind": "branch", "variable": "tipo", "cases": [["equals": "a", "next": "pronto"]], "otherwise": "menu"],
                in: json
            )
        }
        #expect(Set(found) == ["nodes.pronto loop_without_input", "nodes.de_novo loop_without_input"])
    }

    @Test func aVariableThatNothingFillsIsNamed() {
        #expect(faults { $0 = with(["nodes", "pronto", "text"], "{{nome}} {{ saldo }}", in: $0) } == ["nodes.pronto.text unknown_variable"])
    }

    @Test func anAssistantWithoutInstructionsIsNamed() {
        #expect(faults { $0 = with(["assistant"], nil, in: $0) } == ["nodes.ia no_assistant"])
    }

    @Test func whatIsNoObjectOrTooLargeIsRefused() {
        for json: JSON? in [nil, .null, [], "x", 1, .emptyObject] { #expect(throws: Refusal.self) { try BotFlow.read(json) } }
        let huge = with(["nodes", "pronto", "text"], .string(String(repeating: "a", count: 300_000)), in: everything)
        #expect(throws: Refusal.self) { try BotFlow.read(huge) }
    }

    /// Values of all kinds in all places: a refusal or a flow, never a crash, and a flow that is taken always has an answer.
    @Test func flowsMadeWrongAtRandomNeverBreakTheReader() {
        let seed = UInt64.random(in: 0 ... .max)
        print("seed \(seed)")
        var random = SeededGenerator(seed: seed)
        var taken = 0
        for _ in 0..<600 {
            let json = mangled(everything, &random)
            guard let flow = try? BotFlow.read(json) else { continue }
            taken += 1
            var position = BotFlow.Position()
            for text in ["oi", "1", "529.982.247-25", "2", "x", "x", "x", "cancelar"] {
                let reply = flow.answer(.init(text: text), at: &position, context(canConsult: Bool.random(using: &random)))
                #expect(!reply.texts.isEmpty || reply.handsOff || reply.consults, "silence: \(json.text)")
                if reply.handsOff { break }
            }
        }
        print("\(taken) of 600 mangled flows could be read")
    }

    private func mangled(_ json: JSON, _ random: inout SeededGenerator) -> JSON {
        switch json {
        case .object(var members):
            for name in members.keys {
                if Int.random(in: 0..<60, using: &random) == 0 {
                    members[name] = [.null, 7, "menu", "", [], .emptyObject, true, "pessoa", "{{x"].randomElement(using: &random)
                } else {
                    members[name] = mangled(members[name] ?? .null, &random)
                }
            }
            return .object(members)
        case .array(let elements): return .array(elements.map { mangled($0, &random) })
        default: return json
        }
    }

    // MARK: Walking

    private func walk(_ inputs: String..., canConsult: Bool = false, at now: Timestamp = time) throws -> ([BotFlow.Reply], BotFlow.Position) {
        let flow = try BotFlow.read(everything)
        var position = BotFlow.Position()
        let replies = inputs.map { flow.answer(.init(text: $0), at: &position, context(now, canConsult: canConsult)) }
        return (replies, position)
    }

    @Test func questionsFillVariablesAndBranchesReadThem() throws {
        let (replies, position) = try walk("cadastrar", "529.982.247-25", "casa")
        #expect(replies.map(\.texts) == [["Seu CPF?"], ["Casa ou empresa?\n1 - Casa\n2 - Empresa"], ["Pronto, Ana: 52998224725."]])
        #expect(position.variables == ["cpf": "52998224725", "tipo": "casa"])
        #expect(position.node == "menu", "what has no next goes back to wait at the menu")
        let (company, _) = try walk("1", "52998224725", "Firma")
        #expect(company.last == BotFlow.Reply(texts: ["Vou chamar a área de empresas."], handsOff: true, reason: "Empresa"))
    }

    @Test func aWrongAnswerIsAskedForAgainAndThenAPersonComes() throws {
        let (replies, _) = try walk("1", "123", "456")
        #expect(replies[1].texts.first?.contains("CPF não confere") == true)
        #expect(!replies[1].handsOff)
        #expect(replies[2].handsOff)
        let (elsewhere, position) = try walk("1", "52998224725", "x", "x", "x")
        #expect(elsewhere.last?.handsOff == false, "otherwise leads back to the menu")
        #expect(position.node == "menu")
    }

    @Test(arguments: ["atendente", "HUMANO", "gente", "quero falar com uma pessoa", "human"])
    func wordsForAPersonWorkAtEveryNode(_ word: String) throws {
        for before in [[], ["oi"], ["1"], ["1", "52998224725"], ["2"]] {
            let flow = try BotFlow.read(everything)
            var position = BotFlow.Position()
            for text in before { _ = flow.answer(.init(text: text), at: &position, context(canConsult: true)) }
            for canConsult in [false, true] {
                var here = position
                #expect(flow.answer(.init(text: word), at: &here, context(canConsult: canConsult)).handsOff, "\(word) after \(before)")
            }
        }
    }

    @Test func aButtonChoosesByItsID() throws {
        let flow = try BotFlow.read(everything)
        var position = BotFlow.Position()
        let reply = flow.answer(.init(text: "whatever it says", choice: "1"), at: &position, context())
        #expect(reply.texts == ["Seu CPF?"])
    }

    @Test func theAssistantAnswersAtItsNodeAndNotWithoutIt() throws {
        let (replies, _) = try walk("2", "e o preço?", "cancelar", canConsult: true)
        #expect(replies[0].texts == ["Pergunte."])
        #expect(replies[1] == BotFlow.Reply(consults: true))
        #expect(replies[2].texts == ["Vou chamar a área de empresas."], "keywords lead out of it")
        let (without, _) = try walk("2")
        #expect(without[0].handsOff)
    }

    @Test func outOfHoursItSaysSo() throws {
        // 2026-09-21 is a Monday; 14:13:20 UTC is 11:13:20 in Brasília.
        #expect(try walk("oi").0[0].texts == ["Olá, Ana! Aqui é Rede Clara.\n\nEscolha:\n1 - Cadastro\n2 - Assistente\n9 - Pessoa"])
        let lunch = time + .seconds(3600)
        let night = time + .seconds(8 * 3600)
        let sunday = time + .seconds(-86_400)
        for closed in [lunch, night, sunday] { #expect(try walk("oi", at: closed).0[0].texts.first?.contains("Estamos fechados.") == true) }
        #expect(try walk("oi", at: time + .seconds(86_400 + 3600)).0[0].texts.first?.contains("fechados") == false, "Tuesdays have no lunch break")
    }

    // MARK: Answers

    @Test(
        arguments: [
            ("529.982.247-25", "52998224725"), ("meu cpf é 52998224725", "52998224725"), ("52998224724", nil), ("111.111.111-11", nil), ("123", nil),
            ("", nil),
        ] as [(String, String?)]
    )
    func cpf(_ text: String, _ kept: String?) { #expect(ExpectedAnswer.cpf.value(of: .init(text: text)) == kept) }

    @Test(
        arguments: [
            ("ana@exemplo.com", "ana@exemplo.com"), (" Ana@Exemplo.COM ", "Ana@exemplo.com"), ("ana@exemplo", nil), ("ana exemplo.com", nil),
            ("a@b@c.d", nil),
            ("a@.com", nil), ("@x.com", nil), ("ana@ex emplo.com", nil),
        ] as [(String, String?)]
    )
    func email(_ text: String, _ kept: String?) { #expect(ExpectedAnswer.email.value(of: .init(text: text)) == kept) }

    @Test(
        arguments: [
            ("31/12/2026", "2026-12-31"), ("1/2/2026", "2026-02-01"), ("2026-02-28", "2026-02-28"), ("29-02-2024", "2024-02-29"), ("29/02/2026", nil),
            ("31/04/2026", nil), ("31/12", nil), ("amanhã", nil), ("00/01/2026", nil), ("99999999999999999999/1/2026", nil),
        ] as [(String, String?)]
    )
    func date(_ text: String, _ kept: String?) { #expect(ExpectedAnswer.date.value(of: .init(text: text)) == kept) }

    @Test(
        arguments: [
            ("10", "10"), ("R$ 1.234,56", "1234.56"), ("1.234", "1234"), ("1234.5", "1234.5"), ("-3", "-3"), ("1,2,3", nil), ("dez", nil),
            ("1e9", nil),
            ("100000", nil), ("", nil),
        ] as [(String, String?)]
    )
    func number(_ text: String, _ kept: String?) { #expect(ExpectedAnswer.number(min: -10, max: 9999).value(of: .init(text: text)) == kept) }
}
