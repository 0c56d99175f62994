package import Kernel
package import Scheduling
package import Wire

/// What changes clients by remote procedure call: the twins of the REST calls, through the same functions.
package enum ClientCalls {
    package static let methods: Set<String> = ["client.create", "client.update", "client.remove", "client.merge", "client.bulk-update"]
}

extension Operations {
    func callClients(_ method: String, _ data: JSON, by principal: Principal) async throws(Refusal) -> [UInt8] {
        guard principal.role.canAttend else { throw .viewerOnly }
        var fields = try RequestFields(data)
        let key = fields.optionalText("idempotency_key", min: 1, max: 128)
        let digest = Self.digest(data)
        if method == "client.create" || method == "client.bulk-update" {
            try fields.check()
            if method == "client.create" { return try await createClient(data, key: key, digest: digest, by: principal) }
            return try await bulkUpdate(data, key: key, digest: digest, by: principal)
        }
        let id: ClientID? = fields.id("client_id", isRequired: true)
        if method == "client.merge" {
            let (going, staying) = try fields.merger(id)
            return try await mergeClients(going, into: staying, key: key, digest: "\(going)/\(staying)", by: principal)
        }
        let (force, erases) = (fields.optionalBool("force") ?? false, fields.optionalBool("erase") ?? false)
        try fields.check()
        guard let id else { throw .notFound(.client) }
        if method == "client.update" { return try await updateClient(id, data, revision: nil, by: principal) }
        try await removeClient(id, force: force, erases: erases, by: principal)
        return Array("{}".utf8)
    }
}

extension RequestFields {
    /// Who goes and who stays: `{into}` from the side of whoever goes, `{from}` of whoever stays.
    package mutating func merger(_ id: ClientID?) throws(Refusal) -> (going: ClientID, staying: ClientID) {
        let (into, from): (ClientID?, ClientID?) = (self.id("into"), self.id("from"))
        if into == nil, from == nil, faults.isEmpty { refuse("into", "informe into ou from", type: "missing") }
        if into != nil, from != nil { refuse("into", "informe só um de into e from") }
        try check()
        guard let id, let other = into ?? from else { throw .notFound(.client) }
        return into == nil ? (other, id) : (id, other)
    }
}
