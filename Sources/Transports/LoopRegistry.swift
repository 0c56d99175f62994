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

    /// Closes those whose login has ended: what they could see and do, they no longer may.
    func close(_ sessions: Set<LoginSessionID>) {
        for connection in connections.values { connection.close(sessions) }
    }

    private func tick() {
        let now = environment.now()
        for connection in connections.values { connection.timePassed(now) }
    }
}

/// One registry for each event loop.
package final class LoopRegistries: Sendable {
    private let registries: [ObjectIdentifier: (loop: any EventLoop, registry: NIOLoopBoundBox<LoopRegistry>)]

    package init(loops: some Sequence<any EventLoop>, environment: Environment) {
        var registries: [ObjectIdentifier: (loop: any EventLoop, registry: NIOLoopBoundBox<LoopRegistry>)] = [:]
        for loop in loops {
            registries[ObjectIdentifier(loop)] = (
                loop, .makeBoxSendingValue(LoopRegistry(loop: loop, environment: environment), eventLoop: loop)
            )
        }
        self.registries = registries
    }

    /// Closes the sockets of logins that have ended, on whatever loop they are.
    package func close(_ sessions: Set<LoginSessionID>) {
        for (loop, registry) in registries.values { loop.execute { registry.value.close(sessions) } }
    }

    /// On the loop itself.
    func registry(of loop: any EventLoop) -> LoopRegistry {
        guard let entry = registries[ObjectIdentifier(loop)] else { preconditionFailure("there is no registry for this event loop") }
        return entry.registry.value
    }
}
