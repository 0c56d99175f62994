import ArgumentParser
import Foundation
import Logging
import Storage

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Start the server (settings: environment variables, docs/configuration.md).")

    func run() async throws {
        // What is stored is people's: nobody else on the machine reads it.
        umask(0o077)
        do {
            let settings = try Settings(environment: ProcessInfo.processInfo.environment)
            let level = Logger.Level(rawValue: settings.logLevel) ?? .info
            LoggingSystem.bootstrap { label in JSONLogHandler(logLevel: level, label: label) }
            try await Server(settings: settings, logger: Logger(label: "plantao")).run()
        } catch let error as StartupError {
            FileHandle.standardError.write(Data("plantao: \(error.description)\n".utf8))
            throw ExitCode(78)
        }
    }
}
