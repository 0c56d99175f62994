package import Kernel
import OrderedCollections
package import Wire

/// A lead as Kommo's webhooks tell of it: `leads[add|update|status|responsible|delete][n]` with `id`, `name`, `price`, `status_id`, `pipeline_id`,
/// `created_at`, `updated_at` or `last_modified` in seconds, and `custom_fields[m]` with `id`, `name` and `values[k][value]`.
///
/// Here it is only put into the words of contracts/ecosys-ms.md "Cliente": whoever takes it holds it to the same limits as what comes through any other door.
package struct KommoLead: Sendable, Equatable {
    package let id: Int64
    /// The custom field `client_id`, if there is one.
    package let customer: Int64?
    package let isDeleted: Bool
    /// In a pipeline that `Names` does not know while it knows others: a prospect, or what else they sell.
    package let isElsewhere: Bool
    package let updatedAt: Timestamp?
    /// `{nome, valor, …}`, numbers and times as texts; what was emptied is null.
    package let fields: JSON

    /// All leads of one delivery, in the order in which they are told. Other things that Kommo tells of are left out.
    package static func all(in form: JSON, _ names: KommoNames) -> [KommoLead] {
        guard let events = form["leads"]?.object else { return [] }
        return events.flatMap { event, leads in
            (leads.object ?? [:]).values.compactMap { KommoLead($0, isDeleted: event == "delete", names) }
        }
    }

    package init?(_ json: JSON, isDeleted: Bool, _ names: KommoNames) {
        func text(_ name: String) -> String? { json[name]?.string.flatMap { $0.isEmpty ? nil : $0 } }
        func time(_ name: String) -> Timestamp? { text(name).flatMap { Self.time(seconds: $0) } }
        guard let id = text("id").flatMap({ Int64($0) }), id > 0 else { return nil }
        var customer: Int64?
        var isElsewhere = false
        var fields: OrderedDictionary<String, JSON> = [:]
        func say(_ name: String, _ value: String?) { if let value { fields[name] = .string(value) } }
        say("nome", text("name"))
        say("valor", text("price"))
        say("status", text("status_id").map { names.statuses[$0] ?? $0 })
        if let pipeline = text("pipeline_id"), !names.pipelines.isEmpty {
            isElsewhere = names.pipelines[pipeline] == nil
            say("pipeline", names.pipelines[pipeline] ?? "Kommo \(pipeline)")
        }
        say("cs", text("responsible_user_id").flatMap { names.users[$0] })
        say("criado_em", (time("created_at") ?? time("date_create")).map { BusinessZone.wallClock($0).wallClock })
        updatedAt = time("updated_at") ?? time("last_modified")
        say("atualizado_em", updatedAt.map { BusinessZone.wallClock($0).wallClock })
        for field in (json["custom_fields"]?.object ?? [:]).values {
            guard let name = field["name"]?.string ?? field["code"]?.string else { continue }
            let value = (field["values"]?.object ?? [:]).values.first.flatMap { $0.string ?? $0["value"]?.string } ?? ""
            let key = Self.key(name)
            if key == "client_id" || key == "tenant_id" {
                if let number = Int64(value), number > 0 { customer = number }
            } else if let (field, kind) = Self.known[key] {
                switch kind {
                case .text: fields[field] = value.isEmpty ? .null : .string(value)
                case .amount: if !value.isEmpty { fields[field] = .string(value) }
                case .time: fields[field] = value.isEmpty ? .null : .string(Self.wallClock(value))
                }
            }
        }
        self.id = id
        self.customer = customer
        self.isDeleted = isDeleted
        self.isElsewhere = isElsewhere
        self.fields = .object(fields)
    }

    private enum Kind {
        case text, time
        /// Stays as it is when it is emptied.
        case amount
    }

    /// What custom fields are called, and what they say.
    private static let known: [String: (field: String, Kind)] = [
        "razao_social": ("razao_social", .text), "cnpj": ("cnpj", .text), "valor": ("valor", .amount), "mrr": ("valor", .amount),
        "mensalidade": ("valor", .amount), "setup": ("setup_value", .amount), "setup_value": ("setup_value", .amount),
        "valor_setup": ("setup_value", .amount), "vendedor": ("vendedor", .text), "vendedor_id": ("vendedor_id", .text), "cs": ("cs", .text),
        "customer_success": ("cs", .text), "email": ("email", .text), "e_mail": ("email", .text), "data_adesao": ("data_adesao", .time),
        "data_start_onboarding": ("data_start_onboarding", .time), "inicio_onboarding": ("data_start_onboarding", .time),
        "data_end_onboarding": ("data_end_onboarding", .time), "fim_onboarding": ("data_end_onboarding", .time),
        "data_cancelamento": ("data_cancelamento", .time), "motivos_churn": ("motivos_churn", .text), "motivo_churn": ("motivos_churn", .text),
        "descricao_cancelamento": ("descricao_cancelamento", .text), "parcelas_atrasadas": ("parcelas_atrasadas", .amount),
    ]

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

    /// `nil` for what no year that can be written has.
    private static func time(seconds text: String) -> Timestamp? {
        guard let time = Int64(text).map({ Timestamp(seconds: $0) }), time.isWritable else { return nil }
        return time
    }

    /// Seconds, as Kommo's date fields have it, as the business's clock shows them, but for a whole day of UTC, which is that day; or a date as people write it. What
    /// is neither stays as it is.
    private static func wallClock(_ value: String) -> String {
        if let seconds = Int64(value), seconds > 9999 {
            return time(seconds: value).map { seconds % 86_400 == 0 ? $0.wallClock : BusinessZone.wallClock($0).wallClock } ?? value
        }
        let parts = value.prefix(10).split { $0 == "." || $0 == "/" }
        guard parts.count == 3, parts[2].utf8.count == 4 else { return value }
        return "\(parts[2])-\(parts[1])-\(parts[0])"
    }
}
