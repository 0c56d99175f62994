package import AsyncHTTPClient
import NIOCore
import NIOHTTP1
import Telemetry
import Wire

/// The WhatsApp Cloud API over HTTP (research/conversations.md §5.5).
///
/// It says nothing to a log: an outcome carries a reason fit for one, and neither the token nor what people write ever leaves this file but to
/// the API.
package struct WhatsAppCloudClient: WhatsAppSender {
    package struct Configuration: Sendable, Hashable {
        /// Without a slash at the end.
        package var baseURL = "https://graph.facebook.com"
        package var version = "v23.0"
        /// For one send as a whole, from waiting for a connection to the last byte of the answer.
        package var timeout: Duration = .seconds(15)

        package init() {}

        /// Reads an address with or without a version at its end: `https://graph.facebook.com/v18.0` (contracts/agendazap.md, `WHATSAPP_API_URL`).
        /// `nil` when it is not one of http or https.
        package init?(apiURL: String) {
            var parts = apiURL.split(separator: "/", omittingEmptySubsequences: false)
            while parts.last?.isEmpty == true { parts.removeLast() }
            guard parts.count >= 3, parts[0] == "https:" || parts[0] == "http:", parts[1].isEmpty, !parts[2].isEmpty else { return nil }
            if parts.count > 3, let last = parts.last, last.first == "v", last.dropFirst().first?.isNumber == true {
                version = String(parts.removeLast())
            }
            baseURL = parts.joined(separator: "/")
        }
    }

    let http: HTTPClient
    private let configuration: Configuration

    /// - Parameter http: with `httpConfiguration`, or one as strict about redirects.
    package init(http: HTTPClient, configuration: Configuration = Configuration()) {
        self.http = http
        self.configuration = configuration
    }

    /// How the HTTP client is to be set up for sending.
    package static var httpConfiguration: HTTPClient.Configuration {
        var configuration = HTTPClient.Configuration(
            redirectConfiguration: .disallow,
            timeout: HTTPClient.Configuration.Timeout(connect: .seconds(5))
        )
        // Trying again is for the job to decide, which knows about the breaker.
        configuration.connectionPool.retryConnectionEstablishment = false
        // A connection the other side closes just as we write on it leaves a send whose outcome is unknown: don't keep idle ones for long.
        configuration.connectionPool.idleTimeout = .seconds(20)
        return configuration
    }

    package func send(_ message: OutboundMessage, credentials: WhatsAppCredentials) async -> SendOutcome {
        await post(message.requestBody, credentials: credentials)
    }

    package enum Check: Sendable, Equatable {
        /// The number as people dial it, or its id when the API does not say.
        case ok(number: String)
        case refused(reason: String)
        case unreachable(reason: String)
    }

    /// Asks for the number's own record, which costs nothing and sends nothing: whether the token is good for the number.
    package func check(_ credentials: WhatsAppCredentials) async -> Check {
        let id = credentials.phoneNumberID
        guard !id.isEmpty, id.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return .refused(reason: "the phone number's id is not a number")
        }
        guard !credentials.accessToken.isEmpty, credentials.accessToken.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
            return .refused(reason: "the token is empty or has characters that no token has")
        }
        var request = HTTPClientRequest(url: "\(configuration.baseURL)/\(configuration.version)/\(id)?fields=display_phone_number")
        request.headers.add(name: "Authorization", value: "Bearer \(credentials.accessToken)")
        do {
            let response = try await http.execute(request, timeout: .nanoseconds(Int64(configuration.timeout / .nanoseconds(1))))
            let body = try? JSON.parse(Array(try await response.body.collect(upTo: Self.maxAnswerBytes).readableBytesView))
            guard response.status == .ok else {
                let code = body?["error"]?["code"]?.int.map { ", error \($0)" } ?? ""
                return .refused(reason: "the API answered \(response.status.code)\(code)")
            }
            return .ok(number: body?["display_phone_number"]?.string ?? id)
        } catch let error as HTTPClientError {
            return .unreachable(reason: error.shortDescription)
        } catch {
            return .unreachable(reason: "\(type(of: error))")
        }
    }

    // MARK: Inside

    private enum Attempt: Sendable {
        case answered(SendOutcome)
        case failed(String)
        case timedOut
    }

    static let maxAnswerBytes = 64 * 1024
    var baseAddress: String { "\(configuration.baseURL)/\(configuration.version)" }

    private func post(_ json: [UInt8], credentials: WhatsAppCredentials) async -> SendOutcome {
        guard !credentials.phoneNumberID.isEmpty, credentials.phoneNumberID.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return .refused(code: 100, title: "O phone_number_id configurado não é um número", action: .fixConfiguration)
        }
        // Such as the end of a line that came with it from a file: no header can hold it.
        guard !credentials.accessToken.isEmpty, credentials.accessToken.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
            return .refused(code: 190, title: "O token de acesso configurado está vazio ou tem caracteres inválidos", action: .stopTenant)
        }
        let body = AnnouncedBody(ByteBuffer(bytes: json))
        var request = HTTPClientRequest(url: "\(configuration.baseURL)/\(configuration.version)/\(credentials.phoneNumberID)/messages")
        request.method = .POST
        request.headers.add(name: "Authorization", value: "Bearer \(credentials.accessToken)")
        request.headers.add(name: "Content-Type", value: "application/json")
        if let span = Trace.current { request.headers.add(name: "traceparent", value: span.traceparent) }
        request.body = .stream(body, length: .known(Int64(json.count)))

        switch await attempt(request) {
        case .answered(let outcome): return outcome
        case .failed(let reason): return body.wasAskedFor ? .unknown(reason: reason) : .retry(after: nil, code: nil, reason: reason)
        case .timedOut:
            let reason = "no answer within \(configuration.timeout)"
            return body.wasAskedFor ? .unknown(reason: reason) : .retry(after: nil, code: nil, reason: reason)
        }
    }

    /// The client's own deadline ends with the head of the answer; this one covers its body too. Both children have ended on return, so
    /// nothing is written any more when the caller looks at whether anything was.
    private func attempt(_ request: HTTPClientRequest) async -> Attempt {
        await withTaskGroup(of: Attempt.self) { group in
            group.addTask { await exchange(request) }
            group.addTask {
                try? await Task.sleep(for: configuration.timeout)
                return .timedOut
            }
            let first = await group.next()
            group.cancelAll()
            return first ?? .timedOut
        }
    }

    private func exchange(_ request: HTTPClientRequest) async -> Attempt {
        do {
            // A little more than our own, which is the one to decide.
            let response = try await http.execute(request, timeout: .nanoseconds(Int64(configuration.timeout / .nanoseconds(1)) + 1_000_000_000))
            // Seconds; a day is as good as any longer time.
            let retryAfter = response.headers.first(name: "Retry-After").flatMap { Int64($0) }.map { Duration.seconds(min(max(0, $0), 86_400)) }
            let body = try await response.body.collect(upTo: Self.maxAnswerBytes)
            return .answered(WhatsAppAnswer.outcome(status: Int(response.status.code), retryAfter: retryAfter, body: Array(body.readableBytesView)))
        } catch let error as HTTPClientError {
            return .failed("\(error.shortDescription)")
        } catch {
            // Only the kind: a description may quote what was received.
            return .failed("\(type(of: error))")
        }
    }
}
