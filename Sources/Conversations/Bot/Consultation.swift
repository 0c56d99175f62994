package import Kernel

// A turn of the bot that the assistant (Gemini) takes: it lasts, and the world goes on meanwhile.
//
//     burst over ──▶ consulting(turn) ──ended──▶ what was said is stored as one message, or the conversation is handed off
//                        │    │
//                        │    └── failed, or not back by its deadline ──▶ the flow answers alone
//                        └── the customer writes on, or the conversation is no longer the bot's ──▶ cancelled
//
// Invariants
// 1. A conversation has at most one turn, and none unless the bot has the conversation.
// 2. What is said, streamed or done in a turn's name counts only while the turn is the present one: asked in the turn of the desk that would let it through.

package enum BotTurnKind {}
package typealias BotTurnID = Identifier<BotTurnKind>

struct Consultation: Sendable, Equatable {
    let turn: BotTurnID
    /// The last message that it answers.
    let upTo: Int64
    let deadline: Timestamp
}

/// What an assistant is told.
package struct ConsultationRequest: Sendable, Equatable {
    package struct Line: Sendable, Equatable {
        package let isCustomer: Bool
        package let text: String

        package init(isCustomer: Bool, text: String) {
            self.isCustomer = isCustomer
            self.text = text
        }
    }

    package let turn: BotTurnID
    package let conversation: ConversationID
    package let contact: ContactID
    package let contactName: String
    package let language: String
    package let instructions: String
    /// Oldest first; the last lines are the customer's, which are to be answered.
    package let lines: [Line]

    package init(
        turn: BotTurnID,
        conversation: ConversationID,
        contact: ContactID,
        contactName: String,
        language: String,
        instructions: String,
        lines: [Line]
    ) {
        self.turn = turn
        self.conversation = conversation
        self.contact = contact
        self.contactName = contactName
        self.language = language
        self.instructions = instructions
        self.lines = lines
    }
}

/// How a turn ended.
package enum ConsultationOutcome: Sendable, Equatable {
    case said(String)
    /// The assistant called for a person.
    case handOff(text: String?, reason: String?, summary: String?, language: String?)
    /// Nothing fit to be shown came of it.
    case failed
}
