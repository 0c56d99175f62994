import Foundation
import Kernel
import Wire

/// A list of consultores from a file, as `POST /consultores/import` takes its lines.
struct ConsultorList {
    struct Line {
        let number: Int
        /// What the file says, or why it cannot be meant.
        let content: Result<JSON, Refused>
    }

    struct Refused: Error {
        let reasons: [String]
    }

    struct Failure: Error, CustomStringConvertible { let description: String }

    static let columns = [
        "nome", "idiomas", "status_ativo", "status_ativo_sequencial", "status_online", "capacity", "id_pipedrive", "email", "id",
        "ultimo_atendimento",
    ]
    private static let flags: Set<String> = ["status_ativo", "status_ativo_sequencial", "status_online"]
    private static let numbers: Set<String> = ["capacity", "id_pipedrive", "id"]
    private static let words: [String: Bool] = [
        "true": true, "t": true, "1": true, "sim": true, "s": true, "yes": true, "verdadeiro": true, "false": false, "f": false, "0": false,
        "não": false,
        "nao": false, "n": false, "no": false, "falso": false,
    ]

    let lines: [Line]

    init(_ text: String) throws {
        let records: [CSVRecords.Record]
        do throws(CSVRecords.Failure) { records = try CSVRecords.read(text) } catch {
            throw Failure(description: "line \(error.line): \(error.description)")
        }
        guard let head = records.first else { throw Failure(description: "the file is empty") }
        let names = head.fields.map { $0.trimmingCharacters(in: .whitespaces).lowercased() }
        for required in ["nome", "idiomas"] where !names.contains(required) {
            throw Failure(
                description:
                    "the first line names the columns, and '\(required)' is not among them; there may be \(Self.columns.joined(separator: ", "))"
            )
        }
        for (index, name) in names.enumerated() {
            guard Self.columns.contains(name) else {
                throw Failure(description: "there is no column '\(name)'; there may be \(Self.columns.joined(separator: ", "))")
            }
            guard names.firstIndex(of: name) == index else { throw Failure(description: "the column '\(name)' is there twice") }
        }
        lines = records.dropFirst().map { record in
            Line(number: record.line, content: Self.read(record.fields, names))
        }
    }

    private static func read(_ fields: [String], _ names: [String]) -> Result<JSON, Refused> {
        guard fields.count <= names.count else {
            return .failure(Refused(reasons: ["has \(fields.count) fields, and there are \(names.count) columns"]))
        }
        var json = JSON.emptyObject
        var reasons: [String] = []
        for (name, field) in zip(names, fields) {
            let text = field.trimmingCharacters(in: .whitespaces)
            // Nothing said is nothing changed.
            if text.isEmpty { continue }
            if name == "idiomas" {
                json = json.adding(name, .array(idiomas(text).map { .string($0) }))
            } else if flags.contains(name) {
                if let flag = words[text.lowercased()] {
                    json = json.adding(name, .bool(flag))
                } else {
                    reasons.append("\(name): '\(text)' is neither sim nor não")
                }
            } else if numbers.contains(name) {
                if let number = Int64(text) {
                    json = json.adding(name, .int(number))
                } else {
                    reasons.append("\(name): '\(text)' is no whole number")
                }
            } else if name == "ultimo_atendimento" {
                json = json.adding(name, .string(time(text)))
            } else {
                json = json.adding(name, .string(text))
            }
        }
        return reasons.isEmpty ? .success(json) : .failure(Refused(reasons: reasons))
    }

    /// `pt;en`, `pt, en`, `pt|en`, `pt en`, and as Postgres and JSON write lists: `{pt,en}`, `["pt","en"]`.
    private static func idiomas(_ text: String) -> [String] {
        text.split { "{}[]\"',;| ".contains($0) }.map(String.init)
    }

    /// As Postgres and spreadsheets write it, `2026-03-01 12:30:00`, taken to be UTC when it does not say.
    private static func time(_ text: String) -> String {
        var text = text.replacingOccurrences(of: " ", with: "T")
        // Postgres writes an offset as +00.
        if let sign = text.dropFirst(11).lastIndex(where: { $0 == "+" || $0 == "-" }) {
            if text[sign...].count == 3 { text += ":00" }
        } else if !text.uppercased().hasSuffix("Z") {
            text += "Z"
        }
        return text
    }
}
