package import Jobs
package import Kernel
import Storage
package import Wire

// contracts/agendazap.md "Filas".

extension Operations {
    /// Puts messages into their queues. Of each key that was ever used nothing is put in again.
    @discardableResult
    package func enqueue(_ messages: [OutgoingMessage], of tenant: TenantID) async throws(Refusal) -> [QueueMessageID] {
        try gate.admit()
        return try await tenants.use(tenant) { cell throws(Refusal) in try await cell.enqueue(messages).committed() }
    }

    // MARK: Looking

    package func queueStatus(for principal: Principal) async throws(Refusal) -> [UInt8] {
        let stats = try await QueueStats.count(principal.tenant, at: now, in: store)
        let stopped = stopped(shownTo: principal)
        return try await tenants.use(principal.tenant) { cell throws(Refusal) in
            try await cell.queueStatus(stats, ofServer: stopped).committed()
        }
    }

    /// Who of another business runs the server is nobody's to know.
    private func stopped(shownTo principal: Principal) -> [QueueName: QueueControl] {
        let stopped = queues?.stopped ?? [:]
        return principal.tenant == queues?.operatorTenant ? stopped : stopped.mapValues(\.withoutName)
    }

    package func queueWorkers(for principal: Principal) async throws(Refusal) -> [UInt8] {
        let (busy, stopped) = (queues?.busy(of: principal.tenant) ?? [:], stopped(shownTo: principal))
        let concurrency = queues?.settings.perTenant ?? 0
        return try await tenants.use(principal.tenant) { cell throws(Refusal) in
            try await cell.queueWorkers(busy: busy, concurrency: concurrency, ofServer: stopped).committed()
        }
    }

    /// `{queue_name, items, total, page, per_page, total_pages}`, the latest first.
    /// - Parameter states: as they are shown; empty for all.
    package func queueMessages(_ queue: QueueName, states: Set<String>, _ page: Page, for principal: Principal) async throws(Refusal) -> [UInt8] {
        let now = now
        var (conditions, arguments): ([String], [SQLValue]) = ([], [.id(principal.tenant), .text(queue.rawValue)])
        for state in states.sorted() {
            switch state {
            case "available":
                conditions.append("(state IN \(QueueMessage.State.waiting) AND run_at <= ?)")
                arguments.append(.timestamp(now))
            case "scheduled", "retryable":
                conditions.append("(state = '\(state)' AND run_at > ?)")
                arguments.append(.timestamp(now))
            default:
                guard let known = QueueMessage.State(rawValue: state), known != .forgotten else { throw Self.noSuchState }
                conditions.append("state = '\(known.rawValue)'")
            }
        }
        let wanted = conditions.isEmpty ? "state <> 'forgotten'" : "(\(conditions.joined(separator: " OR ")))"
        let rest = "WHERE tenant_id = ? AND queue = ? AND \(Self.isShown) AND \(wanted)"
        var total = 0
        let counted = try await store.rows(
            Query("SELECT COUNT(*) FROM queue_messages \(rest)", arguments, kinds: [.integer], tenant: principal.tenant)
        )
        if var row = counted.first { total = Int(row.integer()) }
        let rows = try await store.rows(
            .select(
                from: QueueTables.messages,
                "\(rest) ORDER BY created_at DESC, id DESC LIMIT ? OFFSET ?",
                arguments + [.integer(Int64(page.size)), .integer(Int64((page.number - 1) * page.size))],
                tenant: principal.tenant
            )
        )
        let detail: QueueMessage.Detail = principal.role.canAdminister ? .whole : .masked
        var writer = JSONWriter(capacity: 1024 * rows.count + 128)
        writer.object {
            $0.field("queue_name", queue.rawValue)
            $0.list("items") { for row in rows { QueueMessage(row).write(to: &$0, at: now, detail) } }
            $0.page(page, total: total)
        }
        return writer.bytes
    }

    private static let noSuchState = Refusal.invalid([
        .init(
            ["query", "state"],
            "deve ser available, scheduled, retryable, claimed, sending, sent, cancelled, dropped, dead ou quarantined",
            type: "enum"
        )
    ])

