import NIOCore
import Testing
import Wire

@testable import Client

@Suite struct ReconnectTests {
    private let reconnect = RealtimeConfiguration.Reconnect(first: .milliseconds(1), longest: .milliseconds(10))
    private let told = Array(#"{"reconnect_within":60}"#.utf8)
    private let shutdown = RealtimeError.closed(code: 3001, reason: "shutdown")

    @Test func whoIsSentAwayComesBackSpreadOverTheTimeTheServerSaid() {
        let delays = (0..<1000).map { _ in reconnect.delay(attempt: 0, after: shutdown, told: told) }
        #expect(delays.allSatisfy { $0 <= .seconds(60) })
        // One in a thousand falls into the first quarter less than 150 times, once in as many universes.
        #expect(delays.filter { $0 < .seconds(15) }.count > 150 && delays.filter { $0 > .seconds(45) }.count > 150)
    }

    @Test func anyOtherEndIsTheClientsOwnAffair() {
        for error in [RealtimeError.transport("broken"), .closed(code: 3008, reason: "slow"), .timedOut] {
            #expect(reconnect.delay(attempt: 3, after: error, told: told) <= .milliseconds(8))
        }
    }

    @Test(arguments: [
        nil, "", "{}", "[]", #"{"reconnect_within":0}"#, #"{"reconnect_within":-5}"#, #"{"reconnect_within":1e9}"#, #"{"reconnect_within":"9"}"#,
    ])
    func whatTheServerDidNotSaySensiblyIsNotHeeded(told: String?) {
        #expect(reconnect.delay(attempt: 0, after: shutdown, told: told.map { Array($0.utf8) }) <= .milliseconds(1))
    }
}
