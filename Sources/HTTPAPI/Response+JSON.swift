import HTTPTypes
import Hummingbird
import Kernel
import NIOCore
import Wire

extension Response {
    static func json(_ bytes: [UInt8], status: HTTPResponse.Status = .ok) -> Response {
        Response(
            status: status,
            headers: [.contentType: "application/json; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes))
        )
    }

    static func json(status: HTTPResponse.Status = .ok, _ members: (inout JSONWriter) -> Void) -> Response {
        var writer = JSONWriter()
        writer.object(members)
        return .json(writer.bytes, status: status)
    }

    static func text(_ text: String, status: HTTPResponse.Status = .ok) -> Response {
        Response(
            status: status,
            headers: [.contentType: "text/plain; charset=utf-8", .cacheControl: "no-store"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text))
        )
    }

    /// `{"detail": …, "code": …}`, or FastAPI's list of fields.
    static func refusal(_ refusal: Refusal) -> Response {
        var response = Response.json(status: .init(code: refusal.kind.status)) { body in
            guard refusal.fields.isEmpty else {
                body.list("detail") { list in
                    for field in refusal.fields {
                        list.object {
                            // What is a place in a list is a number, as FastAPI has it.
                            $0.list("loc") { for part in field.location { if let index = Int(part) { $0.int(index) } else { $0.string(part) } } }
                            $0.field("msg", field.message)
                            $0.field("type", field.type)
                        }
                    }
                }
                return
            }
            body.field("detail", refusal.message)
            body.field("code", refusal.code)
            for (name, value) in refusal.facts.sorted(by: { $0.key < $1.key }) { body.field(name, value) }
            for (name, value) in refusal.numbers.sorted(by: { $0.key < $1.key }) { body.field(name, value) }
            for name in refusal.nulls.sorted() { body.field(name, nil as String?) }
            for (name, values) in refusal.lists.sorted(by: { $0.key < $1.key }) { body.field(name, strings: values) }
            if let current = refusal.current { body.field("current", raw: current) }
        }
        if let seconds = refusal.retryAfterSeconds { response.headers[.retryAfter] = String(seconds) }
        if refusal.kind == .unauthenticated { response.headers[.wwwAuthenticate] = refusal.code == "basic_auth_invalid" ? "Basic" : "Bearer" }
        return response
    }
}
