import Kernel
import Wire

extension BotFlow {
    /// `{steps: [{input, texts, choices: [{id, title}], node, hands_off, reason, language, consults, variables}]}`: what the flow would answer to one customer who writes this. Ends
    /// with a hand-off.
    package func preview(_ inputs: [Input], _ context: Context) -> [UInt8] {
        var position = Position()
        var writer = JSONWriter(capacity: 4096)
        writer.object {
            $0.list("steps") { steps in
                for input in inputs {
                    let reply = answer(input, at: &position, context)
                    steps.object { step in
                        step.field("input") {
                            $0.field("text", input.text)
                            $0.field("choice", input.choice)
                        }
                        step.field("texts", strings: reply.texts)
                        step.list("choices") { list in
                            for choice in reply.choices {
                                list.object {
                                    $0.field("id", choice.id)
                                    $0.field("title", choice.title)
                                }
                            }
                        }
                        step.field("node", position.node)
                        step.field("hands_off", reply.handsOff)
                        step.field("reason", reply.reason)
                        step.field("language", reply.language)
                        step.field("consults", reply.consults)
                        step.field("variables") { variables in
                            for (name, value) in position.variables.sorted(by: { $0.key < $1.key }) { variables.field(name, value) }
                        }
                    }
                    if reply.handsOff { break }
                }
            }
        }
        return writer.bytes
    }
}
