package import NIOCore

/// permessage-deflate as one connection agreed on it, both ways. A connection that did not has none of these. Belongs to its event loop.
package final class WebSocketDeflate {
    private enum Outbound {
        /// A client told to use a window of 8 bits, which zlib cannot: to send everything as it is, is always allowed (RFC 7692 §6).
        case plain
        /// Each message by itself: by the event loop's compressor.
        case shared(windowBits: Int)
        case own(MessageDeflater)
    }

    package let parameters: DeflateParameters
    /// For the connection's `WebSocketFrameParser`.
    package let inflater: MessageInflater
    private let outbound: Outbound
    private let pool: DeflatePool

    package init(_ parameters: DeflateParameters, role: WebSocketFrameParser.Role, pool: DeflatePool) {
        self.parameters = parameters
        self.pool = pool
        let server = (bits: parameters.serverMaxWindowBits, forgets: parameters.serverNoContextTakeover)
        let client = (bits: parameters.clientMaxWindowBits, forgets: parameters.clientNoContextTakeover)
        let (ours, peers) = role == .server ? (server, client) : (client, server)
        inflater = MessageInflater(
            windowBits: peers.bits,
            takesContextOver: !peers.forgets,
            maxMessageBytes: pool.policy.maxMessageBytes,
            pool: pool
        )
        let windowBits = min(ours.bits, pool.policy.maxWindowBits)
        if windowBits < 9 {
            outbound = .plain
        } else if ours.forgets || !pool.policy.allowsContextTakeover {
            outbound = .shared(windowBits: windowBits)
        } else {
            outbound = .own(MessageDeflater(windowBits: windowBits, takesContextOver: true, pool.policy))
        }
    }

    /// Whether each message builds on those sent before, so that none may be left out once it is compressed.
    package var hasContext: Bool { if case .own = outbound { true } else { false } }

    /// What compresses the next message to this connection.
    var deflater: MessageDeflater? {
        switch outbound {
        case .plain: nil
        case .shared(let windowBits): pool.deflater(windowBits: windowBits)
        case .own(let deflater): deflater
        }
    }

    // MARK: A message for this connection alone

    package func text(_ payload: [UInt8], mask: WebSocketMask? = nil) -> ByteBuffer { WebSocketFrame.text(payload, deflater: deflater, mask: mask) }
    package func text(_ payload: ByteBuffer, mask: WebSocketMask? = nil) -> ByteBuffer {
        WebSocketFrame.text(payload, deflater: deflater, mask: mask)
    }
    package func binary(_ payload: [UInt8], mask: WebSocketMask? = nil) -> ByteBuffer {
        WebSocketFrame.binary(payload, deflater: deflater, mask: mask)
    }
    package func binary(_ payload: ByteBuffer, mask: WebSocketMask? = nil) -> ByteBuffer {
        WebSocketFrame.binary(payload, deflater: deflater, mask: mask)
    }

    // MARK: A message for many

    func frame(of message: inout PreparedMessage) -> ByteBuffer {
        switch outbound {
        case .plain: message.plainFrame()
        case .shared(let windowBits): message.compressedFrame(windowBits: windowBits, pool)
        case .own(let deflater): message.frame(deflater: deflater)
        }
    }
}
