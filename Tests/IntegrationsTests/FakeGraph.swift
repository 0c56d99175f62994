import NIOCore
import NIOHTTP1
import NIOPosix
import Synchronization

/// A server on a free port of this machine that answers every request the way a test tells it to, and remembers what it was asked.
final class FakeGraph: Sendable {
    enum Behaviour: Sendable {
        case answer(status: Int, headers: [(String, String)] = [], body: String = "")
        /// Takes the request and never says anything.
        case silence
        /// Takes the whole request, then closes.
        case drop
        /// Sends half of an answer that promised more, then closes.
        case cutShort
        /// Sends half of an answer that promised more, then nothing.
        case stall
    }

    struct Request: Sendable {
        let method: String
        let path: String
        let headers: [(String, String)]
        let body: [UInt8]

        func header(_ name: String) -> String? { headers.first { $0.0.lowercased() == name.lowercased() }?.1 }
    }

    private let channel: any Channel
    private let received: Requests

    private final class Requests: Sendable {
        let all = Mutex<[Request]>([])
    }

    private init(channel: any Channel, received: Requests) {
        self.channel = channel
        self.received = received
    }

    var port: Int { channel.localAddress?.port ?? 0 }
    var url: String { "http://127.0.0.1:\(port)" }
    var requests: [Request] { received.all.withLock { $0 } }

    static func start(_ behaviour: Behaviour) async throws -> FakeGraph {
        let received = Requests()
        let channel = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .serverChannelOption(.socketOption(.so_reuseaddr), value: 1)
            .childChannelInitializer { channel in
                channel.eventLoop.makeCompletedFuture {
                    try channel.pipeline.syncOperations.configureHTTPServerPipeline()
                    try channel.pipeline.syncOperations.addHandler(
                        Handler(behaviour: behaviour) { request in received.all.withLock { $0.append(request) } }
                    )
                }
            }
            .bind(host: "127.0.0.1", port: 0).get()
        return FakeGraph(channel: channel, received: received)
    }

    func stop() async throws { try await channel.close() }

    private final class Handler: ChannelInboundHandler {
        typealias InboundIn = HTTPServerRequestPart
        typealias OutboundOut = HTTPServerResponsePart

        private let behaviour: Behaviour
        private let record: (Request) -> Void
        private var head: HTTPRequestHead?
        private var body: [UInt8] = []

        init(behaviour: Behaviour, record: @escaping (Request) -> Void) {
            self.behaviour = behaviour
            self.record = record
        }

        func channelRead(context: ChannelHandlerContext, data: NIOAny) {
            switch unwrapInboundIn(data) {
            case .head(let head):
                self.head = head
                body = []
            case .body(let bytes): body += bytes.readableBytesView
            case .end:
                guard let head else { return }
                record(Request(method: head.method.rawValue, path: head.uri, headers: head.headers.map { ($0.name, $0.value) }, body: body))
                behave(context)
            }
        }

        private func behave(_ context: ChannelHandlerContext) {
            switch behaviour {
            case .answer(let status, let headers, let body):
                var fields = HTTPHeaders(headers)
                fields.add(name: "Content-Length", value: String(body.utf8.count))
                write(status, fields, body, context)
                context.writeAndFlush(wrapOutboundOut(.end(nil)), promise: nil)
            case .silence: break
            case .drop: context.close(promise: nil)
            case .cutShort, .stall:
                write(200, ["Content-Length": "1000"], #"{"messages":[{"id":"#, context)
                context.flush()
                if case .cutShort = behaviour { context.close(promise: nil) }
            }
        }

        private func write(_ status: Int, _ headers: HTTPHeaders, _ body: String, _ context: ChannelHandlerContext) {
            let head = HTTPResponseHead(version: .http1_1, status: HTTPResponseStatus(statusCode: status), headers: headers)
            context.write(wrapOutboundOut(.head(head)), promise: nil)
            context.write(wrapOutboundOut(.body(.byteBuffer(ByteBuffer(string: body)))), promise: nil)
        }
    }
}
