import Conversations
import HTTPTypes
import Hummingbird
import Integrations
import Kernel
import Tenancy
import Wire

extension API {
    /// Customers who are not there: `POST /api/v1/simulator/messages {from, name?, text}` is what a customer's WhatsApp message would be, and takes the same way
    /// in. Only while WhatsApp itself is not configured, and only for administrators.
    func addSimulator(to router: Router<APIContext>) {
        router.post("/api/v1/simulator/messages") { request, context -> Response in
            let principal = try await principal(request, context)
            try principal.requireAdministrator()
            var fields = try await request.fields()
            let from = fields.text("from", max: 20)
            let name = fields.optionalText("name", min: 1, max: 80)
            let text = fields.text("text", max: 4096)
            if !from.isEmpty, !from.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }) {
                fields.refuse("from", "deve ter só dígitos, como 5511900000001")
            }
            try fields.check()
            let moment = environment.moment()
            let id: Identifier<SimulatedMessage> = moment.id()
            let message = CustomerMessage(
                channel: "whatsapp",
                externalID: "wamid.SIM\(id)",
                from: ContactIdentity(waIDs: BrazilianPhone.variants(of: from), bsuid: nil),
                name: name,
                kind: "text",
                text: text,
                content: nil,
                replyTo: nil,
                sentAt: moment.now
            )
            try await operations.receive([message], tenant: principal.tenant)
            return .json(status: .created) { $0.field("wamid", message.externalID) }
        }
    }

    private enum SimulatedMessage {}
}
