/// The members of one object, each value still the text it came as: for reading an envelope without building a tree of what is inside.
package struct JSONMembers: Sendable {
    /// The text all ranges are in; shared by the objects found inside this one.
    private let text: [UInt8]
    private let members: [(name: String, value: Range<Int>)]

    /// Reads an object with white space around it. `range` is the part of `text` it must fill; all of it must be UTF-8.
    package init(_ text: [UInt8], in range: Range<Int>? = nil) throws(JSONError) {
        try self.init(text, range: range ?? text.indices, isUTF8: false)
    }

    private init(_ text: [UInt8], range: Range<Int>, isUTF8: Bool) throws(JSONError) {
        self.text = text
        members = try Self.read(text, range, isUTF8: isUTF8).get()
    }

    private static func read(_ text: [UInt8], _ range: Range<Int>, isUTF8: Bool) -> Result<[(name: String, value: Range<Int>)], JSONError> {
        text.withUnsafeBufferPointer { whole in
            let bytes = UnsafeBufferPointer(rebasing: whole[range])
            guard isUTF8 || UTF8Validator.isValid(UnsafeRawBufferPointer(bytes)) else { return .failure(JSONError(offset: 0, reason: "not UTF-8")) }
            do throws(JSONError) {
                var found: [(name: String, value: Range<Int>)] = []
                var reader = JSONReader(bytes: bytes)
                reader.skipSpace()
                guard reader.peek(UInt8(ascii: "{")) else { throw reader.failure("an object is expected") }
                try reader.members(depth: 1) { (reader, name, depth) throws(JSONError) in
                    let start = reader.position
                    try reader.skip(depth: depth)
                    var key = JSONReader(bytes: bytes, position: name.lowerBound)
                    found.append((try key.string(), range.lowerBound + start..<range.lowerBound + reader.position))
                }
                reader.skipSpace()
                guard reader.position == bytes.count else { throw reader.failure("text after the end of the value") }
                return .success(found)
            } catch {
                return .failure(error)
            }
        }
    }

    package var isEmpty: Bool { members.isEmpty }
    package var names: [String] { members.map(\.name) }

    /// The text of a member's value; of members with the same name, the last one. A null is as good as absent.
    package subscript(name: String) -> ArraySlice<UInt8>? {
        guard let range = members.last(where: { $0.name == name })?.value else { return nil }
        let value = text[range]
        return value.first == UInt8(ascii: "n") ? nil : value
    }

    /// A member's value, read.
    package func value(_ name: String) throws(JSONError) -> JSON? {
        guard let text = self[name] else { return nil }
        return try JSON.parse(text)
    }

    /// The members of a member that is an object.
    package func members(_ name: String) throws(JSONError) -> JSONMembers? {
        guard let value = self[name] else { return nil }
        return try JSONMembers(text, range: value.indices, isUTF8: true)
    }

    /// The objects in a member that is an array.
    package func elements(_ name: String) throws(JSONError) -> [JSONMembers] {
        guard let value = self[name] else { return [] }
        var elements: [JSONMembers] = []
        for range in try Self.ranges(text, value.indices).get() { elements.append(try JSONMembers(text, range: range, isUTF8: true)) }
        return elements
    }

    private static func ranges(_ text: [UInt8], _ range: Range<Int>) -> Result<[Range<Int>], JSONError> {
        text.withUnsafeBufferPointer { whole in
            var reader = JSONReader(bytes: UnsafeBufferPointer(rebasing: whole[..<range.upperBound]), position: range.lowerBound)
            var found: [Range<Int>] = []
            do throws(JSONError) {
                guard reader.peek(UInt8(ascii: "[")) else { throw reader.failure("an array is expected") }
                try reader.elements(depth: 1) { (reader, depth) throws(JSONError) in
                    let start = reader.position
                    try reader.skip(depth: depth)
                    found.append(start..<reader.position)
                }
                return .success(found)
            } catch {
                return .failure(error)
            }
        }
    }
}
