package import CustomerHealth
package import Kernel
package import Wire

extension Login {
    /// contracts/ecosys-ms.md "GET /logins". Times are UTC.
    func write(to writer: inout JSONWriter) {
        let time = at.wallClock
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
        writer.object {
            $0.field("tenant_id", customer.id)
            $0.field("slug", customer.shownSlug)
            $0.field("name", customer.nome)
            $0.field("cnpj", customer.cnpj)
            $0.field("qntd_acessos_30d", facts.count(.login))
            $0.field("dias_desde_ultimo_acesso", facts.daysSince(.login))
            $0.field("score_engajamento", raw: fortieths[Int(score.engagement)])
            $0.field("qntd_entradas_30d", facts.count(.entrada))
            $0.field("dias_desde_ultima_entrada", facts.daysSince(.entrada))
            $0.field("qntd_saidas_30d", facts.count(.saida))
            $0.field("dias_desde_ultima_saida", facts.daysSince(.saida))
            $0.field("score_movimentacao_estoque", raw: fortieths[Int(score.stock)])
            $0.field("qntd_leads_30d", facts.count(.lead))
            $0.field("dias_desde_ultimo_lead", facts.daysSince(.lead))
            $0.field("score_crm", raw: twentieths[Int(score.crm)])
            $0.field("econversa_ativo", facts.hasEConversa)
            $0.field("integradores_conectados", facts.integrators)
            $0.field("score_adoption", raw: quarters[Int(score.adoption)])
            $0.field("score_total", raw: totals[score.total])
            $0.field("categoria", score.category.name)
        }
    }
}
