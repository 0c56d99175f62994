import ArgumentParser
import NIOCore

/// A working day's mix: agents write into conversations, others watch those conversations, and everybody's list of conversations moves.
struct Chat: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Agents who send messages by RPC, watchers of each conversation, and screens with the list of all of them."
    )

    @OptionGroup var options: ScenarioOptions
    @Option(help: "Agents' sockets that send.") var agents = 50
    @Option(help: "Conversations that they write into, each always into one.") var conversations = 64
    @Option(help: "Watchers of each conversation, subscribed to it.") var watchers = 4
    @Option(help: "Screens subscribed to `conversations`.") var screens = 20
    @Option(help: "Messages a second, from all agents together.") var rate = 500.0
    @Option(help: "Seconds that are measured, after a second to warm up.") var seconds = 10.0
    @Option(help: "Bytes of a message's text.") var bytes = 200

    func run() async throws {
        try await options.compare(
            "chat",
            "Chat: \(agents) agents send \(Metric.text(rate, 0)) messages/s of \(bytes) bytes into \(conversations) conversations; \(watchers) watch each of them, \(screens) the list"
        ) { peer, subject, target in
            let ids = try await subject.makeConversations(conversations, target.token)
            guard ids.count == conversations else { throw Subject.Failure(description: "\(ids.count) conversations instead of \(conversations)") }
            let (agents, screens, bytes, rate) = (agents, screens, bytes, rate)
            let watching = Crowd.Plan(
                clients: conversations * watchers,
                channels: ids.map { "conversation:\($0)" },
                stampedType: "message.created",
                lanes: agents
            )
            let senders = try await LoopConfined { Crowd(Crowd.Plan(clients: agents), target) }
            let watchers = try await LoopConfined { Crowd(watching, target) }
            let lists = try await LoopConfined { Crowd(Crowd.Plan(clients: screens, channels: ["conversations"]), target) }
            for crowd in [senders, watchers, lists] { try await crowd.openAll() }
            let templates = ids.map { Calls.Template(method: "conversation.messages", data: #""conversation_id":"\#($0)","#) }
            let calls = try await LoopConfined { [box = senders.reference] in Calls(box.value, templates, textBytes: bytes) }

            try await calls.run { $0.pace(perSecond: rate) }
            try await Task.sleep(for: .seconds(1))
            try await calls.run { $0.beginWindow(Stamp.now()..<Int64.max) }
            try await watchers.run { $0.beginWindow(Stamp.now()..<Int64.max) }
            let usage = try await Usage.watch(subject, seconds: seconds) { elapsed in
                "\(Metric.text(Double(try await calls.run { $0.answersInWindow }) / elapsed, 0)) messages/s"
            }
            try await calls.run { $0.endWindow() }
            let deliveries = try await watchers.run { crowd in
                crowd.window = crowd.window.lowerBound..<Stamp.now()
                return crowd.deliveriesInWindow
            }
            let lost = try await calls.drain()
            let sequences = try await calls.run { calls in (0..<agents).map { calls.sequence($0) } }
            // Agent `a` writes into conversation `a % conversations`, which client `w` watches when `w % conversations` is the same.
            let count = ids.count
            let expected = (0..<watching.clients).reduce(0) { sum, client in
                sum + stride(from: client % count, to: agents, by: count).reduce(0) { $0 + Int(sequences[$1]) }
            }
            _ = try await Generator.wait(seconds: 20) { try await watchers.run { $0.deliveries >= expected } }
            var faults = try await watchers.run { crowd in
                crowd.settle { client, agent in agent % count == client % count ? sequences[agent] : 0 }
                return crowd.faults
            }
            for crowd in [senders, lists] { faults = faults + (try await crowd.run { $0.faults }) }
            for crowd in [senders, watchers, lists] { try await crowd.run { $0.end() } }
            faults.lost += lost

            let pushes = try await watchers.run { $0.pushes } + lists.run { $0.pushes }
            let (messages, answers) = try await calls.run { ($0.answersInWindow, $0.latencies) }
            let latencies = try await watchers.run { $0.latencies }
            return Run(
                peer: peer,
                metrics: [
                    Metric("messages_per_second", "messages/s", Double(messages) / usage.seconds),
                    Metric("deliveries_per_second", "deliveries to watchers/s", Double(deliveries) / usage.seconds),
                    Metric(
                        "pushes_per_message",
                        "pushes a message",
                        Double(pushes) / Double(max(sequences.reduce(0) { $0 + Int($1) }, 1)),
                        decimals: 1
                    ),
                    Metric("cpu_us_per_message", "server CPU µs a message", usage.cpuSeconds * 1e6 / Double(max(messages, 1))),
                ] + .percentiles(of: answers, key: "answer_", title: "answer ") + .percentiles(of: latencies, key: "push_", title: "push ")
                    + usage.metrics,
                latencies: latencies,
                faults: faults
            )
        }
    }
}
