package import Kernel
package import Wire

extension Usage {
    /// `{limit, used, remaining, percentage, resets_at, period}` of one resource; what has no limit has no percentage.
    private func write(_ resource: PlanResource, to writer: inout JSONWriter) {
        let (used, limit) = (used(resource), limits[resource])
        writer.object {
            $0.field("used", used)
            $0.field("limit", limit)
            $0.field("remaining", left(resource))
            $0.key("percentage")
            // One digit behind the point: 66.7.
            if let limit { $0.double(limit == 0 ? (used == 0 ? 0 : 100) : (Double(used) * 1000 / Double(limit)).rounded() / 10) } else { $0.null() }
            $0.field("resets_at", resetsAt(resource)?.description)
        }
    }

    /// `{plan_type, period_start, period_end, resources: {<resource>: {used, limit, remaining, percentage, resets_at}}}`
    /// - Parameter only: these resources; `nil` for all of them.
    package func write(to writer: inout JSONWriter, only: Set<PlanResource>? = nil) {
        writer.object { members in
            members.field("plan_type", plan.rawValue)
            members.field("period_start", period.start.description)
            members.field("period_end", period.end.description)
            members.field(
                "resources",
                object: { list in
                    for resource in PlanResource.allCases where only?.contains(resource) ?? true {
                        list.key(resource.rawValue)
                        write(resource, to: &list)
                    }
                }
            )
        }
    }

    package func json(only: Set<PlanResource>? = nil) -> [UInt8] {
        var writer = JSONWriter(capacity: 1024)
        write(to: &writer, only: only)
        return writer.bytes
    }
}
