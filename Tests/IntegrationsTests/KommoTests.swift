import Integrations
import Kernel
import Testing
import Wire

@Suite struct KommoTests {
    private func form(_ text: String) throws -> JSON { try BracketForm.parse(Array(text.utf8)) }

    @Test func bracketsAreStructures() throws {
        #expect(
            try form("a=1&b%5Bc%5D%5B0%5D=x+y&b[c][1]=%C3%A7&d[]=1&d[]=2") == [
                "a": "1", "b": ["c": ["0": "x y", "1": "ç"]], "d": ["0": "1", "1": "2"],
            ]
        )
        #expect(try form("") == JSON.emptyObject && form("a") == ["a": ""])
    }

    @Test(arguments: ["__proto__[a]=1", "a[constructor][b]=1", "a[b=1", "[a]b=1", "a[1][2][3][4][5][6][7][8]=1"])
    func whatIsNoneOfTheirsIsLeftOut(_ text: String) throws { #expect(try form(text + "&ok=1") == ["ok": "1"]) }

    @Test func whatCannotBeReadIsRefused() {
        #expect(throws: Refusal.self) { try BracketForm.parse([0xff, 0x3d]) }
        #expect(throws: Refusal.self) { try BracketForm.parse(Array(String(repeating: "a=1&", count: 10_001).utf8)) }
    }

    @Test func aLeadSaysWhatItsFieldsAreCalled() throws {
        var names = KommoNames()
        names.pipelines["9"] = "CS | BRADESCO"
        let leads = KommoLead.all(
            in: try form(
                "leads[status][0][id]=5&leads[status][0][pipeline_id]=9&leads[status][0][price]=10.5&leads[status][0][custom_fields][0][name]=CNPJ&leads[status][0][custom_fields][0][values][0][value]=12.345.678/0001-90&leads[status][0][custom_fields][1][name]=Data de Cancelamento&leads[status][0][custom_fields][1][values][0]=15.03.2024&leads[status][1][id]=x&talk[add][0][id]=1"
            ),
            names
        )
        #expect(leads.count == 1 && leads[0].id == 5 && leads[0].customer == nil && !leads[0].isElsewhere)
        #expect(
            leads[0].fields == [
                "valor": "10.5", "pipeline": "CS | BRADESCO", "cnpj": "12.345.678/0001-90", "data_cancelamento": "2024-03-15",
            ]
        )
    }

    @Test func aPipelineThatIsNotAmongThoseThatAreNamedIsElsewhere() throws {
        func lead(_ names: KommoNames) throws -> KommoLead {
            try #require(KommoLead.all(in: try form("leads[add][0][id]=5&leads[add][0][pipeline_id]=12345"), names).first)
        }
        var names = KommoNames()
        #expect(try !lead(names).isElsewhere && lead(names).fields == JSON.emptyObject, "without names, nothing is known of it")
        names.pipelines["9"] = "CS | ONGOING"
        #expect(try lead(names).isElsewhere && lead(names).fields == ["pipeline": "Kommo 12345"])
    }

    @Test(arguments: ["9223372036854775807", "-9223372036854775808", "253402300800", "9999999999999"])
    func timesOfNoYearAreNone(_ seconds: String) throws {
        let text = "leads[add][0][id]=1&leads[add][0][updated_at]=\(seconds)&leads[add][0][created_at]=\(seconds)"
        let field = "leads[add][0][custom_fields][0]"
        let lead = try #require(
            KommoLead.all(in: try form(text + "&\(field)[name]=Data de Adesão&\(field)[values][0][value]=\(seconds)"), .init()).first
        )
        #expect(lead.updatedAt == nil && lead.fields == ["data_adesao": .string(seconds)], "and it is for whoever takes it to refuse it")
    }

    @Test func secondsAreWhatTheClockOfTheBusinessShows() throws {
        // 22:00 on 30 November, and a day that somebody wrote as that day of UTC.
        let time = "1796086800"
        let field = "leads[add][0][custom_fields]"
        let text =
            "leads[add][0][id]=1&leads[add][0][updated_at]=\(time)&leads[add][0][created_at]=\(time)&\(field)[0][name]=data_adesao"
            + "&\(field)[0][values][0]=\(time)&\(field)[1][name]=data_cancelamento&\(field)[1][values][0]=1796083200"
        let lead = try #require(KommoLead.all(in: try form(text), .init()).first)
        #expect(lead.updatedAt == Timestamp(seconds: 1_796_086_800))
        for name in ["criado_em", "atualizado_em", "data_adesao"] { #expect(lead.fields[name]?.string == "2026-11-30T22:00:00", "\(name)") }
        #expect(lead.fields["data_cancelamento"]?.string == "2026-12-01T00:00:00")
    }

    @Test func aFormOfManyFieldsIsReadOnce() throws {
        let pairs = (0..<9999).map { "leads[add][\($0)][id]=\($0 + 1)" }.joined(separator: "&")
        let leads = KommoLead.all(in: try form(pairs), .init())
        #expect(leads.map(\.id) == Array(1...9999))
    }
}
