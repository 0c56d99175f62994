import NIOCore

/// Where the clients of a load go, and what proves who they are.
struct Target: Sendable {
    let port: Int
    let token: String
    let address: SocketAddress
    private let sources: [SocketAddress]

    init(port: Int, token: String) throws {
        self.port = port
        self.token = token
        address = try SocketAddress(ipAddress: "127.0.0.1", port: port)
        // Each address of the loopback network has its own ports, some 28,000; those of connections cut stay taken for a minute.
        sources = try (2..<10).map { try SocketAddress(ipAddress: "127.0.0.\($0)", port: 0) }
    }

    func sourceAddress(_ client: Int) -> SocketAddress { sources[client % sources.count] }
}