    package func queueMessage(_ id: QueueMessageID, in queue: QueueName, for principal: Principal) async throws(Refusal) -> [UInt8] {
        guard let found = try await stored(id, in: queue, principal.tenant) else { throw .notFound(.message) }
        return found.json(at: now, principal.role.canAdminister ? .withPayload : .masked)
    }

    /// Letters about the account carry the codes that prove who somebody is (`OutgoingMessage.isOfTheAccount`): to nobody here is there such a message.
    private static let isShown = "(subject IS NULL OR subject NOT LIKE '\(OutgoingMessage.ofTheAccount)%')"

    private func stored(_ id: QueueMessageID, in queue: QueueName, _ tenant: TenantID) async throws(Refusal) -> QueueMessage? {
        try await store.rows(
            .select(
                from: QueueTables.messages,
                "WHERE tenant_id = ? AND id = ? AND queue = ? AND state <> 'forgotten' AND \(Self.isShown)",
                [.id(tenant), .id(id), .text(queue.rawValue)],
                tenant: tenant
            )
        ).first.map(QueueMessage.init)
    }

    // MARK: Telling

    package func perform(_ command: QueueCommand, by principal: Principal) async throws(Refusal) -> [UInt8] {
        try principal.requireAdministrator()
        try gate.admit()
        switch command {
        case .rest(let queue, let isPaused, let reason):
            try await put(.init(.paused, isSet: isPaused, by: principal, reason: reason, at: now), on: [queue], principal.tenant)
            return Self.done(isPaused ? "Fila pausada; os envios em andamento terminam" : "Fila retomada") {
                $0.field("queue_name", queue.rawValue)
                $0.field("paused", isPaused)
            }
        case .workers(let queue, let areStopped, let isServer, let reason):
            if isServer, principal.tenant != queues?.operatorTenant {
                throw Refusal(.forbidden, "operator_only", "Só quem opera o servidor pode parar ou iniciar os workers de todas as empresas.")
            }
            let queues = queue.map { [$0] } ?? QueueName.allCases
            let control = QueueControl(isServer ? .serverStopped : .stopped, isSet: areStopped, by: principal, reason: reason, at: now)
            try await put(control, on: queues, principal.tenant)
            return Self.done(areStopped ? "Workers parados; os envios em andamento terminam" : "Workers iniciados") {
                $0.field("queues", strings: queues.map(\.rawValue))
                $0.field("running", !areStopped)
                $0.field("scope", isServer ? "server" : "business")
            }
        case .retry(let queue, let id): return try await order(.retry, on: id, in: queue, principal.tenant)
        case .cancel(let queue, let id, let reason):
            return try await order(.cancel(reason: reason ?? "cancelada por \(principal.name)"), on: id, in: queue, principal.tenant)
        case .retryFailed(let queue, let withQuarantined):
            let count = try await orderFailed(.retry, in: queue, states: withQuarantined ? "('dead', 'quarantined')" : "('dead')", principal.tenant)
            return Self.done("\(count) mensagens serão tentadas de novo") {
                $0.field("queue_name", queue.rawValue)
                $0.field("retried", count)
            }
        case .clearFailed(let queue):
            let count = try await orderFailed(.clear, in: queue, states: "('dead', 'quarantined')", principal.tenant)
            return Self.done("\(count) mensagens falhadas removidas") {
                $0.field("queue_name", queue.rawValue)
                $0.field("deleted", count)
            }
        case .test(let message, let delay, let key):
            var message = message
            message.runAt = now + delay
            let id = try await enqueueOnce(message, key: key, by: principal)
            return Self.done("Mensagem enfileirada") { $0.field("message_id", id.description) }
        }
    }

    private static func done(_ message: String, _ members: (inout JSONWriter) -> Void) -> [UInt8] {
        var writer = JSONWriter()
        writer.object {
            $0.field("success", true)
            $0.field("message", message)
            members(&$0)
        }
        return writer.bytes
    }

