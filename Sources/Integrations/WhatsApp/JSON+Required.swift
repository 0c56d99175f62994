import Kernel
import Wire

/// Why one element of a delivery cannot be read. Names members, never their contents.
struct UnreadableElement: Error, Equatable {
    let reason: String
}

extension JSON {
    /// The text of a member, `nil` when it is absent, empty or of another type. Numbers count as text: ids are strings in WhatsApp's own
    /// payloads, and numbers in those of some who relay them.
    func optional(_ name: String) -> String? {
        switch self[name] {
        case .string(let text): text.isEmpty ? nil : text
        case .int(let number): String(number)
        default: nil
        }
    }

    func required(_ name: String) throws(UnreadableElement) -> String {
        guard let text = optional(name) else { throw UnreadableElement(reason: "\(name) is missing") }
        return text
    }

    /// An id, which is stored under its own index: WhatsApp's have about a hundred characters.
    func requiredID(_ name: String) throws(UnreadableElement) -> String {
        let text = try required(name)
        guard text.utf8.count <= 512 else { throw UnreadableElement(reason: "\(name) is longer than 512 bytes") }
        return text
    }

    func requiredObject(_ name: String) throws(UnreadableElement) -> JSON {
        guard let member = self[name], member.object != nil else { throw UnreadableElement(reason: "\(name) is not an object") }
        return member
    }

    func requiredList(_ name: String) throws(UnreadableElement) -> [JSON] {
        guard let elements = self[name]?.array else { throw UnreadableElement(reason: "\(name) is not a list") }
        return elements
    }

    func requiredNumber(_ name: String) throws(UnreadableElement) -> Double {
        switch self[name] {
        case .double(let number): return number
        case .int(let number): return Double(number)
        default: throw UnreadableElement(reason: "\(name) is not a number")
        }
    }

    /// Unix seconds, as a string of digits. What is outside the years a calendar can write is refused, before it can overflow.
    func requiredTime(_ name: String) throws(UnreadableElement) -> Timestamp {
        let year10000: Int64 = 253_402_300_800
        guard let seconds = Int64(try required(name)), (0..<year10000).contains(seconds) else {
            throw UnreadableElement(reason: "\(name) is not a time in Unix seconds")
        }
        return Timestamp(seconds: seconds)
    }

    /// `errors` of a message, a status or a change; those without a code are left out.
    var whatsAppErrors: [WhatsAppError] {
        (array ?? []).compactMap { error in
            guard let code = error.optional("code").flatMap({ Int($0) }) else { return nil }
            return WhatsAppError(
                code: code,
                title: error.optional("title") ?? error.optional("message") ?? "",
                details: error["error_data"]?.optional("details") ?? error.optional("details")
            )
        }
    }
}
