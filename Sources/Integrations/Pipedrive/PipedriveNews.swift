package import Kernel
package import Wire

/// What a webhook of Pipedrive (v2) says of a person (research/conversations.md §8).
package struct PipedriveNews: Sendable, Equatable {
    package enum Event: Sendable, Equatable {
        case named(String)
        case deleted
        /// Two persons have become one: this one is gone, and that one stands for it.
        case merged(into: Int64)
    }

    package let person: Int64
    package let event: Event
    package let at: Timestamp?
    /// Who did it, when it was done through the API: whether that was us tells whether it is news.
    package let apiUser: Int64?

    package init(person: Int64, event: Event, at: Timestamp?, apiUser: Int64?) {
        self.person = person
        self.event = event
        self.at = at
        self.apiUser = apiUser
    }

    package enum Reading: Sendable, Equatable {
        case news(PipedriveNews)
        /// Of something else, or nothing that is anything to us.
        case nothing
        case unreadable
    }

    package static func read(_ json: JSON) -> Reading {
        guard let meta = json["meta"], let entity = meta["entity"]?.string ?? meta["object"]?.string, let action = meta["action"]?.string else {
            return .unreadable
        }
        guard entity == "person" else { return .nothing }
        let (data, previous) = (json["data"], json["previous"])
        guard let id = number(meta["entity_id"]) ?? number(meta["id"]) ?? number(data?["id"]) ?? number(previous?["id"]) else { return .unreadable }
        let event: Event
        switch action {
        case "create", "added", "change", "updated":
            guard let name = data?["name"]?.string, !name.isEmpty else { return .nothing }
            event = .named(name)
        case "delete", "deleted":
            if let other = number(meta["merged_to_id"]) ?? number(data?["merged_to_id"]) ?? number(previous?["merged_to_id"]) {
                event = .merged(into: other)
            } else {
                event = .deleted
            }
        default: return .nothing
        }
        let isAPI = meta["change_source"]?.string == "api"
        let at = meta["timestamp"]
        return .news(
            PipedriveNews(
                person: id,
                event: event,
                at: at?.string.flatMap { Timestamp(rfc3339: $0) } ?? at?.int.map { Timestamp(seconds: $0) },
                apiUser: isAPI ? number(meta["user_id"]) : nil
            )
        )
    }

    /// Ids come as numbers and as text.
    private static func number(_ json: JSON?) -> Int64? { json?.int ?? json?.string.flatMap { Int64($0) } }

    // MARK: As a job

    package static let jobKind = "pipedrive.webhook"

    package var payload: String {
        var writer = JSONWriter()
        writer.object {
            $0.field("person_id", person)
            switch event {
            case .named(let name): $0.field("name", name)
            case .deleted: break
            case .merged(let other): $0.field("merged_to_id", other)
            }
            $0.field("at", at?.milliseconds)
            $0.field("api_user_id", apiUser)
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    package init?(payload: String) {
        guard let json = try? JSON.parse(payload), let person = json["person_id"]?.int else { return nil }
        let event: Event =
            if let name = json["name"]?.string { .named(name) } else if let other = json["merged_to_id"]?.int { .merged(into: other) } else {
                .deleted
            }
        self.init(
            person: person,
            event: event,
            at: json["at"]?.int.map { Timestamp(milliseconds: $0) },
            apiUser: json["api_user_id"]?.int
        )
    }
}
