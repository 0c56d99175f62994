import Conversations
package import Kernel
package import Scheduling
import Storage
package import Wire

// Lists of clients, what they come to, and what was of one. From the store, behind what was committed.

extension Operations {
    func clientFilter(_ json: JSON, _ tenant: TenantID) async throws(Refusal) -> ClientFilter {
        try ClientFilter.read(json, try await bookingZone(tenant))
    }

    package func bookingZone(_ tenant: TenantID) async throws(Refusal) -> Zone {
        try await readCalendar(of: tenant) { book, _ throws(Refusal) in book.rules.zone }
    }

    /// `{clients, total, page, per_page, total_pages}`, as the contract has it.
    package func clients(_ filter: ClientFilter, _ page: Page, _ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        let (now, zone) = (now, try await bookingZone(tenant))
        let (condition, arguments) = filter.condition(of: tenant, at: now)
        let total = try await count("SELECT COUNT(*) FROM clients \(condition)", arguments, tenant)
        let found = try await clients(filter, at: now, limit: page.size, offset: (page.number - 1) * page.size, tenant)
        let owner = owner(tenant)
        var writer = JSONWriter(capacity: 1536 * found.count + 128)
        writer.object {
            $0.list("clients") { for client in found { client.write(to: &$0, at: now, zone, of: owner) } }
            $0.page(page, total: total)
        }
        return writer.bytes
    }

    package func clients(_ filter: ClientFilter, at now: Timestamp, limit: Int, offset: Int, _ tenant: TenantID) async throws(Refusal) -> [Client] {
        let (condition, arguments) = filter.condition(of: tenant, at: now)
        let (order, ordering) = filter.order(at: now)
        return try await store.rows(
            .select(
                from: SchedulingTables.clients,
                "\(condition) ORDER BY \(order) LIMIT ? OFFSET ?",
                arguments + ordering + [.integer(Int64(limit)), .integer(Int64(offset))],
                tenant: tenant
            )
        ).map(Client.init)
    }

    /// - Throws: 422 when more fit than may be changed at once.
    func clientIDs(_ filter: ClientFilter, _ tenant: TenantID) async throws(Refusal) -> [ClientID] {
        let (condition, arguments) = filter.condition(of: tenant, at: now)
        let rows = try await store.rows(
            Query(
                "SELECT id FROM clients \(condition) ORDER BY id LIMIT ?",
                arguments + [.integer(Int64(Self.maxBulk + 1))],
                kinds: [.uuid],
                tenant: tenant
            )
        )
        guard rows.count <= Self.maxBulk else {
            throw .invalid([
                .init(["body", "filter"], "mais de \(Self.maxBulk) clientes atendem ao filtro; altere-os em partes", type: "too_long")
            ])
        }
        return rows.map { row in
            var row = row
            return row.id()
        }
    }

    private func count(_ sql: String, _ arguments: [SQLValue], _ tenant: TenantID) async throws(Refusal) -> Int {
        guard var row = try await store.rows(Query(sql, arguments, kinds: [.integer], tenant: tenant)).first else { return 0 }
        return Int(row.optionalInteger() ?? 0)
    }

    // MARK: What they come to

