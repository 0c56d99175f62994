package import Kernel
import Wire

/// A consultor as a list from elsewhere has them.
package struct ConsultorLine: Sendable {
    package var profile: ConsultorProfile
    /// What the line says beside the name and the languages; what it does not say stays as it is.
    package var changes: ConsultorChanges
    /// The id that they had there, and that their protocols know them by.
    package var id: Int64?
    package var ultimoAtendimento: Timestamp?

    package init(profile: ConsultorProfile, changes: ConsultorChanges) {
        self.profile = profile
        self.changes = changes
    }
}

extension ConsultorQueue {
    package enum ImportOutcome: Sendable, Equatable {
        case created(Int64)
        case updated(Int64)
        case unchanged(Int64)
    }

    /// Brings in one line. Who is here already is known by the id, else by `id_pipedrive`, else by the user, else by the name; so the same list, however often, makes
    /// nobody twice.
    package func imported(_ line: ConsultorLine, _ moment: Moment) throws(Refusal) -> (ImportOutcome, Change) {
        if let known = try known(line) {
            guard let changed = fifo.changed(known.id, line.changes, at: moment.now) else { return (.unchanged(known.id), Change()) }
            return (.updated(known.id), stored(heldIfConnected(changed) ?? changed))
        }
        if let time = line.ultimoAtendimento, time > moment.now {
            throw .invalid("ultimo_atendimento", message: "está no futuro")
        }
        let added = fifo.added(line.profile, id: line.id ?? fifo.nextID, attended: line.ultimoAtendimento, at: moment.now)
        guard let added else { throw .invalid("id", message: "foi de um consultor removido, e não se usa outra vez") }
        return (.created(added.id), stored(heldIfConnected(added) ?? added))
    }

    private func known(_ line: ConsultorLine) throws(Refusal) -> Consultor? {
        if let id = line.id { return fifo.consultores[id] }
        let all = fifo.all
        if let pipedrive = line.profile.idPipedrive, let found = all.first(where: { $0.idPipedrive == pipedrive }) { return found }
        if let user = line.profile.user, let found = all.first(where: { $0.user == user }) { return found }
        let named = all.filter { $0.nome.lowercased() == line.profile.nome.lowercased() }
        // Two of the same name, of whom the line says nothing else: whoever it means, the other one would be changed.
        guard named.count < 2 else { throw .invalid("nome", message: "há mais de um consultor com este nome; acrescente a coluna id") }
        // Somebody of the same name whom Pipedrive knows as another is another.
        return named.first { line.profile.idPipedrive == nil || $0.idPipedrive == nil }
    }
}
