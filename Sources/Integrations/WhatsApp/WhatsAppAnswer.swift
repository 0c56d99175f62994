import Wire

/// Decides, from a complete answer to a send, what became of the message. Pure: the client around it decides nothing.
package enum WhatsAppAnswer {
    /// - Parameters:
    ///   - status: the HTTP status. It decides only where there is no error code to go by.
    ///   - retryAfter: the `Retry-After` header.
    package static func outcome(status: Int, retryAfter: Duration?, body: [UInt8]) -> SendOutcome {
        let json: JSON? = try? JSON.parse(WhatsAppText.repaired(body))
        if (200...299).contains(status) {
            guard let wamid = json?["messages"]?.array?.first?.optional("id") else {
                return .unknown(reason: "accepted with HTTP \(status), but the answer names no message")
            }
            return .sent(wamid: wamid, waID: json?["contacts"]?.array?.first?.optional("wa_id"))
        }
        guard let error = json?["error"], let code = error.optional("code").flatMap({ Int($0) }) else {
            return outcome(withoutCode: status, retryAfter: retryAfter)
        }
        let rule = WhatsAppErrorRule.rule(for: code)
        // A code that is not listed yet: believe what the answer says about itself.
        let isTransient = rule?.action.isTransient ?? (status >= 500 || status == 429 || error["is_transient"]?.bool == true)
        if isTransient {
            return .retry(after: later(retryAfter, rule?.action.wait), code: code, reason: "error \(code), HTTP \(status)")
        }
        let title = rule?.meaning ?? "O WhatsApp recusou a mensagem (erro \(code)): \(error.optional("message") ?? "sem descrição")"
        return .refused(code: code, title: title, action: rule?.action ?? .reportUnlisted)
    }

    /// An answer of something in between, or of a server too broken to say what is wrong.
    private static func outcome(withoutCode status: Int, retryAfter: Duration?) -> SendOutcome {
        switch status {
        // Nobody is there to take it, which is how an outage begins. A gateway that says 502 or 504 may have passed the message on before.
        case 503: .retry(after: retryAfter, code: nil, reason: "HTTP \(status) without an error code")
        // Whoever gave up may have done so after taking the message.
        case 408, 500...: .unknown(reason: "HTTP \(status) without an error code")
        case 429: .retry(after: later(retryAfter, ErrorAction.slowNumber.wait), code: status, reason: "HTTP 429 without an error code")
        case 401, 403: .refused(code: status, title: "O WhatsApp recusou as credenciais (HTTP \(status))", action: .stopTenant)
        default: .refused(code: status, title: "O WhatsApp recusou a mensagem (HTTP \(status))", action: .reportUnlisted)
        }
    }

    private static func later(_ a: Duration?, _ b: Duration?) -> Duration? {
        guard let a, let b else { return a ?? b }
        return max(a, b)
    }
}
