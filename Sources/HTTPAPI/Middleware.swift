import HTTPTypes
import Hummingbird
import Kernel
import Logging
import Telemetry
import Wire

/// Keeps the id that a client, or a proxy before us, gave a request, so that both logs can be read together. What is no plain word is not repeated to anybody.
struct NameRequest: RouterMiddleware {
    typealias Context = APIContext

    func handle(_ request: Request, context: APIContext, next: @concurrent (Request, APIContext) async throws -> Response) async throws -> Response {
        guard let id = request.headers[RequestLog.requestID], Self.isSane(id) else { return try await next(request, context) }
        var context = context
        context.requestID = id
        return try await next(request, context)
    }

    static func isSane(_ id: String) -> Bool {
        (8...64).contains(id.utf8.count)
            && id.utf8.allSatisfy {
                switch $0 {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
                case UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: "."): true
                default: false
                }
            }
    }
}

/// Writes the log's lines about it in the shape of contracts/consultores.md "Formato dos Logs": `request`, then
/// `response`, with `error` before it when it is one. Of parameters only those that say nothing about people are shown; bodies and credentials never.
struct RequestLog: RouterMiddleware {
    let metrics: Metrics

    private static let shownParameters: Set<String> = [
        "idioma", "page", "per_page", "limit", "skip", "before", "state", "assignee", "status_online", "consultor_id", "month", "hub.mode",
        "de", "ate", "ordem", "conversation_id", "numero",
    ]

    func handle(_ request: Request, context: APIContext, next: @concurrent (Request, APIContext) async throws -> Response) async throws -> Response {
        let start = ContinuousClock.now
        let path = request.uri.path
        let id = Logger.MetadataValue.string(context.requestID)
        var parameters: Logger.Metadata = [:]
        for (name, value) in request.uri.queryParameters {
            parameters[String(name)] = .string(Self.shownParameters.contains(String(name)) ? String(value) : "***")
        }
        context.logger.info(
            "request",
            metadata: [
                "request": .dictionary([
                    "id": id, "method": .string(request.method.rawValue), "path": .string(path), "params": .dictionary(parameters),
                ])
            ]
        )
        var response = try await next(request, context)
        let took = ContinuousClock.now - start
        metrics.request(Self.method(request), context.endpointPath ?? "none", status: response.status.code, took: took)
        let seconds = took.inDecimalSeconds
        response.headers[Self.requestID] = context.requestID
        response.headers[Self.processTime] = seconds
        if let error = context.notes.all["error"] {
            let line: Logger.Metadata = ["id": id, "method": .string(request.method.rawValue), "path": .string(path), "error": error]
            context.logger.log(level: response.status.code >= 500 ? .error : .warning, "error", metadata: ["error": .dictionary(line)])
        }
        let line: Logger.Metadata = [
            "id": id, "status": .stringConvertible(response.status.code), "time": .string("\(seconds)s"),
            "data": .dictionary(context.notes.all.filter { $0.key != "error" }),
        ]
        context.logger.info("response", metadata: ["response": .dictionary(line)])
        return response
    }

    /// What a client makes up is not a label.
    private static func method(_ request: Request) -> String {
        switch request.method {
        case .get, .head, .post, .put, .patch, .delete, .options: request.method.rawValue
        default: "other"
        }
    }

    static let requestID = HTTPField.Name("X-Request-ID")!
    private static let processTime = HTTPField.Name("X-Process-Time")!
}

/// Renders what was refused or went wrong. An error of ours that nobody foresaw shows nothing of itself to the client.
struct RefusalsAsResponses: RouterMiddleware {
    func handle(_ request: Request, context: APIContext, next: @concurrent (Request, APIContext) async throws -> Response) async throws -> Response {
        do {
            return try await next(request, context)
        } catch let refusal as Refusal {
            context.notes.note("error", refusal.message)
            context.notes.note("code", refusal.code)
            return .refusal(refusal)
        } catch let error as HTTPError {
            let detail =
                switch error.status {
                case .notFound: "Endereço não encontrado"
                case .methodNotAllowed: "Método não permitido neste endereço"
                default: error.status.reasonPhrase
                }
            context.notes.note("error", detail)
            return .json(status: error.status) { $0.field("detail", detail) }
        } catch {
            context.notes.note("error", "unexpected \(type(of: error))")
            context.logger.error("a request failed unexpectedly", metadata: ["id": .string(context.requestID), "reason": "\(error)"])
            return .json(status: .internalServerError) {
                $0.field("detail", "Erro interno; informe o X-Request-ID ao suporte.")
                $0.field("code", "internal_error")
            }
        }
    }
}

extension Duration {
    /// `0.000321`
    fileprivate var inDecimalSeconds: String {
        let micros = String(components.attoseconds / 1_000_000_000_000)
        return "\(components.seconds)." + String(repeating: "0", count: 6 - micros.count) + micros
    }
}
