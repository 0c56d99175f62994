package import Kernel
package import Logging
import Wire

/// Stands in for a provider where none is configured: takes every message, says so in the log, and sends nothing. A message counts as sent.
///
/// So that what happens when things go wrong can be tried out, some recipients that cannot exist have a fate of their own, as payment services have test cards:
///
///     falha…@simulador.invalid    +55 00 00000 0001    fails, and is tried again
///     recusa…@simulador.invalid   +55 00 00000 0002    refused for good
///     incerto…@simulador.invalid  +55 00 00000 0003    nobody knows whether it was sent
///     lento…@simulador.invalid    +55 00 00000 0004    takes five seconds
///     adia…@simulador.invalid     +55 00 00000 0005    put off for a second, once and again
package struct SimulatedSender: QueueSender {
    private let channel: OutgoingMessage.Channel
    private let environment: Environment
    private let logger: Logger

    package init(_ channel: OutgoingMessage.Channel, environment: Environment, logger: Logger) {
        self.channel = channel
        self.environment = environment
        self.logger = logger
    }

    private enum Fate: String { case falha, recusa, incerto, lento, adia }

    private static func fate(of recipient: String) -> Fate? {
        let fates: [Fate] = [.falha, .recusa, .incerto, .lento, .adia]
        let text = recipient.lowercased()
        if text.hasSuffix("@simulador.invalid") { return fates.first { text.hasPrefix($0.rawValue) } }
        let digits = text.filter { $0.isASCII && $0.isNumber }
        guard digits.hasPrefix("550000000000"), let number = Int(digits.dropFirst(12)), fates.indices.contains(number - 1) else { return nil }
        return fates[number - 1]
    }

    package func objection(to message: OutgoingMessage, of tenant: TenantID) async -> SendOutcome? {
        guard Self.fate(of: message.recipient) == .adia else { return nil }
        return .postponed(until: environment.now() + .seconds(1), reason: "o simulador pediu para esperar")
    }

    package func send(_ message: OutgoingMessage, of tenant: TenantID) async -> SendOutcome {
        let fate = Self.fate(of: message.recipient)
        let metadata: Logger.Metadata = [
            "tenant": "\(tenant)", "queue": "\(message.queue.rawValue)", "channel": "\(channel.rawValue)", "key": "\(message.key ?? "-")",
            "subject": "\(message.subject ?? "-")", "fate": "\(fate?.rawValue ?? "enviada")",
        ]
        logger.notice("the simulator was handed a message", metadata: metadata)
        switch fate {
        case .falha: return .failed(reason: "o simulador falhou, como pedido")
        case .recusa: return .refused(reason: "o simulador recusou, como pedido")
        case .incerto: return .unknown(reason: "o simulador não diz se enviou, como pedido")
        case .lento: try? await Task.sleep(for: .seconds(5))
        case .adia, nil: break
        }
        let id: LeaseToken = environment.moment().id()
        return .sent(providerID: "sim-\(id)")
    }
}
