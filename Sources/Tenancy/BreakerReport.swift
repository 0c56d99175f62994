package import Kernel
package import Resilience
package import Wire

/// Circuit breakers as a tenant sees them: REST's answer, and the value of the channel `breakers`.
package enum BreakerReport {
    /// `{circuit_breakers: {whatsapp: {…}, database: {…}, …}}`
    package static func json(of tenant: TenantID, _ board: BreakerBoard?) -> [UInt8] {
        var writer = JSONWriter(capacity: 2048)
        writer.object { write(tenant, board, to: &$0) }
        return writer.bytes
    }

    static func event(of tenant: TenantID, _ board: BreakerBoard?) -> Event {
        var writer = JSONWriter(capacity: 2048)
        writer.object {
            $0.field("type", "breakers.changed")
            write(tenant, board, to: &$0)
        }
        return Event(channel: "breakers", payload: writer.bytes)
    }

    private static func write(_ tenant: TenantID, _ board: BreakerBoard?, to writer: inout JSONWriter) {
        writer.field(
            "circuit_breakers",
            object: { breakers in
                for (dependency, breaker) in board?.breakers(of: tenant) ?? [] {
                    breakers.key(dependency.rawValue)
                    let numbers = board?.numbers(dependency, of: tenant) ?? []
                    write(dependency, breaker, isUsed: board?.isUsed(dependency) ?? false, numbers: numbers, to: &breakers)
                }
            }
        )
    }

    /// Times as moments and not as what is left of them: what does not change is not told again.
    /// - Parameter numbers: of a business with several, those that something was sent from.
    package static func write(
        _ dependency: Dependency,
        _ breaker: CircuitBreaker,
        isUsed: Bool,
        numbers: [(number: String, breaker: CircuitBreaker)] = [],
        to writer: inout JSONWriter
    ) {
        writer.object {
            $0.field("name", dependency.rawValue)
            $0.field("state", breaker.state.rawValue)
            $0.field("failure_count", breaker.failures)
            $0.field("failure_threshold", breaker.settings.failureThreshold)
            $0.field("recovery_timeout", Double(breaker.settings.openFor.inMilliseconds) / 1000)
            $0.field("times_opened", breaker.timesOpened)
            $0.field("opened_at", breaker.openedAt?.description)
            $0.field("open_until", breaker.openUntil?.description)
            $0.field("cause", breaker.cause?.rawValue)
            $0.field("shared", dependency.isShared)
            $0.field("in_use", isUsed)
            if !numbers.isEmpty {
                $0.list("numbers") { list in
                    for (number, breaker) in numbers {
                        list.object {
                            $0.field("phone_number_id", number)
                            $0.field("state", breaker.state.rawValue)
                            $0.field("failure_count", breaker.failures)
                            $0.field("times_opened", breaker.timesOpened)
                            $0.field("opened_at", breaker.openedAt?.description)
                            $0.field("open_until", breaker.openUntil?.description)
                            $0.field("cause", breaker.cause?.rawValue)
                        }
                    }
                }
            }
            guard let force = breaker.force else { return $0.field("forced", raw: "null") }
            $0.field(
                "forced",
                object: {
                    $0.field("by", force.by)
                    $0.field("reason", force.reason)
                    $0.field("at", force.at.description)
                }
            )
        }
    }
}
