import HTTPTypes
import Hummingbird
import Kernel
import NIOCore
import Scheduling
import Tenancy
import Wire

/// contracts/agendazap.md "Clientes", at its own paths, with what belongs to them: those who are there twice, and lists that come and go.
extension API {
    func addClients(to router: Router<APIContext>) {
        let base = "/api/clients"
        router.get("\(base)") { request, context -> Response in
            let principal = try await principal(request, context)
            return .json(
                try await operations.clients(try await filter(request, principal.tenant), try request.page(defaultSize: 20), principal.tenant)
            )
        }
        router.post("\(base)") { request, context -> Response in
            let principal = try await principal(request, context)
            let body = try await request.json()
            let key = try Operations.idempotencyKey(body, try request.idempotencyKey)
            return .json(try await operations.createClient(body, key: key, digest: Operations.digest(body), by: principal), status: .created)
        }
        router.post("\(base)/bulk-update") { request, context -> Response in
            let principal = try await principal(request, context)
            let body = try await request.json()
            let key = try Operations.idempotencyKey(body, try request.idempotencyKey)
            return .json(try await operations.bulkUpdate(body, key: key, digest: Operations.digest(body), by: principal))
        }
        router.get("\(base)/analytics/overview") { request, context -> Response in
            .json(try await operations.clientAnalytics(try await principal(request, context).tenant))
        }
        router.get("\(base)/duplicates") { request, context -> Response in
            let principal = try await principal(request, context)
            return .json(try await operations.duplicateClients(try request.page(defaultSize: 20), principal.tenant))
        }
        router.get("\(base)/export") { request, context -> Response in
            let principal = try await principal(request, context)
            try principal.requireAdministrator()
            let csv = try await operations.exportClients(try await filter(request, principal.tenant), principal.tenant)
            return Response(
                status: .ok,
                headers: [
                    .contentType: "text/csv; charset=utf-8", .cacheControl: "no-store", .contentDisposition: "attachment; filename=\"clientes.csv\"",
                ],
                body: ResponseBody(byteBuffer: ByteBuffer(bytes: csv))
            )
        }
        router.post("\(base)/import") { request, context -> Response in
            let principal = try await principal(request, context)
            try principal.requireAdministrator()
            let lines = try ClientLines.read(try await request.bytes(upTo: Request.maxBodyBytes), type: request.headers[.contentType] ?? "")
            return .json(try await operations.importClients(lines, by: principal))
        }
        router.get("\(base)/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            return .json(try await operations.client(try context.identifier(.client), principal.tenant))
        }
        router.put("\(base)/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: ClientID = try context.identifier(.client)
            return .json(try await operations.updateClient(id, try await request.json(), revision: try request.seenRevision, by: principal))
        }
        router.delete("\(base)/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: ClientID = try context.identifier(.client)
            try await operations.removeClient(
                id,
                force: try request.flag("force") ?? false,
                erases: try request.flag("erase") ?? false,
                by: principal
            )
            return Response(status: .noContent)
        }
        router.get("\(base)/:id/history") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: ClientID = try context.identifier(.client)
            var kinds = Set(Operations.HistoryKind.allCases)
            if let text = request.query("type") {
                guard let kind = Operations.HistoryKind(rawValue: text) else {
                    throw Refusal.invalid([.init(["query", "type"], "deve ser appointment, conversation ou change", type: "enum")])
                }
                kinds = [kind]
            }
            return .json(try await operations.clientHistory(id, only: kinds, try request.page(defaultSize: 20), principal.tenant))
        }
        router.post("\(base)/:id/merge") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: ClientID = try context.identifier(.client)
            let body = try await request.json()
            var fields = try RequestFields(body)
            let (going, staying) = try fields.merger(id)
            let key = try Operations.idempotencyKey(body, try request.idempotencyKey)
            return .json(try await operations.mergeClients(going, into: staying, key: key, digest: "\(going)/\(staying)", by: principal))
        }
    }

    private func filter(_ request: Request, _ tenant: TenantID) async throws -> ClientFilter {
        try ClientFilter.read(at: ["query"], try await operations.bookingZone(tenant)) { request.query($0) }
    }
}

/// What a list of clients comes as: CSV with a line of names, or a JSON object on each line, or one JSON list.
enum ClientLines {
    static func read(_ bytes: [UInt8], type: String) throws(Refusal) -> [Operations.ImportLine] {
        let lines: [Operations.ImportLine]
        let first = bytes.first { !" \t\r\n".utf8.contains($0) }
        if type.lowercased().hasPrefix("text/csv") {
            lines = try csv(bytes)
        } else if first == UInt8(ascii: "[") {
            lines = (try Request.json(bytes)?.array ?? []).enumerated().map { .init(number: $0.offset + 1, json: .success($0.element)) }
        } else {
            lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).enumerated().compactMap { index, line in
                guard line.contains(where: { !" \t\r".utf8.contains($0) }) else { return nil }
                do throws(Refusal) {
                    guard let json = try Request.json(Array(line)) else { return nil }
                    return .init(number: index + 1, json: .success(json))
                } catch { return .init(number: index + 1, json: .failure(error)) }
            }
        }
        guard !lines.isEmpty else {
            throw .invalid([.init(["body"], "envie CSV com uma linha de nomes (text/csv), ou um objeto JSON por linha", type: "missing")])
        }
        guard lines.count <= Operations.maxImportLines else {
            throw .invalid([.init(["body"], "no máximo \(Operations.maxImportLines) linhas por vez", type: "too_long")])
        }
        return lines
    }

    private static func csv(_ bytes: [UInt8]) throws(Refusal) -> [Operations.ImportLine] {
        let records: [CSVRecords.Record]
        do throws(CSVRecords.Failure) { records = try CSVRecords.read(String(decoding: bytes, as: UTF8.self)) } catch {
            throw .invalid([.init(["body", String(error.line)], "CSV inválido: \(error.description)", type: "csv_invalid")])
        }
        guard let head = records.first else { return [] }
        let names = head.fields.map { $0.trimmingSpaces.lowercased() }
        guard names.contains("name") else {
            throw .invalid([
                .init(
                    ["body", "1"],
                    "a primeira linha deve ter os nomes das colunas: \(Operations.csvColumns.joined(separator: ", "))",
                    type: "csv_header"
                )
            ])
        }
        return records.dropFirst().map { record in
            var json = JSON.emptyObject
            for (name, field) in zip(names, record.fields) where Operations.csvColumns.contains(name) {
                let text = field.trimmingSpaces
                guard !text.isEmpty else { continue }
                switch name {
                case "is_active", "is_vip":
                    json = json.adding(name, ["true": true, "1": true, "false": false, "0": false][text.lowercased()] ?? .string(text))
                case "tags": json = json.adding(name, .array(text.split(separator: ";").map { .string(String($0).trimmingSpaces) }))
                default: json = json.adding(name, .string(text))
                }
            }
            return .init(number: record.line, json: .success(json))
        }
    }
}

extension String {
    fileprivate var trimmingSpaces: String { String(drop { $0.isWhitespace }.reversed().drop { $0.isWhitespace }.reversed()) }
}
