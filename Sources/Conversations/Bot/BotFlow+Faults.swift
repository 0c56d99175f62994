import Kernel

// What can be wrong with a flow as a whole, though each of its parts can be read.

extension BotFlow {
    /// One way from a node to another, and where in the JSON it stands.
    private struct Edge {
        let place: [String]
        let target: String
    }

    private func edges(of node: Node) -> [Edge] {
        switch node {
        case .say(_, let next): next.map { [Edge(place: ["next"], target: $0)] } ?? []
        case .menu(let menu): menu.options.enumerated().map { Edge(place: ["options", String($0.offset), "next"], target: $0.element.next) }
        case .ask(let question):
            [Edge(place: ["next"], target: question.next)] + (question.otherwise.map { [Edge(place: ["otherwise"], target: $0)] } ?? [])
        case .branch(_, let cases, let otherwise):
            cases.enumerated().map { Edge(place: ["cases", String($0.offset), "next"], target: $0.element.next) } + [
                Edge(place: ["otherwise"], target: otherwise)
            ]
        case .assistant(_, let otherwise): otherwise.map { [Edge(place: ["otherwise"], target: $0)] } ?? []
        case .handOff: []
        }
    }

    /// Where a conversation may go from a node, also by the rules that are not written at it.
    private func successors(of id: String) -> [String] {
        guard let node = nodes[id] else { return [] }
        var next = edges(of: node).map(\.target)
        switch node {
        // Back to a menu, of which the start is the only one that is certain.
        case .say(_, nil): next.append(start)
        case .menu, .assistant: next += keywords.map(\.next)
        default: break
        }
        return next.filter { nodes[$0] != nil }
    }

    func faults(at location: [String]) -> [Refusal.Field] {
        var faults: [Refusal.Field] = []
        func fault(_ place: [String], _ message: String, _ type: String) { faults.append(.init(location + place, message, type: type)) }

        for (place, target) in targets where nodes[target] == nil { fault(place, "não há nó '\(target)'", "missing_target") }
        guard nodes[start] != nil else { return faults }

        let ids = nodes.keys.sorted()
        let roots = [start] + keywords.map(\.next) + (hours?.closed.map { [$0] } ?? [])
        let reached = reachable(from: roots.filter { nodes[$0] != nil })
        for id in ids where !reached.contains(id) { fault(["nodes", id], "nada leva a este nó", "unreachable_node") }

        for id in ids where reached.contains(id) {
            let leadsToAPerson = reachable(from: [id]).contains { if case .handOff? = nodes[$0] { true } else { false } }
            if !leadsToAPerson { fault(["nodes", id], "daqui não há caminho até um atendente (nó hand_off)", "no_way_to_a_person") }
        }
        for id in nodesInLoopsWithoutInput(ids) {
            fault(["nodes", id], "volta a si mesmo sem esperar pelo cliente", "loop_without_input")
        }

        var names = Self.ownVariables.union(variables.keys)
        for case .ask(let question) in nodes.values { names.insert(question.variable) }
        for (place, text) in texts {
            for name in Self.variableNames(in: text) where !names.contains(name) { fault(place, "não há variável '\(name)'", "unknown_variable") }
        }
        for id in ids {
            if case .branch(let variable, _, _) = nodes[id], !names.contains(variable) {
                fault(["nodes", id, "variable"], "não há variável '\(variable)'", "unknown_variable")
            }
        }
        if assistant == nil {
            for id in ids {
                if case .assistant = nodes[id] { fault(["nodes", id], "o fluxo não tem 'assistant' com as instruções", "no_assistant") }
            }
        }
        return faults
    }

    private var targets: [([String], String)] {
        var targets: [([String], String)] = [(["start"], start)]
        for (index, keyword) in keywords.enumerated() { targets.append((["keywords", String(index), "next"], keyword.next)) }
        if let closed = hours?.closed { targets.append((["hours", "closed"], closed)) }
        for id in nodes.keys.sorted() {
            for edge in nodes[id].map(edges) ?? [] { targets.append((["nodes", id] + edge.place, edge.target)) }
        }
        return targets
    }

    private var texts: [([String], String)] {
        var texts: [([String], String)] = [(["not_understood"], notUnderstood), (["hand_off", "text"], handOff.text)]
        texts.append((["hand_off", "deadline_text"], handOff.deadlineText))
        if let greeting { texts.append((["greeting"], greeting)) }
        if let hours { texts.append((["hours", "closed_text"], hours.closedText)) }
        for (index, language) in languages.enumerated() { texts.append((["languages", String(index), "text"], language.text)) }
        for id in nodes.keys.sorted() {
            let place = ["nodes", id]
            switch nodes[id] {
            case .say(let text, _): texts.append((place + ["text"], text))
            case .menu(let menu):
                texts.append((place + ["text"], menu.text))
                if let footer = menu.footer { texts.append((place + ["footer"], footer)) }
            case .ask(let question):
                texts.append((place + ["text"], question.text))
                if let text = question.retryText { texts.append((place + ["retry_text"], text)) }
            case .assistant(let text?, _), .handOff(let text?, _): texts.append((place + ["text"], text))
            default: break
            }
        }
        return texts
    }

    private func reachable(from roots: [String]) -> Set<String> {
        var reached = Set(roots)
        var pending = roots
        while let id = pending.popLast() {
            for next in successors(of: id) where reached.insert(next).inserted { pending.append(next) }
        }
        return reached
    }

    /// Those that come back to themselves over nodes none of which waits.
    private func nodesInLoopsWithoutInput(_ ids: [String]) -> [String] {
        func hasten(_ id: String) -> [String] {
            guard let node = nodes[id], !node.waits else { return [] }
            return edges(of: node).map(\.target)
        }
        return ids.filter { id in
            var seen: Set<String> = []
            var pending = hasten(id)
            while let next = pending.popLast() {
                if next == id { return true }
                if seen.insert(next).inserted { pending += hasten(next) }
            }
            return false
        }
    }
}
