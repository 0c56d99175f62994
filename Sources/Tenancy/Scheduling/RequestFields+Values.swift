package import Kernel
package import Wire

package import struct Foundation.Decimal

extension RequestFields {
    /// An amount of money, as a number or the text of one: nothing smaller than a hundredth.
    package mutating func price(_ name: String) -> Decimal? {
        guard let json = json(name) else { return nil }
        let text: String? =
            switch json {
            case .int(let value): String(value)
            case .double(let value): String(value)
            case .string(let value) where value.utf8.count <= 20: value
            default: nil
            }
        guard let text, Self.isAmount(text), let amount = Decimal(string: text), amount >= 0, amount < 1_000_000_000 else {
            refuse(name, "deve ser um número de 0 a 1000000000, com no máximo duas casas decimais", type: "float_type")
            return nil
        }
        return amount
    }

    /// Digits with at most one point, and two digits after it.
    private static func isAmount(_ text: String) -> Bool {
        let parts = text.split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
        guard parts.allSatisfy({ $0.utf8.allSatisfy { (48...57).contains($0) } }), !parts.allSatisfy(\.isEmpty) else { return false }
        return parts.count == 1 || parts[1].utf8.count <= 2
    }

    /// What the client keeps with a thing: an object or a list of its own, as JSON.
    package mutating func object(_ name: String) -> String? {
        guard let json = json(name) else { return nil }
        guard json.object != nil || json.array != nil else {
            refuse(name, "deve ser um objeto ou uma lista", type: "dict_type")
            return nil
        }
        let text = json.text
        guard text.utf8.count <= 20_000, !text.contains("\\u0000"), !text.utf8.contains(0) else {
            refuse(name, "deve ter no máximo 20000 bytes", type: "too_long")
            return nil
        }
        return text
    }

    /// - Parameter thing: `nil` until `check`, where it is wrong or missing.
    package mutating func id<Kind>(_ name: String, isRequired: Bool = false) -> Identifier<Kind>? {
        let text = isRequired ? text(name, max: 64) : optionalText(name, max: 64)
        guard let text, !text.isEmpty else { return nil }
        guard let id = Identifier<Kind>(text) else {
            refuse(name, "deve ser um UUID", type: "uuid_parsing")
            return nil
        }
        return id
    }

    /// A telephone number as people write it.
    package mutating func whatsapp(_ name: String, isRequired: Bool) -> String? {
        guard let text = isRequired ? text(name, max: 32) : optionalText(name, min: 1, max: 32), !text.isEmpty else { return nil }
        let digits = text.count { $0.isASCII && $0.isNumber }
        guard (8...15).contains(digits), text.allSatisfy({ $0.isASCII && ($0.isNumber || " +-().".contains($0)) }) else {
            refuse(name, "deve ser um número de telefone com DDD, como +5511999999999")
            return nil
        }
        return text
    }

    package mutating func email(_ name: String) -> String? {
        guard let text = optionalText(name, min: 3, max: 254) else { return nil }
        let parts = text.split(separator: "@", omittingEmptySubsequences: false)
        // Scalar by scalar: a mark that joins one of them must not hide it.
        guard parts.count == 2, !parts[0].isEmpty, parts[1].contains("."),
            !text.unicodeScalars.contains(where: { $0.properties.isWhitespace || "<>\",;:".unicodeScalars.contains($0) })
        else {
            refuse(name, "deve ser um e-mail válido", type: "value_error")
            return nil
        }
        return text
    }
}
