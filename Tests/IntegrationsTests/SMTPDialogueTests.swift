import Foundation
import Integrations
import Testing

@Suite struct SMTPDialogueTests {
    private typealias Output = SMTPDialogue.Output

    private static func dialogue(
        _ security: SMTPDialogue.Security = .starttls,
        _ message: String = "Subject: x\r\n\r\n.dot\r\n..two\r\nend\r\n",
        password: String? = "pa ss"
    ) throws -> SMTPDialogue {
        let envelope = try #require(SMTPDialogue.Envelope(from: "de@example.com", to: "para@example.net"))
        return SMTPDialogue(
            envelope,
            message: Array(message.utf8),
            security: security,
            credentials: password.map { .init(user: "u", password: $0) },
            name: "plantao.test"
        )
    }

    /// Says what a server says, in pieces, and gives back what was answered; a handshake succeeds at once.
    private static func talk(_ dialogue: inout SMTPDialogue, _ replies: [String], pieces: Int = .max, isWanted: Bool = true) -> (
        said: [String], end: SMTPResult?
    ) {
        var said: [String] = []
        var end: SMTPResult?
        func take(_ outputs: [Output], _ dialogue: inout SMTPDialogue) {
            for output in outputs {
                switch output {
                case .send(let bytes): said.append(String(decoding: bytes, as: UTF8.self))
                case .startTLS:
                    said.append("<TLS>")
                    take(dialogue.secured(), &dialogue)
                case .ask: take(dialogue.wanted(isWanted), &dialogue)
                case .end(let result): end = result
                }
            }
        }
        for reply in replies {
            var rest = Array(reply.utf8)[...]
            while !rest.isEmpty {
                take(dialogue.received(rest.prefix(pieces)), &dialogue)
                rest = rest.dropFirst(pieces)
            }
        }
        return (said, end)
    }

    private static let wholeWay = [
        "220-olá\r\n220 mx.example.net ESMTP\r\n", "250-mx\r\n250-SIZE 1000000\r\n250 STARTTLS\r\n", "220 go\r\n",
        "250-mx\r\n250-AUTH LOGIN PLAIN\r\n250 SIZE 1000000\r\n", "235 ok\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n",
        "250 2.0.0 queued as 17\r\n",
    ]

