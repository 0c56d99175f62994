import Kernel
import NIOCore
import Resilience
import TestSupport
import Testing

@testable import RedisBus

@Suite struct LinkMachineTests {
    private var machine: LinkMachine
    private var clock: Int64 = 0

    init() { machine = Self.machine() }

    private static func machine(_ change: (inout RedisConfiguration) -> Void = { _ in }) -> LinkMachine {
        var configuration = RedisConfiguration(address: .unix(path: "/x"))
        change(&configuration)
        return LinkMachine(configuration, breaker: CircuitBreaker(configuration.breaker), random: SeededGenerator(seed: 1))
    }

    private var now: LinkTime {
        LinkTime(uptime: .uptimeNanoseconds(UInt64(1_000_000_000 + clock * 1_000_000)), wall: Timestamp(milliseconds: clock))
    }

    private mutating func advance(_ duration: Duration) { clock += duration.inMilliseconds }

    /// To the next thing it waits for.
    private mutating func sleep() throws -> [LinkMachine.Output] {
        let wait = try #require(machine.wakeUp) - now.uptime
        clock += (wait.nanoseconds + 999_999) / 1_000_000
        return machine.timePassed(at: now)
    }

    private mutating func getReady() {
        #expect(machine.connectionEstablished(machine.attempt).count == 1)
        #expect(machine.greetingAnswered(machine.attempt, .status("OK"), at: now) == [])
        #expect(machine.greetingAnswered(machine.attempt, .status("PONG"), at: now).count == 1)
        #expect(machine.isReady)
    }

    @Test mutating func itConnectsGreetsAndIsReady() {
        #expect(machine.began(at: now) == [.connect(attempt: 1)])
        #expect(machine.connectionEstablished(1) == [.send([["CLIENT", "SETNAME", "plantao"], ["PING"]])])
        #expect(machine.greetingAnswered(1, .error(RedisServerError("NOPERM no")), at: now) == [])
        #expect(machine.greetingAnswered(1, .status("PONG"), at: now) == [.ready(away: nil)])
        #expect(machine.wakeUp == nil)
    }

    @Test mutating func passwordAndDatabaseAreGivenFirst() {
        machine = Self.machine { ($0.user, $0.password, $0.database) = ("ana", "pw", 3) }
        _ = machine.began(at: now)
        #expect(machine.connectionEstablished(1) == [.send([["AUTH", "ana", "pw"], ["SELECT", "3"], ["CLIENT", "SETNAME", "plantao"], ["PING"]])])
        #expect(machine.greetingAnswered(1, .status("OK"), at: now) == [])
        let outputs = machine.greetingAnswered(1, .error(RedisServerError("ERR DB index is out of range")), at: now)
        #expect(outputs == [.close(attempt: 1), .report(.noSuchDatabase(3))])
        // What else it answered meanwhile.
        #expect(machine.greetingAnswered(1, .status("PONG"), at: now) == [])
    }

    @Test(arguments: [
        ("WRONGPASS invalid username-password pair or user is disabled.", ConnectionProblem.wrongPassword),
        ("ERR invalid password", .wrongPassword),
        (
            "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
            .passwordNotWanted
        ),
        ("ERR Client sent AUTH, but no password is set", .passwordNotWanted),
        ("ERR max number of clients reached", .tooManyClients),
        ("ERR unknown command 'AUTH', with args beginning with: 'pw'", .refused("AUTH was answered with ERR")),
    ])
    mutating func aRefusedPasswordIsNamedAndNotRepeated(_ reply: String, _ problem: ConnectionProblem) {
        machine = Self.machine { $0.password = "pw" }
        _ = machine.began(at: now)
        _ = machine.connectionEstablished(1)
        #expect(machine.greetingAnswered(1, .error(RedisServerError(reply)), at: now) == [.close(attempt: 1), .report(problem)])
        #expect(!"\(problem)".contains("pw"))
    }

    @Test mutating func aServerThatStillLoadsIsNotReady() {
        _ = machine.began(at: now)
        _ = machine.connectionEstablished(1)
        _ = machine.greetingAnswered(1, .status("OK"), at: now)
        #expect(machine.greetingAnswered(1, .error(RedisServerError("LOADING Redis is loading")), at: now).contains(.report(.loading)))
    }

    @Test mutating func connectingAndGreetingTogetherHaveATime() throws {
        _ = machine.began(at: now)
        advance(.milliseconds(1500))
        _ = machine.connectionEstablished(1)
        advance(.milliseconds(499))
        #expect(machine.timePassed(at: now) == [])
        #expect(try sleep() == [.close(attempt: 1), .report(.timedOut)])
    }

