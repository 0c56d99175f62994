import ArgumentParser

@main
struct LoadTest: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "loadtest",
        abstract: "Measures a server, or a part of it, beside a baseline in the same run.",
        subcommands: [
            Commands.self, Turns.self, Fanout.self, RPC.self, Idle.self, Storm.self, SlowConsumers.self, Chat.self, WriteBehind.self,
            SlowDatabase.self, Bookings.self,
        ],
        defaultSubcommand: Commands.self
    )
}
