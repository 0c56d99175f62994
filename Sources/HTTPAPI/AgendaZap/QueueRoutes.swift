import HTTPTypes
import Hummingbird
import Jobs
import Kernel
import NIOCore
import Tenancy
import Wire

/// contracts/agendazap.md "Filas", at its own paths, with what belongs to them: messages one by one, pausing, cancelling.
extension API {
    func addQueues(to router: Router<APIContext>) {
        let base = "/api/queues"
        router.get("\(base)/status") { request, context -> Response in
            .json(try await operations.queueStatus(for: try await principal(request, context)))
        }
        router.get("\(base)/workers/status") { request, context -> Response in
            .json(try await operations.queueWorkers(for: try await principal(request, context)))
        }
        for verb in ["start", "stop"] {
            router.post("\(base)/workers/\(verb)") { request, context -> Response in
                // `?queue=` as well as the body's `queue_name`.
                let name = request.query("queue") ?? request.query("queue_name")
                return try await tell("\(verb)-workers", request, context, name.map { ["queue_name": .string($0)] } ?? [:])
            }
        }
        router.post("\(base)/test/whatsapp") { request, context -> Response in try await tell("test-whatsapp", request, context) }
        router.post("\(base)/test/email") { request, context -> Response in try await tell("test-email", request, context) }

        router.get("\(base)/failed/:queue_name") { request, context -> Response in
            let principal = try await principal(request, context)
            let states: Set<String> = ["dead", "quarantined"]
            return .json(try await operations.queueMessages(try queue(context), states: states, try request.page(defaultSize: 20), for: principal))
        }
        router.delete("\(base)/failed/:queue_name") { request, context -> Response in
            try await tell("clear-failed", request, context)
        }
        router.post("\(base)/failed/:queue_name/retry") { request, context -> Response in
            let flag = try request.flag("include_quarantined")
            return try await tell("retry-failed", request, context, flag.map { ["include_quarantined": .bool($0)] } ?? [:])
        }
        router.post("\(base)/failed/:queue_name/:id/retry") { request, context -> Response in
            try await tell("retry", request, context)
        }

        router.get("\(base)/:queue_name/messages") { request, context -> Response in
            let principal = try await principal(request, context)
            let states = Set((request.query("state") ?? "").split(separator: ",").map(String.init))
            return .json(try await operations.queueMessages(try queue(context), states: states, try request.page(defaultSize: 20), for: principal))
        }
        router.get("\(base)/:queue_name/messages/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            let id: QueueMessageID = try context.identifier(.message)
            return .json(try await operations.queueMessage(id, in: try queue(context), for: principal))
        }
        router.post("\(base)/:queue_name/messages/:id/cancel") { request, context -> Response in
            try await tell("cancel", request, context)
        }
        for verb in ["pause", "resume"] {
            router.post("\(base)/:queue_name/\(verb)") { request, context -> Response in try await tell(verb, request, context) }
        }
    }

    private func queue(_ context: APIContext) throws(Refusal) -> QueueName {
        try QueueCommand.queue(context.parameters.get("queue_name") ?? "")
    }

    /// What RPC has among the fields and REST in the path.
    private func path(_ context: APIContext) throws(Refusal) -> [String: JSON] {
        guard context.parameters.get("queue_name") != nil else { return [:] }
        var fields: [String: JSON] = ["queue_name": .string(try queue(context).rawValue)]
        if let id = context.parameters.get("id") {
            context.notes.note("message_id", id)
            fields["message_id"] = .string(id)
        }
        return fields
    }

    private func tell(_ verb: String, _ request: Request, _ context: APIContext, _ query: [String: JSON] = [:]) async throws -> Response {
        let principal = try await principal(request, context)
        let named = try query.merging(path(context)) { _, path in path }
        let key = try request.idempotencyKey
        var body = try await request.json()
        // Without an object there is nothing to put them into, which is said by whoever reads it.
        if body == nil || body?.isNull == true { body = .emptyObject }
        if body?.object != nil { for (name, value) in named.sorted(by: { $0.key < $1.key }) { body = body?.adding(name, value) } }
        guard let command = try QueueCommand.read(verb: verb, body, idempotencyKey: key) else { throw Refusal.notFound(.queue) }
        return .json(try await operations.perform(command, by: principal))
    }
}
