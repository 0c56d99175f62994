package import Jobs
package import Kernel
package import Storage

extension QueueMessage.State {
    static let waiting = "('scheduled', 'retryable')"
}

extension QueueBook {
    private static func rows(_ store: any Store, _ rest: String, _ arguments: [SQLValue], _ tenant: TenantID) async throws(Refusal) -> [QueueMessage]
    {
        try await store.rows(
            .select(from: QueueTables.messages, "WHERE tenant_id = ? " + rest, [.id(tenant)] + arguments, tenant: tenant).forDeciding
        ).map(QueueMessage.init)
    }

    /// Everything that a book begins with. What waits is not read, only when the first of it is due: there may be a hundred thousand reminders for next month.
    static func load(_ tenant: TenantID, now: Timestamp, rules: QueueRules, from store: any Store) async throws(Refusal) -> QueueBook {
        func bounds(_ what: String, _ conditions: [String]) async throws(Refusal) -> [(QueueName, Timestamp)] {
            let parts = QueueName.allCases.flatMap { queue in
                conditions.map {
                    "SELECT '\(queue.rawValue)' AS queue, \(what) AS at FROM queue_messages WHERE tenant_id = ? AND queue = '\(queue.rawValue)' \($0)"
                }
            }
            let query = Query(
                parts.joined(separator: " UNION ALL "),
                parts.map { _ in .id(tenant) },
                kinds: [.text, .timestamp],
                tenant: tenant
            )
            return try await store.rows(query.forDeciding).compactMap { row in
                var row = row
                guard let queue = QueueName(rawValue: row.text()), let at = row.optionalTimestamp() else { return nil }
                return (queue, at)
            }
        }
        let last = try await bounds("MAX(created_at)", [""]).map(\.1).max()
        var book = QueueBook(rules: rules, lastTime: last ?? Timestamp(milliseconds: 0))
        for row in try await store.rows(
            .select(from: QueueTables.controls, "WHERE tenant_id = ?", [.id(tenant)], tenant: tenant).forDeciding
        ) {
            guard case .text(let name) = row[1], let queue = QueueName(rawValue: name), let control = QueueControl(row) else { continue }
            book.adopt(control, on: queue)
        }
        for row in try await store.rows(
            .select(from: QueueTables.callOffs, "WHERE tenant_id = ?", [.id(tenant)], tenant: tenant).forDeciding
        ) {
            var row = row
            let _: TenantID = row.id()
            let subject = row.text()
            book.adopt(CallOff(reason: row.text(), at: row.timestamp()), of: subject)
        }
        for (queue, at) in try await bounds("MIN(run_at)", ["AND state = 'scheduled'", "AND state = 'retryable'"]) {
            book.adopt(beyond: at, of: queue)
        }
        let open = Query(
            "SELECT COUNT(*) FROM queue_messages WHERE tenant_id = ? AND queue IN (\(QueueName.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", "))) AND state IN ('scheduled', 'retryable', 'claimed', 'sending')",
            [.id(tenant)],
            kinds: [.integer],
            tenant: tenant
        )
        if var row = try await store.rows(open.forDeciding).first { book.adopt(openCount: Int(row.integer())) }
        for queue in QueueName.allCases {
            for message in try await rows(store, "AND queue = ? AND state IN ('claimed', 'sending')", [.text(queue.rawValue)], tenant) {
                book.adopt(held: message, now)
            }
        }
        return book
    }

    /// What an errand has brought.
    package struct Findings: Sendable {
        var queues: [QueueName: Reading] = [:]
        var keys: [String] = []
        var first: [String: QueueMessageID] = [:]
        var callOffs: [String: Timestamp] = [:]
        /// Those of their messages that wait, and whether they are all.
        var calledOff: (messages: [QueueMessage], isAll: Bool) = ([], true)
    }

    static let callOffsAtOnce = 1000

    static func read(_ errand: Errand, of tenant: TenantID, rules: QueueRules, from store: any Store) async throws(Refusal) -> Findings {
        var findings = Findings()
        for (queue, inMemory) in errand.queues {
            findings.queues[queue] = try await read(queue, limit: rules.inMemory + inMemory, at: errand.now, tenant, rules, store)
        }
        findings.keys = errand.keys
        findings.first = try await first(under: errand.keys, tenant, store)
        if !errand.callOffs.isEmpty {
            // Each with its own time: what was made under the same subject since then is not among them.
            let each = errand.callOffs.map { _ in "(subject = ? AND created_at < ?)" }.joined(separator: " OR ")
            let found = try await rows(
                store,
                "AND state IN \(QueueMessage.State.waiting) AND (\(each)) LIMIT \(callOffsAtOnce)",
                errand.callOffs.flatMap { [.text($0), .timestamp($1)] },
                tenant
            )
            findings.callOffs = errand.callOffs
            findings.calledOff = (found, found.count < callOffsAtOnce)
        }
        return findings
    }

