import Testing

@testable import Transports

@Suite struct DrainPaceTests {
    @Test(arguments: [1, 2, 10, 299, 300, 301, 10_000, 99_999]) func allAreToldWithinTheWindow(connections: Int) {
        let pace = DrainPace(connections: connections, window: .seconds(3))
        #expect((connections + pace.perTick - 1) / pace.perTick <= 300)
    }

    @Test func aFewAreGoneAtOnceAndManyTakeTheWindow() {
        #expect(DrainPace(connections: 3, window: .seconds(300)).perTick == 1)
        let pace = DrainPace(connections: 30_000, window: .seconds(3))
        #expect(pace.perTick == 100)
    }

    @Test func withoutAWindowAllGoInOneTick() { #expect(DrainPace(connections: 500, window: .zero).perTick == 500) }
}