    /// The contract's analytics, and beside them where clients come from and how many are regular, important, lost.
    package func clientAnalytics(_ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        let (now, zone) = (now, try await bookingZone(tenant))
        let listed = "FROM clients WHERE tenant_id = ? AND removed_at IS NULL AND merged_into IS NULL"
        let (regular, present) = ClientFilter.regular(at: now)
        let conditions = [
            "COALESCE(is_active, TRUE) = TRUE", "total_appointments > 0", regular, "is_vip = TRUE", "visits > 0 AND last_visit_ms < ?",
        ]
        let sums = conditions.map { "SUM(CASE WHEN \($0) THEN 1 ELSE 0 END)" } + ["SUM(total_appointments)"]
        let counted = try await store.rows(
            Query(
                "SELECT COUNT(*), \(sums.map { "CAST(\($0) AS BIGINT)" }.joined(separator: ", ")) \(listed)",
                present + [.integer(now.milliseconds - ClientMetrics.regularWithin), .id(tenant)],
                kinds: Array(repeating: .integer, count: 2 + conditions.count),
                tenant: tenant
            )
        )
        var row = counted.first ?? Row(Array(repeating: .null, count: 2 + conditions.count))
        func next() -> Int { Int(row.optionalInteger() ?? 0) }
        let (total, active, booked, regulars, vips, lost, appointments) = (next(), next(), next(), next(), next(), next(), next())
        var frequent = ClientFilter()
        (frequent.sort, frequent.isDescending, frequent.minAppointments) = (.score, true, 1)
        let most = try await clients(frequent, at: now, limit: 10, offset: 0, tenant)
        let months = try await grouped("COALESCE(created_month, '')", listed, order: "1 DESC", tenant)
        let sources = try await grouped("COALESCE(source, '')", listed, order: "2 DESC, 1", tenant)
        let services = try await favourites(listed, tenant)
        let owner = owner(tenant)
        var writer = JSONWriter(capacity: 4096)
        writer.object { object in
            object.field("total_clients", total)
            object.field("active_clients", active)
            object.field("inactive_clients", total - active)
            object.field("clients_with_appointments", booked)
            object.field("average_appointments_per_client", total == 0 ? 0 : (Double(appointments) / Double(total) * 100).rounded() / 100)
            object.list("most_frequent_clients") { for client in most { client.writeSummary(at: now, zone, of: owner, to: &$0) } }
            object.field("top_preferred_services") { for (name, count) in services { $0.field(name, count) } }
            // In order of time, as one reads it.
            object.field("clients_by_creation_month") { for (month, count) in months.reversed() where !month.isEmpty { $0.field(month, count) } }
            object.field("clients_by_source") { for (source, count) in sources { $0.field(source.isEmpty ? "unknown" : source, count) } }
            object.field("regular_clients", regulars)
            object.field("vip_clients", vips)
            object.field("lost_clients", lost)
            object.field("new_clients_this_month", months.first { $0.0 == String(zone.day(of: now).description.prefix(7)) }?.1 ?? 0)
        }
        return writer.bytes
    }

    private func grouped(_ column: String, _ listed: String, order: String, _ tenant: TenantID) async throws(Refusal) -> [(String, Int)] {
        try await store.rows(
            Query(
                "SELECT \(column), COUNT(*) \(listed) GROUP BY \(column) ORDER BY \(order) LIMIT 120",
                [.id(tenant)],
                kinds: [.text, .integer],
                tenant: tenant
            )
        ).map { row in
            var row = row
            return (row.text(), Int(row.integer()))
        }
    }

    /// Of how many clients each service is the one they have most.
    private func favourites(_ listed: String, _ tenant: TenantID) async throws(Refusal) -> [(String, Int)] {
        let rows = try await store.rows(
            Query(
                "SELECT favourite_service, COUNT(*) \(listed) AND favourite_service IS NOT NULL GROUP BY favourite_service ORDER BY 2 DESC, 1 LIMIT 10",
                [.id(tenant)],
                kinds: [.uuid, .integer],
                tenant: tenant
            )
        )
        let counts: [(ServiceID, Int)] = rows.map { row in
            var row = row
            return (row.id(), Int(row.integer()))
        }
        guard !counts.isEmpty else { return [] }
        // Also of services that are no longer there.
        let named = try await store.rows(
            Query(
                "SELECT id, name FROM services WHERE tenant_id = ? AND id IN (\(StoredClients.places(counts.count)))",
                [.id(tenant)] + counts.map { .id($0.0) },
                kinds: [.uuid, .text],
                tenant: tenant
            )
        )
        var names: [ServiceID: String] = [:]
        for var row in named { names[row.id()] = row.text() }
        // Two services may have one name.
        var merged: [(String, Int)] = []
        for (id, count) in counts {
            let name = names[id] ?? id.description
            if let index = merged.firstIndex(where: { $0.0 == name }) { merged[index].1 += count } else { merged.append((name, count)) }
        }
        return merged
    }

    // MARK: What was of one

    package enum HistoryKind: String, Sendable, CaseIterable { case appointment, conversation, change }

