package import Kernel
package import NIOCore

/// The WebSockets of one event loop, and the one timer that all of them share.
final class LoopRegistry {
    private var connections: [ObjectIdentifier: WebSocketConnection] = [:]
    private let environment: Environment
    private var timer: RepeatedTask?
    private let loop: any EventLoop

    init(loop: any EventLoop, environment: Environment) {
        self.loop = loop
        self.environment = environment
    }

    func add(_ connection: WebSocketConnection) {
        connections[ObjectIdentifier(connection)] = connection
        guard timer == nil else { return }
        let registry = NIOLoopBound(self, eventLoop: loop)
        timer = loop.scheduleRepeatedTask(initialDelay: .seconds(1), delay: .seconds(1)) { _ in registry.value.tick() }
    }

    func remove(_ connection: WebSocketConnection) {
        connections[ObjectIdentifier(connection)] = nil
        guard connections.isEmpty else { return }
        timer?.cancel()
        timer = nil
    }

    private func tick() {
        let now = environment.now()
        for connection in connections.values { connection.timePassed(now) }
    }
}

/// One registry for each event loop.
package final class LoopRegistries: Sendable {
    private let registries: [ObjectIdentifier: NIOLoopBoundBox<LoopRegistry>]

    package init(loops: some Sequence<any EventLoop>, environment: Environment) {
        var registries: [ObjectIdentifier: NIOLoopBoundBox<LoopRegistry>] = [:]
        for loop in loops {
            registries[ObjectIdentifier(loop)] = .makeBoxSendingValue(LoopRegistry(loop: loop, environment: environment), eventLoop: loop)
        }
        self.registries = registries
    }

    /// On the loop itself.
    func registry(of loop: any EventLoop) -> LoopRegistry {
        guard let registry = registries[ObjectIdentifier(loop)] else { preconditionFailure("there is no registry for this event loop") }
        return registry.value
    }
}
