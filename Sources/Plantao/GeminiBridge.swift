import Conversations
import Integrations
import Kernel
import Resilience
import Tenancy
import Wire

/// Has Gemini take the bot's turns: the conversation as it wants it, the functions that it may call, and its failures as the breaker understands them.
struct GeminiBridge: Assistant {
    let dialogue: GeminiDialogue
    let environment: Environment

    /// WhatsApp takes no longer text.
    private static let maxCharacters = 4096

    private static let functions: [JSON] = [
        [
            "name": "hand_off",
            "description":
                "Passa a conversa para um atendente humano. Chame quando o cliente pedir uma pessoa, estiver irritado, ou precisar de algo que você não pode fazer.",
            "parameters": [
                "type": "OBJECT",
                "properties": [
                    "reason": ["type": "STRING", "description": "Por que uma pessoa é necessária, em uma frase"],
                    "summary": ["type": "STRING", "description": "Resumo da conversa para o atendente"],
                    "language": ["type": "STRING", "description": "Idioma do cliente: pt, en ou es"],
                ],
                "required": ["reason"],
            ],
        ],
        [
            "name": "lookup_protocol",
            "description": "Consulta a situação de um protocolo de atendimento deste cliente. Sem número, o mais recente.",
            "parameters": [
                "type": "OBJECT",
                "properties": ["number": ["type": "INTEGER", "description": "O número do protocolo, como 42 para #00042"]],
            ],
        ],
    ]

    func answer(_ request: ConsultationRequest, tenant: TenantID, with tools: AssistantTools) async -> AssistantAnswer {
        let instructions =
            request.instructions
            + "\n\nCliente: \(request.contactName). Idioma da conversa: \(request.language). Responda em texto simples, sem Markdown."
        let ask = GeminiRequest(
            instructions: instructions,
            contents: GeminiRequest.contents(request.lines.map { ($0.isCustomer, $0.text) }),
            functions: Self.functions
        )
        let ending = await dialogue.run(ask, show: { await tools.show(Self.fitting($0)) }) { call in
            switch call.name {
            case "hand_off": .ends
            case "lookup_protocol": .value(await tools.lookUpProtocol(Self.number(call.arguments["number"])))
            default: .value(["error": "there is no such function"])
            }
        }
        switch ending.outcome {
        case .said(let isTruncated): return AssistantAnswer(.said(Self.fitting(ending.text, isTruncated: isTruncated)), .succeeded)
        case .called(let call):
            let language = call.arguments["language"]?.string.flatMap { ["pt", "en", "es"].contains($0) ? $0 : nil }
            let text = Self.fitting(ending.text)
            return AssistantAnswer(
                .handOff(
                    text: text.isEmpty ? nil : text,
                    reason: call.arguments["reason"]?.string.map { String($0.prefix(500)) },
                    summary: call.arguments["summary"]?.string.map { String($0.prefix(2000)) },
                    language: language
                ),
                .succeeded
            )
        case .failure(let failure): return AssistantAnswer(.failed, verdict(failure))
        }
    }

    /// `42`, `42.0`, `"42"` or `"#00042"`: models write numbers in many ways.
    private static func number(_ json: JSON?) -> Int64? {
        switch json {
        case .int(let value)?: value
        case .double(let value)?: Int64(exactly: value)
        case .string(let text)?: Int64(text.filter(\.isNumber))
        default: nil
        }
    }

    private static func fitting(_ text: String, isTruncated: Bool = false) -> String {
        var scalars = text.unicodeScalars[...]
        while scalars.last?.properties.isWhitespace == true { scalars.removeLast() }
        guard isTruncated || scalars.count > maxCharacters else { return String(scalars) }
        return String(scalars.prefix(maxCharacters - 2)) + " …"
    }

    private func verdict(_ failure: GeminiFailure) -> CallVerdict {
        switch failure {
        // Quotas of a day begin anew at midnight in California, which is 08:00 UTC in winter.
        case .quota(isDaily: true, _):
            let day: Int64 = 86_400_000
            let sinceReset = (environment.now().milliseconds - 8 * 3_600_000) % day
            return .throttled(.milliseconds(day - sinceReset))
        case .quota(_, let retryAfter?), .overloaded(let retryAfter?): return .throttled(retryAfter)
        default:
            switch failure.isServiceFault {
            case true?: return .failed
            case false?: return .succeeded
            case nil: return .ignored
            }
        }
    }
}
