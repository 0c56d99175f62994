import Jobs
import Kernel
import Testing

@testable import Tenancy

/// Who is to be forgotten is found in messages however their number is written, and nobody else is.
@Suite struct ReachedTests {
    private var ana: Reached {
        var reached = Reached()
        reached.add("(11) 98888-7777", "Ana@Example.com")
        return reached
    }

    @Test(arguments: [
        "+5511988887777", "5511988887777", "11988887777", "ligue para (11) 98888-7777 hoje", "tel: 11 98888.7777, às 10h",
        "{\"to\":\"+55 11 98888-7777\"}",
        "recusado: 5511988887777 não tem WhatsApp", "escreva a ANA@example.com",
    ])
    func theirs(text: String) { #expect(ana.isNamed(in: text)) }

    @Test(arguments: ["", "+5521988887777", "11988887778", "98888-7777", "2026-11-27 7777", "rosana@example.org"])
    func notTheirs(text: String) { #expect(!ana.isNamed(in: text)) }

    @Test func aMessageIsLookedAtInAllItsWords() {
        func message(_ recipient: String, _ payload: String) -> QueueMessage {
            QueueMessage(
                id: QueueMessageID(UniqueID(high: 0, low: 1)),
                OutgoingMessage(queue: .whatsapp, channel: .whatsapp, recipient: recipient, runAt: Timestamp(seconds: 0), payload: payload),
                at: Timestamp(seconds: 0)
            )
        }
        #expect(ana.isNamed(in: message("5511988887777", "{}")))
        #expect(ana.isNamed(in: message("5521900000000", "{\"text\":\"fale com a Ana, 11 98888-7777\"}")))
        #expect(!ana.isNamed(in: message("5521900000000", "{}")))
        var failed = message("5521900000000", "{}")
        failed.why = "5511988887777: bloqueado"
        #expect(ana.isNamed(in: failed))
    }
}
