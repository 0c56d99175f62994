package import Kernel
import OrderedCollections
package import Wire

/// A lead as Kommo's webhooks tell of it: `leads[add|update|status|responsible|delete][n]` with `id`, `name`, `price`, `status_id`, `pipeline_id`,
/// `created_at`, `updated_at` or `last_modified` in seconds, and `custom_fields[m]` with `id`, `name` and `values[k][value]`.
package struct KommoLead: Sendable, Equatable {
    /// The custom field `client_id` if there is one, else the lead's own number.
    package let customer: Int64
    package let isDeleted: Bool
    package let updatedAt: Timestamp?
    package let changes: [CustomerChange]

    /// All leads of one delivery, in the order in which they happened. Other things that Kommo tells of are left out.
    package static func all(in form: JSON, _ names: KommoNames) -> [KommoLead] {
        guard let events = form["leads"]?.object else { return [] }
        return events.flatMap { event, leads in
            (leads.object ?? [:]).values.compactMap { KommoLead($0, isDeleted: event == "delete", names) }
        }
    }

    package init?(_ json: JSON, isDeleted: Bool, _ names: KommoNames) {
        func text(_ name: String) -> String? { json[name]?.string.flatMap { $0.isEmpty ? nil : $0 } }
        func time(_ name: String) -> Timestamp? { text(name).flatMap { Int64($0) }.map { Timestamp(seconds: $0) } }
        guard let id = text("id").flatMap({ Int64($0) }), id > 0 else { return nil }
        var customer = id
        var changes: [CustomerChange] = []
        if let name = text("name") { changes.append(.nome(name)) }
        if let price = text("price").flatMap({ Money(decimal: $0) }), price >= .zero { changes.append(.valor(price)) }
        if let status = text("status_id") { changes.append(.status(names.statuses[status] ?? status)) }
        if let pipeline = text("pipeline_id"), let name = names.pipelines[pipeline] { changes.append(.pipeline(name)) }
        if let user = text("responsible_user_id"), let name = names.users[user] { changes.append(.cs(name)) }
        if let created = time("created_at") ?? time("date_create") { changes.append(.criadoEm(created)) }
        updatedAt = time("updated_at") ?? time("last_modified")
        if let updatedAt { changes.append(.atualizadoEm(updatedAt)) }
        for field in (json["custom_fields"]?.object ?? [:]).values {
            guard let name = field["name"]?.string ?? field["code"]?.string else { continue }
            let value = (field["values"]?.object ?? [:]).values.first.flatMap { $0.string ?? $0["value"]?.string } ?? ""
            if Self.key(name) == "client_id" || Self.key(name) == "tenant_id" {
                if let number = Int64(value), number > 0 { customer = number }
            } else if let change = Self.change(Self.key(name), value) {
                changes.append(change)
            }
        }
        self.customer = customer
        self.isDeleted = isDeleted
        self.changes = changes
    }

    /// What it says beyond what is known; `nil` if that is newer.
    package func patch(over known: Customer?, now: Timestamp) -> CustomerPatch? {
        if let updatedAt, let before = known?.atualizadoEm, updatedAt < before { return nil }
        if isDeleted {
            guard let known, !known.isCancelled else { return nil }
            return CustomerPatch(id: customer, [.dataCancelamento(updatedAt ?? now), .descricaoCancelamento("Lead excluído no Kommo")])
        }
        return CustomerPatch(id: customer, changes)
    }

    /// `Data de Adesão` is `data_adesao`.
    private static func key(_ name: String) -> String {
        var key = ""
        for scalar in name.lowercased().unicodeScalars {
            switch scalar {
            case "a"..."z", "0"..."9": key.unicodeScalars.append(scalar)
            case "á", "â", "ã", "à": key += "a"
            case "é", "ê": key += "e"
            case "í": key += "i"
            case "ó", "ô", "õ": key += "o"
            case "ú": key += "u"
            case "ç": key += "c"
            default: if !key.isEmpty, key.last != "_" { key += "_" }
            }
        }
        while key.last == "_" { key.removeLast() }
        return key.replacing("_de_", with: "_").replacing("_do_", with: "_").replacing("_da_", with: "_")
    }

    private static func change(_ key: String, _ value: String) -> CustomerChange? {
        let text = value.isEmpty ? nil : value
        switch key {
        case "razao_social": return .razaoSocial(text)
        case "cnpj": return .cnpj(Int64(value.filter { $0.isASCII && $0.isNumber }.prefix(14)))
        case "valor", "mrr", "mensalidade": return Money(decimal: value).map { .valor($0) }
        case "setup", "setup_value", "valor_setup": return Money(decimal: value).map { .setup($0) }
        case "vendedor": return .vendedor(text)
        case "vendedor_id": return .vendedorID(Int64(value))
        case "cs", "customer_success": return .cs(text)
        case "email", "e_mail": return .email(text)
        case "data_adesao": return .dataAdesao(time(value))
        case "data_start_onboarding", "inicio_onboarding": return .inicioOnboarding(time(value))
        case "data_end_onboarding", "fim_onboarding": return .fimOnboarding(time(value))
        case "data_cancelamento": return .dataCancelamento(time(value))
        case "motivos_churn", "motivo_churn": return .motivosChurn(text)
        case "descricao_cancelamento": return .descricaoCancelamento(text)
        case "parcelas_atrasadas": return Int(value).flatMap { (0...1200).contains($0) ? .parcelasAtrasadas($0) : nil }
        default: return nil
        }
    }

    /// Seconds, as Kommo's date fields have it, or a date as people write it.
    private static func time(_ value: String) -> Timestamp? {
        if let seconds = Int64(value), seconds > 9999 { return Timestamp(seconds: seconds) }
        if let time = Timestamp(wallClock: value) { return time }
        let parts = value.prefix(10).split { $0 == "." || $0 == "/" }
        guard parts.count == 3, parts[2].count == 4 else { return nil }
        return Timestamp(wallClock: "\(parts[2])-\(parts[1])-\(parts[0])")
    }
}
