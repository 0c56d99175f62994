package import Conversations
package import Kernel
package import Storage

extension TenantCell {
    package func isPresent(_ turn: BotTurnID, of id: ConversationID) -> Bool { desk.assumeIsolated { $0.isPresent(turn, of: id) } }

    /// Shows what the assistant has said so far, unless its turn is over. Asked and published in one turn: after a take-over nothing more is shown.
    package func streamed(_ text: String, in turn: BotTurnID, of id: ConversationID, publish: @Sendable (Event) -> Void) -> Bool {
        guard let events = desk.assumeIsolated({ $0.streamed(text, in: turn, of: id) }) else { return false }
        for event in events { publish(event) }
        return true
    }

    package func consultationEnded(_ turn: BotTurnID, of id: ConversationID, _ outcome: ConsultationOutcome) -> Pending<Bool> {
        let moment = environment.moment()
        return onDesk { $0.consultationEnded(turn, of: id, outcome, moment) }
    }

    // MARK: Flows

    package func activeFlow() -> Pending<[UInt8]> { onDesk { ($0.activeFlowJSON(), Change()) } }
    package func activeBotFlow() -> BotFlow { desk.assumeIsolated { $0.activeBotFlow } }

    package func saveFlow(_ flow: BotFlow, by principal: Principal) -> Pending<FlowVersion> {
        let moment = environment.moment()
        return onDesk { $0.saveFlow(flow, by: principal, moment) }
    }

    package func activateFlow(_ version: FlowVersion, by principal: Principal) -> Pending<FlowVersion> {
        let moment = environment.moment()
        return onDesk { $0.activateFlow(version, by: principal, moment) }
    }
}
