package import Jobs
package import Kernel
package import Storage

/// Who wants no reminders: by channel and recipient, each in the one form that all ways to write it have in common.
package struct OptOuts: Sendable {
    package enum Source: String, Sendable { case whatsapp, link, staff }

    package struct Entry: Sendable, Equatable {
        package let channel: OutgoingMessage.Channel
        package let recipient: String
        package var isOut: Bool
        package var source: Source
        package var updatedAt: Timestamp
        package var version: Int64

        package init(_ row: Row) {
            var row = row
            let _: TenantID = row.id()
            channel = OutgoingMessage.Channel(rawValue: row.text()) ?? .email
            recipient = row.text()
            isOut = row.boolean()
            source = Source(rawValue: row.text()) ?? .staff
            updatedAt = row.timestamp()
            version = row.integer()
        }

        init(_ channel: OutgoingMessage.Channel, _ recipient: String, isOut: Bool, _ source: Source, at time: Timestamp, version: Int64) {
            self.channel = channel
            self.recipient = recipient
            self.isOut = isOut
            self.source = source
            self.version = version
            updatedAt = time
        }

        func image(tenant: TenantID) -> RowImage {
            RowImage(
                NotificationTables.optOuts,
                version: version,
                values: [.id(tenant), .text(channel.rawValue), .text(recipient), .boolean(isOut), .text(source.rawValue), .timestamp(updatedAt)]
            )
        }
    }

    private struct Key: Hashable {
        let channel: OutgoingMessage.Channel
        let recipient: String
    }

    private var entries: [Key: Entry] = [:]

    package init() {}
    package init(_ rows: [Row]) {
        for row in rows {
            let entry = Entry(row)
            entries[Key(channel: entry.channel, recipient: entry.recipient)] = entry
        }
    }

    package func isOut(_ channel: OutgoingMessage.Channel, _ recipient: String) -> Bool {
        entries[Key(channel: channel, recipient: Recipient.canonical(recipient, channel))]?.isOut ?? false
    }

    /// - Returns: `nil` when it was so already.
    package mutating func put(_ channel: OutgoingMessage.Channel, _ recipient: String, isOut: Bool, _ source: Source, at time: Timestamp) -> Entry? {
        let key = Key(channel: channel, recipient: Recipient.canonical(recipient, channel))
        guard (entries[key]?.isOut ?? false) != isOut else { return nil }
        let entry = Entry(channel, key.recipient, isOut: isOut, source, at: time, version: (entries[key]?.version ?? 0) + 1)
        entries[key] = entry
        return entry
    }

    /// What somebody writes to be left alone, and to be told again.
    package enum Word: Sendable, Equatable {
        case out, back

        package init?(_ text: String) {
            guard text.utf8.count <= 64 else { return nil }
            let plain = String(
                String.UnicodeScalarView(
                    text.uppercased().unicodeScalars.filter { $0.properties.isAlphabetic || $0 == " " || (0x30...0x39).contains($0.value) }
                )
            )
            switch plain.split(separator: " ").joined(separator: " ") {
            case "SAIR", "PARAR", "STOP", "CANCELAR MENSAGENS", "DESCADASTRAR", "NÃO QUERO RECEBER", "NAO QUERO RECEBER": self = .out
            case "VOLTAR", "RECEBER MENSAGENS": self = .back
            default: return nil
            }
        }
    }
}

/// Whom something goes to.
package enum Recipient {
    /// A telephone number's digits with the country code: one without a plus sign that has as many digits as a Brazilian number with its area code is one.
    package static func number(_ text: String) -> String? {
        let digits = text.filter { $0.isASCII && $0.isNumber }
        guard digits.count >= 8 else { return nil }
        return !text.contains("+") && (10...11).contains(digits.count) ? "55" + digits : digits
    }

    /// The form that all ways to write it have in common: e-mail addresses in lower case, numbers as digits, Brazilian mobiles without the ninth one.
    package static func canonical(_ text: String, _ channel: OutgoingMessage.Channel) -> String {
        guard channel == .whatsapp else { return text.lowercased() }
        let digits = Array((number(text) ?? text.filter { $0.isASCII && $0.isNumber }).utf8)
        let nine = UInt8(ascii: "9")
        guard digits.count == 13, digits.starts(with: "55".utf8), digits[4] == nine else { return String(decoding: digits, as: UTF8.self) }
        return String(decoding: digits[..<4] + digits[5...], as: UTF8.self)
    }
}
