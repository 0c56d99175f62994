package import Kernel

import struct Foundation.Data

// One message's way through a mail server (RFC 5321; STARTTLS RFC 3207; AUTH RFC 4954). No I/O: bytes and events come in, bytes and events go out.
//
//     greeting ─▶ EHLO ─▶ [STARTTLS ─▶ handshake ─▶ EHLO] ─▶ [AUTH] ─▶ MAIL ─▶ RCPT ─▶ (still wanted?) ─▶ DATA ─▶ the message and its dot ─▶ QUIT
//
// Invariants
// 1. Neither a password nor a message goes over a line that was to be secured and is not.
// 2. Until the final dot has been handed to the connection, nothing was sent; after it, and before its answer, nobody knows.
// 3. Nothing that a message says is taken for a command: addresses are checked, and lines that begin with a dot get another one (RFC 5321 §4.5.2).
package struct SMTPDialogue: Sendable {
    package enum Security: String, Sendable, CaseIterable { case starttls, tls, none }

    package struct Credentials: Sendable {
        package let user: String
        package let password: String

        package init(user: String, password: String) {
            self.user = user
            self.password = password
        }
    }

    package struct Envelope: Sendable, Equatable {
        package let from: String
        package let to: String

        /// `nil` where an address has what no address has, such as a space, an angle bracket or a line break; or what takes SMTPUTF8 (RFC 6531).
        package init?(from: String, to: String) {
            guard Self.isAddress(from), Self.isAddress(to) else { return nil }
            self.from = from
            self.to = to
        }

        package static func isAddress(_ text: String) -> Bool { MailAddress.isOne(text) }
    }

    package enum Output: Sendable, Equatable {
        case send([UInt8])
        /// Whether the message is still wanted is to be found out, and said (`wanted`): what was decided while the line was being made counts.
        case ask
        case startTLS
        /// Over; the connection is to be closed.
        case end(SMTPResult)
    }

    private enum Phase: Equatable {
        case greeting, hello, startTLS, handshake, authPlain, authLogin, authUser, authPassword, mail, recipient, asking, data, message, over
    }

    /// The whole message has gone out, for whose answer a server may take longer than for any other (RFC 5321 §4.5.3.2.6).
    package var isAfterDot: Bool { phase == .message }

    package static let maxLineBytes = 4096
    package static let maxReplyBytes = 65_536

    private let envelope: Envelope?
    private let message: [UInt8]
    private let security: Security
    private let credentials: Credentials?
    private let name: String
    private var phase = Phase.greeting
    private var isSecured: Bool
    private var extensions: [String: String] = [:]
    private var line: [UInt8] = []
    private var reply: (code: Int, lines: [String])?
    private var replyBytes = 0

    /// - Parameters:
    ///   - envelope: `nil` only to see whether the server lets us in: nothing is sent, and it ends as `sent`.
    ///   - message: with lines that end in CRLF, without the dot at its end.
    ///   - name: what we call ourselves.
    package init(_ envelope: Envelope?, message: [UInt8], security: Security, credentials: Credentials?, name: String) {
        self.envelope = envelope
        self.message = message
        self.security = security
        self.credentials = credentials
        self.name = name
        isSecured = security == .tls
    }

    // MARK: Inputs

    package mutating func received(_ bytes: some Sequence<UInt8>) -> [Output] {
        var outputs: [Output] = []
        for byte in bytes {
            guard phase != .over else { break }
            // Something said in the clear after the word for TLS is somebody else's (RFC 3207 §4.2, CVE-2011-0411).
            guard phase != .handshake else { return outputs + end(.unavailable(nil, "o servidor falou em claro depois de STARTTLS")) }
            guard byte == UInt8(ascii: "\n") else {
                guard line.count < Self.maxLineBytes else { return outputs + end(broken("linha longa demais")) }
                line.append(byte)
                continue
            }
            if line.last == UInt8(ascii: "\r") { line.removeLast() }
            defer { line.removeAll(keepingCapacity: true) }
            replyBytes += line.count + 2
            guard replyBytes <= Self.maxReplyBytes else { return outputs + end(broken("resposta longa demais")) }
            guard let read = Self.read(line), reply.map({ $0.code == read.code }) ?? true else {
                return outputs + end(broken("resposta que não é SMTP"))
            }
            let lines = (reply?.lines ?? []) + [read.text]
            if read.isLast {
                reply = nil
                replyBytes = 0
                outputs += answered(Reply(code: read.code, lines: lines))
            } else {
                reply = (read.code, lines)
            }
        }
        return outputs
    }

    /// The handshake after `startTLS` has succeeded.
    package mutating func secured() -> [Output] {
        guard phase == .handshake else { return [] }
        isSecured = true
        // What was said before counts no more (RFC 3207 §4.2).
        extensions = [:]
        phase = .hello
        return [command("EHLO \(name)")]
    }

    /// The answer to `ask`.
    package mutating func wanted(_ isWanted: Bool) -> [Output] {
        guard phase == .asking else { return [] }
        guard isWanted else {
            phase = .over
            return [command("QUIT"), .end(.withdrawn)]
        }
        phase = .data
        return [command("DATA")]
    }

    /// The connection is gone, was never there, or says nothing for too long.
    package mutating func lost(_ reason: String) -> [Output] {
        guard phase != .over else { return [] }
        return end(broken(reason))
    }

    // MARK: Replies

    private struct Reply {
        let code: Int
        let lines: [String]
        var text: String { "\(code) \(lines.joined(separator: " ").prefix(300))" }
        var isGood: Bool { (200..<300).contains(code) }
        var isForGood: Bool { (500..<600).contains(code) }
    }

    /// `250-text`, `250 text` or `250`. What is not UTF-8 or cannot be shown is replaced.
    private static func read(_ line: [UInt8]) -> (code: Int, isLast: Bool, text: String)? {
        guard line.count >= 3, let code = Int(String(decoding: line[..<3], as: UTF8.self)), (200..<600).contains(code),
            line.count == 3 || line[3] == UInt8(ascii: " ") || line[3] == UInt8(ascii: "-")
        else { return nil }
        let text = String(decoding: line.dropFirst(4).filter { $0 >= 0x20 && $0 != 0x7f }, as: UTF8.self)
        return (code, line.count == 3 || line[3] == UInt8(ascii: " "), text)
    }

    private mutating func answered(_ reply: Reply) -> [Output] {
        // The server is going away, whatever was asked.
        if reply.code == 421, phase != .message { return end(.unavailable(reply.code, reply.text)) }
        switch phase {
        case .greeting:
            guard reply.code == 220 else { return end(.unavailable(reply.code, reply.text)) }
            phase = .hello
            return [command("EHLO \(name)")]
        case .hello: return hello(reply)
        case .startTLS:
            guard reply.code == 220 else { return end(.unavailable(reply.code, "STARTTLS foi recusado: \(reply.text)")) }
            phase = .handshake
            return [.startTLS]
        case .authPlain: return authenticated(reply)
        case .authLogin: return next(reply, 334, .authUser, Self.base64(credentials?.user ?? ""))
        case .authUser: return next(reply, 334, .authPassword, Self.base64(credentials?.password ?? ""))
        case .authPassword: return authenticated(reply)
        case .mail:
            guard reply.isGood else { return end(.failed(reply.code, "remetente recusado: \(reply.text)")) }
            phase = .recipient
            return [command("RCPT TO:<\(envelope?.to ?? "")>")]
        case .recipient:
            guard reply.isGood else { return end(reply.isForGood ? .refused(reply.code, reply.text) : .failed(reply.code, reply.text)) }
            phase = .asking
            return [.ask]
        case .data:
            guard reply.code == 354 else { return end(reply.isForGood ? .refused(reply.code, reply.text) : .failed(reply.code, reply.text)) }
            phase = .message
            return [.send(Self.stuffed(message))]
        case .message:
            if reply.isGood {
                phase = .over
                return [command("QUIT"), .end(.sent(reply.text))]
            }
            return end(reply.isForGood ? .refused(reply.code, reply.text) : .failed(reply.code, reply.text))
        // Nothing was asked of it.
        case .asking: return end(broken("resposta a nada"))
        case .handshake, .over: return []
        }
    }

    private mutating func hello(_ reply: Reply) -> [Output] {
        guard reply.code == 250 else { return end(.unavailable(reply.code, reply.text)) }
        for line in reply.lines.dropFirst() {
            let words = line.uppercased().split(separator: " ", maxSplits: 1)
            if let keyword = words.first { extensions[String(keyword)] = words.count > 1 ? String(words[1]) : "" }
        }
        if security == .starttls, !isSecured {
            guard extensions["STARTTLS"] != nil else { return end(.unavailable(nil, "o servidor não oferece STARTTLS; nada foi enviado em claro")) }
            phase = .startTLS
            return [command("STARTTLS")]
        }
        if let size = extensions["SIZE"].flatMap({ Int($0) }), size > 0, message.count > size {
            return end(.refused(552, "a mensagem tem \(message.count) bytes e o servidor aceita \(size)"))
        }
        guard let credentials else { return mail() }
        guard isSecured else { return end(.unavailable(nil, "a senha não é enviada sem TLS")) }
        let mechanisms = (extensions["AUTH"] ?? "").split(separator: " ")
        if mechanisms.contains("PLAIN") {
            phase = .authPlain
            return [command("AUTH PLAIN \(Self.base64("\0\(credentials.user)\0\(credentials.password)"))")]
        }
        guard mechanisms.contains("LOGIN") else { return end(.unavailable(nil, "o servidor não oferece AUTH PLAIN nem LOGIN")) }
        phase = .authLogin
        return [command("AUTH LOGIN")]
    }

    private mutating func authenticated(_ reply: Reply) -> [Output] {
        guard reply.code == 235 else { return end(.unavailable(reply.code, "a autenticação foi recusada: \(reply.text)")) }
        return mail()
    }

    private mutating func next(_ reply: Reply, _ code: Int, _ phase: Phase, _ text: String) -> [Output] {
        guard reply.code == code else { return end(.unavailable(reply.code, "a autenticação foi recusada: \(reply.text)")) }
        self.phase = phase
        return [command(text)]
    }

    private mutating func mail() -> [Output] {
        guard let envelope else {
            phase = .over
            return [command("QUIT"), .end(.sent("o servidor aceita a ligação"))]
        }
        phase = .mail
        return [command("MAIL FROM:<\(envelope.from)>" + (extensions["SIZE"] == nil ? "" : " SIZE=\(message.count)"))]
    }

    // MARK: Outputs

    private func command(_ text: String) -> Output { .send(Array(text.utf8) + [0x0d, 0x0a]) }

    private mutating func end(_ result: SMTPResult) -> [Output] {
        phase = .over
        return [.end(result)]
    }

    private func broken(_ reason: String) -> SMTPResult {
        switch phase {
        case .message: .unknown(reason)
        case .mail, .recipient, .asking, .data: .failed(nil, reason)
        case .greeting, .hello, .startTLS, .handshake, .authPlain, .authLogin, .authUser, .authPassword, .over: .unavailable(nil, reason)
        }
    }

    private static func base64(_ text: String) -> String { Data(text.utf8).base64EncodedString() }

    /// The message with its dots doubled, and the dot that ends it.
    static func stuffed(_ message: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(message.count + 64)
        var isAtStart = true
        for byte in message {
            if isAtStart, byte == UInt8(ascii: ".") { bytes.append(byte) }
            bytes.append(byte)
            isAtStart = byte == 0x0a
        }
        if !bytes.suffix(2).elementsEqual([0x0d, 0x0a]) { bytes += [0x0d, 0x0a] }
        return bytes + [UInt8(ascii: "."), 0x0d, 0x0a]
    }
}

/// What became of one message.
package enum SMTPResult: Sendable, Equatable {
    /// Taken, in the server's words.
    case sent(String)
    /// Not taken, and never will be: the recipient's fault, or the message's.
    case refused(Int, String)
    /// Not wanted any more, just before it was to go out; certainly not sent.
    case withdrawn
    /// Certainly not sent; may be tried again.
    case failed(Int?, String)
    /// The server takes nobody's messages, or is not there: this one was not even spoken of.
    case unavailable(Int?, String)
    /// The connection ended between the final dot and its answer.
    case unknown(String)
}