    /// `{items: [{type, at, appointment | conversation | change}], …}`, the newest first.
    package func clientHistory(_ id: ClientID, only kinds: Set<HistoryKind>, _ page: Page, _ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        guard
            let row = try await store.rows(
                .select(from: SchedulingTables.clients, "WHERE tenant_id = ? AND id = ?", [.id(tenant), .id(id)], tenant: tenant)
            ).first
        else { throw .notFound(.client) }
        let client = Client(row)
        if let other = client.mergedInto {
            var refusal = Refusal.notFound(.client)
            refusal.facts["merged_into"] = other.description
            throw refusal
        }
        // Those of whoever was merged into them are theirs.
        let theirs = "(SELECT id FROM clients WHERE tenant_id = ? AND (id = ? OR merged_into = ?))"
        let contacts = "(SELECT contact_id FROM clients WHERE tenant_id = ? AND (id = ? OR merged_into = ?) AND contact_id IS NOT NULL)"
        // Whoever wrote under their number before they were a client.
        let numbers = client.whatsapp.flatMap(PhoneNumber.canonical).map(PhoneNumber.forms) ?? [""]
        let who: [SQLValue] = [.id(tenant), .id(id), .id(id)]
        var parts: [(sql: String, arguments: [SQLValue])] = []
        for kind in HistoryKind.allCases where kinds.contains(kind) {
            switch kind {
            case .appointment:
                parts.append(
                    (
                        "SELECT 'appointment' AS kind, id, start_time AS at FROM appointments WHERE tenant_id = ? AND client_id = ?",
                        [.id(tenant), .id(id)]
                    )
                )
            case .conversation:
                parts.append(
                    (
                        """
                        SELECT 'conversation' AS kind, id, created_at AS at FROM conversations WHERE tenant_id = ? AND (contact_id IN \(contacts)
                        OR contact_id IN (SELECT id FROM contacts WHERE tenant_id = ? AND (merged_into IN \(contacts) OR wa_id IN (\(StoredClients.places(numbers.count))))))
                        """,
                        [.id(tenant)] + who + [.id(tenant)] + who + numbers.map { .text($0) }
                    )
                )
            case .change:
                parts.append(
                    ("SELECT 'change' AS kind, id, at FROM client_changes WHERE tenant_id = ? AND client_id IN \(theirs)", [.id(tenant)] + who)
                )
            }
        }
        let union = parts.map(\.sql).joined(separator: " UNION ALL ")
        let arguments = parts.flatMap(\.arguments)
        let total = try await count("SELECT COUNT(*) FROM (\(union)) h", arguments, tenant)
        let rows = try await store.rows(
            Query(
                "SELECT kind, id, at FROM (\(union)) h ORDER BY at DESC, id DESC LIMIT ? OFFSET ?",
                arguments + [.integer(Int64(page.size)), .integer(Int64((page.number - 1) * page.size))],
                kinds: [.text, .uuid, .timestamp],
                tenant: tenant
            )
        )
        let items: [(kind: HistoryKind, id: UniqueID, at: Timestamp)] = rows.compactMap { row in
            var row = row
            guard let kind = HistoryKind(rawValue: row.text()) else { return nil }
            let id: Identifier<HistoryItem> = row.id()
            return (kind, id.value, row.timestamp())
        }
        let parted = try await written(items, tenant)
        var writer = JSONWriter(capacity: 1024 * items.count + 256)
        writer.object { object in
            object.field("client_id", id.description)
            object.list("items") { list in
                for item in items {
                    guard let json = parted[item.id] else { continue }
                    list.object {
                        $0.field("type", item.kind.rawValue)
                        $0.field("at", item.at.description)
                        $0.field(item.kind.rawValue, raw: json)
                    }
                }
            }
            object.page(page, total: total)
        }
        return writer.bytes
    }

    private enum HistoryItem {}

