import Kernel
import Storage
import Synchronization
import TestSupport
import Testing

@Suite struct GateTests {
    let journal = FakeJournal()
    let outlet = RecordingOutlet()
    let ended = Ended()

    final class Ended: Sendable {
        let tenants = Mutex<[TenantID]>([])
        var all: [TenantID] { tenants.withLock { $0 } }
    }

    func gate(_ limits: Gate.Limits = Gate.Limits()) -> Gate {
        let ended = ended
        return Gate(
            journal: journal,
            outlet: outlet,
            limits: limits,
            logger: .silent,
            activationEnded: { a in ended.tenants.withLock { $0.append(a.tenant) } }
        )
    }

    private func row(_ text: String) -> Change { change(note(1, text), event: text) }

    @Test func nothingIsToldBeforeItIsWritten() async throws {
        let gate = gate()
        let activation = Activation(tenant: tenantA)
        journal.hold()
        let ticket = gate.enqueue(row("a"), activation)
        #expect(outlet.published.isEmpty)
        #expect(journal.written.isEmpty)
        journal.letGo()
        try await ticket.committed()
        #expect(journal.written == ["a"])
        #expect(outlet.published == ["a"])
    }

    @Test func whatArrivesWhileABatchIsWrittenMakesTheNextOne() async throws {
        let gate = gate()
        let activation = Activation(tenant: tenantA)
        journal.hold()
        var tickets = [gate.enqueue(row("0"), activation)]
        // The first one is being written, or about to be taken alone or with the others; all the rest goes into at most two batches.
        for number in 1..<100 { tickets.append(gate.enqueue(row("\(number)"), activation)) }
        journal.letGo()
        for ticket in tickets { try await ticket.committed() }
        #expect(journal.written == (0..<100).map(String.init))
        #expect(outlet.published == (0..<100).map(String.init))
        #expect(journal.batchSizes.count <= 2)
    }

    @Test func anEmptyChangeWaitsForAllBeforeIt() async throws {
        let gate = gate()
        let activation = Activation(tenant: tenantA)
        journal.hold()
        let order = Mutex<[String]>([])
        gate.enqueue(row("write"), activation) { _ in order.withLock { $0.append("write") } }
        let read = Ticket()
        gate.enqueue(Change(), activation) { result in
            order.withLock { $0.append("read") }
            read.settle(result)
        }
        #expect(order.withLock { $0 }.isEmpty)
        journal.letGo()
        try await read.committed()
        #expect(order.withLock { $0 } == ["write", "read"])
        #expect(journal.batchSizes == [1], "an empty change costs no write")
    }

    @Test func aFailedCommitRefusesItsChangesAndEverythingDecidedAfterThem() async throws {
        let gate = gate()
        let first = Activation(tenant: tenantA)
        let second = Activation(tenant: tenantB)
        journal.state.withLock { $0.failures = [.environment] }
        journal.hold()
        let tickets = [gate.enqueue(row("a"), first), gate.enqueue(row("b"), second), gate.enqueue(row("c"), first)]
        journal.letGo()
        for ticket in tickets { await #expect(throws: Refusal.journalUnavailable) { try await ticket.committed() } }
        #expect(outlet.published.isEmpty)
        #expect(Set(ended.all) == [tenantA, tenantB])
        // What those activations still had in hand is refused; a new one's is taken.
        await #expect(throws: Refusal.journalUnavailable) { try await gate.enqueue(row("d"), first).committed() }
        try await gate.enqueue(row("e"), Activation(tenant: tenantA)).committed()
        #expect(journal.written == ["e"])
    }

    @Test func aChangeThatCannotBeWrittenTakesOnlyItsOwnActivationWithIt() async throws {
        let gate = gate()
        let first = Activation(tenant: tenantA)
        let second = Activation(tenant: tenantB)
        journal.state.withLock { $0.poison = ["bad"] }
        journal.hold()
        let before = gate.enqueue(row("before"), first)
        let bad = gate.enqueue(row("bad"), first)
        let after = gate.enqueue(row("after"), first)
        let other = gate.enqueue(row("other"), second)
        journal.letGo()
        try await before.committed()
        try await other.committed()
        await #expect(throws: Refusal.journalUnavailable) { try await bad.committed() }
        await #expect(throws: Refusal.journalUnavailable) { try await after.committed() }
        #expect(outlet.published == ["before", "other"])
        #expect(ended.all == [tenantA])
    }

    @Test func aFullGateRefusesCommandsAndRecovers() async throws {
        var limits = Gate.Limits()
        limits.pendingChanges = 3
        let gate = gate(limits)
        let activation = Activation(tenant: tenantA)
        journal.hold()
        let tickets = (0..<3).map { gate.enqueue(row("\($0)"), activation) }
        #expect(throws: Refusal.overloaded) { try gate.admit() }
        journal.letGo()
        for ticket in tickets { try await ticket.committed() }
        await gate.barrier()
        #expect(throws: Never.self) { try gate.admit() }
    }

    @Test func aStoppedGateTakesNothingMoreAndHasWrittenEverything() async throws {
        let gate = gate()
        let activation = Activation(tenant: tenantA)
        let ticket = gate.enqueue(row("last"), activation)
        await gate.stop()
        #expect(throws: Refusal.stopping) { try gate.admit() }
        try await ticket.committed()
        #expect(journal.written == ["last"])
    }

    /// Random changes of several activations against a journal that fails at random: what was acknowledged was written, in order and once; what was refused was
    /// not, and was not told; and after a refusal nothing of the same activation was written.
    @Test(arguments: 1...20)
    func randomFailuresNeverBreakThePromise(_ seed: UInt64) async throws {
        var random = SeededGenerator(seed: seed)
        let gate = gate()
        var activations = [Activation(tenant: tenantA), Activation(tenant: tenantB)]
        let outcomes = Mutex<[(name: String, activation: ObjectIdentifier, isCommitted: Bool)]>([])
        var keptAlive: [Activation] = activations
        for number in 0..<400 {
            if random.next() % 40 == 0 { journal.state.withLock { $0.failures.append(.environment) } }
            if random.next() % 60 == 0 { _ = journal.state.withLock { $0.poison.insert("\(number)") } }
            let index = Int(random.next() % 2)
            if activations[index].isEnded {
                activations[index] = Activation(tenant: activations[index].tenant)
                keptAlive.append(activations[index])
            }
            let activation = activations[index]
            gate.enqueue(row("\(number)"), activation) { result in
                outcomes.withLock { $0.append(("\(number)", ObjectIdentifier(activation), (try? result.get()) != nil)) }
            }
            if random.next() % 10 == 0 { await gate.barrier() }
        }
        await gate.barrier()
        let all = outcomes.withLock { $0 }
        #expect(all.count == 400, "seed \(seed)")
        let committed = all.filter(\.isCommitted).map(\.name)
        #expect(journal.written == committed, "seed \(seed)")
        #expect(outlet.published == committed, "seed \(seed)")
        var refused: Set<ObjectIdentifier> = []
        for outcome in all.sorted(by: { Int($0.name)! < Int($1.name)! }) {
            if !outcome.isCommitted { refused.insert(outcome.activation) }
            if outcome.isCommitted { #expect(!refused.contains(outcome.activation), "seed \(seed): \(outcome.name) was written after a refusal") }
        }
        withExtendedLifetime(keptAlive) {}
    }
}
