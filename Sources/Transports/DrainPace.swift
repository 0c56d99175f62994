/// How a server that stops lets its connections go: a few at a time, so that those who come back do not come all at once, and neither do their disconnects.
///
/// At least one at each tick: a handful is gone in a moment, however long the window.
struct DrainPace: Equatable {
    static let tick = Duration.milliseconds(10)

    /// Connections to end at each tick.
    let perTick: Int

    /// - Parameter window: within which all of them are to be told.
    init(connections: Int, window: Duration) {
        let ticks = max(1, Int(window / Self.tick))
        perTick = max(1, (connections + ticks - 1) / ticks)
    }
}