    private static func read(
        _ queue: QueueName,
        limit: Int,
        at now: Timestamp,
        _ tenant: TenantID,
        _ rules: QueueRules,
        _ store: any Store
    ) async throws(Refusal) -> Reading {
        var reading = Reading()
        let waits = "AND queue = ? AND state IN \(QueueMessage.State.waiting)"
        let horizon = now + rules.horizon
        reading.messages = try await rows(
            store,
            "\(waits) AND run_at <= ? ORDER BY priority, run_at, id LIMIT \(limit)",
            [.text(queue.rawValue), .timestamp(now)],
            tenant
        )
        if reading.messages.count == limit {
            (reading.beyond, reading.cutPriority) = (now, reading.messages.last?.content.priority)
        } else {
            let soon = try await rows(
                store,
                "\(waits) AND run_at > ? AND run_at <= ? ORDER BY run_at, id LIMIT \(limit)",
                [.text(queue.rawValue), .timestamp(now), .timestamp(horizon)],
                tenant
            )
            reading.messages += soon
            if soon.count == limit, let last = soon.last {
                reading.beyond = last.content.runAt
            } else {
                let next = Query(
                    "SELECT MIN(run_at) FROM queue_messages WHERE tenant_id = ? \(waits) AND run_at > ?",
                    [.id(tenant), .text(queue.rawValue), .timestamp(horizon)],
                    kinds: [.timestamp],
                    tenant: tenant
                )
                if var row = try await store.rows(next.forDeciding).first { reading.beyond = row.optionalTimestamp() ?? .distantFuture }
            }
        }
        let first = try await first(under: reading.messages.compactMap(\.content.key), tenant, store)
        reading.duplicates = Set(
            reading.messages.filter { message in message.content.key.map { first[$0] != nil && first[$0] != message.id } ?? false }.map(\.id)
        )
        return reading
    }

    /// Who came first under each of these keys.
    private static func first(under keys: [String], _ tenant: TenantID, _ store: any Store) async throws(Refusal) -> [String: QueueMessageID] {
        var first: [String: (at: Timestamp, id: QueueMessageID)] = [:]
        var rest = keys[...]
        while !rest.isEmpty {
            let some = rest.prefix(200)
            rest = rest.dropFirst(200)
            let query = Query(
                "SELECT \"key\", id, created_at FROM queue_messages WHERE tenant_id = ? AND \"key\" IN (\(some.map { _ in "?" }.joined(separator: ", ")))",
                [.id(tenant)] + some.map { .text($0) },
                kinds: [.text, .uuid, .timestamp],
                tenant: tenant
            )
            for row in try await store.rows(query.forDeciding) {
                var row = row
                let (key, id): (String, QueueMessageID) = (row.text(), row.id())
                let at = row.timestamp()
                if first[key].map({ (at, id) < ($0.at, $0.id) }) ?? true { first[key] = (at, id) }
            }
        }
        return first.mapValues(\.id)
    }
}

extension QueueStats {
    /// Counted in the store.
    static func count(_ tenant: TenantID, at now: Timestamp, in store: any Store) async throws(Refusal) -> QueueStats {
        let queues = QueueName.allCases.map { "'\($0.rawValue)'" }.joined(separator: ", ")
        let states = QueueMessage.State.allCases.filter { $0 != .forgotten }.map { "'\($0.rawValue)'" }.joined(separator: ", ")
        var stats = QueueStats()
        for row in try await store.rows(
            Query(
                "SELECT queue, state, COUNT(*) FROM queue_messages WHERE tenant_id = ? AND queue IN (\(queues)) AND state IN (\(states)) GROUP BY queue, state",
                [.id(tenant)],
                kinds: [.text, .text, .integer],
                tenant: tenant
            )
        ) {
            var row = row
            guard let queue = QueueName(rawValue: row.text()), let state = QueueMessage.State(rawValue: row.text()) else { continue }
            stats[queue].counts[state] = Int(row.integer())
        }
        for row in try await store.rows(
            Query(
                "SELECT queue, COUNT(*), MIN(run_at) FROM queue_messages WHERE tenant_id = ? AND queue IN (\(queues)) AND state IN \(QueueMessage.State.waiting) AND run_at <= ? GROUP BY queue",
                [.id(tenant), .timestamp(now)],
                kinds: [.text, .integer, .timestamp],
                tenant: tenant
            )
        ) {
            var row = row
            guard let queue = QueueName(rawValue: row.text()) else { continue }
            stats[queue].available = Int(row.integer())
            stats[queue].oldest = row.optionalTimestamp()
        }
        let latest = QueueName.allCases.map {
            "SELECT '\($0.rawValue)' AS queue, MAX(created_at) AS at FROM queue_messages WHERE tenant_id = ? AND queue = '\($0.rawValue)'"
        }
        for row in try await store.rows(
            Query(
                latest.joined(separator: " UNION ALL "),
                latest.map { _ in .id(tenant) },
                kinds: [.text, .timestamp],
                tenant: tenant
            )
        ) {
            var row = row
            guard let queue = QueueName(rawValue: row.text()) else { continue }
            stats[queue].last = row.optionalTimestamp()
        }
        return stats
    }
}
