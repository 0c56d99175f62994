package import Kernel

import struct Foundation.Data

/// A mail as it goes over the line (RFC 5322, RFC 2045–2047): a text and the same as a page, and perhaps an invitation.
///
/// Everything in it is ASCII in lines of at most 76 characters, so that no server has a reason to change it. What stands in a header has neither line breaks nor
/// control characters: nothing that a client or a business has written makes another header.
package struct MailMessage: Sendable {
    package struct Mailbox: Sendable {
        package var name: String?
        package var address: String

        package init(name: String? = nil, address: String) {
            self.name = name
            self.address = address
        }
    }

    package struct Invitation: Sendable {
        /// An iCalendar object.
        package var text: String
        package var method: String

        package init(text: String, method: String) {
            self.text = text
            self.method = method
        }
    }

    package var from: Mailbox
    package var to: Mailbox
    package var replyTo: String?
    package var subject: String
    package var text: String
    package var html: String?
    package var date: Timestamp
    /// Without angle brackets. The same for every attempt to send the same message.
    package var id: String
    package var invitation: Invitation?
    /// What a mail program calls when its user wants no more (RFC 8058).
    package var unsubscribeURL: String?

    package init(from: Mailbox, to: Mailbox, subject: String, text: String, date: Timestamp, id: String) {
        self.from = from
        self.to = to
        self.subject = subject
        self.text = text
        self.date = date
        self.id = id
    }

    package var bytes: [UInt8] {
        var lines = [
            "Date: \(Self.date(date))", "From: \(Self.mailbox(from))", "To: \(Self.mailbox(to))", "Message-ID: <\(Self.plain(id))>",
            "Subject: \(MailWords.encoded(subject, after: 9))",
        ]
        if let replyTo { lines.append("Reply-To: \(Self.plain(replyTo))") }
        if let unsubscribeURL {
            lines += ["List-Unsubscribe: <\(Self.plain(unsubscribeURL))>", "List-Unsubscribe-Post: List-Unsubscribe=One-Click"]
        }
        lines += ["Auto-Submitted: auto-generated", "MIME-Version: 1.0"]
        var writer = Writer(lines: lines, seed: id)
        writer.body(of: self)
        return writer.bytes
    }

    /// `Thu, 26 Nov 2026 23:30:00 +0000`
    static func date(_ time: Timestamp) -> String {
        let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let text = time.description
        let parts = text.prefix(10).split(separator: "-")
        let day = Int((time.milliseconds / 86_400_000) % 7)
        return "\(days[day]), \(Int(parts[2]) ?? 1) \(months[(Int(parts[1]) ?? 1) - 1]) \(parts[0]) \(text.dropFirst(11).prefix(8)) +0000"
    }

    private static func mailbox(_ mailbox: Mailbox) -> String {
        guard let name = mailbox.name, !name.isEmpty else { return "<\(plain(mailbox.address))>" }
        return "\(MailWords.phrase(name)) <\(plain(mailbox.address))>"
    }

    /// Without what has no place in a header's line.
    private static func plain(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.filter { (0x21...0x7e).contains($0.value) && $0 != "<" && $0 != ">" }))
    }

    private struct Writer {
        private var lines: [String]
        private let seed: String

        init(lines: [String], seed: String) {
            self.lines = lines
            // Not in any part: a line of quoted-printable has no "=_".
            self.seed = String(
                seed.unicodeScalars.filter { $0.isASCII && $0.properties.isAlphabetic || ("0"..."9").contains($0) }.map(Character.init).prefix(40)
            )
        }

        var bytes: [UInt8] { Array((lines.joined(separator: "\r\n") + "\r\n").utf8) }

        mutating func body(of mail: MailMessage) {
            guard let invitation = mail.invitation else { return alternatives(of: mail, invitation: nil) }
            // As calendars want it: among the alternatives for programs that answer invitations, and as a file for all others.
            let boundary = "=_mixed_\(seed)"
            lines += ["Content-Type: multipart/mixed; boundary=\"\(boundary)\"", "", "--\(boundary)"]
            alternatives(of: mail, invitation: invitation)
            lines += [
                "--\(boundary)", "Content-Type: application/ics; name=\"agendamento.ics\"",
                "Content-Disposition: attachment; filename=\"agendamento.ics\"", "Content-Transfer-Encoding: base64", "",
            ]
            base64(invitation.text)
            lines += ["--\(boundary)--"]
        }

        private mutating func alternatives(of mail: MailMessage, invitation: Invitation?) {
            guard mail.html != nil || invitation != nil else { return text(mail.text, "text/plain; charset=utf-8") }
            let boundary = "=_alternative_\(seed)"
            lines += ["Content-Type: multipart/alternative; boundary=\"\(boundary)\"", "", "--\(boundary)"]
            text(mail.text, "text/plain; charset=utf-8")
            if let html = mail.html {
                lines += ["--\(boundary)"]
                text(html, "text/html; charset=utf-8")
            }
            if let invitation {
                lines += [
                    "--\(boundary)", "Content-Type: text/calendar; charset=utf-8; method=\(invitation.method)", "Content-Transfer-Encoding: base64",
                    "",
                ]
                base64(invitation.text)
            }
            lines += ["--\(boundary)--"]
        }

        private mutating func text(_ text: String, _ type: String) {
            lines += ["Content-Type: \(type)", "Content-Transfer-Encoding: quoted-printable", ""]
            lines += QuotedPrintable.lines(text)
        }

        private mutating func base64(_ text: String) {
            var rest = Data(text.utf8).base64EncodedString()[...]
            while !rest.isEmpty {
                lines.append(String(rest.prefix(76)))
                rest = rest.dropFirst(76)
            }
        }
    }
}

