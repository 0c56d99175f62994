import Kernel
import Storage
import Testing
import Wire

@testable import Conversations

/// What WhatsApp knows beside an exchange of messages, as the desk decides it.
@Suite struct WhatsAppDeskTests {
    let bench = Bench()

    private func echo(_ text: String, wamid: String) -> CustomerMessage {
        var echo = bench.message(text, name: nil, wamid: wamid)
        echo.isEcho = true
        return echo
    }

    @Test func anAnswerOnTheHandsetStopsTheBotAndIsSentByNobodyAgain() async throws {
        let id = try await bench.customer("oi")
        let (reception, change) = try await bench.receives(echo("já vou aí", wamid: "wamid.echo"))
        #expect(reception == .taken(id))
        #expect(change.jobs.isEmpty, "it has gone out already, and the bot says nothing to it")
        #expect(change.messages("message.created").first?["status"]?.string == "sent")
        guard case .queued = try await bench.state(id) else {
            Issue.record("the conversation is for people now")
            return
        }
        let jobs = bench.jobs.count
        _ = try await bench.customer("obrigada")
        #expect(bench.jobs.count == jobs, "the bot is silent")
        let (again, _) = try await bench.receives(echo("já vou aí", wamid: "wamid.echo"))
        #expect(again == .duplicate)
    }

    @Test func aReactionOfSomebodyWithNothingOpenBeginsNoConversation() async throws {
        let id = try await bench.customer("oi")
        try await bench.perform(.resolve, on: id, by: maria)
        let wamid = try #require(await bench.desk.messages.values.first { $0.direction == .inbound }?.externalID)
        var reaction = bench.message("Reagiu", kind: "reaction")
        reaction.annotation = (wamid, .reaction("👍"))
        let (reception, _) = try await bench.receives(reaction)
        #expect(reception == .noted)
        let known = try #require(await bench.desk.messagesByExternalID[wamid])
        let target = try #require(await bench.desk.messages[known])
        #expect(target.annotations.customerReaction == "👍")
        let stored = try #require(bench.ledger.messages.first { $0.id == target.id })
        #expect(stored == target, "and comes back from its row")
        #expect(try await bench.state(id).name == "resolved")
    }

    @Test func aCustomerWithANewNumberIsTheSameContact() async throws {
        let id = try await bench.customer("oi", from: "5511900000001")
        var notice = bench.message("trocou", from: "5511900000001", kind: "system")
        notice.newIdentity = ContactIdentity(waIDs: ["5511900000009"], bsuid: nil)
        try await bench.receives(notice)
        #expect(try await bench.customer("sou eu", from: "5511900000009") == id)
        #expect(bench.ledger.contacts.map(\.waID) == ["5511900000009"])
    }

    @Test func aFileMakesAJobOfItsOwnThatIsTriedAgainAndSaysWhatItCameTo() async throws {
        var image = bench.message("[Imagem]", kind: "image")
        image = CustomerMessage(
            channel: image.channel,
            externalID: image.externalID,
            from: image.from,
            name: image.name,
            kind: "image",
            text: image.text,
            content: #"{"state":"pending","media_id":"77","mime_type":"image/png"}"#,
            replyTo: nil,
            sentAt: image.sentAt
        )
        image.hasMedia = true
        let (_, change) = try await bench.receives(image)
        var job = try #require(change.jobs.first { $0.kind == ConversationDesk.mediaJobKind })
        let id = try #require(ConversationDesk.message(of: job))
        #expect(await bench.desk.mediaOrder(job)?.mediaID == "77")
        for attempt in 1..<ConversationDesk.maxMediaAttempts {
            let (next, change) = await bench.desk.mediaEnded(job, .again, bench.moment)
            bench.ledger.absorb(change)
            job = try #require(next, "attempt \(attempt)")
            #expect(job.runAt > bench.clock.now)
            bench.clock.advance(by: job.runAt - bench.clock.now)
        }
        let (next, last) = await bench.desk.mediaEnded(job, .again, bench.moment)
        bench.ledger.absorb(last)
        #expect(next == nil)
        #expect(bench.ledger.jobs[job.id] == nil)
        let text = try #require(await bench.desk.messages[id]?.content)
        let content = try JSON.parse(text)
        #expect(content["state"]?.string == "failed")
        #expect(content["error"]?.string?.isEmpty == false)
        #expect(await bench.desk.mediaOrder(job) == nil, "nothing to fetch any more")
    }

    @Test func whatWasFetchedIsOnTheMessageWithItsTypeAndDigest() async throws {
        var image = CustomerMessage(
            channel: "whatsapp",
            externalID: "wamid.img",
            from: ContactIdentity(waIDs: ["5511900000001"], bsuid: nil),
            name: "Ana",
            kind: "image",
            text: "[Imagem]",
            content: #"{"state":"pending","media_id":"77","mime_type":"image/png","caption":"olha"}"#,
            replyTo: nil,
            sentAt: bench.clock.now
        )
        image.hasMedia = true
        let (_, change) = try await bench.receives(image)
        let job = try #require(change.jobs.first { $0.kind == ConversationDesk.mediaJobKind })
        let (_, stored) = await bench.desk.mediaEnded(job, .stored(mimeType: "image/jpeg", size: 9, sha256: "ab"), bench.moment)
        bench.ledger.absorb(stored)
        let content = try #require(stored.messages("message.changed").first?["content"])
        #expect(content["state"]?.string == "stored")
        #expect(content["mime_type"]?.string == "image/jpeg")
        #expect(content["size"]?.int == 9)
        #expect(content["caption"]?.string == "olha")
    }
}
