// REDIS_URL
//
//     redis://[[user][:password]@][host][:port][/db][?db=n]         host defaults to localhost, port to 6379, db to 0; IPv6 stands in brackets
//     unix://[[user][:password]@]/path/to/redis.sock[?db=n]         also redis+unix:// and redis-socket://; user= and password= in the query too
//
// User, password, host and path are percent-decoded. Where the database is named twice the query wins, and other keys in the query are ignored: both as redis-py,
// which the old backends used. The userinfo ends at the last '@' before the first '/', '?' or '#'.

extension RedisConfiguration {
    package struct InvalidURL: Error, CustomStringConvertible, Sendable {
        package let description: String

        /// - Parameter sentence: must not quote from the URL: a password with a `/` or `#` may stand where a port is looked for.
        fileprivate init(_ sentence: String) { description = "REDIS_URL: \(sentence)" }
    }

    /// - Throws: `InvalidURL`, with a sentence that says what is allowed.
    package init(url: String) throws(InvalidURL) {
        guard let separator = url.firstRange(of: "://") else {
            throw InvalidURL("not a URL. Write redis://host:6379/0, redis://:password@host:6379/0 or unix:///path/to/redis.sock?db=0.")
        }
        var rest = url[separator.upperBound...]
        let parameters = Self.query(cutFrom: &rest)
        let isUnix: Bool
        switch url[..<separator.lowerBound].lowercased() {
        case "redis": isUnix = false
        case "unix", "redis+unix", "redis-socket": isUnix = true
        case "rediss", "valkeys":
            throw InvalidURL(
                "rediss:// is not available, this program does not speak TLS to Redis. Use redis:// through a tunnel (stunnel, spiped) or on a private network."
            )
        default: throw InvalidURL("the scheme must be redis or unix: redis://host:6379/0 or unix:///path/to/redis.sock?db=0.")
        }
        let authority = rest.prefix { $0 != "/" }
        let path = rest[authority.endIndex...]
        let userinfo = authority.lastIndex(of: "@").map { authority[..<$0] }
        let server = userinfo.map { authority[authority.index(after: $0.endIndex)...] } ?? authority

        if isUnix {
            guard server.isEmpty, path.count > 1, let path = Self.decoded(path) else {
                throw InvalidURL("the path of the socket must follow three slashes: unix:///path/to/redis.sock?db=0.")
            }
            guard path.utf8.count < 108 else { throw InvalidURL("the path of a socket has at most 107 bytes.") }
            self.init(address: .unix(path: path))
        } else {
            self.init(address: try Self.tcp(server))
        }

        if let userinfo {
            let parts = userinfo.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            guard let user = Self.decoded(parts[0]), let password = Self.decoded(parts.count > 1 ? parts[1] : "") else {
                throw InvalidURL("the user name or password is not percent-encoded UTF-8. Write % as %25, @ as %40, / as %2F, : as %3A.")
            }
            self.user = user.isEmpty ? nil : user
            // A user without a password may be one with 'nopass'.
            self.password = password.isEmpty && user.isEmpty ? nil : password
        }
        if isUnix {
            user = parameters["user"] ?? parameters["username"] ?? user
            password = parameters["password"] ?? password ?? user.map { _ in "" }
        }
        let named = isUnix ? nil : String(path.dropFirst())
        if let text = parameters["db"] ?? parameters["database"] ?? named, !text.isEmpty {
            guard let number = Int(text), (0...Int(Int32.max)).contains(number), text.utf8.allSatisfy({ $0 != UInt8(ascii: "+") }) else {
                throw InvalidURL(
                    "the database must be a number from 0, as in redis://host:6379/0. In a password write / as %2F, ? as %3F, # as %23, @ as %40."
                )
            }
            database = number
        }
    }

    private static func tcp(_ server: Substring) throws(InvalidURL) -> Address {
        var host = server
        var portText: Substring = ""
        if server.first == "[" {
            guard let end = server.firstIndex(of: "]") else { throw InvalidURL("an IPv6 address must stand in brackets: redis://[::1]:6379/0.") }
            host = server[server.index(after: server.startIndex)..<end]
            let after = server[server.index(after: end)...]
            guard after.isEmpty || after.first == ":" else { throw InvalidURL("only a port may follow an IPv6 address: redis://[::1]:6379/0.") }
            portText = after.dropFirst()
        } else if let colon = server.firstIndex(of: ":") {
            host = server[..<colon]
            portText = server[server.index(after: colon)...]
            guard !portText.contains(":") else { throw InvalidURL("an IPv6 address must stand in brackets: redis://[::1]:6379/0.") }
        }
        guard portText.isEmpty || portText.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
            let port = portText.isEmpty ? 6379 : Int(portText), (1...65535).contains(port)
        else {
            throw InvalidURL("the port must be a number from 1 to 65535. In a password write / as %2F, ? as %3F, # as %23, @ as %40.")
        }
        guard let host = decoded(host), !host.utf8.contains(where: { $0 <= 0x20 || $0 == 0x7f }) else {
            throw InvalidURL("the host is not a name or an address: redis://host:6379/0.")
        }
        return .tcp(host: host.isEmpty ? "localhost" : host, port: port)
    }

    /// Cuts query and fragment off, and reads the query. A key given twice: the last one counts.
    private static func query(cutFrom rest: inout Substring) -> [String: String] {
        if let hash = rest.firstIndex(of: "#") { rest = rest[..<hash] }
        guard let mark = rest.firstIndex(of: "?") else { return [:] }
        let query = rest[rest.index(after: mark)...]
        rest = rest[..<mark]
        var parameters: [String: String] = [:]
        for pair in query.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let key = decoded(parts[0]), let value = decoded(parts.count > 1 ? parts[1] : "") else { continue }
            parameters[key] = value
        }
        return parameters
    }

    /// RFC 3986 §2.1. `nil` when a `%` is not followed by two hexadecimal digits, or what comes out is not UTF-8 or contains NUL.
    private static func decoded(_ text: Substring) -> String? {
        var bytes: [UInt8] = []
        var input = text.utf8[...]
        while let byte = input.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = input.popFirst().flatMap(hexDigit), let low = input.popFirst().flatMap(hexDigit), high | low != 0 else { return nil }
            bytes.append(high << 4 | low)
        }
        return String(validating: bytes, as: UTF8.self)
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8? { Character(UnicodeScalar(byte)).hexDigitValue.map(UInt8.init) }
}
