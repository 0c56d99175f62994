package import CustomerHealth
package import Kernel
package import Wire

/// One customer with everything that is known of it.
package struct CustomerDetail: Sendable {
    package let customer: Customer
    package let vitals: CustomerVitals
    package let integrators: [String]
    package let now: Timestamp

    /// The contract's Cliente with its further fields, its health and the trend of it.
    package var json: [UInt8] {
        var writer = JSONWriter(capacity: 2048)
        writer.object {
            customer.writeFields(to: &$0)
            $0.field("email", customer.email)
            $0.field("vendedor_id", customer.vendedorID)
            $0.field("setup_value", raw: customer.setup.description)
            $0.field("parcelas_atrasadas", customer.parcelasAtrasadas)
            $0.field("slug", customer.shownSlug)
            $0.field("tmo", Dashboard.onboardingDays(customer))
            $0.field("integradores", strings: integrators)
            $0.field(
                "health",
                object: {
                    $0.field("categoria", vitals.category.name)
                    $0.field("categoria_desde", vitals.categorySince.description)
                    $0.field("score_total", Double(vitals.current.total) / Double(HealthScore.totalUnits))
                    for pillar in HealthScore.Pillar.allCases { $0.field("score_\(pillar.rawValue)", pillar.value(vitals.current)) }
                    $0.field("tendencia_7d", vitals.trend(days: 7, at: now))
                    $0.field("tendencia_30d", vitals.trend(days: 30, at: now))
                    $0.field("acao", vitals.category.action.text)
                    $0.field("prioridade", vitals.category.action.priority)
                }
            )
        }
        return writer.bytes
    }
}

extension Customer {
    /// The fields of contracts/ecosys-ms.md "GET /clientes".
    package func writeFields(to writer: inout JSONWriter) {
        writer.field("client_id", id)
        writer.field("nome", nome)
        writer.field("razao_social", razaoSocial)
        writer.field("cnpj", cnpj)
        writer.field("valor", raw: valor.description)
        writer.field("vendedor", vendedor)
        writer.field("cs", cs)
        writer.field("status", status)
        writer.field("pipeline", pipeline)
        writer.field("data_adesao", dataAdesao?.wallClock)
        writer.field("data_start_onboarding", inicioOnboarding?.wallClock)
        writer.field("data_end_onboarding", fimOnboarding?.wallClock)
        writer.field("data_cancelamento", dataCancelamento?.wallClock)
        writer.field("motivos_churn", motivosChurn)
        writer.field("descricao_cancelamento", descricaoCancelamento)
        writer.field("criado_em", criadoEm?.wallClock)
        writer.field("atualizado_em", atualizadoEm?.wallClock)
    }
}
