// swift-tools-version: 6.1
import PackageDescription

/// Applied to every target of ours. Each is an accepted evolution proposal that a later language mode turns on by itself.
let settings: [SwiftSetting] = [
    .enableUpcomingFeature("ExistentialAny"),  // SE-0335
    .enableUpcomingFeature("InternalImportsByDefault"),  // SE-0409
    .enableUpcomingFeature("MemberImportVisibility"),  // SE-0444
    .enableUpcomingFeature("NonisolatedNonsendingByDefault"),  // SE-0461
]

let package = Package(
    name: "plantao",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "plantao", targets: ["Plantao"])
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-nio-extras", from: "1.35.0"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.0"),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/vapor/jwt-kit", from: "5.7.0"),
    ],
    targets: [
        // The only composition root: reads the configuration, starts everything, and is the command line.
        .executableTarget(
            name: "Plantao",
            dependencies: [
                "Telemetry",
                "Client", "Consultores", "Conversations", "CustomerHealth", "Fernet", "HTTPAPI", "Identity", "Integrations", "Jobs",
                "Kernel", "Notifications", "Plans", "Realtime", "RedisBus", "Resilience", "Sales", "Scheduling", "Storage",
                "StoragePostgres", "Tenancy",
                "Transports", "Wire",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ],
            swiftSettings: settings
        ),

        // MARK: Doors
        .target(
            name: "HTTPAPI",
            dependencies: [
                "Telemetry",
                "Consultores", "Conversations", "CustomerHealth", "Identity", "Integrations", "Jobs", "Kernel", "Notifications", "Plans",
                "Realtime", "Resilience", "Sales", "Scheduling", "Storage", "Tenancy", "Wire",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "OrderedCollections", package: "swift-collections"),
                .product(name: "NIOCore", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "Transports",
            dependencies: [
                "Kernel", "Realtime", "Resilience", "Tenancy", "Wire",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HummingbirdCore", package: "hummingbird"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOHTTPTypes", package: "swift-nio-extras"),
                .product(name: "NIOHTTPTypesHTTP1", package: "swift-nio-extras"),
            ],
            swiftSettings: settings
        ),

        // MARK: The business
        .target(
            name: "Tenancy",
            dependencies: [
                "Telemetry",
                "Consultores", "Conversations", "CustomerHealth", "Jobs", "Kernel", "Notifications", "Plans", "Realtime", "Resilience",
                "Sales", "Scheduling", "Storage", "Wire",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "CustomerHealth",
            dependencies: ["Kernel", "Storage", "Wire", .product(name: "HeapModule", package: "swift-collections")],
            swiftSettings: settings
        ),
        .target(name: "Sales", dependencies: ["Kernel", "Storage", "Wire"], swiftSettings: settings),
        .target(
            name: "Conversations",
            dependencies: [
                "Kernel", "Storage", "Wire", .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "OrderedCollections", package: "swift-collections"),
            ],
            swiftSettings: settings
        ),
        .target(name: "Consultores", dependencies: ["Kernel", "Storage", "Wire"], swiftSettings: settings),
        .target(name: "Plans", dependencies: ["Kernel", "Storage", "Wire"], swiftSettings: settings),
        .target(
            name: "Scheduling",
            dependencies: ["Kernel", "Storage", "Wire", .product(name: "OrderedCollections", package: "swift-collections")],
            swiftSettings: settings
        ),
        .target(
            name: "Notifications",
            dependencies: [
                "Jobs", "Kernel", "Scheduling", "Storage", "Wire", .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "DequeModule", package: "swift-collections"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "Identity",
            dependencies: [
                "CCrypt", "Kernel", "Storage", "Wire",
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "JWTKit", package: "jwt-kit"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "Jobs",
            dependencies: [
                "Kernel", "Storage", "Wire", .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "HeapModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),

        // MARK: Shared runtime
        .target(
            name: "Realtime",
            dependencies: [
                "Kernel", "Resilience", "Wire", .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "NIOCore", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "Storage",
            dependencies: [
                "Telemetry",
                "Kernel", "Wire", .product(name: "DequeModule", package: "swift-collections"), .product(name: "GRDB", package: "GRDB.swift"),
                .product(name: "Logging", package: "swift-log"), .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "OrderedCollections", package: "swift-collections"),
            ],
            swiftSettings: settings
        ),

        .target(name: "Resilience", dependencies: ["Kernel"], swiftSettings: settings),
        // What is counted, and spans.
        .target(name: "Telemetry", swiftSettings: settings),

        // MARK: Adapters
        .target(
            name: "StoragePostgres",
            dependencies: [
                "CPostgres", "Kernel", "Resilience", "Storage", .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"), .product(name: "OrderedCollections", package: "swift-collections"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "RedisBus",
            dependencies: [
                "CHiredis", "Kernel", "Resilience",
                .product(name: "DequeModule", package: "swift-collections"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "Integrations",
            dependencies: [
                "Telemetry",
                "Kernel", "Wire",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "OrderedCollections", package: "swift-collections"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
                .product(name: "NIOTLS", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        .target(
            name: "Client",
            dependencies: [
                "Wire", .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),

        .target(
            name: "Fernet",
            dependencies: [.product(name: "Crypto", package: "swift-crypto"), .product(name: "CryptoExtras", package: "swift-crypto")],
            swiftSettings: settings
        ),

        // MARK: Wire, without I/O
        .target(
            name: "Wire",
            dependencies: [
                "CZlib", .product(name: "NIOCore", package: "swift-nio"), .product(name: "OrderedCollections", package: "swift-collections"),
            ],
            swiftSettings: settings
        ),

        // MARK: Bottom
        .target(name: "Kernel", swiftSettings: settings),
        .systemLibrary(name: "CCrypt", pkgConfig: "libcrypt", providers: [.apt(["libcrypt-dev"])]),
        .systemLibrary(name: "CPostgres", pkgConfig: "libpq", providers: [.apt(["libpq-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(name: "CHiredis", providers: [.apt(["libhiredis-dev"])]),

        // MARK: Measuring
        .executableTarget(
            name: "loadtest",
            dependencies: [
                "CPostgres", "Client", "Conversations", "Kernel", "Storage", "StoragePostgres", "TestSupport", "Wire",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            path: "loadtest",
            exclude: ["README.md", "RESULTS.md", "baseline"],
            swiftSettings: settings
        ),

        // MARK: Tests
        .target(
            name: "TestSupport",
            dependencies: [.product(name: "Logging", package: "swift-log")],
            path: "Tests/TestSupport",
            swiftSettings: settings
        ),
        .testTarget(name: "FernetTests", dependencies: ["Fernet"], swiftSettings: settings),
        .testTarget(name: "KernelTests", dependencies: ["Kernel"], swiftSettings: settings),
        .testTarget(
            name: "WireTests",
            dependencies: ["TestSupport", "Wire", .product(name: "NIOCore", package: "swift-nio")],
            swiftSettings: settings
        ),
        .testTarget(
            name: "StorageTests",
            dependencies: ["TestSupport", "Storage", "Kernel", "Wire", .product(name: "Logging", package: "swift-log")],
            swiftSettings: settings
        ),
        .testTarget(name: "TelemetryTests", dependencies: ["Telemetry"], swiftSettings: settings),
        .testTarget(name: "ResilienceTests", dependencies: ["TestSupport", "Kernel", "Resilience"], swiftSettings: settings),
        .testTarget(
            name: "StoragePostgresTests",
            dependencies: [
                "TestSupport", "Consultores", "Conversations", "CustomerHealth", "Identity", "Jobs", "Kernel", "Notifications", "Plans",
                "Realtime", "Resilience",
                "Scheduling", "Storage",
                "StoragePostgres",
                "Tenancy",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "RedisBusTests",
            dependencies: [
                "TestSupport", "RedisBus", "Kernel", "Resilience",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "RealtimeTests",
            dependencies: [
                "TestSupport", "Realtime", "Kernel", "Resilience", "Wire", .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "ClientTests",
            dependencies: ["Client", "Wire", .product(name: "NIOCore", package: "swift-nio")],
            swiftSettings: settings
        ),
        .testTarget(
            name: "TransportsTests",
            dependencies: [
                "TestSupport", "Consultores", "Conversations", "CustomerHealth", "Jobs", "Kernel", "Notifications", "Plans", "Realtime",
                "Resilience", "Scheduling",
                "Storage", "Tenancy", "Transports", "Wire",
                .product(name: "Logging", package: "swift-log"), .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "IdentityTests",
            dependencies: [
                "TestSupport", "Identity", "Kernel", "Storage", .product(name: "JWTKit", package: "jwt-kit"),
                .product(name: "Logging", package: "swift-log"),
            ],
            swiftSettings: settings
        ),
        .testTarget(name: "PlansTests", dependencies: ["TestSupport", "Kernel", "Plans", "Scheduling", "Tenancy", "Wire"], swiftSettings: settings),
        .testTarget(name: "SchedulingTests", dependencies: ["TestSupport", "Scheduling", "Kernel", "Storage", "Wire"], swiftSettings: settings),
        .testTarget(
            name: "NotificationsTests",
            dependencies: ["TestSupport", "Jobs", "Notifications", "Kernel", "Scheduling", "Storage", "Wire"],
            swiftSettings: settings
        ),
        .testTarget(name: "ConsultoresTests", dependencies: ["TestSupport", "Consultores", "Kernel", "Storage", "Wire"], swiftSettings: settings),
        .testTarget(
            name: "ConversationsTests",
            dependencies: [
                "TestSupport", "Consultores", "Conversations", "Kernel", "Storage", "Wire",
                .product(name: "OrderedCollections", package: "swift-collections"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "CustomerHealthTests",
            dependencies: ["TestSupport", "CustomerHealth", "Kernel", "Storage", .product(name: "Logging", package: "swift-log")],
            swiftSettings: settings
        ),
        .testTarget(
            name: "SalesTests",
            dependencies: ["TestSupport", "CustomerHealth", "Kernel", "Sales", "Storage", "Wire", .product(name: "Logging", package: "swift-log")],
            swiftSettings: settings
        ),
        .testTarget(name: "HTTPAPITests", dependencies: ["HTTPAPI", "Kernel"], swiftSettings: settings),
        .testTarget(
            name: "JobsTests",
            dependencies: ["TestSupport", "Jobs", "Kernel", "Storage", "Wire", .product(name: "Logging", package: "swift-log")],
            swiftSettings: settings
        ),
        .testTarget(
            name: "TenancyTests",
            dependencies: [
                "TestSupport", "Consultores", "Conversations", "CustomerHealth", "Jobs", "Kernel", "Notifications", "Plans", "Realtime",
                "Resilience", "Sales", "Scheduling", "Storage", "Tenancy", "Wire",
                .product(name: "Logging", package: "swift-log"),
                .product(name: "NIOEmbedded", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
        .testTarget(
            name: "IntegrationsTests",
            dependencies: [
                "TestSupport", "Integrations", "Kernel", "Wire",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
            ],
            swiftSettings: settings
        ),
    ],
    swiftLanguageModes: [.v6]
)
