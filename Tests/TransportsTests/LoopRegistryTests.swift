import Kernel
import NIOCore
import NIOEmbedded
import TestSupport
import Testing
import Wire

@testable import Transports

/// Connections are called when they want to be, and not otherwise.
@Suite struct LoopRegistryTests {
    private final class Caller: TimedConnection {
        var calls: [Int64] = []
        var answer: (Timestamp) -> Timestamp
        init(_ answer: @escaping (Timestamp) -> Timestamp) { self.answer = answer }
        func timePassed(_ now: Timestamp) -> Timestamp {
            calls.append(now.milliseconds / 1000)
            return answer(now)
        }
        func close(_ sessions: Set<LoginSessionID>) {}
        func stop() {}
    }

    private let time = ManualEnvironment()
    private let loop = EmbeddedEventLoop()
    private let registry: LoopRegistry

    init() { registry = LoopRegistry(loop: loop, environment: time.environment, deflate: DeflatePolicy()) }

    private func pass(_ seconds: Int) {
        for _ in 0..<seconds {
            time.advance(by: .seconds(1))
            loop.advanceTime(by: .seconds(1))
        }
    }

    private func seconds(_ caller: Caller) -> [Int64] { caller.calls.map { $0 - caller.calls[0] } }

    @Test func eachAtItsTime() {
        let often = Caller { $0 + .seconds(2) }
        let seldom = Caller { $0 + .seconds(5) }
        registry.add(often)
        registry.add(seldom)
        pass(11)
        #expect(seconds(often) == [0, 2, 4, 6, 8, 10])
        #expect(seconds(seldom) == [0, 5, 10])
    }

    @Test func soonerWhenItAsks() {
        let caller = Caller { _ in .distantFuture }
        registry.add(caller)
        pass(3)
        registry.visit(caller, at: time.environment.now() + .seconds(2))
        registry.visit(caller, at: time.environment.now() + .seconds(60))
        pass(10)
        #expect(seconds(caller) == [0, 4])
    }

    @Test func whatItAsksForWhileItIsCalledCounts() {
        let caller = Caller { _ in .distantFuture }
        caller.answer = { [registry, unowned caller] now in
            if caller.calls.count == 1 { registry.visit(caller, at: now + .seconds(3)) }
            return .distantFuture
        }
        registry.add(caller)
        pass(10)
        #expect(seconds(caller) == [0, 3])
    }

    @Test func whoLeavesWhileBeingCalledLeavesTheOthersInTheirPlaces() {
        let others = (0..<5).map { _ in Caller { $0 + .seconds(1) } }
        let leaver = Caller { $0 }
        leaver.answer = { [registry, unowned leaver] now in
            registry.remove(leaver)
            return now
        }
        for caller in others[..<2] + [leaver] + others[2...] { registry.add(caller) }
        pass(4)
        #expect(leaver.calls.count == 1)
        #expect(others.allSatisfy { $0.calls.count == 4 })
        for caller in others.reversed() { registry.remove(caller) }
        pass(2)
        #expect(others.allSatisfy { $0.calls.count == 4 })
    }
}
