package import Wire

/// Why there is no answer. `label` is fit for a log and a metric: it carries nothing that anybody wrote.
package enum GeminiFailure: Error, Sendable, Equatable {
    /// The key is wrong, or not for this.
    case invalidKey
    case locationUnsupported
    case modelNotFound
    case badRequest
    /// `isDaily`: nothing more today. `retryAfter`: as the service said.
    case quota(isDaily: Bool, retryAfter: Duration?)
    case overloaded(retryAfter: Duration?)
    case server(status: Int)
    case noFirstToken
    case tooSlow
    case dropped
    case malformed
    /// The body ended before the answer did.
    case incomplete
    /// `blockReason` of the prompt, or `finishReason` of the answer.
    case blocked(String)
    case empty
    case outOfTokens
    case tooManyRounds
    case cancelled

    package var label: String {
        switch self {
        case .invalidKey: "invalid_key"
        case .locationUnsupported: "location_unsupported"
        case .modelNotFound: "model_not_found"
        case .badRequest: "bad_request"
        case .quota(let isDaily, _): isDaily ? "daily_quota" : "quota"
        case .overloaded: "overloaded"
        case .server: "server_error"
        case .noFirstToken: "no_first_token"
        case .tooSlow: "too_slow"
        case .dropped: "dropped"
        case .malformed: "malformed"
        case .incomplete: "incomplete"
        case .blocked: "blocked"
        case .empty: "empty"
        case .outOfTokens: "out_of_tokens"
        case .tooManyRounds: "too_many_rounds"
        case .cancelled: "cancelled"
        }
    }

    package static let labels = [
        "invalid_key", "location_unsupported", "model_not_found", "bad_request", "daily_quota", "quota", "overloaded", "server_error",
        "no_first_token",
        "too_slow", "dropped", "malformed", "incomplete", "blocked", "empty", "out_of_tokens", "too_many_rounds", "cancelled",
    ]

    /// Whether the next customer would meet it too; `nil` when nothing was learnt of the service.
    package var isServiceFault: Bool? {
        switch self {
        case .blocked, .empty, .outOfTokens, .tooManyRounds: false
        case .cancelled, .badRequest: nil
        default: true
        }
    }

    /// The error in `{"error": {code, status, message, details}}`, or in an array around it; `nil` when it is none.
    package init?(_ json: JSON) {
        guard let error = (json.array?.first ?? json)["error"], error.object != nil else { return nil }
        self.init(status: Int(error["code"]?.int ?? 500), error)
    }

    /// An answer that is not 200.
    package init(status: Int, body: [UInt8]) {
        let json = try? JSON.parse(body)
        self.init(status: status, (json?.array?.first ?? json)?["error"] ?? .null)
    }

    private init(status: Int, _ error: JSON) {
        let details = error["details"]?.array ?? []
        func isKind(_ detail: JSON, _ kind: String) -> Bool { detail["@type"]?.string?.hasSuffix(kind) == true }
        let reasons = details.filter { isKind($0, "ErrorInfo") }.compactMap { $0["reason"]?.string }
        let quotas = details.filter { isKind($0, "QuotaFailure") }.flatMap { $0["violations"]?.array ?? [] }.compactMap { $0["quotaId"]?.string }
        let retryAfter = details.first { isKind($0, "RetryInfo") }?["retryDelay"]?.string.flatMap(Self.duration)
        switch (status, error["status"]?.string) {
        case (400, _) where reasons.contains("API_KEY_INVALID"): self = .invalidKey
        case (400, "FAILED_PRECONDITION"?): self = .locationUnsupported
        case (401, _), (403, _): self = .invalidKey
        case (404, _): self = .modelNotFound
        case (429, _): self = .quota(isDaily: quotas.contains { $0.contains("PerDay") }, retryAfter: retryAfter)
        case (499, _): self = .dropped
        case (503, _): self = .overloaded(retryAfter: retryAfter)
        case (400..<500, _): self = .badRequest
        default: self = .server(status: status)
        }
    }

    /// `"37s"`, `"1.5s"` (google.protobuf.Duration as JSON); a day is as good as any longer time.
    private static func duration(_ text: String) -> Duration? {
        guard text.hasSuffix("s"), let seconds = Double(text.dropLast()), seconds >= 0 else { return nil }
        return .milliseconds(Int64(min(seconds, 86_400) * 1000))
    }
}
