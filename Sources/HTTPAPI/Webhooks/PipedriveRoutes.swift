import Crypto
import HTTPTypes
import Hummingbird
package import Integrations
package import Kernel
import NIOCore
import Wire

/// How Pipedrive reaches us, and whose it is.
package struct PipedriveDoor: Sendable {
    package struct Report: Sendable {
        package var told = 0
        package var heard = 0
        package var own = 0
        package var lastToldAt: Timestamp?
        /// Why it does not go on.
        package var problem: String?

        package init() {}
    }

    package let tenant: TenantID
    /// What its webhooks are set up with; `nil`: none are taken.
    package let credential: (user: String, password: String)?
    package let report: @Sendable () -> Report
    /// Returns when the news is on disk.
    package let take: @Sendable (PipedriveNews) async throws(Refusal) -> Void

    package init(
        tenant: TenantID,
        credential: (user: String, password: String)?,
        report: @escaping @Sendable () -> Report,
        take: @escaping @Sendable (PipedriveNews) async throws(Refusal) -> Void
    ) {
        self.tenant = tenant
        self.credential = credential
        self.report = report
        self.take = take
    }
}

extension API {
    func addPipedrive(to router: Router<APIContext>) {
        // Pipedrive signs nothing; it logs in (research/conversations.md §8). 200 means that it is on disk; anything else, and it comes again.
        router.post("/api/webhooks/pipedrive") { request, context -> Response in
            guard request.headers[.authorization] != nil else {
                throw Refusal(.unauthenticated, "basic_auth_invalid", "Credencial ausente: o webhook entra com usuário e senha (Basic).")
            }
            guard let door = settings.pipedrive, let credential = door.credential else {
                throw Refusal(.forbidden, "webhook_closed", "O webhook está fechado: PIPEDRIVE_WEBHOOK_PASSWORD não foi configurado.")
            }
            guard Self.isBasic(request.headers[.authorization], credential) else {
                throw Refusal(.unauthenticated, "basic_auth_invalid", "Usuário ou senha do webhook inválidos.")
            }
            guard let json = try await request.json() else { throw Self.notADelivery }
            switch PipedriveNews.read(json) {
            case .news(let news):
                context.notes.note("person_id", news.person)
                try await door.take(news)
            case .nothing: break
            case .unreadable: throw Self.notADelivery
            }
            return .json { $0.field("status", "ok") }
        }

        router.get("/api/v1/pipedrive/status") { request, context -> Response in
            let principal = try await principal(request, context)
            try principal.requireAdministrator()
            let door = settings.pipedrive.flatMap { $0.tenant == principal.tenant ? $0 : nil }
            let report = door?.report()
            return .json {
                $0.field("mode", door == nil ? "off" : "configured")
                $0.field("webhook", door?.credential == nil ? "closed" : "open")
                $0.field("handoffs_told", report?.told ?? 0)
                $0.field("webhooks_applied", report?.heard ?? 0)
                $0.field("webhooks_own", report?.own ?? 0)
                $0.field("last_told_at", report?.lastToldAt?.description)
                $0.field("problem", report?.problem)
            }
        }
    }

    private static let notADelivery = Refusal(.malformed, "not_a_delivery", "O corpo não é uma entrega do Pipedrive (webhooks v2).")

    /// RFC 7617. Compared as hashes, which takes the same time whatever was sent.
    private static func isBasic(_ header: String?, _ credential: (user: String, password: String)) -> Bool {
        guard let header, header.lowercased().hasPrefix("basic ") else { return false }
        let given = header.dropFirst("basic ".count).drop { $0 == " " }
        let expected = base64(Array("\(credential.user):\(credential.password)".utf8))
        return SHA256.hash(data: Array(given.utf8)) == SHA256.hash(data: Array(expected.utf8))
    }

    /// RFC 4648 §4.
    private static func base64(_ bytes: [UInt8]) -> String {
        let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var text: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: 3) {
            let group = bytes[start..<min(start + 3, bytes.count)]
            let bits = group.reduce(0) { $0 << 8 | UInt32($1) } << (8 * UInt32(3 - group.count))
            for place in 0..<4 { text.append(place <= group.count ? digits[Int(bits >> (18 - 6 * UInt32(place)) & 63)] : UInt8(ascii: "=")) }
        }
        return String(decoding: text, as: UTF8.self)
    }
}
