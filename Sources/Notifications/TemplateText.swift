/// A text with variables in it: `Olá, {{client_name}}!`.
///
/// A line all of whose variables are empty is left out: `Com: {{staff_name}}` where there is nobody to name.
package struct TemplateText: Sendable, Equatable {
    package enum Variable: String, Sendable, CaseIterable {
        case clientName = "client_name"
        case clientFirstName = "client_first_name"
        case businessName = "business_name"
        case serviceName = "service_name"
        case staffName = "staff_name"
        case date, time, weekday
        case endTime = "end_time"
        case duration
        case price
        case status
        case oldDate = "old_date"
        case oldTime = "old_time"
        case reason
        case address
        case manageURL = "manage_url"
        case offerTime = "offer_expires_at"
        case unsubscribeURL = "unsubscribe_url"
    }

    package enum Mistake: Error, Equatable {
        case unknown(String)
        case unclosed

        package var message: String {
            switch self {
            case .unknown(let name):
                "não há variável '{{\(name)}}'; há \(Variable.allCases.map { "{{\($0.rawValue)}}" }.joined(separator: ", "))"
            case .unclosed: "há um '{{' sem '}}'"
            }
        }
    }

    private enum Piece: Equatable {
        case text(String)
        case variable(Variable)
    }

    private let lines: [[Piece]]
    package let source: String

    package init(_ source: String) throws(Mistake) {
        self.source = source
        var lines: [[Piece]] = []
        for line in source.split(separator: "\n", omittingEmptySubsequences: false) {
            var pieces: [Piece] = []
            var rest = line[...]
            while let open = rest.firstRange(of: "{{") {
                if open.lowerBound > rest.startIndex { pieces.append(.text(String(rest[..<open.lowerBound]))) }
                guard let close = rest[open.upperBound...].firstRange(of: "}}") else { throw .unclosed }
                let name = rest[open.upperBound..<close.lowerBound].filter { $0 != " " }
                guard let variable = Variable(rawValue: String(name)) else { throw .unknown(String(name.prefix(40))) }
                pieces.append(.variable(variable))
                rest = rest[close.upperBound...]
            }
            if !rest.isEmpty { pieces.append(.text(String(rest))) }
            lines.append(pieces)
        }
        self.lines = lines
    }

    /// - Parameter escaping: what becomes of a variable's value before it is put in.
    package func filled(_ values: [Variable: String], escaping: (String) -> String = { $0 }) -> String {
        lines.compactMap { pieces -> String? in
            let used = pieces.compactMap { if case .variable(let variable) = $0 { values[variable] ?? "" } else { nil } }
            if !used.isEmpty, used.allSatisfy(\.isEmpty) { return nil }
            return pieces.map {
                switch $0 {
                case .text(let text): text
                case .variable(let variable): escaping(values[variable] ?? "")
                }
            }.joined()
        }.joined(separator: "\n")
    }
}
