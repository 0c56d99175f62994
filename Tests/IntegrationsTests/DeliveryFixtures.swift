import Integrations

/// Builds deliveries as text, so that the bytes are exactly the ones a test means.
enum DeliveryFixtures {
    static func delivery(_ entries: String...) -> [UInt8] {
        Array(#"{"object":"whatsapp_business_account","entry":[\#(entries.joined(separator: ","))]}"#.utf8)
    }

    static func entry(_ waba: String, _ changes: String...) -> String { #"{"id":"\#(waba)","changes":[\#(changes.joined(separator: ","))]}"# }

    /// - Parameter members: the lists of the change, as JSON members: `"messages":[…]`.
    static func change(_ phoneNumberID: String, field: String = "messages", _ members: String...) -> String {
        let metadata = #""messaging_product":"whatsapp","metadata":{"display_phone_number":"551130000000","phone_number_id":"\#(phoneNumberID)"}"#
        return #"{"field":"\#(field)","value":{\#(([metadata] + members).joined(separator: ","))}}"#
    }

    static let ana =
        #""contacts":[{"profile":{"name":"Ana","username":"ana.s"},"wa_id":"5511987654321","user_id":"BR.1502576394655843","parent_user_id":"BR.ENT.118"}]"#

    static func text(_ wamid: String, _ body: String = "oi", from: String = "5511987654321") -> String {
        #"{"from":"\#(from)","id":"\#(wamid)","timestamp":"1790000000","type":"text","text":{"body":"\#(body)"}}"#
    }

    static func status(_ wamid: String, _ status: String = "delivered") -> String {
        #"{"id":"\#(wamid)","status":"\#(status)","timestamp":"1790000001","recipient_id":"5511987654321","biz_opaque_callback_data":"job-1"}"#
    }

    /// The one message in a delivery of nothing but a message from Ana, which has `members` besides the usual ones.
    static func message(type: String, _ members: String) throws -> InboundMessage? {
        let json =
            #"{"from":"5511987654321","from_user_id":"BR.1502576394655843","id":"wamid.A","timestamp":"1790000000","type":"\#(type)",\#(members)}"#
        let items = try WhatsAppDelivery.items(in: delivery(entry("1", change("110", ana, #""messages":[\#(json)]"#))))
        guard items.count == 1, case .message(let message) = items[0].content else { return nil }
        return message
    }
}
