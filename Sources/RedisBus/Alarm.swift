import NIOCore

/// Rings at or before the deadline it is set to. Setting it later than it stands leaves it alone: commands that are answered in time cost no timer each.
final class Alarm {
    private let loop: any EventLoop
    private let ring: () -> Void
    private var due: NIODeadline?
    private var scheduled: Scheduled<Void>?

    init(on loop: any EventLoop, ring: @escaping () -> Void) {
        self.loop = loop
        self.ring = ring
    }

    func set(_ deadline: NIODeadline?) {
        guard let deadline, due.map({ deadline < $0 }) ?? true else { return }
        scheduled?.cancel()
        due = deadline
        scheduled = loop.assumeIsolated().scheduleTask(deadline: deadline) { [weak self] in
            self?.due = nil
            self?.ring()
        }
    }

    func stop() {
        scheduled?.cancel()
        due = nil
    }
}
