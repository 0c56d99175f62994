/// Text as searches compare it: lower-case, without the accents of the languages around here, so that `joao` finds "João".
///
/// The database does the same to its columns (`sql`): with `translate`, which Postgres has without any extension and the embedded store has under its name. So it
/// is a table of letters and not all of Unicode; marks that stand by themselves behind a letter (NFD, as some telephones write) go.
package enum SearchText {
    /// Upper-case letters too: SQLite's `LOWER` knows only ASCII, and Postgres's what its locale knows.
    package static let letters = "áàâãäåéèêëíìîïóòôõöúùûüçñýÿÁÀÂÃÄÅÉÈÊËÍÌÎÏÓÒÔÕÖÚÙÛÜÇÑÝ"
    package static let plain = "aaaaaaeeeeiiiiooooouuuucnyyaaaaaaeeeeiiiiooooouuuucny"
    /// Have nothing to stand for them, and so are left out: grave, acute, circumflex, tilde, diaeresis, ring, cedilla.
    package static let marks = "\u{300}\u{301}\u{302}\u{303}\u{308}\u{30a}\u{327}"

    private static let table: [Unicode.Scalar: Unicode.Scalar?] = {
        var table: [Unicode.Scalar: Unicode.Scalar?] = [:]
        for (letter, plain) in zip(letters.unicodeScalars, plain.unicodeScalars) { table[letter] = plain }
        for mark in marks.unicodeScalars { table[mark] = .some(nil) }
        return table
    }()

    package static func folded(_ text: String) -> String {
        if text.utf8.allSatisfy({ $0 < 0x80 }) { return text.lowercased() }
        var folded = String.UnicodeScalarView()
        for scalar in text.lowercased().unicodeScalars {
            switch table[scalar] {
            case nil: folded.append(scalar)
            case .some(let plain?): folded.append(plain)
            case .some(.none): break
            }
        }
        return String(folded)
    }

    /// The same of a column, in the SQL that both stores speak.
    package static func sql(_ column: String) -> String { "TRANSLATE(LOWER(\(column)), '\(letters)\(marks)', '\(plain)')" }
}
