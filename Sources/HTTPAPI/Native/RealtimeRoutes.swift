import HTTPTypes
import Hummingbird
import Kernel
import NIOCore
import Realtime
import Tenancy
import Wire

// The streams without a WebSocket (protocol/README.md "Channels"): Centrifuge's `sse` and `http_stream` with `/emulation`, and a long poll for everybody else.

extension API {
    /// How long a poll may wait, at the most, in seconds.
    static let maxPollSeconds = 55

    func addRealtime(_ door: any RealtimeDoor, to router: Router<APIContext>) {
        router.get("/connection/sse") { request, _ -> Response in
            guard let connect = request.query("cf_connect") else {
                throw Refusal.invalid([.init(["query", "cf_connect"], "falta o comando connect", type: "missing")])
            }
            return stream(try door.open(Array(connect.utf8), as: .events, lastEventID: request.lastEventID), as: .events)
        }
        router.post("/connection/http_stream") { request, _ -> Response in
            stream(try door.open(try await request.bytes(upTo: Request.maxCommandBytes), as: .lines, lastEventID: nil), as: .lines)
        }
        // The connect request, if any, in the query; from who is no browser, as the body.
        router.get("/connection/uni_sse") { request, _ -> Response in
            stream(
                try await door.follow(try request.following(request.query("cf_connect").map { Array($0.utf8) }, ["query", "cf_connect"])),
                as: .events
            )
        }
        router.post("/connection/uni_sse") { request, _ -> Response in
            let body = try await request.bytes(upTo: Request.maxCommandBytes)
            return stream(try await door.follow(try request.following(body.isEmpty ? nil : body, ["body"])), as: .events)
        }
        // `{session, node?, data}`: `data` is one command or several, a line each.
        router.post("/emulation") { request, _ -> Response in
            var fields = try await request.fields()
            let session = fields.text("session", max: 64)
            let data = fields.text("data", max: Request.maxCommandBytes)
            try fields.check()
            guard await door.emulate(session: session, Array(data.utf8)) else {
                throw Refusal(.notFound, "unknown_session", "Não há sessão com este identificador; conecte-se de novo.")
            }
            return Response(status: .noContent)
        }
        router.get("/api/v1/realtime/:channel") { request, context -> Response in
            let principal = try await follower(request, context)
            let channel = try context.parameters.require("channel").removingURLPercentEncoding() ?? ""
            let wait = try request.integer("wait", in: 0...Self.maxPollSeconds, default: 25)
            var since: StreamPosition?
            if let epoch = request.query("epoch") {
                since = StreamPosition(epoch: epoch, offset: UInt64(try request.integer("offset", in: 0...Int.max, default: 0)))
            }
            return .json(try await door.poll(PollRequest(channel: channel, since: since, wait: .seconds(wait)), by: principal))
        }
    }

    private func stream(_ stream: StreamBody, as encoding: StreamEncoding) -> Response {
        var headers: HTTPFields = [.cacheControl: "private, no-cache, no-store, no-transform"]
        headers[.contentType] = encoding == .events ? "text/event-stream; charset=utf-8" : "application/x-ndjson; charset=utf-8"
        // A proxy that collects responses would never show this one.
        headers[.init("X-Accel-Buffering")!] = "no"
        return Response(
            status: .ok,
            headers: headers,
            body: ResponseBody { writer in
                for await chunk in stream.chunks {
                    try await writer.write(ByteBuffer(bytes: chunk))
                    stream.written(chunk.count)
                }
                try await writer.finish(nil)
            }
        )
    }
}

extension Request {
    /// Commands in one request, at the most; as in a frame of a WebSocket.
    static let maxCommandBytes = 64 << 10

    /// Where an `EventSource` that comes back was: its header, or what the page itself says when it opens one.
    var lastEventID: String? { headers[.lastEventID] ?? query("lastEventId") }

    /// What somebody wants to follow, and who it is, wherever in the request that stands.
    func following(_ connect: [UInt8]?, _ place: [String]) throws(Refusal) -> FollowRequest {
        var asked = ConnectRequest()
        do throws(CentrifugeProtocolError) { if let connect { asked = try ConnectRequest.decode(connect) } } catch {
            throw .invalid([.init(place, error.reason, type: "connect_invalid")])
        }
        let bearer = headers[.authorization].flatMap { $0.lowercased().hasPrefix("bearer ") ? String($0.dropFirst("bearer ".count)) : nil }
        guard let token = [asked.token, query("token") ?? "", bearer ?? ""].first(where: { !$0.isEmpty }) else { throw API.noCredential }
        let named = query("channels")?.split(separator: ",").map(String.init) ?? []
        return FollowRequest(
            token: token,
            channels: named + asked.subs.keys.sorted(),
            since: asked.subs.compactMapValues { $0.recover ? $0.since : nil },
            lastEventID: lastEventID
        )
    }
}

extension HTTPField.Name {
    /// WHATWG HTML §9.2.4.
    fileprivate static let lastEventID = HTTPField.Name("Last-Event-ID")!
}
