import ArgumentParser

@main
struct Plantao: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plantao",
        abstract: "A realtime customer-operations server.",
        discussion: "Configured by environment variables; see docs/configuration.md.",
        version: Version.current,
        subcommands: [
            Serve.self, Migrate.self, Export.self, Import.self, Doctor.self, ConsultorCommand.self, RotateKeys.self, SetAside.self, Routes.self,
            Demo.self, PlanCommand.self,
        ]
    )
}

enum Version {
    static let current = "0.1.0"
}
