import Integrations
import Kernel
import Testing

@Suite struct InboundMessageTests {
    private typealias Make = DeliveryFixtures

    // MARK: Who, when, in answer to what

    @Test func theSenderIsKnownByEverythingTheDeliveryTells() throws {
        let message = try #require(try Make.message(type: "text", #""text":{"body":"oi"}"#))
        #expect(message.wamid == "wamid.A")
        #expect(message.customer == WhatsAppIdentity(waID: "5511987654321", bsuid: "BR.1502576394655843", parentBSUID: "BR.ENT.118"))
        #expect(message.profileName == "Ana")
        #expect(message.username == "ana.s")
        #expect(message.providerTimestamp == Timestamp(seconds: 1_790_000_000))
        #expect(message.type == "text")
        #expect(message.summary == "oi")
    }

    private func only(_ members: String...) throws -> WhatsAppItem.Content? {
        let change = #"{"field":"messages","value":{"metadata":{"phone_number_id":"110"},\#(members.joined(separator: ","))}}"#
        let items = try WhatsAppDelivery.items(in: Make.delivery(Make.entry("1", change)))
        return items.count == 1 ? items[0].content : nil
    }

    @Test func aPersonWhoHidesTheirNumberIsKnownByTheBusinessScopedID() throws {
        let contacts = #""contacts":[{"profile":{"name":"Bia"},"user_id":"BR.77"},{"profile":{"name":"Ana"},"user_id":"BR.78"}]"#
        for sender in [#""from_user_id":"BR.78""#, #""from":"BR.78""#] {
            let content = try only(contacts, #""messages":[{\#(sender),"id":"w","timestamp":"1","type":"text","text":{"body":"x"}}]"#)
            guard case .message(let message)? = content else {
                Issue.record("another kind of content")
                return
            }
            #expect(message.customer == WhatsAppIdentity(bsuid: "BR.78"))
            #expect(message.profileName == "Ana")
        }
    }

    @Test func aMessageWithoutASenderIsTheOnlyContacts() throws {
        let content = try only(Make.ana, #""messages":[{"id":"w","timestamp":"1","type":"text","text":{"body":"x"}}]"#)
        guard case .message(let message)? = content else {
            Issue.record("another kind of content")
            return
        }
        #expect(message.customer.waID == "5511987654321")
    }

    @Test func anEchoBelongsToThePersonItWasWrittenTo() throws {
        let content = try only(
            #""message_echoes":[{"from":"551130000000","to":"5511987654321","to_user_id":"BR.9","id":"w","timestamp":"1","type":"text","text":{"body":"x"}}]"#
        )
        guard case .echo(let message)? = content else {
            Issue.record("another kind of content")
            return
        }
        #expect(message.customer == WhatsAppIdentity(waID: "5511987654321", bsuid: "BR.9"))
    }

    @Test func quotesForwardsAndAdvertisementsAreKept() throws {
        let reply = try Make.message(type: "text", #""text":{"body":"x"},"context":{"from":"551130000000","id":"wamid.Q"}"#)
        #expect(reply?.context == .init(quotedWamid: "wamid.Q"))
        for flag in ["forwarded", "frequently_forwarded"] {
            let forwarded = try Make.message(type: "text", #""text":{"body":"x"},"context":{"\#(flag)":true}"#)
            #expect(forwarded?.context == .init(isForwarded: true))
        }
        let lead = try Make.message(
            type: "text",
            #""text":{"body":"x"},"referral":{"source_url":"https:\/\/fb.me\/1","source_id":"7","source_type":"ad","ctwa_clid":"c"}"#
        )
        #expect(lead?.referral?.sourceURL == "https://fb.me/1")
        #expect(lead?.referral?.clickID == "c")
    }

    @Test(
        arguments: [
            ("BR.1502576394655843", true), ("BR.ENT.118", true), ("US.aB9", true), ("BR.", false), ("BR.ENT.", false), ("br.1", false),
            ("5511987654321", false), ("BRA.1", false), ("BR.a b", false), ("BR.1.2", false), ("", false),
        ]
    )
    func businessScopedIDsAreRecognised(text: String, expected: Bool) {
        #expect(WhatsAppIdentity.isBSUID(text) == expected)
    }

    // MARK: What it says

    @Test func mediaOfEveryKind() throws {
        for (type, kind) in [("image", InboundMedia.Kind.image), ("video", .video), ("sticker", .sticker)] {
            let message = try Make.message(type: type, #""\#(type)":{"id":"m1","mime_type":"a/b","sha256":"cw==","caption":"Olha"}"#)
            guard case .media(let found)? = message?.content else {
                Issue.record("\(type)")
                return
            }
            #expect(found.kind == kind)
            #expect([found.id, found.mimeType, found.sha256, found.caption] == ["m1", "a/b", "cw==", "Olha"])
        }
        let document = try Make.message(type: "document", #""document":{"id":"m1","mime_type":"application/pdf","filename":"conta.pdf"}"#)
        #expect(document?.summary == "[Documento] conta.pdf")
        let voice = try Make.message(type: "audio", #""audio":{"id":"m1","mime_type":"audio\/ogg; codecs=opus","voice":true}"#)
        guard case .media(let audio)? = voice?.content else {
            Issue.record("another kind of content")
            return
        }
        #expect(audio.isVoice)
        #expect(audio.mimeType == "audio/ogg; codecs=opus")
        #expect(voice?.summary == "[Mensagem de voz]")
    }

    @Test func aReactionIsTakenBackByAnEmptyEmojiOrByNone() throws {
        let reaction = try Make.message(type: "reaction", #""reaction":{"message_id":"wamid.Q","emoji":"\ud83d\ude2e"}"#)
        #expect(reaction?.content == .reaction(messageID: "wamid.Q", emoji: "😮"))
        for members in [#""message_id":"wamid.Q","emoji":"""#, #""message_id":"wamid.Q""#] {
            #expect(try Make.message(type: "reaction", #""reaction":{\#(members)}"#)?.content == .reaction(messageID: "wamid.Q", emoji: nil))
        }
    }

    @Test(
        arguments: [
            ("text", #""text":{"body":""}"#, InboundContent.text(body: ""), ""),
            (
                "interactive", #""interactive":{"type":"button_reply","button_reply":{"id":"sim","title":"Sim"}}"#,
                .interactiveReply(id: "sim", title: "Sim"), "Sim"
            ),
            (
                "interactive", #""interactive":{"type":"list_reply","list_reply":{"id":"2","title":"Segunda via","description":"Boleto"}}"#,
                .interactiveReply(id: "2", title: "Segunda via"), "Segunda via"
            ),
            (
                "interactive", #""interactive":{"type":"nfm_reply","nfm_reply":{"name":"flow","body":"Enviado","response_json":"{\"a\":1}"}}"#,
                .flowReply(name: "flow", title: "Enviado", response: #"{"a":1}"#), "[Formulário] Enviado"
            ),
            ("button", #""button":{"payload":"SIM","text":"Sim"}"#, .button(payload: "SIM", text: "Sim"), "Sim"),
            (
                "unsupported", #""errors":[{"code":131051,"title":"Message type unknown","error_data":{"details":"d"}}]"#,
                .unsupported(WhatsAppError(code: 131_051, title: "Message type unknown", details: "d")), "[Mensagem não suportada]"
            ),
            ("interactive", #""interactive":{}"#, .unsupported(nil), "[Mensagem não suportada]"),
            ("revoke", #""revoke":{"original_message_id":"wamid.O"}"#, .revoke(originalID: "wamid.O"), "[Mensagem apagada]"),
            (
                "edit", #""edit":{"original_message_id":"wamid.O","message":{"type":"text","text":{"body":"melhor"}}}"#,
                .edit(originalID: "wamid.O", content: .text(body: "melhor")), "[Editada] melhor"
            ),
        ]
    )
    func otherTypes(type: String, members: String, content: InboundContent, summary: String) throws {
        let message = try Make.message(type: type, members)
        #expect(message?.content == content)
        #expect(message?.summary == summary)
    }

    @Test func anEmptyInteractiveTakesItsReasonFromTheDelivery() throws {
        let content = try only(
            Make.ana,
            #""errors":[{"code":131060,"title":"Unavailable"}]"#,
            #""messages":[{"from":"5511987654321","id":"w","timestamp":"1","type":"interactive","interactive":{}}]"#
        )
        guard case .message(let message)? = content else {
            Issue.record("another kind of content")
            return
        }
        #expect(message.content == .unsupported(WhatsAppError(code: 131_060, title: "Unavailable", details: nil)))
    }

    @Test func locationsContactsOrdersAndSystemNotices() throws {
        let location = try Make.message(type: "location", #""location":{"latitude":-23.5,"longitude":-46,"name":"Loja"}"#)
        guard case .location(let place)? = location?.content else {
            Issue.record("another kind of content")
            return
        }
        #expect(place.latitude == -23.5 && place.longitude == -46)
        #expect(location?.summary == "[Localização] Loja")

        let contacts = try Make.message(
            type: "contacts",
            #""contacts":[{"name":{"formatted_name":"Jos\u00e9 S."},"phones":[{"phone":"+55 11 98765-4321","wa_id":"5511987654321"}]}]"#
        )
        guard case .contacts(let shared)? = contacts?.content else {
            Issue.record("another kind of content")
            return
        }
        #expect(shared.map(\.name) == ["José S."])
        #expect(shared[0].phones == ["5511987654321"])

        let order = try Make.message(
            type: "order",
            #""order":{"catalog_id":"9","product_items":[{"product_retailer_id":"p","quantity":2,"item_price":19.9,"currency":"BRL"}]}"#
        )
        guard case .order(let items)? = order?.content else {
            Issue.record("another kind of content")
            return
        }
        #expect(items.items.map(\.price) == ["19.9"])
        #expect(items.items.map(\.quantity) == [2])

        let system = try Make.message(type: "system", #""system":{"type":"user_changed_number","wa_id":"5511911112222","body":"Ana mudou"}"#)
        guard case .system(let notice)? = system?.content else {
            Issue.record("another kind of content")
            return
        }
        #expect(notice.kind == "user_changed_number")
        #expect(notice.newIdentity.waID == "5511911112222")
    }

    @Test func anUnknownTypeIsKeptWhole() throws {
        let message = try #require(try Make.message(type: "hologram", #""hologram":{"id":"h1"}"#))
        #expect(message.type == "hologram")
        guard case .unknown(let raw) = message.content else {
            Issue.record("another kind of content")
            return
        }
        #expect(raw.contains(#""hologram":{"id":"h1"}"#))
    }
}

@Suite struct StatusUpdateTests {
    private typealias Make = DeliveryFixtures

    @Test func everythingAStatusTellsIsRead() throws {
        let failed =
            #"{"id":"wamid.S","status":"failed","timestamp":"1790000001","recipient_id":"5511987654321","recipient_user_id":"BR.9","#
            + #""biz_opaque_callback_data":"job-1","errors":[{"code":131026,"title":"Message undeliverable","error_data":{"details":"d"}},{"title":"x"}]}"#
        let items = try WhatsAppDelivery.items(in: Make.delivery(Make.entry("1", Make.change("110", #""statuses":[\#(failed)]"#))))
        let expected = StatusUpdate(
            wamid: "wamid.S",
            status: .failed,
            timestamp: Timestamp(seconds: 1_790_000_001),
            recipient: WhatsAppIdentity(waID: "5511987654321", bsuid: "BR.9"),
            callbackData: "job-1",
            errors: [WhatsAppError(code: 131_026, title: "Message undeliverable", details: "d")]
        )
        #expect(items == [WhatsAppItem(phoneNumberID: "110", wabaID: "1", content: .status(expected))])
    }

    @Test func theLadderRisesFromSentToPlayedAndFailedStandsBeside() {
        let ladder: [StatusUpdate.Status] = [.sent, .delivered, .read, .played]
        #expect(ladder.compactMap(\.rank) == [1, 2, 3, 4])
        #expect(StatusUpdate.Status.failed.rank == nil)
    }
}
