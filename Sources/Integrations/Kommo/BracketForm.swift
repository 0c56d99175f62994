package import Kernel
import OrderedCollections
package import Wire

/// `leads[add][0][id]=1&leads[add][0][name]=x`, as PHP and Kommo write structures into a form (`application/x-www-form-urlencoded`).
///
/// Names that are `__proto__` and the like are left out, and so is what goes deeper than anything of theirs.
package enum BracketForm {
    static let maxPairs = 10_000
    static let maxDepth = 8
    private static let forbidden: Set<String> = ["__proto__", "constructor", "prototype"]

    /// An object; lists are objects whose names are numbers.
    package static func parse(_ bytes: [UInt8]) throws(Refusal) -> JSON {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw .invalid([.init(["body"], "o formulário deve estar em UTF-8", type: "form_invalid")])
        }
        let pairs = text.split(separator: "&")
        guard pairs.count <= maxPairs else {
            throw .invalid([.init(["body"], "deve ter no máximo \(maxPairs) campos", type: "too_long")])
        }
        let root = Node()
        for pair in pairs {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let path = path(decoded(parts[0])) else { continue }
            root.put(parts.count > 1 ? decoded(parts[1]) : "", at: path[...])
        }
        return root.order.isEmpty ? .emptyObject : root.json
    }

    private final class Node {
        var value: String?
        var order: [String] = []
        var members: [String: Node] = [:]

        func put(_ text: String, at path: ArraySlice<String>) {
            guard let name = path.first else {
                value = text
                return
            }
            // `a[]=1&a[]=2`
            let key = name.isEmpty ? String(order.count) : name
            if members[key] == nil {
                members[key] = Node()
                order.append(key)
            }
            members[key]?.put(text, at: path.dropFirst())
        }

        var json: JSON {
            guard !order.isEmpty else { return .string(value ?? "") }
            return .object(OrderedDictionary(uniqueKeysWithValues: order.compactMap { name in members[name].map { (name, $0.json) } }))
        }
    }

    /// `nil` for a name that is none of theirs.
    private static func path(_ name: String) -> [String]? {
        var path: [String] = []
        var rest = name[...]
        guard let open = rest.firstIndex(of: "[") else { return rest.isEmpty || forbidden.contains(name) ? nil : [name] }
        path.append(String(rest[..<open]))
        rest = rest[open...]
        while rest.first == "[" {
            guard let close = rest.firstIndex(of: "]") else { return nil }
            path.append(String(rest[rest.index(after: rest.startIndex)..<close]))
            rest = rest[rest.index(after: close)...]
        }
        guard rest.isEmpty, path.count <= maxDepth, path.allSatisfy({ !forbidden.contains($0) }) else { return nil }
        return path
    }

    /// WHATWG URL "application/x-www-form-urlencoded": `+` is a space, `%` and two digits a byte; what is no such escape stays as it is.
    private static func decoded(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        let source = Array(text.utf8)
        var index = 0
        while index < source.count {
            if source[index] == UInt8(ascii: "%"), index + 2 < source.count, let high = digit(source[index + 1]), let low = digit(source[index + 2]) {
                bytes.append(high << 4 | low)
                index += 3
            } else {
                bytes.append(source[index] == UInt8(ascii: "+") ? UInt8(ascii: " ") : source[index])
                index += 1
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func digit(_ byte: UInt8) -> UInt8? { Character(Unicode.Scalar(byte)).hexDigitValue.map { UInt8($0) } }
}
