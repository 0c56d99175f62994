import Hummingbird
import Kernel
import Tenancy

extension API {
    func addBot(to router: Router<APIContext>) {
        let base = "/api/v1/bot/flow"
        router.get("\(base)") { request, context -> Response in
            .json(try await operations.botFlow(for: try await principal(request, context)))
        }
        // The flow itself → 200, the version that it has become; 422 with every fault.
        router.put("\(base)") { request, context -> Response in
            let principal = try await principal(request, context)
            return .json(try await operations.saveBotFlow(try await request.json(), by: principal))
        }
        router.get("\(base)/versions") { request, context -> Response in
            let principal = try await principal(request, context)
            return .json(try await operations.botFlowVersions(try request.page(), for: principal))
        }
        router.get("\(base)/versions/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            return .json(try await operations.botFlowVersion(try context.number(.flow), for: principal))
        }
        router.post("\(base)/versions/:id/activate") { request, context -> Response in
            let principal = try await principal(request, context)
            return .json(try await operations.activateBotFlow(try context.number(.flow), by: principal))
        }
        // `{flow?, inputs, name?, at?, assistant?}` → what would be answered. Nothing is stored and nobody is written to.
        router.post("\(base)/preview") { request, context -> Response in
            let principal = try await principal(request, context)
            return .json(try await operations.previewBotFlow(try await request.json(), for: principal))
        }
    }
}
