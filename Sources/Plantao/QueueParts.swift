import Jobs
import Kernel
import Realtime
import Resilience
import Storage
import Tenancy

extension Server {
    /// - Parameter senders: who hands messages over, by channel.
    func queueDispatcher(
        _ tenants: Tenants,
        _ store: any Store,
        senders: [OutgoingMessage.Channel: any QueueSender],
        relay: RedisRelay?,
        environment: Kernel.Environment,
        bell: QueueBell,
        hub: StreamHub,
        operatorTenant: TenantID?
    ) -> QueueDispatcher {
        var workers = settings.queues.workers
        workers.operatorTenant = operatorTenant
        return QueueDispatcher(
            tenants: tenants,
            store: store,
            senders: senders,
            transport: relay.map {
                QueueStreams(bus: $0.bus, dataDirectory: settings.dataDirectory, rules: settings.queues.rules, logger: logger)
            },
            environment: environment,
            rules: settings.queues.rules,
            settings: workers,
            bell: bell,
            isWatched: { hub.hasSubscribers($0) },
            logger: logger
        )
    }
}
