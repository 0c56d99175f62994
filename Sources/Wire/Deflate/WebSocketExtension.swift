/// One element of a Sec-WebSocket-Extensions header (RFC 6455 §9.1), in an offer or in a response:
///
///     extension-list  = 1#extension
///     extension       = extension-token *( ";" extension-param )
///     extension-param = token [ "=" ( token | quoted-string ) ]
///
/// with white space allowed between any two of these, empty elements allowed in the list (RFC 2616 §2.1), and a quoted value that is a token
/// once its backslashes are taken away. Several headers are one list, in their order. How long they are is bound by whoever reads HTTP.
struct WebSocketExtension: Hashable {
    struct Parameter: Hashable {
        let name: String
        let value: String?
    }

    let name: String
    var parameters: [Parameter] = []

    /// All extensions of a header's values. What does not follow the grammar makes the whole handshake fail (§9.1).
    static func list(_ values: [String]) throws(WebSocketExtensionError) -> [WebSocketExtension] {
        var extensions: [WebSocketExtension] = []
        for value in values {
            var scanner = Scanner(rest: Array(value.utf8)[...])
            while scanner.skipsToElement() { extensions.append(try scanner.element()) }
        }
        return extensions
    }
}

/// Why a Sec-WebSocket-Extensions header makes a handshake fail: a server answers 400, a client closes the connection.
package struct WebSocketExtensionError: Error, Hashable, CustomStringConvertible {
    package let reason: String
    package var description: String { "Sec-WebSocket-Extensions: \(reason)" }
}

// MARK: The grammar

private struct Scanner {
    var rest: ArraySlice<UInt8>

    /// Passes over white space and the commas between elements. False at the end.
    mutating func skipsToElement() -> Bool {
        rest = rest.drop { Self.isSpace($0) || $0 == UInt8(ascii: ",") }
        return !rest.isEmpty
    }

    mutating func element() throws(WebSocketExtensionError) -> WebSocketExtension {
        var element = WebSocketExtension(name: try token("the name of an extension"))
        while skips(";") {
            let name = try token("the name of a parameter")
            element.parameters.append(.init(name: name, value: skips("=") ? try value(of: name) : nil))
        }
        guard rest.first == nil || rest.first == UInt8(ascii: ",") else { throw .init(reason: "\(element.name) is not followed by ; or ,") }
        return element
    }

    private mutating func value(of name: String) throws(WebSocketExtensionError) -> String {
        guard skips("\"") else { return try token("the value of \(name)") }
        var unescaped: [UInt8] = []
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "\"") {
                guard !unescaped.isEmpty else { break }
                skipSpace()
                return String(decoding: unescaped, as: UTF8.self)
            }
            guard let literal = byte == UInt8(ascii: "\\") ? rest.popFirst() : byte, Self.isTokenByte(literal) else { break }
            unescaped.append(literal)
        }
        throw .init(reason: "the value of \(name) is not a token in quotes")
    }

    private mutating func token(_ what: String) throws(WebSocketExtensionError) -> String {
        skipSpace()
        let token = rest.prefix(while: Self.isTokenByte)
        guard !token.isEmpty else { throw .init(reason: "\(what) is missing") }
        rest = rest[token.endIndex...]
        skipSpace()
        return String(decoding: token, as: UTF8.self)
    }

    /// Passes over `mark`, with the white space around it. False if something else is next.
    private mutating func skips(_ mark: Unicode.Scalar) -> Bool {
        skipSpace()
        guard rest.first == UInt8(ascii: mark) else { return false }
        rest.removeFirst()
        return true
    }

    private mutating func skipSpace() { rest = rest.drop(while: Self.isSpace) }

    private static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

    /// RFC 2616 §2.2: any printable ASCII but the separators.
    private static func isTokenByte(_ byte: UInt8) -> Bool {
        (0x21...0x7e).contains(byte) && !separators.contains(byte)
    }
    private static let separators = Set("()<>@,;:\\\"/[]?={}".utf8)
}
