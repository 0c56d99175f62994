import Foundation
package import Kernel
import Scheduling
import Storage
package import Wire

/// Clients that come from elsewhere, a line each. Who is known by the number, or by the e-mail where there is none, is brought up to date: what a line says takes the
/// place of what was; who is not, is made. The same lines again change nothing.
extension Operations {
    /// Of one request; each this many are one change.
    package static let maxImportLines = 5000
    private static let importStep = 200

    /// One line, or what is wrong with it.
    package struct ImportLine: Sendable {
        /// Where it stands in what was sent, counted from 1.
        package let number: Int
        package let json: Result<JSON, Refusal>

        package init(number: Int, json: Result<JSON, Refusal>) {
            self.number = number
            self.json = json
        }
    }

    private enum Outcome: Sendable {
        case created, updated, unchanged
        case refused([Refusal.Field])
    }

    /// `{created, updated, unchanged, refused: [{line, errors}]}`
    package func importClients(_ lines: [ImportLine], by principal: Principal) async throws(Refusal) -> [UInt8] {
        try principal.requireAdministrator()
        try gate.admit()
        let author = Author.user(principal.user, name: principal.name)
        var outcomes: [(Int, Outcome)] = []
        for start in stride(from: 0, to: lines.count, by: Self.importStep) {
            let some = Array(lines[start..<min(start + Self.importStep, lines.count)])
            outcomes += try await tenants.use(principal.tenant) { cell throws(Refusal) in
                try await bringIn(keys: Set(some.compactMap(Self.key)).sorted(), cell)
                return try await cell.book { book, moment throws(Refusal) in
                    some.map { ($0.number, Self.bring($0, into: &book, by: author, moment)) }
                }.committed()
            }
        }
        var (created, updated, unchanged) = (0, 0, 0)
        for (_, outcome) in outcomes {
            switch outcome {
            case .created: created += 1
            case .updated: updated += 1
            case .unchanged: unchanged += 1
            case .refused: break
            }
        }
        var writer = JSONWriter(capacity: 4096)
        writer.object { object in
            object.field("created", created)
            object.field("updated", updated)
            object.field("unchanged", unchanged)
            object.list("refused") { list in
                for case (let line, .refused(let errors)) in outcomes {
                    list.object {
                        $0.field("line", line)
                        $0.list("errors") { list in
                            for error in errors {
                                list.object {
                                    $0.field("loc", strings: error.location)
                                    $0.field("msg", error.message)
                                    $0.field("type", error.type)
                                }
                            }
                        }
                    }
                }
            }
        }
        return writer.bytes
    }

    private static func key(_ line: ImportLine) -> String? {
        guard let json = try? line.json.get() else { return nil }
        return Client.key(whatsapp: json["whatsapp"]?.string, email: json["email"]?.string)
    }

    private static func bring(_ line: ImportLine, into book: inout CalendarBook, by author: Author, _ moment: Moment) -> Outcome {
        do throws(Refusal) {
            let json = try line.json.get()
            var fields = try RequestFields(json, location: "line")
            var (profile, isActive) = (ClientProfile(name: ""), true)
            fields.client(&profile, isActive: &isActive, isNew: true)
            try fields.check()
            profile.source = profile.source ?? "import"
            let key = Client.key(whatsapp: profile.whatsapp, email: profile.email)
            guard let key, let known = try book.clients.find(key: key, at: moment.now), known.isListed else {
                _ = try book.makeClient(profile, isActive: isActive, by: author, moment)
                return .created
            }
            let after = try book.changeClient(known.id, by: author, moment) { profile, isActive throws(Refusal) in
                // The number stays as it was written.
                let written = profile.whatsapp
                var fields = try RequestFields(json, location: "line")
                fields.client(&profile, isActive: &isActive, isNew: false)
                if profile.whatsapp.flatMap(PhoneNumber.canonical) == written.flatMap(PhoneNumber.canonical) { profile.whatsapp = written }
                try fields.check()
            }
            return after.revision == known.revision ? .unchanged : .updated
        } catch {
            return .refused(error.fields.isEmpty ? [.init(["line"], error.message, type: error.code)] : error.fields)
        }
    }

    // MARK: Out

    package static let csvColumns = [
        "name", "whatsapp", "email", "notes", "is_active", "is_vip", "communication_preference", "birth_date", "gender", "address", "city", "state",
        "zip_code", "source", "referral_code", "tags",
    ]

    /// At most so many are given out at once.
    package static let maxExported = 50_000

    /// The clients that a filter lets through, as CSV (RFC 4180) that `import` takes.
    package func exportClients(_ filter: ClientFilter, _ tenant: TenantID) async throws(Refusal) -> [UInt8] {
        var filter = filter
        (filter.sort, filter.isDescending) = (.created, false)
        let now = now
        // Spreadsheets know by the mark that it is UTF-8.
        var csv =
            "\u{feff}" + (["id"] + Self.csvColumns + ["total_appointments", "last_appointment_at", "total_spent"]).joined(separator: ",") + "\r\n"
        var offset = 0
        while offset < Self.maxExported {
            let some = try await clients(filter, at: now, limit: 1000, offset: offset, tenant)
            for client in some { csv += client.csv + "\r\n" }
            if some.count < 1000 { break }
            offset += some.count
        }
        return Array(csv.utf8)
    }
}

extension Client {
    fileprivate var csv: String {
        let profile = profile
        let fields: [String?] = [
            id.description, profile.name, profile.whatsapp, profile.email, profile.notes, String(isActive), String(profile.isVIP),
            profile.communicationPreference.rawValue, profile.birthDate, profile.gender, profile.address, profile.city, profile.state,
            profile.zipCode, profile.source, profile.referralCode, profile.tags.joined(separator: ";"), String(tally.total),
            tally.visits.last.map { Timestamp(milliseconds: $0).description }, tally.spent.description,
        ]
        return fields.map { Self.field($0 ?? "") }.joined(separator: ",")
    }

    /// RFC 4180; and what a spreadsheet would take for a formula is made text (OWASP "CSV Injection"), but for a number's plus.
    private static func field(_ text: String) -> String {
        let isNumber = text.utf8.first == UInt8(ascii: "+") && text.utf8.dropFirst().allSatisfy { "0123456789 -().".utf8.contains($0) }
        return isNumber ? text : CSVField.written(text)
    }
}
