import Foundation
import Identity
import Kernel
import Logging
import Storage
import Synchronization
import TestSupport
import Testing

let secret = "a secret of the tests, of 32 bytes or more"
let strong = "Forte#2026"
let ownerEmail = "dona@loja.example"

/// Counts what it was told, which for the identity is nothing.
final class RecordingOutlet: Outlet {
    private let counted = Mutex(0)
    var count: Int { counted.withLock { $0 } }
    func publish(_ events: [Event], tenant: TenantID) { counted.withLock { $0 += events.count } }
    func runnable(_ jobs: [Job]) { counted.withLock { $0 += jobs.count } }
    func batchReleased() {}
}

/// The store's own journal, with a disk that can be full.
final class FragileJournal: Journal {
    private let store: SQLiteStore
    private let full = Mutex(false)

    init(_ store: SQLiteStore) { self.store = store }

    func diskIsFull(_ isFull: Bool) { full.withLock { $0 = isFull } }

    func commit(_ batch: [Change]) throws(JournalError) {
        if full.withLock({ $0 }) { throw JournalError(.environment, "the disk is full") }
        try store.commit(batch)
    }
    func forgetMarks(before time: Timestamp) throws(JournalError) { try store.forgetMarks(before: time) }
}

/// The identity as the server puts it together, on a store of its own, with a clock that stands still.
struct World: Sendable {
    let clock: ManualEnvironment
    let store: SQLiteStore
    let journal: FragileJournal
    let outlet = RecordingOutlet()
    let gate: Gate
    let hasher: PasswordHasher
    let tokens: TokenIssuer
    let directory: Directory

    init(_ folder: TemporaryDirectory, clock: ManualEnvironment, accessMinutes: Int = 60, refreshGrace: Duration = .zero) async throws {
        self.clock = clock
        store = try SQLiteStore(directory: folder.path, schema: Schema(StorageTables.all + IdentityTables.all))
        journal = FragileJournal(store)
        gate = Gate(journal: journal, outlet: outlet, logger: .silent, activationEnded: { _ in })
        hasher = PasswordHasher(rounds: 4, maxWaiting: 256)
        tokens = try await TokenIssuer(secret: secret, accessMinutes: accessMinutes, environment: clock.environment)
        directory = Directory(store: store, gate: gate, environment: clock.environment, hasher: hasher, tokens: tokens, refreshGrace: refreshGrace)
        try await directory.load()
    }

    /// Runs `body` on a store that is new, or as an earlier run in the same folder left it.
    static func run<T>(
        in folder: TemporaryDirectory = TemporaryDirectory(),
        clock: ManualEnvironment = ManualEnvironment(),
        accessMinutes: Int = 60,
        refreshGrace: Duration = .zero,
        _ body: (World) async throws -> T
    ) async throws -> T {
        let world = try await World(folder, clock: clock, accessMinutes: accessMinutes, refreshGrace: refreshGrace)
        let result = try await body(world)
        await world.gate.stop()
        world.store.close()
        return result
    }

    /// A business with its owner.
    @discardableResult
    func business(_ name: String = "Loja da Ana", owner: String = ownerEmail) async throws -> (tenant: Tenant, owner: User) {
        let (tenant, user) = try await directory.createTenant(name: name, slug: nil, ownerEmail: owner, ownerName: "Ana", password: strong)
        return (tenant, user)
    }

    func person(_ email: String, _ role: Role, by owner: User) async throws -> User {
        try await directory.createUser(by: principal(owner), email: email, name: "Bia", role: role, password: strong)
    }

    func login(_ email: String = ownerEmail, _ password: String = strong) async throws(Refusal) -> LoginResult {
        try await directory.login(identifier: email, password: password)
    }

    func session(_ login: LoginResult) async throws -> LoginSessionID {
        guard let session = try await tokens.verifyAccess(login.accessToken).session else { throw TokenIssuer.invalid }
        return session
    }
}

func principal(_ user: User) -> Principal { Principal(tenant: user.tenant, user: user.id, role: user.role, name: user.name) }

func changes(_ set: (inout UserChanges) -> Void) -> UserChanges {
    var changes = UserChanges()
    set(&changes)
    return changes
}

/// The refusal that `body` ends with.
func refusal<T>(sourceLocation: SourceLocation = #_sourceLocation, _ body: () async throws -> T) async throws -> Refusal {
    do { _ = try await body() } catch let error as Refusal { return error }
    Issue.record("it was not refused", sourceLocation: sourceLocation)
    throw NotRefused()
}

struct NotRefused: Error {}

extension Timestamp {
    /// Compared in tests with what a token says, which counts whole seconds.
    var seconds: Int64 { milliseconds / 1000 }
}
