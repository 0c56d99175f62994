package import AsyncHTTPClient
import NIOCore
import NIOHTTP1
package import Wire

/// Why Pipedrive did not do what it was asked. Its words may be logged; a token never is.
package enum PipedriveFault: Error, Sendable, Equatable {
    /// A limit was reached (429), or the account is held back for having reached it too often (403 with a `Retry-After`).
    case throttled(Duration)
    /// The token is good for nothing (401).
    case unauthorized
    /// The plan, or the user's permissions, do not allow it (402, 403).
    case forbidden(String)
    case missing
    /// The request itself is at fault: the same again would fare no better.
    case rejected(Int, String)
    /// No answer, or a 5xx.
    case unavailable(String)
}

/// The Pipedrive API (research/conversations.md §8): v2 at `/api/v2` with `x-api-token`, users at `/v1`.
package struct PipedriveClient: PipedriveAPI {
    package struct Configuration: Sendable {
        /// Without a slash at the end.
        package var baseURL = "https://api.pipedrive.com"
        package var token: String
        /// For one call, to the last byte of the answer.
        package var timeout: Duration = .seconds(15)

        package init(token: String) { self.token = token }

        /// Takes `https://api.pipedrive.com`, with or without `/api/v2` or `/v1` behind it.
        /// - Returns: whether it is such a URL.
        package mutating func setURL(_ url: String) -> Bool {
            var url = Substring(url)
            while url.hasSuffix("/") { url.removeLast() }
            for tail in ["/api/v2", "/api/v1", "/v1", "/v2", "/api"] where url.hasSuffix(tail) { url = url.dropLast(tail.count) }
            guard ["http://", "https://"].contains(where: { url.hasPrefix($0) && url.count > $0.count }) else { return false }
            baseURL = String(url)
            return true
        }
    }

    private static let maxAnswerBytes = 4 << 20

    private let http: HTTPClient
    private let configuration: Configuration
    /// Waits until the next call may go: the account's burst limit is ours to keep.
    private let pace: @Sendable () async -> Void

    /// - Parameter http: one that follows no redirects and tries nothing again by itself.
    package init(http: HTTPClient, configuration: Configuration, pace: @escaping @Sendable () async -> Void) {
        self.http = http
        self.configuration = configuration
        self.pace = pace
    }

    // MARK: Calls

    package func me() async throws(PipedriveFault) -> Int64 {
        guard let id = try await call("GET", "/v1/users/me")["id"]?.int else { throw .unavailable("users/me gave no id") }
        return id
    }

    package func persons(withPhone phone: String) async throws(PipedriveFault) -> [Int64] {
        let data = try await call("GET", "/api/v2/persons/search?term=\(Self.escaped(phone))&fields=phone&exact_match=true&limit=10")
        return (data["items"]?.array ?? []).compactMap { $0["item"]?["id"]?.int }
    }

    package func person(_ id: Int64) async throws(PipedriveFault) -> PipedriveRecord? { try await record("/api/v2/persons/\(id)") }
    package func deal(_ id: Int64) async throws(PipedriveFault) -> PipedriveRecord? { try await record("/api/v2/deals/\(id)") }

    private func record(_ path: String) async throws(PipedriveFault) -> PipedriveRecord? {
        do throws(PipedriveFault) { return PipedriveRecord(try await call("GET", path)) } catch {
            if error == .missing { return nil }
            throw error
        }
    }

    package func openDeals(of person: Int64) async throws(PipedriveFault) -> [PipedriveRecord] {
        let data = try await call("GET", "/api/v2/deals?person_id=\(person)&status=open&sort_by=id&sort_direction=desc&limit=100")
        return (data.array ?? []).compactMap(PipedriveRecord.init)
    }

    package func activities(of deal: Int64) async throws(PipedriveFault) -> [PipedriveRecord] {
        let data = try await call("GET", "/api/v2/activities?deal_id=\(deal)&sort_by=id&sort_direction=desc&limit=100")
        return (data.array ?? []).compactMap(PipedriveRecord.init)
    }

    package func create(_ thing: PipedriveThing, _ fields: JSON) async throws(PipedriveFault) -> Int64 {
        guard let id = try await call("POST", "/api/v2/\(thing.rawValue)", fields)["id"]?.int else {
            throw .unavailable("\(thing.rawValue) was made without an id")
        }
        return id
    }

    package func update(_ thing: PipedriveThing, _ id: Int64, _ fields: JSON) async throws(PipedriveFault) {
        _ = try await call("PATCH", "/api/v2/\(thing.rawValue)/\(id)", fields)
    }

    // MARK: Inside

    /// RFC 3986 §2.3.
    private static func escaped(_ text: String) -> String {
        text.utf8.reduce(into: "") { escaped, byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f, 0x7e: escaped.unicodeScalars.append(Unicode.Scalar(byte))
            default: escaped += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }
    }

    /// - Returns: the envelope's `data`.
    private func call(_ method: String, _ path: String, _ body: JSON? = nil) async throws(PipedriveFault) -> JSON {
        await pace()
        var request = HTTPClientRequest(url: configuration.baseURL + path)
        request.method = HTTPMethod(rawValue: method)
        request.headers.add(name: "x-api-token", value: configuration.token)
        request.headers.add(name: "accept", value: "application/json")
        if let body {
            request.headers.add(name: "content-type", value: "application/json")
            request.body = .bytes(ByteBuffer(bytes: body.bytes))
        }
        let status: Int
        let envelope: JSON?
        let retryAfter: Duration?
        do {
            let response = try await http.execute(request, timeout: .nanoseconds(Int64(configuration.timeout / .nanoseconds(1))))
            let bytes = try await response.body.collect(upTo: Self.maxAnswerBytes)
            status = Int(response.status.code)
            envelope = try? JSON.parse(Array(bytes.readableBytesView))
            let seconds = response.headers.first(name: "retry-after") ?? response.headers.first(name: "x-ratelimit-reset")
            retryAfter = seconds.flatMap { Int64($0) }.map { .seconds(min(max(1, $0), 86_400)) }
        } catch let error as HTTPClientError {
            throw .unavailable(error.shortDescription)
        } catch {
            // Only the kind: a description may quote what was received.
            throw .unavailable("\(type(of: error))")
        }
        let words = String((envelope?["error"]?.string ?? "HTTP \(status)").prefix(200))
        switch status {
        case 200..<300:
            guard let envelope, envelope["success"]?.bool != false else { throw .rejected(status, words) }
            return envelope["data"] ?? .null
        case 401: throw .unauthorized
        case 402: throw .forbidden(words)
        case 403: if let retryAfter { throw .throttled(retryAfter) } else { throw .forbidden(envelope?["code"]?.string ?? words) }
        case 404, 410: throw .missing
        case 429: throw .throttled(retryAfter ?? .seconds(2))
        case 408, 500...: throw .unavailable("HTTP \(status)")
        default: throw .rejected(status, words)
        }
    }
}
