import HTTPTypes
import Hummingbird
import NIOCore
import Wire

/// Compresses answers for those who take gzip (RFC 9110 §12.5.3), as the contracts have it ("Compressão: GZIP"). Streams that must arrive as they are sent are
/// left alone, and so is what is hardly larger than its compressed form.
struct CompressResponses: RouterMiddleware {
    typealias Context = APIContext

    private static let minimumBytes = 500

    func handle(_ request: Request, context: APIContext, next: @concurrent (Request, APIContext) async throws -> Response) async throws -> Response {
        var response = try await next(request, context)
        let path = request.uri.path
        guard !path.hasPrefix("/connection/"), path != "/emulation", Self.isCompressible(response) else { return response }
        response.headers.append(HTTPField(name: .vary, value: "Accept-Encoding"))
        guard request.method != .head, Self.takesGzip(request.headers[fields: .acceptEncoding].map(\.value)) else { return response }
        response.headers[.contentEncoding] = "gzip"
        response.headers[.contentLength] = nil
        let body = response.body
        response.body = ResponseBody { writer in
            try await body.write(GzipWriter(gzip: GzipStream(), under: writer))
        }
        return response
    }

    private static func isCompressible(_ response: Response) -> Bool {
        guard response.headers[.contentEncoding] == nil, let type = response.headers[.contentType] else { return false }
        guard type.hasPrefix("application/json") || type.hasPrefix("text/") && !type.hasPrefix("text/event-stream") else { return false }
        return response.body.contentLength.map { $0 >= minimumBytes } ?? true
    }

    /// Whether `gzip` or `*` is among them, and not with a quality of 0.
    static func takesGzip(_ values: [String]) -> Bool {
        for coding in values.flatMap({ $0.split(separator: ",") }) {
            let parts = coding.split(separator: ";").map { $0.filter { $0 != " " }.lowercased() }
            guard let name = parts.first, name == "gzip" || name == "*" else { continue }
            let quality = parts.dropFirst().first { $0.hasPrefix("q=") }.flatMap { Double($0.dropFirst(2)) } ?? 1
            return quality > 0
        }
        return false
    }
}

private struct GzipWriter: ResponseBodyWriter {
    let gzip: GzipStream
    var under: any ResponseBodyWriter

    @concurrent mutating func write(_ buffer: ByteBuffer) async throws {
        let compressed = gzip.compress(buffer)
        if compressed.readableBytes > 0 { try await under.write(compressed) }
    }

    @concurrent consuming func finish(_ trailingHeaders: HTTPFields?) async throws {
        try await under.write(gzip.finish())
        try await under.finish(trailingHeaders)
    }
}
