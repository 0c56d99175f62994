/// The members of a command or reply, read as proto3 reads JSON: what is absent or null has its default, what has another type is refused.
struct CentrifugeFields {
    let members: JSONMembers

    init(_ members: JSONMembers) { self.members = members }

    init(_ text: [UInt8], in range: Range<Int>? = nil) throws(CentrifugeProtocolError) {
        members = try Self.reading { () throws(JSONError) in try JSONMembers(text, in: range) }
    }

    subscript(name: String) -> CentrifugeFields? {
        get throws(CentrifugeProtocolError) {
            try Self.reading { () throws(JSONError) in try members.members(name) }.map(CentrifugeFields.init)
        }
    }

    func elements(_ name: String) throws(CentrifugeProtocolError) -> [CentrifugeFields] {
        try Self.reading { () throws(JSONError) in try members.elements(name) }.map(CentrifugeFields.init)
    }

    /// An object used as a map from names to objects.
    func map<T>(_ name: String, _ read: (String, CentrifugeFields) throws(CentrifugeProtocolError) -> T) throws(CentrifugeProtocolError)
        -> [String: T]
    {
        var map: [String: T] = [:]
        guard let fields = try bounded(name) else { return map }
        for key in fields.members.names {
            if let value = try fields[key] { map[key] = try read(key, value) }
        }
        return map
    }

    /// An object used as a map from names to strings.
    func strings(_ name: String) throws(CentrifugeProtocolError) -> [String: String] {
        var map: [String: String] = [:]
        guard let fields = try bounded(name) else { return map }
        for key in fields.members.names { map[key] = try fields.string(key) }
        return map
    }

    /// An object with few enough members to look each of them up.
    private func bounded(_ name: String) throws(CentrifugeProtocolError) -> CentrifugeFields? {
        let fields = try self[name]
        if let fields, fields.members.names.count > 256 { throw CentrifugeProtocolError(reason: "\(name) has more than 256 members") }
        return fields
    }

    func json(_ name: String) throws(CentrifugeProtocolError) -> JSON {
        try Self.reading { () throws(JSONError) in try members.value(name) } ?? .null
    }

    func raw(_ name: String) -> [UInt8]? { members[name].map(Array.init) }

    func string(_ name: String) throws(CentrifugeProtocolError) -> String {
        switch try json(name) {
        case .null: return ""
        case .string(let value): return value
        default: throw CentrifugeProtocolError(reason: "\(name) must be a string")
        }
    }

    func bool(_ name: String) throws(CentrifugeProtocolError) -> Bool {
        switch try json(name) {
        case .null: return false
        case .bool(let value): return value
        default: throw CentrifugeProtocolError(reason: "\(name) must be a boolean")
        }
    }

    func integer<Number: FixedWidthInteger>(_ name: String, as: Number.Type = Number.self) throws(CentrifugeProtocolError) -> Number {
        switch try json(name) {
        case .null: return 0
        case .int(let value):
            guard let number = Number(exactly: value) else { fallthrough }
            return number
        default:
            throw CentrifugeProtocolError(reason: "\(name) must be an integer from \(Number.min) to \(min(UInt64(Number.max), UInt64(Int64.max)))")
        }
    }

    func position() throws(CentrifugeProtocolError) -> StreamPosition {
        StreamPosition(epoch: try string("epoch"), offset: try integer("offset"))
    }

    private static func reading<T>(_ body: () throws(JSONError) -> T) throws(CentrifugeProtocolError) -> T {
        do throws(JSONError) { return try body() } catch { throw CentrifugeProtocolError(reason: error.description) }
    }
}

extension CentrifugeProtocolError {
    /// The lines of a frame. Blank ones are nothing: an intermediary may send them to keep a stream alive.
    static func lines(of frame: [UInt8], max: Int, of what: String) throws(CentrifugeProtocolError) -> [Range<Int>] {
        var lines: [Range<Int>] = []
        var start = 0
        while start < frame.count {
            let end = frame[start...].firstIndex(of: UInt8(ascii: "\n")) ?? frame.count
            if frame[start..<end].contains(where: { $0 != 0x20 && $0 != 0x09 && $0 != 0x0d }) {
                guard lines.count < max else { throw CentrifugeProtocolError(reason: "more than \(max) \(what) in a frame") }
                lines.append(start..<end)
            }
            start = end + 1
        }
        guard !lines.isEmpty else { throw CentrifugeProtocolError(reason: "an empty frame") }
        return lines
    }
}
