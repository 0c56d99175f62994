package import Wire

// A hand-off in Pipedrive: the customer is a person, what they want is an open deal, and that somebody attends them is an activity; all three are the
// consultor's (`id_pipedrive` = user id = `owner_id`, research/conversations.md §8).
//
// Each thing is looked for before it is made, and what was made is saved before the next step: so a hand-off that breaks off anywhere, and is begun again, makes
// nothing twice. A name is written only when a person is made: from then on it is Pipedrive's.

package enum PipedriveThing: String, Sendable { case persons, deals, activities }

/// What we read of a person, a deal or an activity.
package struct PipedriveRecord: Sendable, Equatable {
    package let id: Int64
    package let owner: Int64?
    /// A deal's title, an activity's subject, a person's name.
    package let title: String
    package let isOpen: Bool

    package init(id: Int64, owner: Int64?, title: String, isOpen: Bool = true) {
        self.id = id
        self.owner = owner
        self.title = title
        self.isOpen = isOpen
    }

    /// `nil` for one that is deleted.
    init?(_ json: JSON) {
        guard let id = json["id"]?.int, json["is_deleted"]?.bool != true else { return nil }
        self.init(
            id: id,
            owner: json["owner_id"]?.int,
            title: json["title"]?.string ?? json["subject"]?.string ?? json["name"]?.string ?? "",
            isOpen: json["status"]?.string.map { $0 == "open" } ?? true
        )
    }
}

package protocol PipedriveAPI: Sendable {
    /// The user whose token it is.
    func me() async throws(PipedriveFault) -> Int64
    func persons(withPhone phone: String) async throws(PipedriveFault) -> [Int64]
    /// `nil`: there is none, or none any more.
    func person(_ id: Int64) async throws(PipedriveFault) -> PipedriveRecord?
    func deal(_ id: Int64) async throws(PipedriveFault) -> PipedriveRecord?
    func openDeals(of person: Int64) async throws(PipedriveFault) -> [PipedriveRecord]
    func activities(of deal: Int64) async throws(PipedriveFault) -> [PipedriveRecord]
    func create(_ thing: PipedriveThing, _ fields: JSON) async throws(PipedriveFault) -> Int64
    func update(_ thing: PipedriveThing, _ id: Int64, _ fields: JSON) async throws(PipedriveFault)
}

/// What Pipedrive has of one attendance, as far as it has got.
package struct PipedriveProgress: Sendable, Equatable {
    package var person: Int64?
    package var deal: Int64?
    package var activity: Int64?
    /// Whose all of it is.
    package var owner: Int64?

    package init(person: Int64? = nil, deal: Int64? = nil, activity: Int64? = nil, owner: Int64? = nil) {
        self.person = person
        self.deal = deal
        self.activity = activity
        self.owner = owner
    }
}

package struct PipedriveHandOff: Sendable {
    package var name: String
    /// Digits alone, every form in which the number may be written, the one to write first.
    package var phones: [String]
    package var owner: Int64
    /// Of the deal and of the activity: names the protocol, by which both are found again.
    package var title: String
    package var note: String

    package init(name: String, phones: [String], owner: Int64, title: String, note: String) {
        self.name = name
        self.phones = phones
        self.owner = owner
        self.title = title
        self.note = note
    }
}

package struct PipedriveSync: Sendable {
    private let api: any PipedriveAPI

    package init(_ api: any PipedriveAPI) { self.api = api }

    /// - Parameter save: called when something was made or found, before the next step; what it throws ends the hand-off.
    package func tell(
        _ handOff: PipedriveHandOff,
        from before: PipedriveProgress,
        save: (PipedriveProgress) async throws -> Void
    ) async throws -> PipedriveProgress {
        var progress = before
        progress.person = try await person(handOff, known: before.person)
        if progress != before { try await save(progress) }
        guard let person = progress.person else { return progress }

        let found = progress
        progress.deal = try await deal(handOff, person, known: before.deal)
        if progress != found { try await save(progress) }
        guard let deal = progress.deal else { return progress }

        progress.activity = try await activity(handOff, person, deal, known: before.deal == deal ? before.activity : nil)
        progress.owner = handOff.owner
        return progress
    }

    private func person(_ handOff: PipedriveHandOff, known: Int64?) async throws(PipedriveFault) -> Int64 {
        var record: PipedriveRecord?
        if let known { record = try await api.person(known) }
        if record == nil {
            for phone in handOff.phones {
                for id in try await api.persons(withPhone: phone) where record == nil { record = try await api.person(id) }
                if record != nil { break }
            }
        }
        if let record {
            try await own(.persons, record, handOff.owner)
            return record.id
        }
        var fields: JSON = ["name": .string(handOff.name), "owner_id": .int(handOff.owner)]
        if let phone = handOff.phones.first {
            fields = fields.adding("phones", .array([["value": .string("+" + phone), "primary": .bool(true), "label": "mobile"]]))
        }
        return try await api.create(.persons, fields)
    }

    /// The one that is known, while it is open; else one of this very attendance that an earlier try has made; else whichever is open; else a new one.
    private func deal(_ handOff: PipedriveHandOff, _ person: Int64, known: Int64?) async throws(PipedriveFault) -> Int64 {
        if let known, let record = try await api.deal(known), record.isOpen {
            try await own(.deals, record, handOff.owner)
            return known
        }
        let open = try await api.openDeals(of: person)
        if let record = open.first(where: { $0.title == handOff.title }) ?? open.first {
            try await own(.deals, record, handOff.owner)
            return record.id
        }
        return try await api.create(.deals, ["title": .string(handOff.title), "person_id": .int(person), "owner_id": .int(handOff.owner)])
    }

    private func activity(_ handOff: PipedriveHandOff, _ person: Int64, _ deal: Int64, known: Int64?) async throws(PipedriveFault) -> Int64 {
        let there = try await api.activities(of: deal)
        if let record = there.first(where: { $0.id == known || $0.title == handOff.title }) {
            try await own(.activities, record, handOff.owner)
            return record.id
        }
        return try await api.create(
            .activities,
            [
                "subject": .string(handOff.title), "type": "task", "owner_id": .int(handOff.owner), "deal_id": .int(deal),
                "participants": .array([["person_id": .int(person), "primary": .bool(true)]]), "note": .string(handOff.note),
            ]
        )
    }

    private func own(_ thing: PipedriveThing, _ record: PipedriveRecord, _ owner: Int64) async throws(PipedriveFault) {
        if record.owner != owner { try await api.update(thing, record.id, ["owner_id": .int(owner)]) }
    }
}
