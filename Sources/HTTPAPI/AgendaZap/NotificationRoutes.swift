import HTTPTypes
import Hummingbird
import Identity
import Jobs
import Kernel
import NIOCore
import Notifications
import Tenancy
import Wire

/// How clients are told of their appointments: rules, what messages say, and who wants none (contracts/agendazap.md "NotificationService").
extension API {
    func addNotifications(to router: Router<APIContext>) {
        let settingsPath = "/api/users/notification-settings"
        router.get("\(settingsPath)") { request, context -> Response in
            .json(try await operations.notificationSettings(for: try await principal(request, context)))
        }
        router.put("\(settingsPath)") { request, context -> Response in
            let principal = try await principal(request, context)
            return .json(try await operations.changeNotificationSettings(try await request.json(), by: principal))
        }

        let optOuts = "/api/users/notification-opt-outs"
        router.get("\(optOuts)") { request, context -> Response in
            let principal = try await principal(request, context)
            var channel: OutgoingMessage.Channel?
            if let text = request.query("channel") {
                channel = OutgoingMessage.Channel(rawValue: text)
                if channel == nil { throw Refusal.invalid([.init(["query", "channel"], "deve ser whatsapp ou email", type: "enum")]) }
            }
            return .json(try await operations.optOuts(channel, recipient: request.query("recipient"), try request.page(), for: principal))
        }
        router.put("\(optOuts)") { request, context -> Response in
            let principal = try await principal(request, context)
            var fields = try await request.fields()
            let channel = OutgoingMessage.Channel(rawValue: fields.text("channel", max: 16))
            if channel == nil { fields.refuse("channel", "deve ser whatsapp ou email", type: "enum") }
            let recipient = fields.text("recipient", max: 254)
            let isOut = fields.optionalBool("is_opted_out") ?? true
            try fields.check()
            return .json(try await operations.optOut(channel ?? .email, recipient, isOut: isOut, by: principal))
        }
        addTemplates(to: router)
        addUnsubscribing(to: router)
    }

    private func addTemplates(to router: Router<APIContext>) {
        let path = "/api/queues/templates"
        router.get("\(path)") { request, context -> Response in
            .json(try await operations.messageTemplates(for: try await principal(request, context)))
        }
        router.put("\(path)/:event/:channel") { request, context -> Response in
            let principal = try await principal(request, context)
            let (name, channel) = try Self.template(context)
            return .json(try await operations.putTemplate(try await request.json(), name, channel, by: principal))
        }
        router.delete("\(path)/:event/:channel") { request, context -> Response in
            let principal = try await principal(request, context)
            let (name, channel) = try Self.template(context)
            return .json(try await operations.removeTemplate(name, channel, by: principal))
        }
        router.post("\(path)/:event/:channel/preview") { request, context -> Response in
            let principal = try await principal(request, context)
            let (name, channel) = try Self.template(context)
            let tenant = await directory.tenant(principal.tenant)
            let sender = Sender(name: tenant?.name ?? "", slug: tenant?.slug ?? "", publicURL: settings.publicURL)
            return .json(try await operations.previewTemplate(try await request.json(), name, channel, sender, by: principal))
        }
    }

    private static func template(_ context: APIContext) throws(Refusal) -> (TemplateName, OutgoingMessage.Channel) {
        guard let name = context.parameters.get("event").flatMap({ TemplateName($0) }),
            let channel = context.parameters.get("channel").flatMap({ OutgoingMessage.Channel(rawValue: String($0)) })
        else { throw .notFound(.template) }
        return (name, channel)
    }

    // MARK: One click

    /// Without a credential: whoever has the address has been sent it. Looking at it changes nothing, as programs that look at links for their readers do; a
    /// `POST`, which mail programs send for their users (RFC 8058), does.
    private func addUnsubscribing(to router: Router<APIContext>) {
        let path = "/api/notifications/unsubscribe/:token"
        router.get("\(path)") { request, context -> Response in
            let (target, name) = try await unsubscribing(context)
            return Self.page(
                """
                <h1>\(Self.html(name))</h1>
                <p>Não receber mais lembretes em <strong>\(Self.html(target.recipient))</strong>?</p>
                <p>Avisos sobre o que você agendar continuam.</p>
                <form method="post"><button type="submit">Não quero mais lembretes</button></form>
                """
            )
        }
        router.post("\(path)") { request, context -> Response in
            let (target, name) = try await unsubscribing(context)
            let isOut = request.query("undo") == nil
            try await operations.optOut(target.channel, target.recipient, isOut: isOut, .link, of: target.tenant)
            return Self.page(
                isOut
                    ? """
                    <h1>\(Self.html(name))</h1>
                    <p>Pronto: não enviaremos mais lembretes para <strong>\(Self.html(target.recipient))</strong>.</p>
                    <form method="post" action="?undo=1"><button type="submit">Foi engano: quero receber</button></form>
                    """
                    : """
                    <h1>\(Self.html(name))</h1>
                    <p>Pronto: você voltará a receber lembretes em <strong>\(Self.html(target.recipient))</strong>.</p>
                    """
            )
        }
    }

    private func unsubscribing(_ context: APIContext) async throws -> (UnsubscribeLinks.Target, String) {
        guard let token = context.parameters.get("token"), let target = settings.unsubscribing?.target(token),
            let tenant = await directory.tenant(target.tenant)
        else { throw Refusal.notFound(.subscription) }
        return (target, tenant.name)
    }

    private static func html(_ text: String) -> String { HTMLText.escaped(text) }

    private static func page(_ body: String) -> Response {
        let page = """
            <!DOCTYPE html>
            <html lang="pt-BR"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Lembretes</title></head>
            <body>\(body)</body></html>
            """
        return Response(
            status: .ok,
            headers: [.contentType: "text/html; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: page))
        )
    }
}
