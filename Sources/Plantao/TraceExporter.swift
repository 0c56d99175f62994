import AsyncHTTPClient
import Foundation
import Logging
import NIOCore
import NIOHTTP1
import ServiceLifecycle
import Telemetry
import Wire

/// Sends spans to an OpenTelemetry collector: OTLP over HTTP, as JSON (https://opentelemetry.io/docs/specs/otlp/#otlphttp).
///
/// In batches, one at a time, and in nobody's way: what the collector does not take is counted and let go.
struct TraceExporter: Service {
    struct Configuration {
        /// With the path: `http://127.0.0.1:4318/v1/traces`.
        var url: String
        var headers: [(String, String)] = []
        var serviceName = "plantao"
        var ratio = 1.0
        var timeout: Duration = .seconds(10)
        var interval: Duration = .seconds(1)
    }

    let configuration: Configuration
    let tracer: Tracer
    let http: HTTPClient
    let version: String
    let logger: Logger

    /// Spans in one request, at the most.
    private static let batch = 512

    func run() async throws {
        await cancelWhenGracefulShutdown {
            var wasRefused = false
            while !Task.isCancelled {
                try? await Task.sleep(for: configuration.interval)
                while !Task.isCancelled, let isTaken = await sendSome() {
                    // Said once, and again only when it has worked in between.
                    if !isTaken, !wasRefused { logger.warning("the collector takes no spans", metadata: ["url": "\(configuration.url)"]) }
                    wasRefused = !isTaken
                    if !isTaken { break }
                }
            }
        }
        // What the last requests left, if the collector is quick.
        _ = await Task { await sendSome(within: .seconds(2)) }.value
    }

    /// `nil` when there was nothing to send.
    private func sendSome(within timeout: Duration? = nil) async -> Bool? {
        let spans = tracer.take(Self.batch)
        guard !spans.isEmpty else { return nil }
        var request = HTTPClientRequest(url: configuration.url)
        request.method = .POST
        request.headers.add(name: "Content-Type", value: "application/json")
        for (name, value) in configuration.headers { request.headers.add(name: name, value: value) }
        request.body = .bytes(ByteBuffer(bytes: Self.json(spans, configuration.serviceName, version)))
        do {
            let response = try await http.execute(request, timeout: .nanoseconds(Int64((timeout ?? configuration.timeout) / .nanoseconds(1))))
            _ = try? await response.body.collect(upTo: 1 << 16)
            if response.status == .ok { return true }
        } catch {}
        tracer.lost(spans.count)
        return false
    }

    static func json(_ spans: [Span], _ serviceName: String, _ version: String) -> [UInt8] {
        var writer = JSONWriter(capacity: 512 * spans.count + 512)
        writer.object { root in
            root.list("resourceSpans") { resources in
                resources.object { resource in
                    resource.field(
                        "resource",
                        object: {
                            write([("service.name", .text(serviceName)), ("service.version", .text(version))], to: &$0)
                        }
                    )
                    resource.list("scopeSpans") { scopes in
                        scopes.object { scope in
                            scope.field("scope", object: { $0.field("name", "plantao") })
                            scope.list("spans") { list in for span in spans { write(span, to: &list) } }
                        }
                    }
                }
            }
        }
        return writer.bytes
    }

    private static func write(_ span: Span, to writer: inout JSONWriter) {
        writer.object {
            $0.field("traceId", span.context.traceID)
            $0.field("spanId", span.context.spanID)
            if let parent = span.parent { $0.field("parentSpanId", SpanContext.hex(parent)) }
            $0.field("name", span.name)
            $0.field("kind", span.kind.rawValue)
            // 64-bit numbers are strings in Protobuf's JSON.
            $0.field("startTimeUnixNano", String(span.start))
            $0.field("endTimeUnixNano", String(max(span.start, span.end)))
            write(span.attributes, to: &$0)
            $0.field("status", object: { if span.hasFailed { $0.field("code", 2) } })
        }
    }

    private static func write(_ attributes: [(String, Span.Value)], to writer: inout JSONWriter) {
        writer.list("attributes") { list in
            for (name, value) in attributes {
                list.object {
                    $0.field("key", name)
                    $0.field(
                        "value",
                        object: {
                            switch value {
                            case .text(let text): $0.field("stringValue", text)
                            case .number(let number): $0.field("intValue", String(number))
                            }
                        }
                    )
                }
            }
        }
    }
}
