/// What a client asks for (RFC 7692 §7.1). It may make several offers, the one it likes best first.
struct DeflateOffer: Hashable {
    enum ClientWindow: Hashable {
        /// The server may ask for any size.
        case any
        /// And the client will not use more than this by itself (§7.1.2.2).
        case atMost(Int)

        var bound: Int {
            switch self {
            case .any: 15
            case .atMost(let bits): bits
            }
        }
    }

    var serverNoContextTakeover = false
    var clientNoContextTakeover = false
    var serverMaxWindowBits: Int?
    /// Nil: the server may not limit the client's window.
    var clientMaxWindowBits: ClientWindow?

    /// What a client with this policy offers.
    init(_ policy: DeflatePolicy) {
        serverNoContextTakeover = !policy.allowsPeerContextTakeover
        clientNoContextTakeover = !policy.allowsContextTakeover
        serverMaxWindowBits = policy.peerMaxWindowBits < 15 ? policy.peerMaxWindowBits : nil
        clientMaxWindowBits = policy.maxWindowBits < 15 ? .atMost(policy.maxWindowBits) : .any
    }

    init(parsing parameters: [WebSocketExtension.Parameter]) throws(WebSocketExtensionError) {
        let read = try DeflateParameterReader(parameters)
        serverNoContextTakeover = read.serverNoContextTakeover
        clientNoContextTakeover = read.clientNoContextTakeover
        serverMaxWindowBits = read.serverMaxWindowBits
        clientMaxWindowBits = read.clientMaxWindowBits
    }

    /// The header's value.
    var headerValue: String {
        var parts = [DeflateParameterReader.extensionName]
        if serverNoContextTakeover { parts.append("server_no_context_takeover") }
        if clientNoContextTakeover { parts.append("client_no_context_takeover") }
        if let serverMaxWindowBits { parts.append("server_max_window_bits=\(serverMaxWindowBits)") }
        switch clientMaxWindowBits {
        case .any: parts.append("client_max_window_bits")
        case .atMost(let bits): parts.append("client_max_window_bits=\(bits)")
        case nil: break
        }
        return parts.joined(separator: "; ")
    }
}
