package import Kernel
package import Wire

extension Client {
    /// The contract's object, with all of its fields.
    /// - Parameter owner: whose the business is.
    package func write(to writer: inout JSONWriter, at now: Timestamp, _ zone: Zone, of owner: UserID?) {
        let metrics = ClientMetrics(tally, at: now, zone)
        writer.object {
            writeSummary(metrics, of: owner, to: &$0)
            $0.field("notes", profile.notes)
            $0.field("first_appointment_at", metrics.firstAppointmentAt?.description)
            $0.field("next_appointment_at", metrics.nextAppointmentAt?.description)
            $0.field("completed_appointments", tally.count(.completed))
            $0.field("cancelled_appointments", tally.count(.cancelled))
            $0.field("no_show_appointments", tally.count(.noShow))
            $0.field("appointments_this_month", metrics.thisMonth)
            $0.field("appointments_last_month", metrics.lastMonth)
            $0.field("average_days_between_appointments", metrics.averageDaysBetween)
            $0.field("preferred_services", strings: ClientMetrics.preferredServices(tally).map(\.description))
            $0.field("preferred_days", strings: metrics.preferredDays)
            $0.field("preferred_times", strings: metrics.preferredTimes)
            $0.field("communication_preference", profile.communicationPreference.rawValue)
            $0.field("birth_date", profile.birthDate)
            $0.field("gender", profile.gender)
            $0.field("address", profile.address)
            $0.field("city", profile.city)
            $0.field("state", profile.state)
            $0.field("zip_code", profile.zipCode)
            $0.price("average_ticket", metrics.averageTicket)
            $0.field("last_payment_at", metrics.lastPaymentAt?.description)
            $0.field("source", profile.source)
            $0.field("referral_code", profile.referralCode)
            $0.field("custom_fields", raw: profile.customFields ?? "null")
            $0.field("contact_id", contact?.description)
            $0.field("created_at", createdAt.description)
            $0.field("updated_at", updatedAt.description)
        }
    }

    package func json(at now: Timestamp, _ zone: Zone, of owner: UserID?) -> [UInt8] {
        var writer = JSONWriter(capacity: 1536)
        write(to: &writer, at: now, zone, of: owner)
        return writer.bytes
    }

    /// What is pushed, and shown where many are.
    package func writeSummary(at now: Timestamp, _ zone: Zone, of owner: UserID?, to writer: inout JSONWriter) {
        writer.object { writeSummary(ClientMetrics(tally, at: now, zone), of: owner, to: &$0) }
    }

    private func writeSummary(_ metrics: ClientMetrics, of owner: UserID?, to members: inout JSONWriter) {
        members.field("id", id.description)
        members.field("user_id", owner?.description)
        members.field("name", name)
        members.field("whatsapp", whatsapp)
        members.field("email", email)
        members.field("is_active", isActive)
        members.field("is_vip", profile.isVIP)
        members.field("tags", strings: profile.tags)
        members.field("total_appointments", tally.total)
        members.field("frequency_score", Double(metrics.scoreTenths) / 10)
        members.field("is_regular_customer", metrics.isRegular)
        members.field("last_appointment_at", metrics.lastAppointmentAt?.description)
        members.price("total_spent", tally.spent)
        members.field("merged_into", mergedInto?.description)
        members.field("removed_at", removedAt?.description)
        members.field("revision", revision)
    }
}
