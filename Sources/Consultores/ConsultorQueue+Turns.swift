package import Kernel
import Wire

// Turns and protocols (contracts/consultores.md "Distribuição", "Protocolos").
//
// A number is issued in the turn that gives it out, in the same change as everything that follows from it: the gate answers once that is on disk. What a crash
// undoes was given to nobody, and its number is given again; so there is never a gap and never a number twice.

extension ConsultorQueue {
    package struct Answer: Sendable {
        package let json: [UInt8]
        /// It was given before, under the same `Idempotency-Key`.
        package var isRepeated = false
    }

    /// Whose turn it is, with a new protocol number. They go to the end of the line.
    /// - Parameter earlier: what the journal holds for the command's key.
    package func takeTurn(
        idioma: String,
        _ command: IdempotentCommand?,
        earlier: String?,
        _ moment: Moment
    ) throws(Refusal) -> (Answer, Change) {
        if let answer = try repeated(command, earlier) { return (answer, Change()) }
        guard let next = fifo.next(idioma: idioma, forDesk: false) else { throw .notFound(.consultor) }
        var change = Change()
        if let consultor = fifo.attended(next.id, at: moment.now) { change.append(stored(consultor)) }
        var protocolo = Protocolo(id: fifo.issuedProtocol(), consultor: next.id, conversation: nil, createdAt: moment.now)
        change.rows.append(protocolo.image(tenant: tenant))
        var writer = JSONWriter()
        writer.object {
            $0.field("consultor_id", next.id)
            $0.field("numero_protocolo", protocolo.numero)
        }
        return (answered(writer.bytes, command, moment, &change), change)
    }

    /// A new number. Nobody's turn is used up by it.
    /// - Parameter consultor: whose it is to be.
    package func issueProtocol(
        consultor: Int64?,
        _ command: IdempotentCommand?,
        earlier: String?,
        _ moment: Moment
    ) throws(Refusal) -> (Answer, Change) {
        if let answer = try repeated(command, earlier) { return (answer, Change()) }
        if let consultor, fifo.consultores[consultor] == nil { throw Self.unknownConsultor }
        var change = Change()
        var protocolo = Protocolo(id: fifo.issuedProtocol(), consultor: consultor, conversation: nil, createdAt: moment.now)
        change.rows.append(protocolo.image(tenant: tenant))
        var writer = JSONWriter()
        writer.object {
            $0.field("numero_protocolo", protocolo.numero)
            protocolo.writeMembers(to: &$0)
        }
        return (answered(writer.bytes, command, moment, &change), change)
    }

    private static let unknownConsultor = Refusal.invalid("consultor_id", message: "não há consultor com este id")

    // MARK: Changing a protocol

    package func hasProtocol(_ id: Int64) -> Bool { openProtocols[id] != nil || memory.protocols[id] != nil }

    /// What was read from the store, unless it is here already: what is in memory is newer.
    package func adopt(_ protocolo: Protocolo) { if !hasProtocol(protocolo.id) { memory.keep(protocolo) } }

    /// - Precondition: the protocol is in memory, or does not exist.
    /// - Parameter by: who does it, for the history.
    package func update(protocolo id: Int64, _ changes: ProtocoloChanges, by: String, _ moment: Moment) throws(Refusal) -> ([UInt8], Change) {
        guard var protocolo = openProtocols[id] ?? memory.protocols[id] else { throw .notFound(.protocolo) }
        let before = protocolo
        if let consultor = changes.consultor {
            if let consultor, consultor != before.consultor, fifo.consultores[consultor] == nil { throw Self.unknownConsultor }
            protocolo.consultor = consultor
        }
        if let observacao = changes.observacao { protocolo.observacao = observacao }
        guard protocolo != before else { return (protocolo.json, Change()) }
        protocolo.updatedAt = moment.now
        var change = Change()
        change.rows.append(protocolo.image(tenant: tenant))
        change.rows.append(ProtocoloRecord(protocolo, from: before.consultor, by: by, at: moment.now).image(tenant: tenant))
        if openProtocols[id] != nil { openProtocols[id] = protocolo } else { memory.keep(protocolo) }
        return (protocolo.json, change)
    }

    // MARK: The same key again

    private func repeated(_ command: IdempotentCommand?, _ earlier: String?) throws(Refusal) -> Answer? {
        guard let command, let result = memory.answers[command.key] ?? earlier else { return nil }
        guard let end = result.firstIndex(of: "\n"), result[..<end] == command.fingerprint else {
            throw .invalid([
                .init(
                    ["header", "Idempotency-Key"],
                    "já foi usada com outros parâmetros; use uma chave nova para cada pedido",
                    type: "idempotency_key_reused"
                )
            ])
        }
        return Answer(json: Array(result[result.index(after: end)...].utf8), isRepeated: true)
    }

    private func answered(_ json: [UInt8], _ command: IdempotentCommand?, _ moment: Moment, _ change: inout Change) -> Answer {
        if let command {
            let result = command.fingerprint + "\n" + String(decoding: json, as: UTF8.self)
            change.marks.append(Mark(command.key, at: moment.now, result: result))
            memory.keep(result, for: command.key, at: moment.now)
        }
        return Answer(json: json)
    }
}

/// What was decided a short while ago, and is newer than what somebody may just have read from the store.
struct QueueMemory: Sendable {
    /// Longer than a read of the store waits.
    static let lasts = Duration.seconds(30)
    static let maxProtocols = 5_000

    private(set) var answers: [Mark.Key: String] = [:]
    private var answered: [(at: Timestamp, key: Mark.Key)] = []
    private var firstAnswer = 0
    private(set) var protocols: [Int64: Protocolo] = [:]
    private var kept: [Int64] = []

    mutating func keep(_ result: String, for key: Mark.Key, at now: Timestamp) {
        answers[key] = result
        answered.append((now, key))
        while firstAnswer < answered.count, answered[firstAnswer].at + Self.lasts < now {
            answers[answered[firstAnswer].key] = nil
            firstAnswer += 1
        }
        if firstAnswer > 1024, firstAnswer * 2 > answered.count {
            answered.removeFirst(firstAnswer)
            firstAnswer = 0
        }
    }

    mutating func keep(_ protocolo: Protocolo) {
        if protocols.updateValue(protocolo, forKey: protocolo.id) == nil { kept.append(protocolo.id) }
        guard kept.count > 2 * Self.maxProtocols else { return }
        for id in kept.prefix(Self.maxProtocols) { protocols[id] = nil }
        kept.removeFirst(Self.maxProtocols)
    }
}
