package import CustomerHealth
package import Kernel
package import Wire

extension Login {
    /// Whoever it was, however they write their e-mail; `nil` where nobody said.
    var user: String? { (userEmail ?? userName)?.lowercased() }

    /// contracts/ecosys-ms.md "GET /logins". Times are the business's, as its days are.
    func write(to writer: inout JSONWriter) {
        let time = (at + BusinessZone.offset).wallClock
        writer.object {
            $0.field("id", id)
            $0.field("usuario_nome", userName)
            $0.field("usuario_email", userEmail)
            $0.field("data_login", time)
            $0.field("data", time.prefix(10))
            $0.field("hora", time.suffix(8))
        }
    }
}

/// One entry of contracts/ecosys-ms.md "GET /health-scores". Written a hundred thousand times for one answer, so the scores' texts are made once.
package enum HealthEntry {
    private static let fortieths = texts(40)
    private static let twentieths = texts(20)
    private static let quarters = texts(4)
    private static let totals = texts(HealthScore.totalUnits)

    private static func texts(_ units: Int) -> [[UInt8]] { (0...units).map { Array((Double($0) / Double(units)).description.utf8) } }

    package static func write(_ customer: Customer, _ facts: HealthFacts, to writer: inout JSONWriter) {
        let score = HealthScore(facts)
        writer.literal(#"{"tenant_id":"#)
        writer.digits(customer.id)
        writer.literal(#","slug":"#)
        writer.text(customer.shownSlug)
        writer.literal(#","name":"#)
        writer.text(customer.nome)
        writer.literal(#","cnpj":"#)
        if let cnpj = customer.cnpj { writer.digits(cnpj) } else { writer.literal("null") }
        writer.literal(#","qntd_acessos_30d":"#)
        writer.digits(Int64(facts.count(.login)))
        writer.literal(#","dias_desde_ultimo_acesso":"#)
        writer.digits(Int64(facts.daysSince(.login)))
        writer.literal(#","score_engajamento":"#)
        writer.piece(fortieths[Int(score.engagement)])
        writer.literal(#","qntd_entradas_30d":"#)
        writer.digits(Int64(facts.count(.entrada)))
        writer.literal(#","dias_desde_ultima_entrada":"#)
        writer.digits(Int64(facts.daysSince(.entrada)))
        writer.literal(#","qntd_saidas_30d":"#)
        writer.digits(Int64(facts.count(.saida)))
        writer.literal(#","dias_desde_ultima_saida":"#)
        writer.digits(Int64(facts.daysSince(.saida)))
        writer.literal(#","score_movimentacao_estoque":"#)
        writer.piece(fortieths[Int(score.stock)])
        writer.literal(#","qntd_leads_30d":"#)
        writer.digits(Int64(facts.count(.lead)))
        writer.literal(#","dias_desde_ultimo_lead":"#)
        writer.digits(Int64(facts.daysSince(.lead)))
        writer.literal(#","score_crm":"#)
        writer.piece(twentieths[Int(score.crm)])
        writer.literal(
            facts.hasEConversa ? #","econversa_ativo":true,"integradores_conectados":"# : #","econversa_ativo":false,"integradores_conectados":"#
        )
        writer.digits(Int64(facts.integrators))
        writer.literal(#","score_adoption":"#)
        writer.piece(quarters[Int(score.adoption)])
        writer.literal(#","score_total":"#)
        writer.piece(totals[score.total])
        writer.literal(#","categoria":"#)
        writer.text(score.category.name)
        writer.literal("}")
        writer.ended()
    }
}
