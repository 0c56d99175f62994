import DequeModule
package import Kernel
import Wire

/// One channel of one tenant, as one audience sees it.
package struct StreamKey: Sendable, Hashable {
    package let tenant: TenantID
    package let channel: String
    package let audience: Audience

    package init(tenant: TenantID, channel: String, audience: Audience = .staff) {
        self.tenant = tenant
        self.channel = channel
        self.audience = audience
    }

    /// The channel as `principal` may see it.
    package init(_ principal: Principal, channel: String) {
        self.init(tenant: principal.tenant, channel: channel, audience: principal.audience)
    }
}

/// What a stream remembers (DESIGN §1, invariant 3): its position, and the last publications, so that a client who was away gets exactly what it
/// missed.
///
/// The epoch names one life of the stream: a client that comes with another epoch, or with an offset that is ahead, or behind what is
/// remembered, cannot be given everything and gets nothing but the verdict.
struct Stream: Sendable {
    let epoch: String
    let delivery: DeliveryClass
    private(set) var offset: UInt64 = 0
    private var remembered: Deque<Publication> = []
    private var rememberedBytes = 0
    var subscribers: [ConnectionID: ClientInfo] = [:]
    /// Those of them who want to be told who comes and goes.
    var watchers: Set<ConnectionID> = []
    /// When the last subscriber left, if there is none now.
    var emptySince: Timestamp?

    init(epoch: String, delivery: DeliveryClass = .ordered) {
        self.epoch = epoch
        self.delivery = delivery
    }

    var position: StreamPosition { StreamPosition(epoch: epoch, offset: offset) }

    mutating func publish(_ data: [UInt8], limits: StreamHub.Limits) -> Publication {
        offset += 1
        let publication = Publication(data: data, offset: offset)
        remembered.append(publication)
        rememberedBytes += data.count
        let count = delivery == .latest ? 1 : limits.rememberedPublications
        while remembered.count > count || (rememberedBytes > limits.rememberedBytes && remembered.count > 1) {
            rememberedBytes -= remembered.removeFirst().data.count
        }
        return publication
    }

    /// Everything after `position`, or `nil` when that cannot be proved to be everything.
    func publications(since position: StreamPosition) -> [Publication]? {
        guard position.epoch == epoch, position.offset <= offset else { return nil }
        let missed = Int(clamping: offset - position.offset)
        guard missed <= remembered.count else { return nil }
        return Array(remembered.suffix(missed))
    }

    /// What somebody who comes back from `position` is given, or `nil` when there is no saying what that would be. Of a value only the latest, from
    /// wherever they come: Centrifuge's cache recovery. Of changes, all of them or nothing.
    func missed(since position: StreamPosition, limit: Int) -> [Publication]? {
        guard delivery == .latest else { return publications(since: position).flatMap { $0.count <= limit ? $0 : nil } }
        return position == self.position ? [] : remembered.last.map { [$0] }
    }

    /// - Parameter limit: 0 for none, negative for all.
    func history(limit: Int32, since: StreamPosition?, reverse: Bool) -> [Publication]? {
        var found: [Publication]
        if let since {
            guard since.epoch == epoch else { return nil }
            if reverse {
                found = remembered.filter { ($0.offset ?? 0) < since.offset }
            } else {
                guard let after = publications(since: since) else { return nil }
                found = after
            }
        } else {
            found = Array(remembered)
        }
        if reverse { found.reverse() }
        return limit < 0 ? found : Array(found.prefix(Int(limit)))
    }
}
