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
        #expect(leads.count == 1 && leads[0].customer == 5)
        #expect(
            leads[0].changes == [
                .valor(Money(decimal: "10.5")!), .pipeline("CS | BRADESCO"), .cnpj(12_345_678_000_190),
                .dataCancelamento(Timestamp(wallClock: "2024-03-15")),
            ]
        )
    }

    @Test func whatIsOlderThanWhatIsKnownSaysNothing() throws {
        var known = Customer(id: 5)
        known.atualizadoEm = Timestamp(seconds: 1000)
        func lead(_ event: String, _ time: Int) throws -> KommoLead {
            try #require(
                KommoLead.all(in: try form("leads[\(event)][0][id]=5&leads[\(event)][0][name]=N&leads[\(event)][0][updated_at]=\(time)"), .init())
                    .first
            )
        }
        #expect(try lead("update", 999).patch(over: known, now: Timestamp(seconds: 2000)) == nil)
        #expect(
            try lead("update", 1000).patch(over: known, now: Timestamp(seconds: 2000)) != nil
                && lead("add", 1).patch(over: nil, now: known.atualizadoEm!) != nil
        )
        let deleted = try #require(try lead("delete", 1500).patch(over: known, now: Timestamp(seconds: 2000)))
        #expect(deleted.changes.first == .dataCancelamento(Timestamp(seconds: 1500)))
        #expect(try lead("delete", 1500).patch(over: nil, now: Timestamp(seconds: 2000)) == nil)
    }
}
