/// A 128-bit identifier, written as a UUID: 36 lower-case characters.
///
/// New ones are version 7 (RFC 9562 §5.7): the first 48 bits are the Unix time in milliseconds, so that ids made later sort later and rows
/// written together lie together in an index.
package struct UniqueID: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let high: UInt64
    package let low: UInt64

    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// A version 7 id for `time`, with 74 bits taken from `random`.
    package init(at time: Timestamp, random: (UInt64, UInt64)) {
        self.high = UInt64(bitPattern: time.milliseconds) << 16 | 0x7000 | (random.0 & 0x0fff)
        self.low = 0x8000_0000_0000_0000 | (random.1 & 0x3fff_ffff_ffff_ffff)
    }

    /// When it was made, of version 7.
    package var time: Timestamp { Timestamp(milliseconds: Int64(bitPattern: high >> 16)) }

    /// Reads the 36-character form, in either case. `nil` for anything else.
    package init?(_ text: some StringProtocol) {
        var high: UInt64 = 0
        var low: UInt64 = 0
        var digits = 0
        var position = 0
        for byte in text.utf8 {
            if position == 8 || position == 13 || position == 18 || position == 23 {
                guard byte == UInt8(ascii: "-") else { return nil }
            } else {
                guard let value = Self.value(ofHexDigit: byte), digits < 32 else { return nil }
                if digits < 16 { high = high << 4 | value } else { low = low << 4 | value }
                digits += 1
            }
            position += 1
        }
        guard position == 36 else { return nil }
        self.init(high: high, low: low)
    }

    package var description: String {
        String(unsafeUninitializedCapacity: 36) { buffer in
            var position = 0
            for shift in stride(from: 60, through: 0, by: -4) {
                if position == 8 || position == 13 {
                    buffer[position] = UInt8(ascii: "-")
                    position += 1
                }
                buffer[position] = Self.hexDigit(UInt8(truncatingIfNeeded: high >> UInt64(shift)) & 0xf)
                position += 1
            }
            buffer[position] = UInt8(ascii: "-")
            position += 1
            for shift in stride(from: 60, through: 0, by: -4) {
                if position == 23 {
                    buffer[position] = UInt8(ascii: "-")
                    position += 1
                }
                buffer[position] = Self.hexDigit(UInt8(truncatingIfNeeded: low >> UInt64(shift)) & 0xf)
                position += 1
            }
            return position
        }
    }

    package static func < (a: UniqueID, b: UniqueID) -> Bool { (a.high, a.low) < (b.high, b.low) }

    private static func hexDigit(_ value: UInt8) -> UInt8 { value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") - 10 + value }

    private static func value(ofHexDigit byte: UInt8) -> UInt64? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(byte - UInt8(ascii: "a") + 10)
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt64(byte - UInt8(ascii: "A") + 10)
        default: nil
        }
    }
}

/// A `UniqueID` that says what it identifies, so that a message's id cannot be passed for a conversation's.
package struct Identifier<Kind>: Hashable, Comparable, Sendable, CustomStringConvertible {
    package let value: UniqueID

    package init(_ value: UniqueID) { self.value = value }
    package init?(_ text: some StringProtocol) {
        guard let value = UniqueID(text) else { return nil }
        self.value = value
    }

    package var description: String { value.description }
    package static func < (a: Identifier, b: Identifier) -> Bool { a.value < b.value }
}

package enum TenantKind {}
package enum UserKind {}
package enum ContactKind {}
package enum ConversationKind {}
package enum MessageKind {}
package enum JobKind {}
package enum SessionKind {}

package typealias TenantID = Identifier<TenantKind>
package typealias UserID = Identifier<UserKind>
package typealias ContactID = Identifier<ContactKind>
package typealias ConversationID = Identifier<ConversationKind>
package typealias MessageID = Identifier<MessageKind>
package typealias JobID = Identifier<JobKind>
/// A login: what a refresh token belongs to, and what logging out ends.
package typealias LoginSessionID = Identifier<SessionKind>
