package import OrderedCollections

/// A JSON value (RFC 8259), for reading what came from outside. What we send is written straight to bytes by `JSONWriter`.
package enum JSON: Sendable, Hashable {
    case null
    case bool(Bool)
    /// A number without fraction or exponent that fits 64 bits.
    case int(Int64)
    case double(Double)
    case string(String)
    case array([JSON])
    /// Members in their order; of members with the same name, the last one.
    case object(OrderedDictionary<String, JSON>)

    package static let emptyObject = JSON.object([:])

    package subscript(name: String) -> JSON? {
        if case .object(let members) = self { members[name] } else { nil }
    }

    package var string: String? { if case .string(let value) = self { value } else { nil } }
    package var int: Int64? { if case .int(let value) = self { value } else { nil } }
    package var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
    package var array: [JSON]? { if case .array(let value) = self { value } else { nil } }
    package var object: OrderedDictionary<String, JSON>? { if case .object(let value) = self { value } else { nil } }
    /// The names of an object's members.
    package var names: [String]? { object.map { Array($0.keys) } }
    package var isNull: Bool { self == .null }

    /// The value as compact JSON text.
    package var bytes: [UInt8] {
        var writer = JSONWriter()
        writer.value(self)
        return writer.bytes
    }
    package var text: String { String(decoding: bytes, as: UTF8.self) }
}

extension JSON: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral,
    ExpressibleByDictionaryLiteral
{
    package init(stringLiteral value: String) { self = .string(value) }
    package init(integerLiteral value: Int64) { self = .int(value) }
    package init(booleanLiteral value: Bool) { self = .bool(value) }
    package init(arrayLiteral elements: JSON...) { self = .array(elements) }
    package init(dictionaryLiteral elements: (String, JSON)...) { self = .object(OrderedDictionary(elements) { _, last in last }) }
}

/// Where a text stops being JSON, and why.
package struct JSONError: Error, Equatable, CustomStringConvertible {
    package let offset: Int
    package let reason: String
    package var description: String { "byte \(offset): \(reason)" }
}

extension JSON {
    /// An object with one more member, or with another value for one that it has.
    package func adding(_ name: String, _ value: JSON) -> JSON {
        guard case .object(var members) = self else { return self }
        members[name] = value
        return .object(members)
    }

    /// An object without one of its members.
    package func removing(_ name: String) -> JSON {
        guard case .object(var members) = self, members.removeValue(forKey: name) != nil else { return self }
        return .object(members)
    }
}
