import Foundation
import Integrations
import Kernel
import Testing

@Suite struct MailMessageTests {
    private static func mail(_ subject: String = "Olá", _ text: String = "Olá, Ana!\nAté já.") -> MailMessage {
        MailMessage(
            from: .init(name: "Salão da Ana", address: "agenda@example.com"),
            to: .init(name: "Ana \"Aninha\" Lima", address: "ana@example.net"),
            subject: subject,
            text: text,
            date: Timestamp(seconds: 1_772_409_600),
            id: "019c-1@example.com"
        )
    }

    private static func lines(_ mail: MailMessage) -> [String] {
        String(decoding: mail.bytes, as: UTF8.self).components(separatedBy: "\r\n")
    }

    @Test func headersAreWhatTheyShallBe() {
        let lines = Self.lines(Self.mail())
        #expect(lines[0] == "Date: Mon, 2 Mar 2026 00:00:00 +0000")
        #expect(lines[1] == "From: =?utf-8?B?\(Data("Salão da Ana".utf8).base64EncodedString())?= <agenda@example.com>")
        #expect(lines[2] == "To: \"Ana Aninha Lima\" <ana@example.net>")
        #expect(lines[3] == "Message-ID: <019c-1@example.com>")
        #expect(lines.contains("Subject: =?utf-8?B?T2zDoQ==?=") && lines.contains("MIME-Version: 1.0"))
        #expect(lines.suffix(3) == ["Ol=C3=A1, Ana!", "At=C3=A9 j=C3=A1.", ""])
    }

    @Test func nothingThatSomebodyWritesMakesAnotherHeader() {
        var mail = Self.mail("x\r\nBcc: a@b.c\n\nbody")
        mail.from.name = "a\r\nBcc: a@b.c"
        mail.to.name = "b\u{0}\r\nX: y"
        mail.replyTo = "r@x.y\r\nBcc: a@b.c"
        mail.unsubscribeURL = "https://x.y/z>\r\nBcc: a@b.c"
        mail.id = "a\r\nBcc: x@y"
        let head = Self.lines(mail).prefix { !$0.isEmpty }
        #expect(!head.contains { $0.hasPrefix("Bcc") || $0.hasPrefix("X:") || $0.hasPrefix("body") })
        #expect(head.count { !$0.hasPrefix(" ") } == head.count)
    }

    @Test func everyLineIsShortAndASCII() {
        var mail = Self.mail(String(repeating: "Agendamento às 9 – ação ", count: 20), String(repeating: "palavra ção=", count: 300) + "\n.\n fim \n")
        mail.html = "<p>" + String(repeating: "ã", count: 3000) + "</p>"
        mail.invitation = .init(text: String(repeating: "BEGIN:VEVENT\r\n", count: 100), method: "REQUEST")
        for line in Self.lines(mail) {
            #expect(line.utf8.count <= 76 || line.hasPrefix("Content-"), "\(line)")
            #expect(line.utf8.allSatisfy { (0x20...0x7e).contains($0) })
        }
    }

    @Test func oneClickIsAsMailProgramsWantIt() {
        var mail = Self.mail()
        mail.unsubscribeURL = "https://x.example/api/notifications/unsubscribe/abc"
        let lines = Self.lines(mail)
        #expect(lines.contains("List-Unsubscribe: <https://x.example/api/notifications/unsubscribe/abc>"))
        #expect(lines.contains("List-Unsubscribe-Post: List-Unsubscribe=One-Click"))
    }
}
