import DequeModule
package import Kernel

// What is heard of a message when it was thought to be over: that a provider has taken it after all, or could not deliver what it had taken.

extension QueueBook {
    static let maxUndelivered = 1000

    /// A provider has taken a message whose attempt had counted as lost by then: so it was sent, whatever it counts as.
    /// - Parameter stored: as its row was read since `readBegan`.
    /// - Returns: `false` where it has changed since: it is to be read once more.
    package mutating func sentAfterAll(_ stored: QueueMessage, providerID: String?, _ moment: Moment) -> Bool {
        if messages[stored.id] == nil, touched.contains(stored.id) { return false }
        var message = messages[stored.id]?.message ?? stored
        switch message.state {
        case .sent, .forgotten: break
        // Somebody has it sent a second time. Should that fail, it is not tried a third time.
        case .sending: calledOff[message.id] = Self.alreadySent
        case .scheduled, .retryable, .claimed, .cancelled, .dropped, .dead, .quarantined:
            message.note("sent", "o provedor confirmou o envio depois", at: moment.now)
            message.providerID = providerID
            finish(message, .sent, why: nil, moment.now)
        }
        return true
    }

    private static let alreadySent = "uma tentativa anterior foi enviada"

    /// A provider says that it could not deliver something. Kept for a while, for whoever is told only later that it was taken.
    package mutating func deliveryFailed(_ providerID: String, reason: String) {
        guard undelivered.updateValue(reason, forKey: providerID) == nil else { return }
        undeliveredInOrder.append(providerID)
        while undeliveredInOrder.count > Self.maxUndelivered, let oldest = undeliveredInOrder.popFirst() { undelivered[oldest] = nil }
    }

    mutating func forgetUndelivered(_ providerID: String) -> String? {
        guard let reason = undelivered.removeValue(forKey: providerID) else { return nil }
        undeliveredInOrder.removeAll { $0 == providerID }
        return reason
    }

    /// What a provider had taken and could not deliver: dead, and tried again by nobody but a person.
    /// - Parameter stored: as its row was read since `deliveryFailed`.
    /// - Returns: whether anything was done.
    @discardableResult
    package mutating func undelivered(_ stored: QueueMessage, reason: String, _ moment: Moment) -> Bool {
        guard let providerID = stored.providerID, stored.state == .sent, messages[stored.id] == nil, !touched.contains(stored.id),
            forgetUndelivered(providerID) != nil
        else { return false }
        finishUndelivered(stored, reason, moment.now)
        return true
    }

    mutating func finishUndelivered(_ message: QueueMessage, _ reason: String, _ now: Timestamp) {
        var message = message
        message.note("undelivered", reason, at: now)
        finish(message, .dead, why: "undelivered: " + reason, now)
    }
}
