import HTTPTypes
import Hummingbird
import Telemetry

/// Makes a span of each request, within the caller's trace when it has one (W3C Trace Context). The answer's `traceresponse` says which it was.
struct TraceRequests: RouterMiddleware {
    let tracer: Tracer

    func handle(_ request: Request, context: APIContext, next: @concurrent (Request, APIContext) async throws -> Response) async throws -> Response {
        let parent = request.headers[Self.parent].flatMap { SpanContext(traceparent: $0) }
        // `POST /route/{id}`; the method alone where there is no such route (OpenTelemetry's semantic conventions for HTTP spans).
        let route = context.endpointPath.flatMap { $0 == "NotFound" ? nil : $0 }
        var span = tracer.begin([request.method.rawValue, route].compactMap(\.self).joined(separator: " "), .server, in: parent)
        var response = try await Trace.$current.withValue(span.context) { try await next(request, context) }
        span.attributes = [
            ("http.request.method", .text(request.method.rawValue)), ("http.route", .text(context.endpointPath ?? "none")),
            ("http.response.status_code", .number(response.status.code)), ("request.id", .text(context.requestID)),
        ]
        span.hasFailed = response.status.code >= 500
        response.headers[Self.answer] = span.context.traceparent
        tracer.end(span)
        return response
    }

    private static let parent = HTTPField.Name("traceparent")!
    private static let answer = HTTPField.Name("traceresponse")!
}
