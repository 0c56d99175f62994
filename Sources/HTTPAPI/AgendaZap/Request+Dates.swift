import HTTPTypes
import Hummingbird
import Integrations
import Kernel
import NIOCore
import Scheduling
import Storage
import Tenancy
import Wire

import struct Foundation.Decimal

extension Request {
    func id<Kind>(_ name: String) throws(Refusal) -> Identifier<Kind>? {
        guard let text = query(name) else { return nil }
        guard let id = Identifier<Kind>(text) else { throw .invalid([.init(["query", name], "deve ser um UUID", type: "uuid_parsing")]) }
        return id
    }

    func requiredID<Kind>(_ name: String) throws(Refusal) -> Identifier<Kind> {
        guard let id: Identifier<Kind> = try id(name) else { throw .invalid([.init(["query", name], "campo obrigatório", type: "missing")]) }
        return id
    }

    func flag(_ name: String) throws(Refusal) -> Bool? {
        guard let text = query(name) else { return nil }
        guard let flag = ["true": true, "1": true, "false": false, "0": false][text.lowercased()] else {
            throw .invalid([.init(["query", name], "deve ser true ou false", type: "bool_parsing")])
        }
        return flag
    }

    /// A date such as `2026-03-01`, or an instant, whose date in the zone counts.
    func day(_ name: String, _ zone: Zone) throws(Refusal) -> CivilDay? {
        guard let text = query(name) else { return nil }
        if let day = CivilDay(text) { return day }
        guard let time = Timestamp(rfc3339: text) else {
            throw .invalid([.init(["query", name], "deve ser uma data como 2026-03-01", type: "date_parsing")])
        }
        return zone.day(of: time)
    }

    var idempotencyKey: String? {
        get throws(Refusal) {
            guard let key = headers[HTTPField.Name("Idempotency-Key")!] else { return nil }
            guard (1...128).contains(key.utf8.count) else {
                throw .invalid([.init(["header", "Idempotency-Key"], "deve ter de 1 a 128 caracteres", type: "string_length")])
            }
            return key
        }
    }
}
