import HTTPTypes
import Hummingbird
import NIOCore
import Wire

/// `Content-Encoding: gzip` for who asks for it (RFC 9110 §8.4, §12.5.3).
///
/// Only what is textual and worth it: what is whole from `minimumBytes` on, and not above `maximumBytes`, so that one answer costs a bounded time; and what is
/// written piece by piece, as it goes. The live streams stay as they are: what is written to them must be out at once. Files are answered by ranges of their own
/// bytes, and most are packed already.
struct CompressAnswers: RouterMiddleware {
    typealias Context = APIContext
    /// 1 to 9, or 0 for never.
    let level: Int

    private static let minimumBytes = 1024
    private static let maximumBytes = 16 << 20

    func handle(_ request: Request, context: APIContext, next: @concurrent (Request, APIContext) async throws -> Response) async throws -> Response {
        var response = try await next(request, context)
        let path = request.uri.path
        guard level > 0, Self.mayPack(response), !path.hasPrefix("/connection/"), path != "/emulation" else { return response }
        let length = response.body.contentLength
        guard length.map({ (Self.minimumBytes...Self.maximumBytes).contains($0) }) ?? true else { return response }
        // Also where it is not packed: a shared cache must not give one client's form to another.
        response.headers[.vary] = (response.headers[values: .vary] + ["Accept-Encoding"]).joined(separator: ", ")
        guard Self.accepts(request.headers[values: .acceptEncoding]) else { return response }
        guard let length else {
            if request.method != .head {
                response.headers[.contentEncoding] = "gzip"
                let (body, level) = (response.body, level)
                response.body = ResponseBody { try await body.write(GzipWriter(gzip: GzipStream(level: level), under: $0)) }
            }
            return response
        }
        let collected = Collected(capacity: length)
        try await response.body.write(collected)
        let packed = collected.buffer.withUnsafeReadableBytes { Gzip.compress($0, level: level) }
        guard packed.readableBytes < length else {
            response.body = ResponseBody(byteBuffer: collected.buffer)
            return response
        }
        response.body = ResponseBody(byteBuffer: packed)
        response.headers[.contentEncoding] = "gzip"
        // Of other bytes, and of the same content (RFC 9110 §8.8.1).
        if let tag = response.headers[.eTag], !tag.hasPrefix("W/") { response.headers[.eTag] = "W/" + tag }
        return response
    }

    private static func mayPack(_ response: Response) -> Bool {
        guard response.headers[.contentEncoding] == nil, response.headers[.acceptRanges] == nil, response.headers[.contentRange] == nil,
            response.headers[.cacheControl]?.contains("no-transform") != true,
            let type = response.headers[.contentType]?.split(separator: ";").first?.lowercased()
        else { return false }
        guard type != "text/event-stream" else { return false }
        return type.hasPrefix("text/") || type.hasSuffix("json") || type.hasSuffix("javascript") || type.hasSuffix("xml")
            || type == "application/yaml"
    }

    /// Whether gzip is asked for, and nothing that is liked better is at hand: `gzip`, `x-gzip` (§8.4.1.3) or `*`, with a weight above 0 and not below that of
    /// `identity` where one is given.
    static func accepts(_ fields: [String]) -> Bool {
        var weights: [String: Double] = [:]
        for coding in fields.flatMap({ $0.split(separator: ",") }) {
            let parts = coding.split(separator: ";").map { $0.filter { $0 != " " && $0 != "\t" }.lowercased() }
            guard let name = parts.first, !name.isEmpty else { continue }
            let weight = parts.dropFirst().first { $0.hasPrefix("q=") }.map { Double($0.dropFirst(2)) ?? 0 } ?? 1
            weights[name == "x-gzip" ? "gzip" : name] = weight
        }
        guard let weight = weights["gzip"] ?? weights["*"], weight > 0 else { return false }
        return weight >= weights["identity"] ?? 0
    }

    /// A body's writer that keeps it.
    private final class Collected: ResponseBodyWriter {
        private(set) var buffer: ByteBuffer

        init(capacity: Int) { buffer = ByteBufferAllocator().buffer(capacity: capacity) }

        func write(_ part: ByteBuffer) async throws { buffer.writeImmutableBuffer(part) }
        func finish(_ trailers: HTTPFields?) async throws {}
    }
}

private struct GzipWriter: ResponseBodyWriter {
    let gzip: GzipStream
    var under: any ResponseBodyWriter

    @concurrent mutating func write(_ buffer: ByteBuffer) async throws {
        let packed = gzip.compress(buffer)
        if packed.readableBytes > 0 { try await under.write(packed) }
    }

    @concurrent consuming func finish(_ trailingHeaders: HTTPFields?) async throws {
        try await under.write(gzip.finish())
        try await under.finish(trailingHeaders)
    }
}