/// RFC 2047: words that are not ASCII, in a header.
enum MailWords {
    /// - Parameter column: how far the header's line is filled already.
    static func encoded(_ text: String, after column: Int) -> String {
        let clean = String(
            String.UnicodeScalarView(
                text.unicodeScalars.map { $0.value < 0x20 || $0.value == 0x7f || $0 == "\u{2028}" || $0 == "\u{2029}" ? " " : $0 }
            )
        )
        if clean.utf8.allSatisfy({ (0x20...0x7e).contains($0) }), clean.utf8.count + column <= 76, !clean.contains("=?") { return clean }
        // 75 characters a word, of which 12 are around it; never in the middle of a character.
        var words: [String] = []
        var word: [UInt8] = []
        for character in clean.unicodeScalars {
            let bytes = Array(String(character).utf8)
            if word.count + bytes.count > (words.isEmpty ? 36 : 42) {
                words.append(wrapped(word))
                word = []
            }
            word += bytes
        }
        if !word.isEmpty || words.isEmpty { words.append(wrapped(word)) }
        return words.joined(separator: "\r\n ")
    }

    private static func wrapped(_ bytes: [UInt8]) -> String { "=?utf-8?B?\(Data(bytes).base64EncodedString())?=" }

    /// A name before an address: in quotes, or encoded.
    static func phrase(_ name: String) -> String {
        let isPlain = name.utf8.allSatisfy { (0x20...0x7e).contains($0) } && name.utf8.count <= 60 && !name.contains("=?")
        guard isPlain else { return encoded(name, after: 76) }
        return "\"\(name.filter { $0 != "\"" && $0 != "\\" })\""
    }
}

/// RFC 2045 §6.7.
enum QuotedPrintable {
    /// Lines of at most 76 characters, without their ends. Line breaks of the text are line breaks.
    static func lines(_ text: String) -> [String] {
        var lines: [String] = []
        for source in text.replacing("\r\n", with: "\n").split(whereSeparator: { $0 == "\n" || $0 == "\r" || $0 == "\r\n" }, keepingEmpty: true) {
            var line = ""
            let bytes = Array(source.utf8)
            for (index, byte) in bytes.enumerated() {
                let isLast = index == bytes.count - 1
                let isPlain = (0x21...0x7e).contains(byte) && byte != 0x3d || ((byte == 0x20 || byte == 0x09) && !isLast)
                let piece = isPlain ? String(UnicodeScalar(byte)) : hexadecimal(byte)
                if line.utf8.count + piece.utf8.count > 75 {
                    lines.append(line + "=")
                    line = ""
                }
                line += piece
            }
            lines.append(line)
        }
        return lines
    }

    private static func hexadecimal(_ byte: UInt8) -> String {
        let digits = Array("0123456789ABCDEF")
        return "=\(digits[Int(byte >> 4)])\(digits[Int(byte & 15)])"
    }
}

extension String {
    fileprivate func split(whereSeparator isSeparator: (Character) -> Bool, keepingEmpty: Bool) -> [Substring] {
        split(omittingEmptySubsequences: !keepingEmpty, whereSeparator: isSeparator)
    }
}
