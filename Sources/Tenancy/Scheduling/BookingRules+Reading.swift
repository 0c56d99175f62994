package import Kernel
package import Scheduling
package import Wire

extension BookingRules {
    /// These with the fields of a body in place of their own (protocol/README.md "Bookings"). What is left out stays; null is the default.
    /// - Throws: 422 naming the fields at fault.
    package func changed(by json: JSON?) throws(Refusal) -> BookingRules {
        var fields = try RequestFields(json)
        var rules = self
        let standard = BookingRules()
        if fields.has("timezone") {
            let name = fields.optionalText("timezone", min: 1, max: 64) ?? Zone.standard
            if let zone = Zone.named(name) {
                rules.zone = zone
            } else {
                fields.refuse("timezone", "não há fuso horário com este nome; use um como America/Sao_Paulo", type: "timezone")
            }
        }
        if fields.has("weekly_hours") { rules.weekly = fields.hours("weekly_hours") ?? standard.weekly }
        if fields.has("breaks") { rules.breaks = fields.hours("breaks") ?? standard.breaks }
        if fields.has("overrides") { rules.overrides = fields.overrides("overrides") ?? [:] }
        func integer(_ name: String, _ range: ClosedRange<Int64>, _ value: inout Int, _ missing: Int) {
            if fields.has(name) { value = fields.optionalInteger(name, in: range).map(Int.init) ?? missing }
        }
        func optional(_ name: String, _ range: ClosedRange<Int64>, _ value: inout Int?) {
            if fields.has(name) { value = fields.optionalInteger(name, in: range).map(Int.init) }
        }
        integer("buffer_before_minutes", 0...720, &rules.bufferBeforeMinutes, 0)
        integer("buffer_after_minutes", 0...720, &rules.bufferAfterMinutes, 0)
        integer("minimum_notice_minutes", 0...525_600, &rules.minimumNoticeMinutes, 0)
        integer("maximum_advance_days", 0...1825, &rules.maximumAdvanceDays, standard.maximumAdvanceDays)
        optional("start_interval_minutes", 5...1440, &rules.startIntervalMinutes)
        integer("capacity", 1...100, &rules.capacity, 1)
        integer("hold_seconds", 10...3600, &rules.holdSeconds, standard.holdSeconds)
        if fields.has("auto_confirm") { rules.confirmsAtOnce = fields.optionalBool("auto_confirm") ?? false }
        optional("pending_minutes", 1...43_200, &rules.pendingMinutes)
        integer("cutoff_minutes", 0...43_200, &rules.cutoffMinutes, 0)
        if fields.has("public_booking") { rules.isPublic = fields.optionalBool("public_booking") ?? true }
        integer("waitlist_offer_minutes", 1...1440, &rules.waitlistOfferMinutes, standard.waitlistOfferMinutes)
        fields.limits(&rules.limits)
        try fields.check()
        return rules
    }
}
