/// A server's answer to the one offer it accepts (RFC 7692 §7.1).
struct DeflateResponse: Hashable {
    var serverNoContextTakeover = false
    var clientNoContextTakeover = false
    var serverMaxWindowBits: Int?
    var clientMaxWindowBits: Int?

    /// What a server with this policy says to an offer, or nil if it declines it.
    init?(to offer: DeflateOffer, _ policy: DeflatePolicy) {
        // Both may be said unasked (§7.1.1.1, §7.1.1.2), and what was asked must be repeated.
        serverNoContextTakeover = offer.serverNoContextTakeover || !policy.allowsContextTakeover
        clientNoContextTakeover = offer.clientNoContextTakeover || !policy.allowsPeerContextTakeover
        if let asked = offer.serverMaxWindowBits {
            // zlib has no raw stream of 8 bits (deflateInit2: Z_STREAM_ERROR), and one of 9 would refer back too far.
            guard asked >= 9 else { return nil }
            serverMaxWindowBits = min(asked, policy.maxWindowBits)
        }
        switch offer.clientMaxWindowBits {
        case .atMost(let bits): clientMaxWindowBits = min(bits, policy.peerMaxWindowBits)
        case .any where policy.peerMaxWindowBits < 15: clientMaxWindowBits = policy.peerMaxWindowBits
        case .any, nil: break
        }
    }

    /// Reads a response and holds it against the offer: anything a server may not say makes the client fail the connection.
    init(parsing parameters: [WebSocketExtension.Parameter], to offer: DeflateOffer) throws(WebSocketExtensionError) {
        let read = try DeflateParameterReader(parameters)
        serverNoContextTakeover = read.serverNoContextTakeover
        clientNoContextTakeover = read.clientNoContextTakeover
        serverMaxWindowBits = read.serverMaxWindowBits
        switch read.clientMaxWindowBits {
        case .any: throw .init(reason: "client_max_window_bits without a value")
        case .atMost(let bits): clientMaxWindowBits = bits
        case nil: break
        }
        if offer.serverNoContextTakeover, !serverNoContextTakeover { throw .init(reason: "server_no_context_takeover was asked for") }
        if let asked = offer.serverMaxWindowBits, serverMaxWindowBits.map({ $0 > asked }) ?? true {
            throw .init(reason: "server_max_window_bits of at most \(asked) was asked for")
        }
        if clientMaxWindowBits != nil, offer.clientMaxWindowBits == nil { throw .init(reason: "client_max_window_bits was not offered") }
    }

    /// The header's value.
    var headerValue: String {
        var parts = [DeflateParameterReader.extensionName]
        if serverNoContextTakeover { parts.append("server_no_context_takeover") }
        if clientNoContextTakeover { parts.append("client_no_context_takeover") }
        if let serverMaxWindowBits { parts.append("server_max_window_bits=\(serverMaxWindowBits)") }
        if let clientMaxWindowBits { parts.append("client_max_window_bits=\(clientMaxWindowBits)") }
        return parts.joined(separator: "; ")
    }
}
