import HTTPTypes
import Hummingbird
import Kernel
import Resilience
import Synchronization

/// Weighs each request against the allowance of whoever sent it.
///
/// Who has no credential is weighed before anything is done for them, by their address. Who has one is weighed where it is verified (`API.principal`), as the
/// user they are, by what they ask for. One that turns out to be worth nothing counts as none.
///
/// Every answer says how it stands (draft-ietf-httpapi-ratelimit-headers-07): `RateLimit-Limit`, `-Remaining`, `-Reset` in seconds, and `RateLimit-Policy`.
struct LimitRequests: RouterMiddleware {
    let book: RequestBook
    let proxies: [AddressRange]

    func handle(_ request: Request, context: APIContext, next: @concurrent (Request, APIContext) async throws -> Response) async throws -> Response {
        // The streams have a book of their own (`Admission`), and what opens them is not over when it is answered.
        let path = request.uri.path
        if path.hasPrefix("/connection/") || path == "/emulation" { return try await next(request, context) }
        let isRead = request.method == .get || request.method == .head
        context.weight.isRead = isRead
        let kind: RequestLimits.Class =
            if path.hasPrefix("/api/webhooks/") {
                .webhooks
            } else if !isRead, path.hasPrefix("/api/v1/auth/") || path.hasPrefix("/api/auth/") {
                .login
            } else {
                isRead ? .publicReads : .publicWrites
            }
        let hasCredential = kind != .login && kind != .webhooks && (request.headers[.authorization] != nil || request.headers[Self.apiKey] != nil)
        if !hasCredential, let refused = weigh(kind, request, context) { return refused }
        var response = try await next(request, context)
        if hasCredential, response.status == .unauthorized, context.weight.decision == nil, let refused = weigh(kind, request, context) {
            return refused
        }
        if let (limit, decision) = context.weight.decision { Self.show(limit, decision, in: &response) }
        return response
    }

    private func weigh(_ kind: RequestLimits.Class, _ request: Request, _ context: APIContext) -> Response? {
        let address = context.origin(request, trusting: proxies)
        guard let (limit, decision) = book.take(kind, .address(address.network)) else { return nil }
        context.weight.decision = (limit, decision)
        guard decision.allowed == 0 else { return nil }
        let refusal = Refusal.tooManyRequests(kind, limit, decision)
        context.notes.note("error", refusal.message)
        context.notes.note("code", refusal.code)
        var response = Response.refusal(refusal)
        Self.show(limit, decision, in: &response)
        return response
    }

    private static func show(_ limit: RateLimit, _ decision: RateLimit.Decision, in response: inout Response) {
        response.headers[limitName] = String(limit.burst)
        response.headers[remaining] = String(decision.remaining)
        response.headers[reset] = String(decision.resetAfter.inWholeSecondsUp)
        response.headers[policy] = "\(limit.burst);w=\((limit.burst + limit.perSecond - 1) / limit.perSecond)"
    }

    private static let apiKey = HTTPField.Name("api-key")!
    private static let limitName = HTTPField.Name("RateLimit-Limit")!
    private static let remaining = HTTPField.Name("RateLimit-Remaining")!
    private static let reset = HTTPField.Name("RateLimit-Reset")!
    private static let policy = HTTPField.Name("RateLimit-Policy")!
}

/// What a request weighs and how it stands with its sender. Written by one task.
package final class RequestWeight: Sendable {
    private struct State {
        var isRead = true
        var decision: RequestBook.Decision?
    }
    private let state = Mutex(State())

    var isRead: Bool {
        get { state.withLock { $0.isRead } }
        set { state.withLock { $0.isRead = newValue } }
    }
    var decision: RequestBook.Decision? {
        get { state.withLock { $0.decision } }
        set { state.withLock { $0.decision = newValue } }
    }
}

extension APIContext {
    /// Who sent a request, for limits and for the record.
    func origin(_ request: Request, trusting proxies: [AddressRange]) -> ClientAddress {
        let peer = peer ?? ClientAddress(high: 0, low: 0)
        guard !proxies.isEmpty else { return peer }
        let header = HTTPField.Name("X-Forwarded-For")!
        return ClientAddress.origin(peer: peer, forwardedFor: request.headers[fields: header].map(\.value), trusting: proxies)
    }
}

extension API {
    /// Counts a request of somebody who has proved who they are: against what they have for this endpoint, and if that lets it pass, against what they have
    /// altogether. So what is refused at one endpoint takes nothing from the others.
    func weigh(_ key: RequestBook.Key, _ request: Request, _ context: APIContext) throws(Refusal) {
        let endpoint = "\(request.method.rawValue) \(context.endpointPath ?? "")"
        let kind = RequestLimits.Class(request, isRead: context.weight.isRead)
        for (kind, key) in [(kind, .endpoint(endpoint, key)), (.overall, key)] {
            guard let (limit, decision) = book.take(kind, key) else { continue }
            // Of the two, the one that will be used up first is told.
            if decision.allowed == 0 || context.weight.decision.map({ $0.decision.remaining > decision.remaining }) ?? true {
                context.weight.decision = (limit, decision)
            }
            if decision.allowed == 0 { throw .tooManyRequests(kind, limit, decision) }
        }
    }
}