    private func put(_ control: QueueControl, on names: [QueueName], _ tenant: TenantID) async throws(Refusal) {
        try await tenants.use(tenant) { cell throws(Refusal) in
            for queue in names { try await cell.put(control, on: queue).committed() }
        }
        if control.kind == .serverStopped { for queue in names { queues?.put(control, on: queue) } }
    }

    /// Carried out once under a key; another request under the same one is refused.
    private func enqueueOnce(_ message: OutgoingMessage, key: String?, by principal: Principal) async throws(Refusal) -> QueueMessageID {
        guard let key else { return try await enqueue([message], of: principal.tenant)[0] }
        var message = message
        message.key = "request:\(principal.user):\(key)"
        let wanted = message
        return try await tenants.use(principal.tenant) { cell throws(Refusal) in
            let rows = try await store.rows(
                .select(
                    from: QueueTables.messages,
                    "WHERE tenant_id = ? AND \"key\" = ? ORDER BY created_at, id LIMIT 1",
                    [.id(principal.tenant), .optional(wanted.key)],
                    tenant: principal.tenant
                )
            )
            guard let earlier = rows.first.map(QueueMessage.init) else { return try await cell.enqueue([wanted]).committed()[0] }
            // Of one that was put away nothing is left to compare.
            guard
                earlier.state == .forgotten
                    || (earlier.content.queue, earlier.content.recipient, earlier.content.payload) == (wanted.queue, wanted.recipient, wanted.payload)
            else { throw Refusal(.conflict, "idempotency_conflict", "Esta Idempotency-Key já foi usada com outro pedido.") }
            return earlier.id
        }
    }

    private func order(_ order: QueueBook.Order, on id: QueueMessageID, in queue: QueueName, _ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        try await tenants.use(tenant) { cell throws(Refusal) in
            let found = try await cell.readingQueues { () async throws(Refusal) in try await stored(id, in: queue, tenant) }
            let changed = try await cell.carryOut(order, on: found.map { [$0] } ?? []).committed()
            guard let found else { throw .notFound(.message) }
            guard let changed = changed.first else {
                if order == .retry, found.state.isFailed, let expiry = found.content.expiresAt, expiry <= now {
                    throw Refusal(
                        .conflict,
                        "message_expired",
                        "A mensagem expirou: não serve mais a ninguém.",
                        facts: ["expires_at": expiry.description]
                    )
                }
                if order == .retry, found.state.isFailed, let full = await cell.noRoom() { throw full }
                throw Refusal(
                    .conflict,
                    "invalid_state",
                    order == .retry
                        ? "Só uma mensagem falhada pode ser tentada de novo." : "A mensagem já foi enviada, está sendo enviada ou terminou.",
                    facts: ["state": found.shownState(at: now)]
                )
            }
            return changed.json(at: now, .whole)
        }
    }

    /// A few hundred at a time: those that had failed by now.
    private func orderFailed(_ order: QueueBook.Order, in queue: QueueName, states: String, _ tenant: TenantID) async throws(Refusal) -> Int {
        let (start, batch, isRetry) = (now, 200, order == .retry)
        // What has expired is not tried again.
        let inTime = isRetry ? "AND (expires_at IS NULL OR expires_at > ?)" : ""
        return try await tenants.use(tenant) { cell throws(Refusal) in
            var count = 0
            while true {
                let found = try await cell.readingQueues { () async throws(Refusal) in
                    try await store.rows(
                        .select(
                            from: QueueTables.messages,
                            "WHERE tenant_id = ? AND queue = ? AND \(Self.isShown) AND state IN \(states) AND finished_at <= ? \(inTime) LIMIT \(batch)",
                            [.id(tenant), .text(queue.rawValue), .timestamp(start)] + (isRetry ? [.timestamp(now)] : []),
                            tenant: tenant
                        )
                    ).map(QueueMessage.init)
                }
                let changed = try await cell.carryOut(order, on: found).committed().count
                count += changed
                if isRetry, changed < found.count, count == 0, let full = await cell.noRoom() { throw full }
                if found.count < batch || changed == 0 { return count }
            }
        }
    }
}
