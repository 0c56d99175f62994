package import Wire

/// A conversation as Gemini takes it (research/conversations.md §7).
package struct GeminiRequest: Sendable, Equatable {
    package struct Content: Sendable, Equatable {
        /// `user` or `model`.
        package let role: String
        package var parts: [JSON]

        package init(role: String, parts: [JSON]) {
            self.role = role
            self.parts = parts
        }

        package static func text(_ text: String, from role: String) -> Content { Content(role: role, parts: [["text": .string(text)]]) }
    }

    package var instructions: String
    package var contents: [Content]
    /// Declarations, in the API's own schema.
    package var functions: [JSON]
    package var maxOutputTokens: Int

    package init(instructions: String, contents: [Content], functions: [JSON] = [], maxOutputTokens: Int = 1024) {
        self.instructions = instructions
        self.contents = contents
        self.functions = functions
        self.maxOutputTokens = maxOutputTokens
    }

    package var body: [UInt8] {
        var writer = JSONWriter(capacity: 4096)
        writer.object {
            $0.field("systemInstruction") { $0.field("parts", .array([["text": .string(instructions)]])) }
            $0.list("contents") { list in
                for content in contents {
                    list.object {
                        $0.field("role", content.role)
                        $0.field("parts", .array(content.parts))
                    }
                }
            }
            if !functions.isEmpty { $0.field("tools", .array([["functionDeclarations": .array(functions)]])) }
            $0.field("generationConfig") {
                $0.field("temperature", .double(0.4))
                $0.field("maxOutputTokens", maxOutputTokens)
            }
        }
        return writer.bytes
    }

    /// The lines of a conversation, those of one side in a row as one content, beginning with the customer as the API demands.
    package static func contents(_ lines: some Sequence<(isCustomer: Bool, text: String)>) -> [Content] {
        var contents: [Content] = []
        for line in lines {
            let role = line.isCustomer ? "user" : "model"
            if contents.isEmpty, role == "model" { continue }
            if contents.last?.role == role {
                contents[contents.count - 1].parts.append(["text": .string(line.text)])
            } else {
                contents.append(.text(line.text, from: role))
            }
        }
        return contents
    }
}
