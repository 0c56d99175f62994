import CPostgres
import Foundation
import Kernel
package import Resilience
import Storage

/// Where the database is and how it is used.
///
/// The URL is libpq's (`postgresql://user:password@host:port/database?sslmode=require`, several hosts, sockets, or `host=… dbname=…`), also with the driver's
/// name that SQLAlchemy puts in (`postgresql+asyncpg://`), and with asyncpg's `ssl=` for `sslmode=`.
package struct PostgresConfiguration: Sendable {
    /// Keywords as libpq names them. Holds the password: never to be shown.
    let parameters: [(keyword: String, value: String)]
    /// Connections for reading that are kept. The writer has one of its own.
    package var poolSize: Int
    /// Connections for reading beyond `poolSize`, closed once they are not needed.
    package var maxOverflow: Int
    /// After this long the server gives a statement up.
    package var statementTimeout: Duration
    /// How long the start waits for a database that cannot be reached yet, or that another server still writes to.
    package var patience: Duration
    package var breaker: CircuitBreaker.Settings
    /// Another server's journal is given up, with whatever it may still owe.
    package var takesOver = false
    /// How long one host may take to answer a new connection.
    package var connectTimeout = Duration.seconds(5)
    /// Reads waiting for a connection, at the most.
    package var maxWaitingReads = 1000
    /// How long a read waits for a connection, at the most.
    package var readPatience = Duration.seconds(10)

    /// - Throws: `StartupError`, which names the variable and never shows the password.
    package init(
        url: String,
        poolSize: Int = 20,
        maxOverflow: Int = 30,
        statementTimeout: Duration = .seconds(30),
        patience: Duration = .seconds(20),
        breaker: CircuitBreaker.Settings = .database
    ) throws {
        parameters = try Self.parse(url)
        self.poolSize = poolSize
        self.maxOverflow = maxOverflow
        self.statementTimeout = statementTimeout
        self.patience = patience
        self.breaker = breaker
    }

    subscript(keyword: String) -> String? { parameters.last { $0.keyword == keyword }?.value }

    private static let forms = "postgresql://user:password@host:5432/database"

    private static func parse(_ text: String) throws -> [(keyword: String, value: String)] {
        var url = text
        if let separator = text.range(of: "://") {
            let scheme = text[..<separator.lowerBound].lowercased()
            let known = ["postgresql", "postgres"]
            // SQLAlchemy names its driver in the scheme: asyncpg, psycopg, psycopg2, pg8000.
            guard let base = scheme.split(separator: "+", omittingEmptySubsequences: false).first, known.contains(String(base)) else {
                throw StartupError("DATABASE_URL: '\(scheme)://' is not Postgres. Allowed: \(forms)")
            }
            let rest = text[separator.upperBound...]
            // libpq ends the password at the first @ and the host at the first /, and what follows would be shown as a host.
            let place = rest.prefix { $0 != "?" }
            guard place.count(where: { $0 == "@" }) <= 1, !(place.firstIndex(of: "/").map { place[$0...].contains("@") } ?? false) else {
                throw StartupError("DATABASE_URL: an @ or a / in the user or password must be written as %40 or %2F. Allowed: \(forms)")
            }
            url = "postgresql://" + spelledForLibpq(rest)
        } else if !text.contains("=") {
            throw StartupError("DATABASE_URL: not a URL. Allowed: \(forms)")
        }
        var message: UnsafeMutablePointer<CChar>?
        guard let options = PQconninfoParse(url, &message) else {
            defer { if let message { PQfreemem(message) } }
            // libpq's words quote what it stumbles over, which may be a part of the password.
            let reason = message.map { String(cString: $0) }?.prefix { $0 != "\"" && $0 != ":" } ?? "it cannot be read"
            throw StartupError(
                "DATABASE_URL: \(reason.trimmed). Allowed: \(forms), with special characters in the password written as %40 for @, %2F for / and so on."
            )
        }
        defer { PQconninfoFree(options) }
        var parameters: [(keyword: String, value: String)] = []
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val { parameters.append((String(cString: keyword), String(cString: value))) }
            option += 1
        }
        return parameters
    }

    /// asyncpg says `ssl=` where libpq says `sslmode=`, and knows options that libpq has no use for.
    private static func spelledForLibpq(_ rest: Substring) -> String {
        guard let mark = rest.lastIndex(of: "?") else { return String(rest) }
        let items = rest[rest.index(after: mark)...].split(separator: "&").compactMap { item -> String? in
            let name = item.prefix { $0 != "=" }
            switch name {
            case "ssl":
                switch item.dropFirst(name.count + 1).lowercased() {
                case "true", "1", "on": return "sslmode=require"
                case "false", "0", "off": return "sslmode=disable"
                default: return "sslmode=" + item.dropFirst(name.count + 1)
                }
            case "prepared_statement_cache_size", "statement_cache_size", "command_timeout", "timeout": return nil
            default: return String(item)
            }
        }
        return rest[..<mark] + (items.isEmpty ? "" : "?" + items.joined(separator: "&"))
    }

    /// For logs: everything but the password.
    package var redacted: String {
        "postgresql://\(self["user"].map { $0 + "@" } ?? "")\(place)/\(self["dbname"] ?? self["user"] ?? "")"
    }

    /// The hosts, as a person would name them.
    package var place: String {
        let hosts = (self["host"] ?? self["hostaddr"] ?? "localhost").split(separator: ",", omittingEmptySubsequences: false)
        let ports = (self["port"] ?? "5432").split(separator: ",", omittingEmptySubsequences: false)
        return hosts.enumerated().map { number, host in "\(host):\(ports.count > number ? ports[number] : ports[0])" }.joined(separator: ",")
    }

    var hostCount: Int { (self["host"] ?? self["hostaddr"] ?? "").split(separator: ",", omittingEmptySubsequences: false).count }

    /// Whether the way there leaves this machine.
    package var isLocal: Bool {
        (self["host"] ?? self["hostaddr"] ?? "").split(separator: ",").allSatisfy {
            $0.hasPrefix("/") || $0.hasPrefix("@") || ["localhost", "127.0.0.1", "::1"].contains($0)
        }
    }

    /// What a connection is opened with: the URL's own words first, and ours where it has none.
    var connectParameters: [(keyword: String, value: String)] {
        let wait = String(max(1, connectTimeout.inMilliseconds))
        let defaults: [(keyword: String, value: String)] = [
            ("application_name", "plantao"), ("client_encoding", "UTF8"), ("target_session_attrs", "read-write"), ("keepalives_idle", "10"),
            ("keepalives_interval", "5"), ("keepalives_count", "3"), ("tcp_user_timeout", wait),
        ]
        return parameters.filter { $0.keyword != "client_encoding" } + defaults.filter { $0.keyword == "client_encoding" || self[$0.keyword] == nil }
    }
}

extension StringProtocol {
    /// Without white space at either end.
    var trimmed: String {
        var text = Substring(self)
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }
}
