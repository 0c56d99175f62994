import HTTPTypes
import Hummingbird
import Logging
import Wire

/// Refuses what a client expects and nobody here does (RFC 9110 §10.1.1). `100-continue` is answered where the connection is read (`UpgradeHandler`).
struct RefuseExpectations: RouterMiddleware {
    typealias Context = APIContext

    func handle(_ request: Request, context: APIContext, next: @concurrent (Request, APIContext) async throws -> Response) async throws -> Response {
        let expected = request.headers[values: .expect].flatMap { $0.split(separator: ",") }.map { $0.filter { $0 != " " }.lowercased() }
        guard let other = expected.first(where: { $0 != "100-continue" }) else { return try await next(request, context) }
        let detail = "O cabeçalho Expect só aceita 100-continue."
        context.notes.note("error", detail)
        context.notes.note("code", "expectation_failed")
        context.logger.debug("an expectation that nobody meets", metadata: ["expect": "\(other.prefix(64))"])
        return .json(status: .expectationFailed) {
            $0.field("detail", detail)
            $0.field("code", "expectation_failed")
        }
    }
}
