package import Kernel

// A business's bot, as data: a graph of nodes, each of which says something, waits for something, or leads to a person.
//
//     say ─▶ next                menu ─▶ one of its options        ask ─▶ next, with the answer in a variable
//     branch ─▶ by a variable    assistant ─▶ stays                hand_off: to the line
//
// `menu`, `ask` and `assistant` wait for the customer; the others go on at once. A `say` without a next goes back to wait at the last menu.
//
// As JSON: protocol/README.md "The bot's flow". What is wrong with one is found before it is stored (`BotFlow+Faults`), so that the machine that walks it
// (`BotFlow+Answering`) always has somewhere to go.

package struct BotFlow: Sendable, Equatable {
    package struct Option: Sendable, Equatable {
        /// What the customer types, or the id of the button: `1`.
        package let key: String
        package let title: String
        package let keywords: [String]
        package let next: String
    }

    package struct Menu: Sendable, Equatable {
        package let text: String
        package let options: [Option]
        package let footer: String?
        /// The options are buttons, or the rows of a list, to be tapped, and not lines of the text.
        package let isTapped: Bool
    }

    /// Something to be tapped in place of an answer in words.
    package struct Choice: Sendable, Equatable {
        package let id: String
        package let title: String

        /// WhatsApp's bounds (research/conversations.md §5.5): up to three are buttons, up to ten the rows of a list.
        package static let mostButtons = 3
        package static let mostRows = 10
        package static let longestButton = 20
        package static let longestRow = 24
        package static let longestText = 1024
    }

    package struct Question: Sendable, Equatable {
        package let text: String
        package let variable: String
        package let expected: ExpectedAnswer
        /// As of a menu; of a question with choices.
        package let isTapped: Bool
        /// Wrong answers that are asked again for.
        package let retries: Int
        package let retryText: String?
        package let next: String
        /// Where to go when the answers stay wrong; `nil`: to a person.
        package let otherwise: String?
    }

    package enum Node: Sendable, Equatable {
        case say(text: String, next: String?)
        case menu(Menu)
        case ask(Question)
        case branch(variable: String, cases: [Case], otherwise: String)
        /// The assistant answers freely until the customer asks for something else.
        case assistant(text: String?, otherwise: String?)
        case handOff(text: String?, reason: String?)

        package struct Case: Sendable, Equatable {
            package let equals: String
            package let next: String
        }

        var waits: Bool {
            switch self {
            case .menu, .ask, .assistant: true
            case .say, .branch, .handOff: false
            }
        }
    }

    package struct Keyword: Sendable, Equatable {
        package let words: [String]
        package let next: String
    }

    package struct Language: Sendable, Equatable {
        package let words: [String]
        package let code: String
        package let text: String
    }

    package struct HandOffRules: Sendable, Equatable {
        package enum Late: String, Sendable { case wait, bot }

        package var words: Set<String>
        package var afterMisunderstandings: Int
        package var text: String
        /// How long somebody may wait in line before they are told that it takes longer.
        package var deadline: Duration?
        package var deadlineText: String
        /// What happens then: they stay in line, or the bot has them again.
        package var then: Late
    }

    package struct AssistantRules: Sendable, Equatable {
        package let instructions: String
        /// Whether it is asked what menus do not understand.
        package let answersUnknown: Bool
    }

    package let start: String
    package let greeting: String?
    package let notUnderstood: String
    package let nodes: [String: Node]
    package let keywords: [Keyword]
    package let languages: [Language]
    package let handOff: HandOffRules
    package let hours: BotHours?
    package let variables: [String: String]
    package let assistant: AssistantRules?
    /// The text that it was read from.
    package let json: String

    /// Always a way to a person, whatever a flow says.
    package static let wordsForAPerson: Set<String> = [
        "atendente", "atendentes", "atendimento", "humano", "humana", "pessoa", "consultor", "agent", "human", "person", "agente", "persona",
    ]

    // MARK: Where a conversation is in it

    package struct Position: Sendable, Equatable {
        /// The version of the flow that the conversation began with, and ends with; `nil` before its first answer.
        package var flow: Int64?
        /// The node that waits; `nil` before the first.
        package var node: String?
        /// The menu to go back to.
        package var menu: String?
        /// In a row, at this node.
        package var misunderstandings = 0
        package var variables: [String: String] = [:]

        package init() {}
    }

    /// What a customer wrote, in one burst.
    package struct Input: Sendable, Equatable {
        package var text: String
        /// The id of the button or row that was tapped.
        package var choice: String?

        package init(text: String, choice: String? = nil) {
            self.text = text
            self.choice = choice
        }
    }

    /// What the flow knows of the conversation beside its position.
    package struct Context: Sendable {
        package var now: Timestamp
        package var contactName: String
        /// Whether the assistant can be asked.
        package var canConsult: Bool

        package init(now: Timestamp, contactName: String, canConsult: Bool) {
            self.now = now
            self.contactName = contactName
            self.canConsult = canConsult
        }
    }

    package struct Reply: Sendable, Equatable {
        package var texts: [String] = []
        /// What can be tapped under the last of the texts.
        package var choices: [Choice] = []
        package var handsOff = false
        package var reason: String?
        /// The language to go on in.
        package var language: String?
        /// The assistant is to answer; nothing is said before.
        package var consults = false

        package init(texts: [String] = [], choices: [Choice] = [], handsOff: Bool = false, reason: String? = nil, language: String? = nil, consults: Bool = false) {
            self.texts = texts
            self.choices = choices
            self.handsOff = handsOff
            self.reason = reason
            self.language = language
            self.consults = consults
        }
    }
}