    @Test(arguments: [1, 2, 3, 7, Int.max]) func aMessageGoesItsWayHoweverTheBytesAreCut(_ pieces: Int) throws {
        var dialogue = try Self.dialogue()
        let (said, end) = Self.talk(&dialogue, Self.wholeWay, pieces: pieces)
        #expect(
            said == [
                "EHLO plantao.test\r\n", "STARTTLS\r\n", "<TLS>", "EHLO plantao.test\r\n", "AUTH PLAIN AHUAcGEgc3M=\r\n",
                "MAIL FROM:<de@example.com> SIZE=32\r\n", "RCPT TO:<para@example.net>\r\n", "DATA\r\n",
                "Subject: x\r\n\r\n..dot\r\n...two\r\nend\r\n.\r\n", "QUIT\r\n",
            ]
        )
        #expect(end == .sent("250 2.0.0 queued as 17"))
        #expect(dialogue.lost("late") == [] && dialogue.received(Array("421 x\r\n".utf8)) == [])
    }

    @Test func whatIsNotWantedAnyMoreIsNotSentHoweverFarItHasCome() throws {
        var dialogue = try Self.dialogue()
        let (said, end) = Self.talk(&dialogue, Array(Self.wholeWay.prefix(7)), isWanted: false)
        #expect(said.suffix(2) == ["RCPT TO:<para@example.net>\r\n", "QUIT\r\n"] && end == .withdrawn)
        let late = dialogue.wanted(true) + dialogue.received(Array("354 go\r\n".utf8))
        #expect(late == [])
        var hasty = try Self.dialogue()
        let unasked = hasty.wanted(true)
        #expect(unasked == [], "nobody has asked")
    }

    @Test func aPasswordAndAMessageGoOverNoLineThatIsNotSecured() throws {
        var plain = try Self.dialogue()
        let (said, end) = Self.talk(&plain, ["220 mx\r\n", "250-mx\r\n250 AUTH PLAIN\r\n"])
        #expect(said == ["EHLO plantao.test\r\n"] && end == .unavailable(nil, "o servidor não oferece STARTTLS; nada foi enviado em claro"))
        var refused = try Self.dialogue()
        #expect(
            Self.talk(&refused, ["220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n", "454 not now\r\n"]).end
                == .unavailable(454, "STARTTLS foi recusado: 454 not now")
        )
        var none = try Self.dialogue(.none)
        #expect(Self.talk(&none, ["220 mx\r\n", "250-mx\r\n250 AUTH PLAIN\r\n"]).end == .unavailable(nil, "a senha não é enviada sem TLS"))
        // What is put in behind the word, before the handshake, is nobody's.
        var injected = try Self.dialogue()
        let (heard, result) = Self.talk(&injected, ["220 mx\r\n", "250-mx\r\n250 STARTTLS\r\n"])
        #expect(heard.last == "STARTTLS\r\n" && result == nil)
        let outputs = injected.received(Array("220 go\r\n250 mx\r\n".utf8))
        #expect(outputs == [.startTLS, .end(.unavailable(nil, "o servidor falou em claro depois de STARTTLS"))])
    }

    @Test func loginIsSpokenWherePlainIsNot() throws {
        var dialogue = try Self.dialogue(.tls)
        let (said, _) = Self.talk(
            &dialogue,
            ["220 mx\r\n", "250-mx\r\n250 AUTH LOGIN\r\n", "334 VXNlcm5hbWU6\r\n", "334 UGFzc3dvcmQ6\r\n", "235 ok\r\n"]
        )
        #expect(said == ["EHLO plantao.test\r\n", "AUTH LOGIN\r\n", "dQ==\r\n", "cGEgc3M=\r\n", "MAIL FROM:<de@example.com>\r\n"])
        var neither = try Self.dialogue(.tls)
        #expect(
            Self.talk(&neither, ["220 mx\r\n", "250-mx\r\n250 AUTH CRAM-MD5\r\n"]).end
                == .unavailable(nil, "o servidor não oferece AUTH PLAIN nem LOGIN")
        )
        var wrong = try Self.dialogue(.tls)
        guard case .unavailable(535, let reason)? = Self.talk(&wrong, ["220 mx\r\n", "250-mx\r\n250 AUTH PLAIN\r\n", "535 5.7.8 bad\r\n"]).end else {
            Issue.record("a wrong password is no success")
            return
        }
        #expect(!reason.contains("pa ss"))
    }

    /// At each step: a server that is going away, one that says not now, one that says never, one that is gone.
    @Test func whatGoesWrongIsToldForWhatItIs() throws {
        let way = ["220 mx\r\n", "250 mx\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"]
        func end(after steps: Int, _ reply: String?) throws -> SMTPResult? {
            var dialogue = try Self.dialogue(.none, password: nil)
            if let end = Self.talk(&dialogue, Array(way.prefix(steps)) + (reply.map { [$0] } ?? [])).end { return end }
            for case .end(let result) in dialogue.lost("gone") { return result }
            return nil
        }
        for steps in 0..<5 {
            #expect(try end(after: steps, "421 bye\r\n") == .unavailable(421, "421 bye"))
            #expect(try end(after: steps, nil) == (steps < 2 ? .unavailable(nil, "gone") : .failed(nil, "gone")))
            let nonsense = "resposta que não é SMTP"
            #expect(try end(after: steps, "2x0 hm\r\n") == (steps < 2 ? .unavailable(nil, nonsense) : .failed(nil, nonsense)))
        }
        #expect(try end(after: 3, "451 greylisted\r\n") == .failed(451, "451 greylisted"))
        #expect(try end(after: 3, "550 no such user\r\n") == .refused(550, "550 no such user"))
        #expect(try end(after: 4, "554 spam\r\n") == .refused(554, "554 spam"))
        #expect(try end(after: 5, "552 too big\r\n") == .refused(552, "552 too big"))
        #expect(try end(after: 5, "421 bye\r\n") == .failed(421, "421 bye"))
        // The dot is out, and nobody knows.
        #expect(try end(after: 5, nil) == .unknown("gone"))
        #expect(try end(after: 5, "25") == .unknown("gone"))
        #expect(try end(after: 5, "garbage\r\n") == .unknown("resposta que não é SMTP"))
    }

    @Test func whatAServerSaysIsBounded() throws {
        var long = try Self.dialogue(.none, password: nil)
        #expect(Self.talk(&long, [String(repeating: "a", count: SMTPDialogue.maxLineBytes + 1)]).end == .unavailable(nil, "linha longa demais"))
        var endless = try Self.dialogue(.none, password: nil)
        #expect(
            Self.talk(&endless, [String(repeating: "220-\(String(repeating: "a", count: 900))\r\n", count: 100)]).end
                == .unavailable(nil, "resposta longa demais")
        )
        var small = try Self.dialogue(.none, String(repeating: "a", count: 500), password: nil)
        #expect(
            Self.talk(&small, ["220 mx\r\n", "250-mx\r\n250 SIZE 100\r\n"]).end == .refused(552, "a mensagem tem 500 bytes e o servidor aceita 100")
        )
        var mixed = try Self.dialogue(.none, password: nil)
        #expect(Self.talk(&mixed, ["220-a\r\n250 b\r\n"]).end == .unavailable(nil, "resposta que não é SMTP"))
    }

    @Test func anAddressIsOneAddress() {
        for wrong in ["", "a", "a@", "@b", "a b@c.d", "a@b\r\nRCPT TO:<x@y.z>", "<a@b.c>", "a@b@c", "a\"b@c.d", "ação@b.c", "a@b.c>,<d@e.f"] {
            #expect(SMTPDialogue.Envelope(from: "x@y.z", to: wrong) == nil, "\(wrong)")
        }
        #expect(SMTPDialogue.Envelope(from: "x@y.z", to: "maria.silva+agenda@example.com.br") != nil)
    }

    @Test func dotsAreDoubledAndTheEndIsAnEnd() throws {
        for (text, wanted) in [(".", "..\r\n.\r\n"), ("a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n"), ("", "\r\n.\r\n")] {
            var dialogue = try Self.dialogue(.none, text, password: nil)
            let (said, _) = Self.talk(&dialogue, ["220 mx\r\n", "250 mx\r\n", "250 ok\r\n", "250 ok\r\n", "354 go\r\n"])
            #expect(said.last == wanted)
        }
    }
}
