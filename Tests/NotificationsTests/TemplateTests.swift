import Jobs
import Kernel
import Notifications
import Scheduling
import Testing
import Wire

@Suite struct TemplateTests {
    @Test func variablesAreFilledAndLinesWithoutAnyAreLeftOut() throws {
        let text = try TemplateText("Olá, {{client_name}}!\nCom: {{ staff_name }}\n\n{{date}} às {{time}}")
        #expect(text.filled([.clientName: "Ana", .date: "01/03/2026", .time: "09:30"]) == "Olá, Ana!\n\n01/03/2026 às 09:30")
        // What a client is called is never a template.
        #expect(try TemplateText("{{client_name}}").filled([.clientName: "{{date}}", .date: "x"]) == "{{date}}")
    }

    @Test func mistakesAreNamed() {
        #expect(throws: TemplateText.Mistake.unknown("nome")) { try TemplateText("Olá {{nome}}") }
        #expect(throws: TemplateText.Mistake.unclosed) { try TemplateText("Olá {{client_name") }
        #expect(TemplateText.Mistake.unknown("nome").message.contains("'{{nome}}'"))
    }

    @Test func whatClientsWriteIsNotTakenForAPage() throws {
        var template = MessageTemplate(text: try TemplateText("Olá {{client_name}}: http://a.example/?a=1&b=2"))
        let filled = template.filled([.clientName: "<script>\"&'"])
        #expect(filled.html.contains("&lt;script&gt;&quot;&amp;&#39;") && !filled.html.contains("<script>"))
        #expect(filled.html.contains("<a href=\"http://a.example/?a=1&amp;b=2\">"))
        template.html = try TemplateText("<p>{{client_name}}</p>")
        #expect(template.filled([.clientName: "<b>"]).html == "<p>&lt;b&gt;</p>")
        template.subject = try TemplateText("Oi {{client_name}}")
        #expect(template.filled([.clientName: "a\r\nBcc: b@c.d"]).subject == "Oi a Bcc: b@c.d")
    }

    /// Who books gives any name, and the business's mail carries it to anybody's address.
    @Test func onlyAddressesOfTheServerAndOfTheTemplateCanBeClicked() throws {
        let template = MessageTemplate(
            subject: try TemplateText("x"),
            text: try TemplateText("{{client_name}} e {{reason}}, veja {{manage_url}}. Ou https://salao.example/mapa")
        )
        let html = template.filled([
            .clientName: "Ana https://phishing.example/a", .reason: "http://phishing.example", .manageURL: "https://agenda.example/1?token=a&b",
        ]).html
        #expect(!html.contains("href=\"https://phishing") && !html.contains("href=\"http://phishing") && html.contains("phishing.example"))
        #expect(html.contains("<a href=\"https://agenda.example/1?token=a&amp;b\">https://agenda.example/1?token=a&amp;b</a>."))
        #expect(html.contains("<a href=\"https://salao.example/mapa\">"))
    }

    @Test func whatFillsAnApprovedTemplateIsOneLineAndNeverEmpty() throws {
        var template = MessageTemplate(text: try TemplateText("x"))
        template.approved = .init(name: "lembrete", language: "pt_BR", parameters: [.clientName, .staffName])
        #expect(template.filled([.clientName: "Ana\n\t    Lima"]).approved?.parameters == ["Ana Lima", "-"])
    }

    @Test(arguments: NotificationEvent.allCases) func thereIsAStandardTemplateOfEach(_ event: NotificationEvent) throws {
        let zone = try #require(Zone.named("America/Sao_Paulo"))
        let sender = Sender(name: "Salão", slug: "salao", publicURL: "https://x.example")
        let values = TemplateValues(example: sender, NotificationSettings(), zone, now: try time("2026-03-01T12:00:00Z"))
        for channel in OutgoingMessage.Channel.all {
            let template = StandardTemplates.template(event, channel)
            let filled = template.filled(values.values)
            #expect(!filled.text.contains("{{") && filled.text.contains("Maria") && (channel == .email) == !filled.subject.isEmpty)
            // Stored and read again it is the same.
            var writer = JSONWriter()
            template.write(to: &writer, channel)
            #expect(MessageTemplate(stored: try JSON.parse(writer.bytes)) == template)
        }
        #expect(values[.date] == "02/03/2026" && values[.time] == "14:00" && values[.price] == "R$ 50,00" && values[.weekday] == "segunda-feira")
    }

    @Test func templatesOfOneKindMayHaveNamesOfTheirOwn() {
        #expect(TemplateName("reminder_1h")?.event == .reminder && TemplateName("follow_up_b")?.event == .followUp)
        #expect(
            TemplateName("confirmed_x") == nil && TemplateName("reminder_") == nil && TemplateName("reminder_A") == nil && TemplateName("x") == nil
        )
    }

    @Test func aWordIsHeededAndATextIsNot() {
        for text in ["SAIR", "sair.", " Parar! ", "cancelar  mensagens", "Não quero receber"] { #expect(OptOuts.Word(text) == .out, "\(text)") }
        #expect(OptOuts.Word("voltar") == .back)
        for text in ["quero sair às 5", "sair 2", "", "obrigada"] { #expect(OptOuts.Word(text) == nil, "\(text)") }
    }

    @Test func anAddressToUnsubscribeIsOfOneRecipientAndSigned() {
        let links = UnsubscribeLinks(secret: "s")
        let target = UnsubscribeLinks.Target(tenant: business, channel: .email, recipient: "a/b+c@example.com")
        let token = links.token(target)
        #expect(links.target(token) == target && token.allSatisfy { $0.isLetter || $0.isNumber || "-_.".contains($0) })
        #expect(UnsubscribeLinks(secret: "t").target(token) == nil)
        for place in token.indices {
            for other in "AB_z." where other != token[place] {
                var changed = token
                changed.replaceSubrange(place...place, with: String(other))
                #expect(links.target(changed) == nil, "\(changed)")
            }
        }
        for index in token.indices where token[index] != "." {
            var other = token
            other.replaceSubrange(index...index, with: token[index] == "A" ? "B" : "A")
            if let found = links.target(other) { #expect(found == target, "\(other)") }
        }
        for wrong in ["", ".", "a.b", token + "x", String(repeating: "a", count: 2000)] { #expect(links.target(wrong) == nil) }
    }
}
