import ArgumentParser
import Foundation
import Logging
import Storage

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Start the server (settings: environment variables, docs/configuration.md).")

    func run() async throws {
        try await StartupError.reported {
            let settings = try Settings(environment: ProcessInfo.processInfo.environment)
            let level = Logger.Level(rawValue: settings.logLevel) ?? .info
            LoggingSystem.bootstrap { label in JSONLogHandler(logLevel: level, label: label) }
            try await Server(settings: settings, logger: Logger(label: "plantao")).run()
        }
    }
}
