/// The first commands of a connection, sent together, and what is to be made of the answers.
struct Greeting: Sendable {
    enum Step: Hashable, Sendable {
        case authenticate
        case select(Int)
        /// Shows in CLIENT LIST. Access rules may forbid it, and nothing depends on it.
        case name
        /// A server that is still loading answers all of the above.
        case ping
    }

    let steps: [Step]
    let commands: [[RedisArgument]]
    private let hasPassword: Bool

    init(_ configuration: RedisConfiguration) {
        var steps: [Step] = []
        var commands: [[RedisArgument]] = []
        if let password = configuration.password {
            steps.append(.authenticate)
            commands.append(configuration.user.map { ["AUTH", RedisArgument($0), RedisArgument(password)] } ?? ["AUTH", RedisArgument(password)])
        }
        if configuration.database != 0 {
            steps.append(.select(configuration.database))
            commands.append(["SELECT", RedisArgument(configuration.database)])
        }
        steps += [.name, .ping]
        commands += [["CLIENT", "SETNAME", "plantao"], ["PING"]]
        self.steps = steps
        self.commands = commands
        hasPassword = configuration.password != nil
    }

    /// Why this answer means that the connection is no good; `nil` when it is.
    func objection(to reply: RedisReply, at step: Step) -> ConnectionProblem? {
        guard case .error(let error) = reply else {
            if step == .ping, reply != .status("PONG") { return .violation("PING was not answered with PONG") }
            return nil
        }
        // Said before anything was asked, so it may stand in any step's place.
        if error.message.contains("max number of clients") { return .tooManyClients }
        switch (step, error.code) {
        case (_, "DENIED"): return .refused("it is in protected mode. Give it a password (requirepass), or bind it to a private address")
        case (_, "LOADING"): return .loading
        case (.name, _): return nil
        case (.authenticate, "WRONGPASS"): return .wrongPassword
        // Redis before 6.
        case (.authenticate, _) where error.message.contains("invalid password"): return .wrongPassword
        case (.authenticate, _) where error.message.contains("without any password configured") || error.message.contains("no password is set"):
            return .passwordNotWanted
        // Not in its own words, which may repeat ours.
        case (.authenticate, let code): return .refused("AUTH was answered with \(code)")
        case (_, "NOAUTH"): return hasPassword ? .wrongPassword : .passwordMissing
        case (.select(let number), "ERR"): return .noSuchDatabase(number)
        default: return .refused(error.message)
        }
    }
}
