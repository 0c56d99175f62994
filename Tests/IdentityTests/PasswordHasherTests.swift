import Identity
import Kernel
import Testing

@Suite struct PasswordHasherTests {
    let hasher = PasswordHasher(rounds: 4)

    @Test func aHashIsOfItsPasswordAndOfNoOther() async throws {
        let hash = try await hasher.hash(strong)
        #expect(hash.hasPrefix("$2b$04$") && hash.utf8.count == 60)
        #expect(try await hasher.verify(strong, hash))
        #expect(try await !hasher.verify(strong + "x", hash))
        #expect(try await !hasher.verify("", hash))
    }

    @Test func twoHashesOfOnePasswordDiffer() async throws {
        #expect(try await hasher.hash(strong) != hasher.hash(strong))
    }

    /// The same password and salt under the three names that implementations have given one method.
    @Test(arguments: ["$2a$", "$2b$", "$2y$"]) func everySpellingIsVerified(prefix: String) async throws {
        let hash = prefix + (try await hasher.hash(strong)).dropFirst(4)
        #expect(try await hasher.verify(strong, hash))
        #expect(try await !hasher.verify("Outra#2026", hash))
    }

    @Test func aKnownHashIsVerified() async throws {
        #expect(try await hasher.verify("abc", "$2b$04$abcdefghijklmnopqrstuuCi15uRb1eH7NAlJ/TgeJertyknQpYn2"))
    }

    @Test func nobodysPasswordIsNeverRight() async throws {
        for password in ["", "nobody", strong] { #expect(try await !hasher.verify(password, nil)) }
    }

    @Test func whatBcryptWouldCutOffIsNotHashed() async throws {
        let longest = String(repeating: "a", count: 72)
        let hash = try await hasher.hash(longest)
        #expect(try await hasher.verify(longest, hash))
        #expect(try await !hasher.verify(longest + "b", hash), "bcrypt itself reads 72 bytes and would say yes")
        #expect(try await refusal { try await hasher.hash(longest + "b") }.fields.first?.location == ["body", "password"])
        #expect(try await refusal { try await hasher.hash("a\0b") }.kind == .invalid)
    }

    @Test func whatIsNoHashFitsNothing() async throws {
        for hash in ["", "*0", "*1", strong, "$2b$04$", "$2b$04$short"] { #expect(try await !hasher.verify(strong, hash), "\(hash)") }
    }

    @Test func pastTheBoundAHashIsRefusedAtOnceAndTheOthersAreMade() async throws {
        let hasher = PasswordHasher(rounds: 10, threads: 1, maxWaiting: 4)
        let refusals = await withTaskGroup(of: Refusal?.self) { group in
            for _ in 0..<12 {
                group.addTask {
                    do throws(Refusal) {
                        _ = try await hasher.hash(strong)
                        return nil
                    } catch { return error }
                }
            }
            return await group.reduce(into: [Refusal]()) { if let refusal = $1 { $0.append(refusal) } }
        }
        #expect(!refusals.isEmpty && refusals.count <= 8)
        for refusal in refusals {
            #expect(refusal.kind == .tooMany && refusal.code == "login_busy")
            #expect(refusal.retryAfterSeconds != nil)
        }
        #expect(try await hasher.verify("abc", "$2b$04$abcdefghijklmnopqrstuuCi15uRb1eH7NAlJ/TgeJertyknQpYn2"), "the places are free again")
    }

    /// libcrypt knows this one too: MD5, of "abc".
    @Test func aHashOfAnotherMethodFitsNothing() async throws {
        #expect(try await !hasher.verify("abc", "$1$abcdefgh$Kn5qrjcQzV7oAHBJ23Cu3/"))
    }
}
