import Integrations
import Kernel
import Testing

@Suite struct WhatsAppDeliveryTests {
    private typealias Make = DeliveryFixtures

    /// What an item is, in a word.
    private func names(_ items: [WhatsAppItem]) -> [String] {
        items.map { item in
            switch item.content {
            case .message(let message): "\(item.phoneNumberID ?? "-") message \(message.wamid)"
            case .echo(let message): "\(item.phoneNumberID ?? "-") echo \(message.wamid)"
            case .status(let update): "\(item.phoneNumberID ?? "-") \(update.status) \(update.wamid)"
            case .notification(let field, _): "\(item.phoneNumberID ?? "-") notification \(field)"
            case .unreadable(let reason, _): "\(item.phoneNumberID ?? "-") unreadable: \(reason)"
            }
        }
    }

    @Test func aBatchOfTwoBusinessesIsReadWholeInOrderWithWhatPeopleWroteBeforeStatuses() throws {
        let body = Make.delivery(
            Make.entry(
                "W1",
                Make.change("110", #""statuses":[\#(Make.status("wamid.S1", "sent")),\#(Make.status("wamid.S2"))]"#),
                Make.change("110", Make.ana, #""messages":[\#(Make.text("wamid.1")),\#(Make.text("wamid.2"))]"#)
            ),
            Make.entry(
                "W2",
                Make.change(
                    "220",
                    #""statuses":[\#(Make.status("wamid.S3", "read"))]"#,
                    #""messages":[\#(Make.text("wamid.3", from: "5521988887777"))]"#
                ),
                Make.change(
                    "220",
                    field: "smb_message_echoes",
                    #""message_echoes":[{"from":"551130000000","to":"5521988887777","id":"wamid.E","timestamp":"1790000002","type":"text","text":{"body":"Já vou"}}]"#
                )
            )
        )
        let items = try WhatsAppDelivery.items(in: body)
        #expect(
            names(items) == [
                "110 message wamid.1", "110 message wamid.2", "220 message wamid.3", "220 echo wamid.E", "110 sent wamid.S1",
                "110 delivered wamid.S2", "220 read wamid.S3",
            ]
        )
        #expect(items.map(\.wabaID) == ["W1", "W1", "W2", "W2", "W1", "W1", "W2"])
    }

    @Test(
        arguments: [
            ("null", "the element is not an object"), ("7", "the element is not an object"), (#""x""#, "the element is not an object"),
            ("{}", "id is missing"),
            (#"{"from":"55119","timestamp":"1","type":"text","text":{"body":"x"}}"#, "id is missing"),
            (#"{"from":"55119","id":"","timestamp":"1","type":"text","text":{"body":"x"}}"#, "id is missing"),
            (#"{"from":"55119","id":"w","timestamp":"ontem","type":"text","text":{"body":"x"}}"#, "timestamp is not a time in Unix seconds"),
            // Would overflow when turned into milliseconds.
            (
                #"{"from":"55119","id":"w","timestamp":"9223372036854775807","type":"text","text":{"body":"x"}}"#,
                "timestamp is not a time in Unix seconds"
            ),
            (#"{"from":"55119","id":"w","timestamp":"-1","type":"text","text":{"body":"x"}}"#, "timestamp is not a time in Unix seconds"),
            (#"{"from":"55119","id":"w","timestamp":"1","text":{"body":"x"}}"#, "type is missing"),
            (#"{"from":"55119","id":"w","timestamp":"1","type":"text"}"#, "text is not an object"),
            (#"{"from":"55119","id":"w","timestamp":"1","type":"text","text":{"body":{}}}"#, "body is not a string"),
            (#"{"from":"55119","id":"w","timestamp":"1","type":"image","image":[]}"#, "image is not an object"),
            (#"{"from":"55119","id":"w","timestamp":"1","type":"location","location":{"latitude":"a","longitude":1}}"#, "latitude is not a number"),
        ]
    )
    func aPoisonElementHarmsNoneOfItsNeighbours(poison: String, reason: String) throws {
        let body = Make.delivery(
            Make.entry("W1", Make.change("110", Make.ana, #""messages":[\#(Make.text("wamid.1")),\#(poison),\#(Make.text("wamid.2"))]"#)),
            Make.entry("W2", Make.change("220", #""statuses":[\#(Make.status("wamid.S"))]"#))
        )
        let items = try WhatsAppDelivery.items(in: body)
        #expect(names(items) == ["110 message wamid.1", "110 unreadable: \(reason)", "110 message wamid.2", "220 delivered wamid.S"])
        guard case .unreadable(_, let raw) = items[1].content else { return }
        #expect(raw == poison)
    }

    @Test func amongSeveralProfilesAMessageWithoutASenderIsUnreadable() throws {
        let contacts = #""contacts":[{"wa_id":"5511987654321"},{"wa_id":"5521988887777"}]"#
        let anonymous = #"{"id":"w","timestamp":"1","type":"text","text":{"body":"x"}}"#
        let body = Make.delivery(Make.entry("W1", Make.change("110", contacts, #""messages":[\#(anonymous),\#(Make.text("wamid.2"))]"#)))
        #expect(try names(WhatsAppDelivery.items(in: body)) == ["110 unreadable: nobody is named as the other end", "110 message wamid.2"])
    }

    @Test func aPoisonStatusOrProfileHarmsNoneOfItsNeighbours() throws {
        let body = Make.delivery(
            Make.entry(
                "W1",
                Make.change("110", #""statuses":[\#(Make.status("wamid.S1", "warped")),{"status":"sent"},null,\#(Make.status("wamid.S2"))]"#),
                Make.change("110", #""contacts":[null,7,{"profile":[]}]"#, #""messages":[\#(Make.text("wamid.1"))]"#)
            )
        )
        #expect(
            try names(WhatsAppDelivery.items(in: body)) == [
                "110 message wamid.1", "110 unreadable: status is not one of the known ones", "110 unreadable: id is missing",
                "110 unreadable: the element is not an object", "110 delivered wamid.S2",
            ]
        )
    }

    @Test func entriesChangesAndListsOfTheWrongShapeAreIsolatedToo() throws {
        let body = Make.delivery(
            "5",
            #"{"id":"W0"}"#,
            Make.entry("W1", "null", #"{"field":"messages"}"#, Make.change("110", #""messages":{}"#)),
            Make.entry("W2", #"{"field":"messages","value":{"messages":[\#(Make.text("wamid.2"))]}}"#)
        )
        #expect(
            try names(WhatsAppDelivery.items(in: body)) == [
                "- unreadable: changes is not a list", "- unreadable: changes is not a list", "- unreadable: value is not an object",
                "- unreadable: value is not an object", "110 unreadable: messages is not a list", "- message wamid.2",
            ]
        )
        #expect(
            try names(WhatsAppDelivery.items(in: Array(#"{"object":"whatsapp_business_account"}"#.utf8))) == ["- unreadable: entry is not a list"]
        )
    }

    @Test func aChangeOfAnotherFieldIsKeptAsANotification() throws {
        let items = try WhatsAppDelivery.items(
            in: Make.delivery(Make.entry("W1", #"{"field":"account_update","value":{"event":"VERIFIED_ACCOUNT"}}"#))
        )
        #expect(items.map(\.content) == [.notification(field: "account_update", rawJSON: #"{"event":"VERIFIED_ACCOUNT"}"#)])
        #expect(items[0].wabaID == "W1")
    }

    @Test func escapesAreReadAsTheCharactersTheyStandFor() throws {
        let message = try Make.message(type: "text", #""text":{"body":"Ol\u00e1 \ud83d\ude00 http:\/\/a.b\/c ana\u0040x \"\u00e7\"\n"}"#)
        #expect(message?.content == .text(body: "Olá 😀 http://a.b/c ana@x \"ç\"\n"))
    }

    @Test func halfAnEmojiInOneNameDoesNotSpoilTheDelivery() throws {
        let contacts = #""contacts":[{"profile":{"name":"Bia \ud83d"},"wa_id":"5521988887777"}]"#
        let body = Make.delivery(Make.entry("W1", Make.change("110", contacts, #""messages":[\#(Make.text("wamid.1", from: "5521988887777"))]"#)))
        guard case .message(let message) = try WhatsAppDelivery.items(in: body)[0].content else {
            Issue.record("another kind of content")
            return
        }
        #expect(message.profileName == "Bia \u{fffd}")
    }

    @Test(arguments: ["", "oi", "{", #"{"object":"whatsapp_business_account","entry":["#, "[1,]"]) func whatIsNotJSONIsRefusedWhole(text: String) {
        #expect {
            try WhatsAppDelivery.items(in: Array(text.utf8))
        } throws: {
            if case .notJSON? = $0 as? WhatsAppDelivery.Failure { true } else { false }
        }
    }

    @Test(arguments: ["[]", "{}", "null", #"{"object":"page","entry":[]}"#, #"{"object":7}"#]) func whatIsNotOfWhatsAppIsRefusedWhole(text: String) {
        #expect(throws: WhatsAppDelivery.Failure.notWhatsApp) { try WhatsAppDelivery.items(in: Array(text.utf8)) }
    }

    @Test func anEmptyDeliveryTellsNothing() throws { #expect(try WhatsAppDelivery.items(in: Make.delivery()).isEmpty) }

    /// Cut anywhere, a delivery is refused or read, and never crashes.
    @Test func everyPrefixIsRefusedOrRead() throws {
        let body = Make.delivery(Make.entry("W1", Make.change("110", Make.ana, #""messages":[\#(Make.text("wamid.1", #"\u00e9\ud83d\ude00"#))]"#)))
        for count in body.indices {
            #expect(throws: WhatsAppDelivery.Failure.self) { try WhatsAppDelivery.items(in: Array(body.prefix(count))) }
        }
        #expect(try WhatsAppDelivery.items(in: body).count == 1)
    }
}