    @Test mutating func threeFailuresOpenTheBreakerAndNobodyKnocksUntilItsTimeIsOver() throws {
        _ = machine.began(at: now)
        #expect(machine.connectionEnded(1, .timedOut, at: now) == [.close(attempt: 1), .report(.timedOut)])
        #expect(try sleep() == [.connect(attempt: 2)])
        #expect(machine.connectionEnded(2, .timedOut, at: now) == [.close(attempt: 2)], "the same problem is reported once")
        #expect(try sleep() == [.connect(attempt: 3)])
        #expect(machine.connectionEnded(3, .timedOut, at: now) == [.close(attempt: 3), .unavailable(retryAfter: .seconds(30))])
        advance(.milliseconds(29_999))
        #expect(machine.timePassed(at: now) == [])
        #expect(machine.breaker?.state == .open)
        advance(.milliseconds(1))
        #expect(machine.timePassed(at: now) == [.connect(attempt: 4)])
        #expect(machine.breaker?.state == .halfOpen)
        #expect(machine.connectionEnded(4, .timedOut, at: now) == [.close(attempt: 4), .unavailable(retryAfter: .seconds(60))])
        #expect(try sleep() == [.connect(attempt: 5)])
        getReady()
        #expect(machine.breaker?.state == .closed)
        #expect(machine.breaker?.timesOpened == 2)
    }

    @Test mutating func aReadyConnectionThatBreaksIsOneFailure() throws {
        _ = machine.began(at: now)
        getReady()
        advance(.seconds(60))
        #expect(machine.connectionEnded(1, .closedByServer, at: now) == [.close(attempt: 1), .lost(.closedByServer), .report(.closedByServer)])
        #expect(machine.breaker?.failures == 1)
        #expect(try sleep() == [.connect(attempt: 2)])
        _ = machine.connectionEstablished(2)
        _ = machine.greetingAnswered(2, .status("OK"), at: now)
        advance(.seconds(1))
        guard case .ready(let away?)? = machine.greetingAnswered(2, .status("PONG"), at: now).first else {
            Issue.record("not ready")
            return
        }
        #expect(away >= .seconds(1))
        #expect(machine.breaker?.failures == 0)
    }

    @Test mutating func lateFactsOfAnEarlierConnectionChangeNothing() throws {
        _ = machine.began(at: now)
        _ = try sleep()
        _ = try sleep()
        #expect(machine.attempt == 2)
        #expect(machine.connectionEstablished(1) == [.close(attempt: 1)])
        #expect(machine.greetingAnswered(1, .status("PONG"), at: now) == [])
        #expect(machine.connectionEnded(1, .closedByServer, at: now) == [])
        getReady()
        #expect(machine.connectionEnded(1, .closedByServer, at: now) == [])
        #expect(machine.isReady)
    }

    @Test mutating func aConnectionThatBreaksAtOnceEachTimeIsNotMadeWithoutAPause() throws {
        machine = Self.machine { $0.breaker.failureThreshold = 100 }
        _ = machine.began(at: now)
        var waits: [TimeAmount] = []
        for _ in 0..<12 {
            getReady()
            _ = machine.connectionEnded(machine.attempt, .closedByServer, at: now)
            waits.append(try #require(machine.wakeUp) - now.uptime)
            _ = try sleep()
        }
        #expect(waits[0] <= .milliseconds(50))
        #expect(waits[11] >= .milliseconds(2500))
        #expect(waits[11] <= .seconds(5))
    }

    @Test mutating func givingAConnectionUpIsNobodysFailure() {
        _ = machine.began(at: now)
        getReady()
        #expect(machine.givenUp(at: now) == [.close(attempt: 1), .lost(.closedByUs), .connect(attempt: 2)])
        #expect(machine.breaker?.failures == 0)
    }

    @Test mutating func resetByHandItTriesAtOnce() {
        machine = Self.machine { $0.breaker.failureThreshold = 1 }
        _ = machine.began(at: now)
        _ = machine.connectionEnded(1, .timedOut, at: now)
        #expect(machine.breaker?.state == .open)
        #expect(machine.breakerReset(at: now) == [.availableAgain, .connect(attempt: 2)])
    }

    @Test mutating func stoppedItStaysStopped() {
        _ = machine.began(at: now)
        getReady()
        #expect(machine.stopped() == [.close(attempt: 1), .lost(.closedByUs)])
        #expect(machine.connectionEnded(1, .closedByServer, at: now) == [])
        #expect(machine.began(at: now) == [])
        #expect(machine.serverSeen(at: now) == [])
        #expect(machine.wakeUp == nil)
    }
}
