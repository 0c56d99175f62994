import Kernel
import OrderedCollections
package import Scheduling
import Wire

extension RequestFields {
    /// The hours under a name, or what is wrong with them.
    package mutating func hours(_ name: String) -> WeeklyHours? {
        guard let json = json(name) else { return nil }
        switch WeeklyHours.read(json) {
        case .success(let hours): return hours
        case .failure(let mistake):
            refuse(name, mistake.message)
            return nil
        }
    }

    /// `{"2026-12-25": [], "2026-12-24": [["09:00", "12:00"]]}`: what replaces the hours of single dates. An empty list closes the day.
    package mutating func overrides(_ name: String) -> [CivilDay: [Period]]? {
        guard let json = json(name) else { return nil }
        guard let members = json.object, members.count <= 1000 else {
            refuse(name, "deve ser um objeto com até 1000 datas, como {\"2026-12-25\": []}")
            return nil
        }
        var overrides: [CivilDay: [Period]] = [:]
        for (date, value) in members {
            guard let day = CivilDay(date) else {
                refuse(name, "'\(date.prefix(20))' não é uma data como 2026-12-25", type: "date_parsing")
                return nil
            }
            switch Period.read(value) {
            case .success(let periods): overrides[day] = periods
            case .failure(let mistake):
                refuse(name, "\(day): \(mistake.message)")
                return nil
            }
        }
        return overrides
    }
}
