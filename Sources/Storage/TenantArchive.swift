import Foundation
package import Kernel
import OrderedCollections
import Wire

// A whole tenant as a file, to be moved from one store to another, or kept.
//
//     {"format": "plantao-tenant", "version": 1, "schema": 1, "tenant": "<uuid>", "name": …, "exported_at": …}
//     {"table": "contacts", "version": 3, "row": {"id": "…", "name": "…", …}}          one line for each row
//     …
//     {"end": true, "rows": 1234, "tables": {"contacts": 17, …}}                       a file without this line is a part of one
//
// Values: uuid, text and numeric as strings; json as the string it was stored as; times in RFC 3339; the rest as JSON has it. Columns of later versions may be
// missing from a file, and are then null; a column or table that this program does not know is an error.

package struct ArchiveError: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}

package struct TenantArchive: Sendable {
    private let schema: Schema

    package init(schema: Schema) { self.schema = schema }

    /// The tables that hold a tenant's rows, in the order in which they are to be written: what others must not see before everything is there comes last.
    private var tables: [Kernel.Table] {
        let last = ["users", "tenants"]
        return schema.tables.filter { $0.key.first == "tenant_id" && !last.contains($0.name) }
            + last.compactMap { name in schema.tables.first { $0.name == name } }
    }

    // MARK: Export

    package struct Summary: Sendable, Equatable {
        package var tenant: TenantID
        package var name: String
        package var rows = 0
        package var tables: [String: Int] = [:]
    }

    /// Writes every row of the tenant, line by line.
    /// - Parameter progress: told the number of rows so far, now and then.
    /// - Throws: `ArchiveError`, `Refusal`, or what `write` throws.
    package func export(
        _ tenant: TenantID,
        from store: any Store,
        now: Timestamp,
        progress: (Int) -> Void = { _ in },
        write: (String) throws -> Void
    ) async throws -> Summary {
        guard let table = schema.tables.first(where: { $0.name == "tenants" }),
            let found = try await store.rows(.select(from: table, "WHERE id = ?", [.id(tenant)])).first,
            case .text(let name) = found[table.columns.firstIndex { $0.name == "name" } ?? 1]
        else { throw ArchiveError("there is no tenant \(tenant)") }
        var summary = Summary(tenant: tenant, name: name)
        var head = JSONWriter()
        head.object {
            $0.field("format", "plantao-tenant")
            $0.field("version", 1)
            $0.field("schema", schema.version)
            $0.field("tenant", tenant.description)
            $0.field("name", name)
            $0.field("exported_at", now.description)
        }
        try write(String(decoding: head.bytes, as: UTF8.self))
        for table in tables {
            var last: [SQLValue]?
            while true {
                let page = try await page(of: table, tenant, after: last, from: store)
                for row in page {
                    try write(line(table, row))
                    summary.rows += 1
                    summary.tables[table.name, default: 0] += 1
                }
                progress(summary.rows)
                guard page.count == Self.pageSize, let row = page.last else { break }
                last = table.keyPositions.map { row[$0] }
            }
        }
        var end = JSONWriter()
        let (rows, counts) = (summary.rows, summary.tables)
        end.object {
            $0.field("end", true)
            $0.field("rows", rows)
            $0.field("tables", object: { for (name, count) in counts.sorted(by: { $0.key < $1.key }) { $0.field(name, count) } })
        }
        try write(String(decoding: end.bytes, as: UTF8.self))
        return summary
    }

    private static let pageSize = 2000

    private func page(of table: Kernel.Table, _ tenant: TenantID, after last: [SQLValue]?, from store: any Store) async throws(Refusal) -> [Row] {
        let key = table.key.map { "\"\($0)\"" }.joined(separator: ", ")
        let places = table.key.map { _ in "?" }.joined(separator: ", ")
        let own = table.key.first == "tenant_id" ? "\"tenant_id\" = ?" : "\"id\" = ?"
        let after = last == nil ? "" : " AND (\(key)) > (\(places))"
        return try await store.rows(
            .select(from: table, "WHERE \(own)\(after) ORDER BY \(key) LIMIT ?", [.id(tenant)] + (last ?? []) + [.integer(Int64(Self.pageSize))])
        )
    }

    private func line(_ table: Kernel.Table, _ row: Row) -> String {
        var version: Int64 = 0
        if case .integer(let number) = row[table.columns.count - 1] { version = number }
        var writer = JSONWriter()
        writer.object {
            $0.field("table", table.name)
            $0.field("version", version)
            $0.field(
                "row",
                object: { members in
                    for (position, column) in table.columns.dropLast().enumerated() {
                        members.key(column.name)
                        switch row[position] {
                        case .null: members.null()
                        case .uuid(let id): members.string(id.description)
                        case .text(let text), .json(let text): members.string(text)
                        case .integer(let number): members.int(number)
                        case .boolean(let flag): members.bool(flag)
                        case .timestamp(let time): members.string(time.description)
                        case .textArray(let texts): members.array { for text in texts { $0.string(text) } }
                        case .numeric(let number): members.string(number.description)
                        }
                    }
                }
            )
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    // MARK: Import

    /// Reads a whole archive and writes nothing.
    /// - Parameter lines: gives the next line, or `nil` at the end.
    /// - Throws: `ArchiveError` with the number of the line that is wrong.
    package func check(_ lines: () throws -> String?) throws -> Summary {
        var summary: Summary?
        try read(lines) {
            summary = $0
        } row: { _ in
        }
        guard let summary else { throw ArchiveError("the file is empty") }
        return summary
    }

    /// Brings the tenant in, a few thousand rows at a time; the tenant itself comes last, so that a part of one is never used, and can be brought in again.
    package func bring(_ lines: () throws -> String?, into store: any ManagedStore, progress: (Int) -> Void = { _ in }) async throws -> Summary {
        var summary: Summary?
        var waiting: [RowImage] = []
        var (number, isOver, done) = (0, false, 0)
        while !isOver {
            // Read in portions, as writing is asynchronous and reading is not.
            var portion: [String] = []
            while portion.count < 2000, let line = try lines() { portion.append(line) }
            isOver = portion.isEmpty
            for line in portion {
                number += 1
                switch try item(line, number, summary?.tenant) {
                case .head(let head): summary = head
                case .row(let image): waiting.append(image)
                case .end: break
                }
            }
            // The tenant comes last and alone: it is there only once everything else is.
            let others = waiting.filter { $0.table.name != "tenants" }
            if !others.isEmpty { try await store.bring(others) }
            waiting.removeAll { $0.table.name != "tenants" }
            if isOver, !waiting.isEmpty { try await store.bring(waiting) }
            done += others.count + (isOver ? waiting.count : 0)
            progress(done)
        }
        guard var summary else { throw ArchiveError("the file is empty") }
        summary.rows = done
        return summary
    }

    private enum Item {
        case head(Summary)
        case row(RowImage)
        case end(rows: Int, tables: [String: Int])
    }

    private func read(_ lines: () throws -> String?, head: (Summary) -> Void, row: (RowImage) throws -> Void) throws {
        var number = 0
        var summary: Summary?
        var isOver = false
        while let line = try lines() {
            number += 1
            guard !isOver else { throw ArchiveError("line \(number): something follows the last line") }
            switch try item(line, number, summary?.tenant) {
            case .head(let found):
                guard summary == nil else { throw ArchiveError("line \(number): a second first line") }
                summary = found
            case .row(let image):
                guard summary != nil else { throw ArchiveError("line \(number): the first line is missing") }
                summary?.rows += 1
                summary?.tables[image.table.name, default: 0] += 1
                try row(image)
            case .end(let rows, let tables):
                guard rows == summary?.rows, tables == summary?.tables else {
                    throw ArchiveError("line \(number): rows are missing: \(rows) were exported, and \(summary?.rows ?? 0) are here")
                }
                isOver = true
            }
        }
        guard let summary else { throw ArchiveError("the file is empty") }
        guard isOver else { throw ArchiveError("the file ends early, after line \(number): it is a part of an archive") }
        guard summary.tables["tenants"] == 1 else { throw ArchiveError("the tenant itself is not among the rows") }
        head(summary)
    }

    private func item(_ line: String, _ number: Int, _ tenant: TenantID?) throws -> Item {
        func wrong(_ what: String) -> ArchiveError { ArchiveError("line \(number): \(what)") }
        guard let json = try? JSON.parse(Array(line.utf8)), json.object != nil else { throw wrong("not a JSON object") }
        if json["end"]?.bool == true {
            let tables = json["tables"]?.object ?? [:]
            return .end(
                rows: Int(json["rows"]?.int ?? -1),
                tables: Dictionary(uniqueKeysWithValues: tables.map { ($0.key, Int($0.value.int ?? -1)) })
            )
        }
        if let format = json["format"] {
            guard format.string == "plantao-tenant", json["version"]?.int == 1 else { throw wrong("not a plantao-tenant archive of version 1") }
            guard let version = json["schema"]?.int, version <= schema.version else {
                throw wrong("a newer program wrote this (schema \(json["schema"]?.int ?? 0), and this one knows up to \(schema.version))")
            }
            guard let tenant = json["tenant"]?.string.flatMap({ TenantID($0) }), let name = json["name"]?.string else { throw wrong("no tenant") }
            return .head(Summary(tenant: tenant, name: name))
        }
        guard let table = tables.first(where: { $0.name == json["table"]?.string }) else {
            throw wrong("the table '\(json["table"]?.string ?? "")' is not one of a tenant's")
        }
        guard let version = json["version"]?.int, let members = json["row"]?.object else { throw wrong("no version or no row") }
        var values = [SQLValue](repeating: .null, count: table.columns.count - 1)
        for (name, member) in members {
            guard let position = table.columns.dropLast().firstIndex(where: { $0.name == name }) else {
                throw wrong("'\(table.name)' has no column '\(name)'")
            }
            guard let value = SQLValue(member, table.columns[position].kind) else { throw wrong("'\(name)' is not \(table.columns[position].kind)") }
            values[position] = value
        }
        for (column, value) in zip(table.columns, values) where value == .null && !column.isNullable { throw wrong("'\(column.name)' is missing") }
        let image = RowImage(table, version: version, values: values)
        guard image.tenant == tenant else { throw wrong("a row of another tenant") }
        return .row(image)
    }
}

extension SQLValue {
    /// A value as an archive has it; `nil` when it is not of that kind.
    fileprivate init?(_ json: JSON, _ kind: Kernel.Column.Kind) {
        switch (json, kind) {
        case (.null, _): self = .null
        case (.string(let text), .uuid):
            guard let id = UniqueID(text) else { return nil }
            self = .uuid(id)
        case (.string(let text), .text): self = .text(text)
        case (.string(let text), .json):
            guard (try? JSON.parse(Array(text.utf8))) != nil else { return nil }
            self = .json(text)
        case (.string(let text), .timestamp):
            guard let time = Timestamp(rfc3339: text) else { return nil }
            self = .timestamp(time)
        case (.string(let text), .numeric):
            guard let number = Decimal(string: text) else { return nil }
            self = .numeric(number)
        case (.int(let number), .integer): self = .integer(number)
        case (.bool(let flag), .boolean): self = .boolean(flag)
        case (.array(let elements), .textArray):
            let texts = elements.compactMap(\.string)
            guard texts.count == elements.count else { return nil }
            self = .textArray(texts)
        default: return nil
        }
    }
}
