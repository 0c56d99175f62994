import NIOCore

/// What a generated message says about itself, at the beginning of its text, in ASCII that JSON leaves as it is:
///
///     ~load LLLLL SSSSSSSSSS TTTTTTTTTTTTTTTTTTT~xxxxxxx…
///           lane  sequence   due, nanoseconds
///
/// A lane is one sender: its messages are numbered from 1 and are to arrive in that order. `due` is the moment the message should have been sent, so that a
/// sender held up by the server does not hide it (coordinated omission).
struct Stamp: Equatable {
    let lane: Int
    let sequence: UInt32
    /// On the clock of `now`.
    let due: Int64

    static let byteCount = 6 + 5 + 1 + 10 + 1 + 19 + 1
    private static let mark: StaticString = "~load "

    /// Nanoseconds of a clock that only goes forward, the same for all processes of a machine.
    static func now() -> Int64 { Int64(NIODeadline.now().uptimeNanoseconds) }

    /// The text, padded to `byteCount` bytes.
    func write(to bytes: inout [UInt8], byteCount: Int) {
        bytes.append(contentsOf: UnsafeBufferPointer(start: Self.mark.utf8Start, count: Self.mark.utf8CodeUnitCount))
        Self.write(UInt64(lane), digits: 5, to: &bytes)
        bytes.append(UInt8(ascii: " "))
        Self.write(UInt64(sequence), digits: 10, to: &bytes)
        bytes.append(UInt8(ascii: " "))
        Self.write(UInt64(due), digits: 19, to: &bytes)
        bytes.append(UInt8(ascii: "~"))
        if byteCount > Self.byteCount { bytes.append(contentsOf: repeatElement(UInt8(ascii: "x"), count: byteCount - Self.byteCount)) }
    }

    /// The first one in `text`, and the index behind it.
    static func find(in text: UnsafeRawBufferPointer, from start: Int = 0) -> (stamp: Stamp, end: Int)? {
        guard let first = text.firstIndex(of: mark, from: start), first + byteCount <= text.count,
            let lane = number(text, first + 6, digits: 5), let sequence = number(text, first + 12, digits: 10),
            let due = number(text, first + 23, digits: 19), sequence <= UInt32.max, due <= Int64.max
        else { return nil }
        return (Stamp(lane: Int(lane), sequence: UInt32(sequence), due: Int64(due)), first + byteCount)
    }

    private static func write(_ number: UInt64, digits: Int, to bytes: inout [UInt8]) {
        let start = bytes.count
        bytes.append(contentsOf: repeatElement(UInt8(ascii: "0"), count: digits))
        var (rest, index) = (number, start + digits - 1)
        while rest > 0, index >= start {
            bytes[index] = UInt8(ascii: "0") + UInt8(rest % 10)
            rest /= 10
            index -= 1
        }
    }

    private static func number(_ text: UnsafeRawBufferPointer, _ start: Int, digits: Int) -> UInt64? {
        var value: UInt64 = 0
        for index in start..<start + digits {
            let digit = text[index] &- UInt8(ascii: "0")
            guard digit < 10 else { return nil }
            value = value &* 10 &+ UInt64(digit)
        }
        return value
    }
}
