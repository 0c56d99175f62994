import Wire

/// Reads the body of a webhook POST, without I/O.
///
///     {"object": "whatsapp_business_account",
///      "entry": [{"id": <WABA>,
///                 "changes": [{"field": "messages",
///                              "value": {"metadata": {"phone_number_id": …}, "contacts": […],
///                                        "messages": […] | "statuses": […] | "message_echoes": […]}}]}]}
///
/// Deliveries are batches that mix customers and businesses, repeat and overtake one another (research/conversations.md §5.1). So every element
/// is read on its own: one that makes no sense becomes an `.unreadable` item and does its neighbours no harm.
package enum WhatsAppDelivery {
    /// The whole body is not a delivery. Answer 400; nothing of it was read.
    package enum Failure: Error, Sendable, Equatable {
        case notJSON(offset: Int, reason: String)
        /// JSON, but not of WhatsApp: another product's webhook, or nobody's.
        case notWhatsApp
    }

    /// Everything the delivery tells, in its order, except that what people wrote comes before every status: a status may be about a message in
    /// the same delivery.
    ///
    /// - Parameter body: the bytes as received, their signature already verified.
    package static func items(in body: [UInt8]) throws(Failure) -> [WhatsAppItem] {
        let json: JSON
        do throws(JSONError) {
            json = try JSON.parse(WhatsAppText.repaired(body))
        } catch {
            throw .notJSON(offset: error.offset, reason: error.reason)
        }
        guard json["object"]?.string == "whatsapp_business_account" else { throw .notWhatsApp }
        var walk = DeliveryWalk()
        walk.delivery(json)
        return walk.messages + walk.statuses
    }
}

private struct DeliveryWalk {
    var messages: [WhatsAppItem] = []
    var statuses: [WhatsAppItem] = []
    private var wabaID: String?
    private var phoneNumberID: String?

    mutating func delivery(_ json: JSON) {
        guard let entries = json["entry"]?.array else {
            messages.append(unreadable("entry is not a list", json))
            return
        }
        for entry in entries {
            wabaID = entry.optional("id")
            phoneNumberID = nil
            guard let changes = entry["changes"]?.array else {
                messages.append(unreadable("changes is not a list", entry))
                continue
            }
            for change in changes { self.change(change) }
        }
    }

    private mutating func change(_ change: JSON) {
        phoneNumberID = change["value"]?["metadata"]?.optional("phone_number_id")
        guard let value = change["value"], value.object != nil else {
            messages.append(unreadable("value is not an object", change))
            return
        }
        let profiles = ContactProfiles(value["contacts"])
        let lists = ["messages", "message_echoes", "statuses"].filter { value[$0] != nil }
        for list in lists {
            let isAboutStatuses = list == "statuses"
            for item in items(of: value, list: list, profiles: profiles) {
                if isAboutStatuses { statuses.append(item) } else { messages.append(item) }
            }
        }
        if lists.isEmpty { messages.append(item(.notification(field: change.optional("field") ?? "", rawJSON: value.text))) }
    }

    private func items(of value: JSON, list: String, profiles: ContactProfiles) -> [WhatsAppItem] {
        guard let elements = value[list]?.array else { return [unreadable("\(list) is not a list", value)] }
        return elements.map { element in
            do throws(UnreadableElement) {
                switch list {
                case "statuses": return item(.status(try StatusUpdate(reading: element)))
                case "message_echoes": return item(.echo(try InboundMessage(readingEcho: element, profiles: profiles)))
                default: return item(.message(try InboundMessage(reading: element, profiles: profiles, deliveryErrors: value["errors"])))
                }
            } catch {
                return unreadable(error.reason, element)
            }
        }
    }

    private func item(_ content: WhatsAppItem.Content) -> WhatsAppItem {
        WhatsAppItem(phoneNumberID: phoneNumberID, wabaID: wabaID, content: content)
    }

    private func unreadable(_ reason: String, _ json: JSON) -> WhatsAppItem { item(.unreadable(reason: reason, rawJSON: json.text)) }
}
