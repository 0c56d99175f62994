import Kernel
import OrderedCollections
import Wire

// The column `bot`: where the conversation is in its flow, and what the bot still owes it.

extension Conversation {
    var botJSON: String {
        var writer = JSONWriter()
        writer.object {
            $0.field("flow", bot.flow)
            $0.field("node", bot.node)
            $0.field("menu", bot.menu)
            $0.field("misunderstandings", bot.misunderstandings)
            $0.field("variables") { variables in for (name, value) in bot.variables.sorted(by: { $0.key < $1.key }) { variables.field(name, value) } }
            $0.field("answered", botAnsweredSeq)
            $0.field("late", isLateTold)
            $0.field("in_line_since", inLineSince?.description)
            $0.field("stopped", botStoppedSeq)
            $0.field("handset", isHandsets)
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }

    mutating func readBot(_ text: String) {
        let json = try? JSON.parse(text)
        bot = BotFlow.Position()
        bot.flow = json?["flow"]?.int
        bot.node = json?["node"]?.string
        bot.menu = json?["menu"]?.string
        bot.misunderstandings = Int(json?["misunderstandings"]?.int ?? 0)
        for (name, value) in json?["variables"]?.object ?? [:] { bot.variables[name] = value.string }
        // Before flows were data there was only the standard one, and every message was answered as it came.
        botAnsweredSeq = json?["answered"]?.int ?? lastSeq
        isLateTold = json?["late"]?.bool ?? false
        inLineSince = json?["in_line_since"]?.string.flatMap { Timestamp(rfc3339: $0) }
        botStoppedSeq = json?["stopped"]?.int ?? 0
        isHandsets = json?["handset"]?.bool ?? false
        if json?["greeted"]?.bool == true {
            bot.flow = 0
            bot.node = "menu"
            bot.menu = "menu"
        }
    }
}
