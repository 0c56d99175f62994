package import Kernel
package import NIOCore
import Wire

/// A connection of one event loop, to be told of time and of endings.
protocol TimedConnection: AnyObject {
    /// Called when it is time, to the second, and now and then before.
    /// - Returns: when it wants to be called again, at the latest; earlier than that it asks for with `LoopRegistry.visit`.
    func timePassed(_ now: Timestamp) -> Timestamp
    /// These logins have ended: what they could see and do, they no longer may.
    func close(_ sessions: Set<LoginSessionID>)
    /// The server stops.
    func stop()
}

/// The connections of one event loop, and the one timer that all of them share. Each second it looks through the times at which they want to be called, which lie
/// side by side, and at those connections alone whose time has come: most of the time, at none.
final class LoopRegistry {
    private var places: [ObjectIdentifier: Int] = [:]
    private var connections: ContiguousArray<any TimedConnection> = []
    private var visits: ContiguousArray<Timestamp> = []
    private let environment: Environment
    private var timer: RepeatedTask?
    private let loop: any EventLoop
    /// The server stops: nobody new is taken.
    private var isDraining = false
    /// zlib's states, which the connections of a loop share.
    let deflatePool: DeflatePool

    init(loop: any EventLoop, environment: Environment, deflate: DeflatePolicy) {
        self.loop = loop
        self.environment = environment
        deflatePool = DeflatePool(deflate)
    }

    func add(_ connection: some TimedConnection) {
        guard !isDraining else { return connection.stop() }
        places[ObjectIdentifier(connection)] = connections.count
        connections.append(connection)
        visits.append(environment.now())
        guard timer == nil else { return }
        let registry = NIOLoopBound(self, eventLoop: loop)
        timer = loop.scheduleRepeatedTask(initialDelay: .seconds(1), delay: .seconds(1)) { _ in registry.value.tick() }
    }

    /// The last one takes its place.
    func remove(_ connection: some TimedConnection) {
        guard let place = places.removeValue(forKey: ObjectIdentifier(connection)) else { return }
        let last = connections.count - 1
        connections.swapAt(place, last)
        visits.swapAt(place, last)
        connections.removeLast()
        visits.removeLast()
        if place < last { places[ObjectIdentifier(connections[place])] = place }
        guard connections.isEmpty else { return }
        timer?.cancel()
        timer = nil
    }

    /// Has `timePassed` called at that time at the latest.
    func visit(_ connection: some TimedConnection, at time: Timestamp) {
        if let place = places[ObjectIdentifier(connection)] { visits[place] = min(visits[place], time) }
    }

    /// Closes those whose login has ended: what they could see and do, they no longer may.
    func close(_ sessions: Set<LoginSessionID>) {
        for connection in Array(connections) { connection.close(sessions) }
    }

    /// Tells all of them to come back, a few at a time.
    func drain(over window: Duration) {
        guard !isDraining else { return }
        isDraining = true
        release(Array(places.keys), DrainPace(connections: connections.count, window: window))
    }

    /// Those who go by themselves meanwhile are told nothing more.
    private func release(_ waiting: [ObjectIdentifier], _ pace: DrainPace) {
        for id in waiting.suffix(pace.perTick) { if let place = places[id] { connections[place].stop() } }
        let rest = waiting.dropLast(pace.perTick)
        guard !rest.isEmpty else { return }
        loop.assumeIsolated().scheduleTask(in: .nanoseconds(DrainPace.tick.inMilliseconds * 1_000_000)) { self.release(Array(rest), pace) }
    }

    private func tick() {
        let now = environment.now()
        // One that ends when it is called takes itself out.
        let due = visits.indices.filter { visits[$0] <= now }.map { connections[$0] }
        for connection in due {
            // What it asks for while it is called counts as well.
            if let place = places[ObjectIdentifier(connection)] { visits[place] = .distantFuture }
            let next = connection.timePassed(now)
            if let place = places[ObjectIdentifier(connection)] { visits[place] = min(visits[place], next) }
        }
    }
}

/// One registry for each event loop.
package final class LoopRegistries: Sendable {
    private let registries: [ObjectIdentifier: (loop: any EventLoop, registry: NIOLoopBoundBox<LoopRegistry>)]

    package init(loops: some Sequence<any EventLoop>, environment: Environment, settings: SocketSettings) {
        var registries: [ObjectIdentifier: (loop: any EventLoop, registry: NIOLoopBoundBox<LoopRegistry>)] = [:]
        for loop in loops {
            registries[ObjectIdentifier(loop)] = (
                loop, .makeBoxSendingValue(LoopRegistry(loop: loop, environment: environment, deflate: settings.deflate), eventLoop: loop)
            )
        }
        self.registries = registries
    }

    /// Closes the sockets of logins that have ended, on whatever loop they are.
    package func close(_ sessions: Set<LoginSessionID>) {
        for (loop, registry) in registries.values { loop.execute { registry.value.close(sessions) } }
    }

    /// Tells every client to come back, as the server stops. From now on nobody new is taken.
    package func drain(over window: Duration) {
        for (loop, registry) in registries.values { loop.execute { registry.value.drain(over: window) } }
    }

    /// On the loop itself.
    func registry(of loop: any EventLoop) -> LoopRegistry {
        guard let entry = registries[ObjectIdentifier(loop)] else { preconditionFailure("there is no registry for this event loop") }
        return entry.registry.value
    }
}
