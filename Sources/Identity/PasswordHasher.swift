import CCrypt
package import Kernel
import NIOPosix
import Synchronization

/// bcrypt (`$2b$`), on threads of its own: one hash at cost 12 takes a fifth of a second of a core, which must stall neither a request nor an event loop.
///
/// The number of hashes that wait is bounded. Past it a login is refused at once with 429, instead of later by everybody's time-outs.
package final class PasswordHasher: Sendable {
    /// bcrypt reads no further (crypt(5)).
    package static let maxPasswordBytes = 72

    private let rounds: Int
    private let maxWaiting: Int
    private let pool: NIOThreadPool
    private let waiting = Atomic<Int>(0)
    /// A hash that no password fits, for users who do not exist: how long an answer takes does not tell whether somebody has an account.
    private let nobodys: String

    package init(rounds: Int = 12, threads: Int = 1, maxWaiting: Int = 32) {
        precondition((4...31).contains(rounds), "bcrypt's cost is from 4 to 31")
        self.rounds = rounds
        self.maxWaiting = maxWaiting
        pool = NIOThreadPool(numberOfThreads: threads)
        pool.start()
        nobodys = Self.hash("nobody", rounds: rounds) ?? "*0"
    }

    deinit { pool.shutdownGracefully { _ in } }

    /// - Throws: a 422 that names `password` when bcrypt would cut it off.
    package func hash(_ password: String) async throws(Refusal) -> String {
        guard Self.isWhole(password) else {
            throw .invalid("password", message: "deve ter no máximo \(Self.maxPasswordBytes) bytes, sem caracteres nulos", type: "password_strength")
        }
        let rounds = rounds
        guard let hash = try await run({ Self.hash(password, rounds: rounds) }) else {
            throw Refusal(.unavailable, "hashing_failed", "A senha não pôde ser protegida; tente novamente.")
        }
        return hash
    }

    /// - Parameter hash: `$2a$`, `$2b$` or `$2y$`; `nil` for a user who does not exist: takes as long, and is false.
    package func verify(_ password: String, _ hash: String?) async throws(Refusal) -> Bool {
        let stored = hash ?? nobodys
        let fits = try await run { Self.crypt(password, stored).map { Secret.isEqual($0, stored) } ?? false }
        return fits && hash != nil
    }

    private func run<T: Sendable>(_ body: @escaping @Sendable () -> T) async throws(Refusal) -> T {
        guard waiting.add(1, ordering: .relaxed).newValue <= maxWaiting else {
            waiting.subtract(1, ordering: .relaxed)
            throw Refusal(.tooMany, "login_busy", "Há logins demais neste momento; tente novamente em instantes.", retryAfterSeconds: 2)
        }
        defer { waiting.subtract(1, ordering: .relaxed) }
        do { return try await pool.runIfActive(body) } catch { throw .stopping }
    }

    // MARK: libcrypt

    private static func hash(_ password: String, rounds: Int) -> String? {
        var setting = [CChar](repeating: 0, count: Int(CRYPT_GENSALT_OUTPUT_SIZE))
        // Without bytes of ours, libcrypt takes the salt from the system's generator.
        guard crypt_gensalt_rn("$2b$", UInt(rounds), nil, 0, &setting, Int32(setting.count)) != nil else { return nil }
        return crypt(password, setting.withUnsafeBufferPointer { String(cString: $0.baseAddress!) })
    }

    /// Not longer than bcrypt reads, and without the NUL at which C would stop.
    private static func isWhole(_ password: String) -> Bool { password.utf8.count <= maxPasswordBytes && !password.utf8.contains(0) }

    /// `nil` for a password that bcrypt would cut off, or a hash that is not bcrypt's: libcrypt knows others, some of them worthless.
    private static func crypt(_ password: String, _ setting: String) -> String? {
        guard isWhole(password), ["$2a$", "$2b$", "$2y$"].contains(where: setting.hasPrefix) else { return nil }
        // 32 KB, too much for the stack of a thread.
        let data = UnsafeMutablePointer<crypt_data>.allocate(capacity: 1)
        defer { data.deallocate() }
        UnsafeMutableRawPointer(data).initializeMemory(as: UInt8.self, repeating: 0, count: MemoryLayout<crypt_data>.size)
        guard let result = crypt_r(password, setting, data) else { return nil }
        let text = String(cString: result)
        // Failure is a string that begins with a star.
        return text.hasPrefix("*") ? nil : text
    }
}
