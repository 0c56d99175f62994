import HTTPTypes
import Hummingbird
import Logging
import Wire

/// Refuses what a client expects and nobody here does (RFC 9110 §10.1.1), and bodies that are coded, which nobody here reads (§8.4, §15.5.16). `100-continue` is
/// answered where the connection is read (`UpgradeHandler`).
struct RefuseExpectations: RouterMiddleware {
    typealias Context = APIContext

    func handle(_ request: Request, context: APIContext, next: @concurrent (Request, APIContext) async throws -> Response) async throws -> Response {
        let expected = request.headers[values: .expect].flatMap { $0.split(separator: ",") }.map { $0.filter { $0 != " " }.lowercased() }
        let coding = request.headers[.contentEncoding]?.lowercased() ?? "identity"
        guard coding == "identity" || coding.isEmpty else {
            let detail = "O corpo deve vir sem Content-Encoding."
            context.notes.note("error", detail)
            context.notes.note("code", "content_encoding_unsupported")
            var response = Response.json(status: .unsupportedMediaType) {
                $0.field("detail", detail)
                $0.field("code", "content_encoding_unsupported")
            }
            response.headers[.acceptEncoding] = "identity"
            return response
        }
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