    private func written(_ items: [(kind: HistoryKind, id: UniqueID, at: Timestamp)], _ tenant: TenantID) async throws(Refusal) -> [UniqueID: [UInt8]]
    {
        func rows(_ kind: HistoryKind, _ table: Table) async throws(Refusal) -> [Row] {
            let ids = items.filter { $0.kind == kind }.map(\.id)
            guard !ids.isEmpty else { return [] }
            return try await store.rows(
                .select(
                    from: table,
                    "WHERE tenant_id = ? AND id IN (\(StoredClients.places(ids.count)))",
                    [.id(tenant)] + ids.map { .uuid($0) },
                    tenant: tenant
                )
            )
        }
        var written: [UniqueID: [UInt8]] = [:]
        for row in try await rows(.appointment, SchedulingTables.appointments) {
            let appointment = Appointment(row)
            written[appointment.id.value] = appointment.json(of: owner(tenant))
        }
        for row in try await rows(.conversation, ConversationTables.conversations) {
            let conversation = Conversation(row)
            var writer = JSONWriter()
            writer.object {
                $0.field("id", conversation.id.description)
                $0.field("state", conversation.state.name)
                $0.field("channel", conversation.channel)
                $0.field("protocol", conversation.protocolo.map(protocolText))
                $0.field("labels", strings: conversation.labels)
                $0.field("created_at", conversation.createdAt.description)
                $0.field("updated_at", conversation.updatedAt.description)
            }
            written[conversation.id.value] = writer.bytes
        }
        for var row in try await rows(.change, SchedulingTables.clientChanges) {
            let _: TenantID = row.id()
            let id: Identifier<ClientRecord> = row.id()
            let client: ClientID = row.id()
            _ = row.timestamp()
            let (kind, fields, author) = (row.text(), row.textArray(), row.text())
            let user: UserID? = row.optionalID()
            let name = row.optionalText()
            let other: ClientID? = row.optionalID()
            var writer = JSONWriter()
            writer.object {
                $0.field("client_id", client.description)
                $0.field("kind", kind)
                $0.field("fields", strings: fields)
                $0.field("author") {
                    $0.field("kind", author)
                    $0.field("id", user?.description)
                    $0.field("name", name)
                }
                $0.field("other_client_id", other?.description)
            }
            written[id.value] = writer.bytes
        }
        return written
    }

    // MARK: Who may be one

    /// A number in its one form, as `PhoneNumber` has it, for what was stored before numbers had one.
    private static let canonical: String = {
        let whole = "CASE WHEN LENGTH(found_by) IN (10, 11) THEN '55' || found_by ELSE found_by END"
        return """
            CASE WHEN found_by LIKE '%@%' THEN NULL WHEN LENGTH(\(whole)) = 12 AND SUBSTR(\(whole), 1, 2) = '55' AND SUBSTR(\(whole), 5, 1) IN ('6', '7', '8', '9') \
            THEN SUBSTR(\(whole), 1, 4) || '9' || SUBSTR(\(whole), 5) ELSE \(whole) END
            """
    }()

    /// `{items: [{reason, value, clients}], …}`: those with one number, in whichever way it is written, or one e-mail.
    package func duplicateClients(_ page: Page, _ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        let (now, zone) = (now, try await bookingZone(tenant))
        let listed = "FROM clients WHERE tenant_id = ? AND removed_at IS NULL AND merged_into IS NULL"
        let groups = """
            SELECT 'whatsapp' AS reason, \(Self.canonical) AS value \(listed) AND found_by IS NOT NULL AND NOT found_by LIKE '%@%' GROUP BY 2 HAVING COUNT(*) > 1
            UNION ALL SELECT 'email' AS reason, email_key AS value \(listed) AND email_key IS NOT NULL GROUP BY 2 HAVING COUNT(*) > 1
            """
        let total = try await count("SELECT COUNT(*) FROM (\(groups)) g", [.id(tenant), .id(tenant)], tenant)
        let rows = try await store.rows(
            Query(
                "SELECT reason, value FROM (\(groups)) g ORDER BY reason, value LIMIT ? OFFSET ?",
                [.id(tenant), .id(tenant), .integer(Int64(page.size)), .integer(Int64((page.number - 1) * page.size))],
                kinds: [.text, .text],
                tenant: tenant
            )
        )
        var found: [(reason: String, value: String, clients: [Client])] = []
        for var row in rows {
            let (reason, value) = (row.text(), row.text())
            let column = reason == "email" ? "email_key" : Self.canonical
            let clients = try await store.rows(
                .select(
                    from: SchedulingTables.clients,
                    "WHERE tenant_id = ? AND removed_at IS NULL AND merged_into IS NULL AND \(column) = ? ORDER BY created_at, id LIMIT 50",
                    [.id(tenant), .text(value)],
                    tenant: tenant
                )
            ).map(Client.init)
            found.append((reason, value, clients))
        }
        let owner = owner(tenant)
        var writer = JSONWriter(capacity: 1024 * found.count + 128)
        writer.object { object in
            object.list("items") { list in
                for group in found {
                    list.object {
                        $0.field("reason", group.reason)
                        $0.field("value", group.reason == "whatsapp" ? "+\(group.value)" : group.value)
                        $0.list("clients") { for client in group.clients { client.writeSummary(at: now, zone, of: owner, to: &$0) } }
                    }
                }
            }
            object.page(page, total: total)
        }
        return writer.bytes
    }
}
