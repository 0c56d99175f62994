import Glibc
import Wire

/// What is read of the lines that a socket hears: by looking for the few members needed in pushes, which are many; properly in replies, which are few.
enum CentrifugeLine {
    /// The offset of a publication, the last member of `pub`; nil in a push without one. `{"push":{"channel":…,"pub":{"data":…,"offset":7}}}`
    static func offset(ofPush line: UnsafeRawBufferPointer) -> UInt64? {
        var index = line.count - 1
        while index >= 0, line[index] == UInt8(ascii: "}") { index -= 1 }
        var (value, scale): (UInt64, UInt64) = (0, 1)
        while index >= 0, (0x30...0x39).contains(line[index]) {
            value &+= UInt64(line[index] - 0x30) &* scale
            scale &*= 10
            index -= 1
        }
        guard scale > 1, index >= 8, let base = line.baseAddress, memcmp(base + index - 8, "\"offset\":", 9) == 0 else { return nil }
        return value
    }

    static func isError(_ line: UnsafeRawBufferPointer) -> Bool { line.firstIndex(of: "\"error\":", to: 32) != nil }
}

/// Looks for the `type` of a publication, which stands near its beginning, in most lines at the same place as in the line before.
struct TypeMark {
    private let mark: [UInt8]
    private var usual = 0

    init(_ type: String) { mark = Array("\"type\":\"\(type)\"".utf8) }

    mutating func isIn(_ line: UnsafeRawBufferPointer) -> Bool {
        let found = mark.withUnsafeBytes { line.has($0, at: usual) ? usual : line.firstIndex(of: $0, to: 192) }
        if let found { usual = found }
        return found != nil
    }
}

/// The answer to a subscription.
struct SubscribeAnswer {
    let offset: UInt64
    let epoch: String
    let isRecovered: Bool
    /// What was missed, as text.
    let publications: ArraySlice<UInt8>

    /// Nil when it is something else.
    init?(_ line: UnsafeRawBufferPointer) throws(JSONError) {
        guard let result = try JSONMembers(Array(line)).members("subscribe") else { return nil }
        offset = UInt64(try result.value("offset")?.int ?? 0)
        epoch = try result.value("epoch")?.string ?? ""
        isRecovered = try result.value("recovered")?.bool ?? false
        publications = result["publications"] ?? []
    }
}
