import HTTPTypes
import Hummingbird
import NIOCore
import Wire

/// `Content-Encoding: gzip` for who asks for it (RFC 9110 §8.4, §12.5.3).
///
/// Only what is whole, textual and worth it: from `minimumBytes` on, and not above `maximumBytes`, so that one answer costs a bounded time. Streams have no
/// length and stay as they are: what is written to them must be out at once. Files are answered by ranges of their own bytes, and most are packed already.
struct CompressAnswers: RouterMiddleware {
    typealias Context = APIContext
    /// 1 to 9, or 0 for never.
    let level: Int

    private static let minimumBytes = 1024
    private static let maximumBytes = 16 << 20

    func handle(_ request: Request, context: APIContext, next: @concurrent (Request, APIContext) async throws -> Response) async throws -> Response {
        var response = try await next(request, context)
        guard level > 0, let length = response.body.contentLength, (Self.minimumBytes...Self.maximumBytes).contains(length), Self.mayPack(response)
        else {
            return response
        }
        // Also where it is not packed: a shared cache must not give one client's form to another.
        response.headers[.vary] = (response.headers[values: .vary] + ["Accept-Encoding"]).joined(separator: ", ")
        guard Self.accepts(request.headers[values: .acceptEncoding]) else { return response }
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
