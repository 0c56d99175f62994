/// The negotiation of permessage-deflate in the opening handshake (RFC 7692 §5, §7.1), for both sides. Headers in, parameters out.
package struct DeflateNegotiator: Sendable {
    package struct Agreement: Sendable, Hashable {
        package let parameters: DeflateParameters
        /// The value of the response's Sec-WebSocket-Extensions.
        package let headerValue: String
    }

    package let policy: DeflatePolicy

    package init(_ policy: DeflatePolicy = DeflatePolicy()) { self.policy = policy.validated() }

    // MARK: Server

    /// Chooses the first offer that can be kept, from all values of the request's Sec-WebSocket-Extensions. Nil: answer without the header.
    ///
    /// Extensions we do not know are passed over, and so are offers with a parameter that is unknown, repeated or ill-valued (RFC 7692 §5.1,
    /// §7.1). Only a header that is not in the grammar at all is an error, to be answered with 400 (RFC 6455 §9.1).
    package func answer(_ offers: [String]) throws(WebSocketExtensionError) -> Agreement? {
        guard policy.isEnabled else { return nil }
        for element in try WebSocketExtension.list(offers) where element.name == DeflateParameterReader.extensionName {
            guard let offer = try? DeflateOffer(parsing: element.parameters), let response = DeflateResponse(to: offer, policy) else { continue }
            return Agreement(parameters: DeflateParameters(response, to: offer), headerValue: response.headerValue)
        }
        return nil
    }

    // MARK: Client

    /// The value of the request's Sec-WebSocket-Extensions. Nil: send none.
    package var offer: String? { policy.isEnabled ? DeflateOffer(policy).headerValue : nil }

    /// Reads all values of the response's Sec-WebSocket-Extensions. Nil: the server declined. An error fails the connection (RFC 6455 §4.1,
    /// RFC 7692 §7.1).
    package func accept(_ response: [String]) throws(WebSocketExtensionError) -> DeflateParameters? {
        let elements = try WebSocketExtension.list(response)
        guard let element = elements.first else { return nil }
        guard policy.isEnabled, element.name == DeflateParameterReader.extensionName else { throw .init(reason: "\(element.name) was not offered") }
        guard elements.count == 1 else { throw .init(reason: "more than was offered") }
        let offer = DeflateOffer(policy)
        return DeflateParameters(try DeflateResponse(parsing: element.parameters, to: offer), to: offer)
    }
}
