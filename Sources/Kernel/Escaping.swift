/// Text within a page, also within the quotes of an attribute.
///
/// Scalar by scalar: by characters, a mark that joins the next one (U+0600) or the one before (U+0301) would hide what it stands beside.
package enum HTMLText {
    package static func escaped(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            case "'": result += "&#39;"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }
}

/// A field of comma-separated values (RFC 4180), scalar by scalar for the same reason. What a spreadsheet would compute is made text (OWASP "CSV Injection").
package enum CSVField {
    /// In quotes, whatever it holds.
    package static func quoted(_ text: String) -> String {
        var result = "\""
        if isFormula(text) { result += "'" }
        for scalar in text.unicodeScalars {
            if scalar == "\"" { result += "\"" }
            result.unicodeScalars.append(scalar)
        }
        return result + "\""
    }

    /// In quotes where it needs them.
    package static func written(_ text: String) -> String {
        isFormula(text) || text.utf8.contains { ",;\"\r\n".utf8.contains($0) } ? quoted(text) : text
    }

    /// Also behind what spreadsheets pass over before they look.
    package static func isFormula(_ text: String) -> Bool {
        let scalars = text.unicodeScalars
        guard let first = scalars.first else { return false }
        if first == "\t" || first == "\r" || first == "\n" { return true }
        return scalars.first { !$0.properties.isWhitespace && !$0.properties.isDefaultIgnorableCodePoint }.map(Self.beginsFormula) ?? false
    }

    private static func beginsFormula(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        // And the same as East Asian keyboards write them.
        case "=", "+", "-", "@", "＝", "＋", "－", "＠": true
        default: false
        }
    }
}
