import Conversations
import HTTPTypes
import Hummingbird
import Identity
import Kernel
import Tenancy
import Wire

extension API {
    func addWhatsAppNumbers(to router: Router<APIContext>) {
        router.get("/api/v1/whatsapp/status") { request, context -> Response in
            let principal = try await principal(request, context)
            let tenant = await directory.tenant(principal.tenant)
            let setAside = try await operations.setAsideCount()
            let office = settings.whatsapp
            let stop = office?.stops.stop(of: principal.tenant)
            return .json { body in
                body.field("mode", settings.isSimulated ? "simulator" : "cloud_api")
                body.field("phone_number_id", tenant?.phoneNumberID)
                body.field("webhook", settings.whatsappSignature == nil ? "closed" : "open")
                body.field("deliveries_set_aside", setAside)
                body.field("account") { account in
                    account.field("state", stop == nil ? "ok" : "stopped")
                    account.field("code", stop?.failure.code)
                    account.field("message", stop?.failure.message)
                    account.field("since", stop?.since.description)
                }
                body.list("stopped_numbers") { list in
                    for (number, stop) in office?.stops.stoppedNumbers(of: principal.tenant) ?? [] {
                        list.object {
                            $0.field("phone_number_id", number)
                            $0.field("code", stop.failure.code)
                            $0.field("message", stop.failure.message)
                            $0.field("since", stop.since.description)
                        }
                    }
                }
                body.list("numbers") { write(numbersOf: tenant, to: &$0) }
                body.field("jobs_waiting", office?.waiting(principal.tenant) ?? 0)
                body.field("last_delivery_at", office?.lastDeliveryAt?.description)
            }
        }

        // A person has put the account in order: what waits goes at once instead of within the minute.
        router.post("/api/v1/whatsapp/resume") { request, context -> Response in
            let principal = try await principal(request, context)
            try principal.requireAdministrator()
            let office = try office()
            let wasStopped = office.stops.lift(principal.tenant)
            office.hasten(principal.tenant)
            return .json { $0.field("resumed", wasStopped) }
        }

        router.get("/api/v1/whatsapp/numbers") { request, context -> Response in
            let principal = try await principal(request, context)
            try requireOwner(principal)
            let tenant = await directory.tenant(principal.tenant)
            return .json { $0.list("items") { write(numbersOf: tenant, to: &$0) } }
        }

        router.post("/api/v1/whatsapp/numbers") { request, context -> Response in
            let principal = try await principal(request, context)
            try requireOwner(principal)
            let office = try office()
            var fields = try await request.fields()
            let id = fields.text("phone_number_id", max: 32)
            let waba = fields.optionalText("waba_id", min: 1, max: 32)
            let token = fields.optionalText("access_token", min: 1, max: 1024)
            let isNumber = !id.isEmpty && id.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
            if !id.isEmpty, !isNumber { fields.refuse("phone_number_id", "deve ter só dígitos: é o id que a Meta dá ao número") }
            // The server's own token is for the business it was configured for, or anybody could claim any number it reaches.
            let isFirst = await directory.tenants.first?.id == principal.tenant
            if token == nil, !isFirst { fields.refuse("access_token", "campo obrigatório", type: "missing") }
            try fields.check()
            let display: String?
            switch await office.check(id, token) {
            case .ok(let number): display = number
            case .refused(let reason):
                throw Refusal.invalid("access_token", message: "o WhatsApp não aceita este token para este número (\(reason))")
            case .unreachable: throw Refusal(.unavailable, "whatsapp_unreachable", "O WhatsApp não respondeu; tente de novo.", retryAfterSeconds: 30)
            }
            let sealed = try token.map(office.seal)
            let number = WhatsAppNumber(
                tenant: principal.tenant,
                phoneNumberID: id,
                wabaID: waba,
                displayNumber: display,
                sealedToken: sealed,
                createdAt: environment.now()
            )
            let isNew = try await office.numbers.register(number)
            office.stops.lift(principal.tenant)
            office.hasten(principal.tenant)
            var writer = JSONWriter()
            number.write(to: &writer)
            return .json(writer.bytes, status: isNew ? .created : .ok)
        }

        router.delete("/api/v1/whatsapp/numbers/:id") { request, context -> Response in
            let principal = try await principal(request, context)
            try requireOwner(principal)
            let id = context.parameters.get("id") ?? ""
            if await directory.tenant(principal.tenant)?.phoneNumberID == id {
                throw Refusal(.conflict, "number_configured", "Este número vem de WHATSAPP_PHONE_NUMBER_ID e só pode ser retirado da configuração.")
            }
            try await office().numbers.remove(id, of: principal.tenant)
            return Response(status: .noContent)
        }
    }

    private func office() throws(Refusal) -> WhatsAppOffice {
        guard let office = settings.whatsapp else { throw .stopping }
        return office
    }

    private func requireOwner(_ principal: Principal) throws(Refusal) {
        guard principal.role == .owner else { throw Refusal(.forbidden, "role_forbidden", "Só o dono da conta pode fazer isto.") }
    }

    /// The one from the configuration first.
    private func write(numbersOf tenant: Tenant?, to list: inout JSONWriter) {
        guard let tenant else { return }
        if let id = tenant.phoneNumberID {
            list.object {
                $0.field("phone_number_id", id)
                $0.field("waba_id", tenant.wabaID)
                $0.field("display_number", JSON.null)
                $0.field("source", "configuration")
                $0.field("own_token", false)
                $0.field("created_at", tenant.createdAt.description)
            }
        }
        for number in settings.whatsapp?.numbers.numbers(of: tenant.id) ?? [] { number.write(to: &list) }
    }
}
