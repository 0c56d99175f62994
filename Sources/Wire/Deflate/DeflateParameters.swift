/// What both sides agreed on (RFC 7692 §7.1): the same value at either end.
package struct DeflateParameters: Sendable, Hashable {
    /// The server starts every message with an empty window (§7.1.1.1).
    package var serverNoContextTakeover: Bool
    /// The client does (§7.1.1.2).
    package var clientNoContextTakeover: Bool
    /// The server refers back at most 2^n bytes, n in 8...15 (§7.1.2.1).
    package var serverMaxWindowBits: Int
    /// The client does (§7.1.2.2).
    package var clientMaxWindowBits: Int

    package init(
        serverNoContextTakeover: Bool = false,
        clientNoContextTakeover: Bool = false,
        serverMaxWindowBits: Int = 15,
        clientMaxWindowBits: Int = 15
    ) {
        self.serverNoContextTakeover = serverNoContextTakeover
        self.clientNoContextTakeover = clientNoContextTakeover
        self.serverMaxWindowBits = serverMaxWindowBits
        self.clientMaxWindowBits = clientMaxWindowBits
    }

    init(_ response: DeflateResponse, to offer: DeflateOffer) {
        serverNoContextTakeover = response.serverNoContextTakeover
        // A client that offers these two holds itself to them, whatever the response says.
        clientNoContextTakeover = response.clientNoContextTakeover || offer.clientNoContextTakeover
        clientMaxWindowBits = min(response.clientMaxWindowBits ?? 15, offer.clientMaxWindowBits?.bound ?? 15)
        serverMaxWindowBits = response.serverMaxWindowBits ?? 15
    }
}

/// The parameters of one permessage-deflate element, read with the rules that offers and responses share (RFC 7692 §7.1): known names, none of
/// them twice, no value for the first two, a decimal number from 8 to 15 without leading zeros for the others.
struct DeflateParameterReader {
    static let extensionName = "permessage-deflate"

    private(set) var serverNoContextTakeover = false
    private(set) var clientNoContextTakeover = false
    private(set) var serverMaxWindowBits: Int?
    private(set) var clientMaxWindowBits: DeflateOffer.ClientWindow?

    init(_ parameters: [WebSocketExtension.Parameter]) throws(WebSocketExtensionError) {
        var seen: Set<String> = []
        for parameter in parameters {
            guard seen.insert(parameter.name).inserted else { throw .init(reason: "\(parameter.name) twice") }
            switch parameter.name {
            case "server_no_context_takeover":
                try Self.expectNoValue(parameter)
                serverNoContextTakeover = true
            case "client_no_context_takeover":
                try Self.expectNoValue(parameter)
                clientNoContextTakeover = true
            case "server_max_window_bits": serverMaxWindowBits = try Self.bits(parameter)
            case "client_max_window_bits": clientMaxWindowBits = parameter.value == nil ? .any : .atMost(try Self.bits(parameter))
            default: throw .init(reason: "permessage-deflate has no parameter \(parameter.name)")
            }
        }
    }

    private static func expectNoValue(_ parameter: WebSocketExtension.Parameter) throws(WebSocketExtensionError) {
        guard parameter.value == nil else { throw .init(reason: "\(parameter.name) takes no value") }
    }

    private static func bits(_ parameter: WebSocketExtension.Parameter) throws(WebSocketExtensionError) -> Int {
        switch parameter.value {
        case "8": 8
        case "9": 9
        case "10": 10
        case "11": 11
        case "12": 12
        case "13": 13
        case "14": 14
        case "15": 15
        default: throw .init(reason: "\(parameter.name) must be 8...15")
        }
    }
}
