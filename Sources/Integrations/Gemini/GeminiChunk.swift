package import Wire

/// One call of a function that the model asks for.
package struct GeminiCall: Sendable, Equatable {
    package let name: String
    package let arguments: JSON
    package let id: String?

    package init(name: String, arguments: JSON, id: String? = nil) {
        self.name = name
        self.arguments = arguments
        self.id = id
    }
}

/// `usageMetadata`. Each frame's replaces the one before.
package struct GeminiUsage: Sendable, Equatable {
    package var promptTokens = 0
    package var answerTokens = 0
    package var thoughtTokens = 0

    package init(promptTokens: Int = 0, answerTokens: Int = 0, thoughtTokens: Int = 0) {
        self.promptTokens = promptTokens
        self.answerTokens = answerTokens
        self.thoughtTokens = thoughtTokens
    }

    package static func + (a: GeminiUsage, b: GeminiUsage) -> GeminiUsage {
        GeminiUsage(
            promptTokens: a.promptTokens + b.promptTokens,
            answerTokens: a.answerTokens + b.answerTokens,
            thoughtTokens: a.thoughtTokens + b.thoughtTokens
        )
    }
}

/// One response object of a stream. Everything in it may be missing: candidates, their content, the content's parts.
package struct GeminiChunk: Sendable, Equatable {
    /// What is for the customer: thoughts are not.
    package var text = ""
    /// As they came, for the next turn: thoughts and signatures go back unchanged.
    package var parts: [JSON] = []
    package var calls: [GeminiCall] = []
    package var finishReason: String?
    package var blockReason: String?
    package var usage: GeminiUsage?

    package init(_ json: JSON) {
        if let candidate = json["candidates"]?.array?.first {
            parts = candidate["content"]?["parts"]?.array ?? []
            finishReason = candidate["finishReason"]?.string
        }
        for part in parts {
            if let call = part["functionCall"], let name = call["name"]?.string {
                calls.append(GeminiCall(name: name, arguments: call["args"] ?? .emptyObject, id: call["id"]?.string))
            } else if let text = part["text"]?.string, part["thought"]?.bool != true {
                self.text += text
            }
        }
        blockReason = json["promptFeedback"]?["blockReason"]?.string
        if let usage = json["usageMetadata"] {
            func count(_ name: String) -> Int { max(0, Int(usage[name]?.int ?? 0)) }
            self.usage = GeminiUsage(
                promptTokens: count("promptTokenCount"),
                answerTokens: count("candidatesTokenCount"),
                thoughtTokens: count("thoughtsTokenCount")
            )
        }
    }
}

/// All that has come of one answer, and what it amounts to at its end.
package struct GeminiAnswer: Sendable, Equatable {
    package enum Conclusion: Sendable, Equatable {
        /// `isTruncated`: the model ran out of tokens, however complete it looks.
        case said(isTruncated: Bool)
        /// Functions to be called first, in this order.
        case calls
        case failure(GeminiFailure)
    }

    package private(set) var text = ""
    package private(set) var parts: [JSON] = []
    package private(set) var calls: [GeminiCall] = []
    package private(set) var usage: GeminiUsage?
    private var finishReason: String?
    private var blockReason: String?

    package init() {}

    /// - Returns: whether there is more for the customer.
    package mutating func take(_ chunk: GeminiChunk) -> Bool {
        text += chunk.text
        parts += chunk.parts
        calls += chunk.calls
        usage = chunk.usage ?? usage
        finishReason = chunk.finishReason ?? finishReason
        blockReason = chunk.blockReason ?? blockReason
        return !chunk.text.isEmpty
    }

    private static let refusals: Set<String> = [
        "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY", "MALFORMED_FUNCTION_CALL",
    ]

    package var conclusion: Conclusion {
        if let blockReason { return .failure(.blocked(blockReason)) }
        let isBlank = text.unicodeScalars.allSatisfy(\.properties.isWhitespace)
        switch finishReason {
        case nil: return .failure(.incomplete)
        case let reason? where Self.refusals.contains(reason): return .failure(.blocked(reason))
        case _ where !calls.isEmpty: return .calls
        // Thinking may eat the whole budget.
        case "MAX_TOKENS"?: return isBlank ? .failure(.outOfTokens) : .said(isTruncated: true)
        // A reason that is not known here is judged by what came with it.
        default: return isBlank ? .failure(.empty) : .said(isTruncated: false)
        }
    }
}
