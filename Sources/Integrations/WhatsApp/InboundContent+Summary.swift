extension InboundContent {
    /// One line to show in a list, in Portuguese.
    package var summary: String {
        switch self {
        case .text(let body): body
        case .media(let media): media.summary
        case .location(let location): Self.labelled("Localização", location.name ?? location.address)
        case .contacts(let contacts): Self.labelled(contacts.count == 1 ? "Contato" : "Contatos", contacts.map(\.name).joined(separator: ", "))
        case .reaction(_, let emoji): emoji.map { "Reagiu com \($0)" } ?? "Removeu a reação"
        case .interactiveReply(_, let title): title
        case .flowReply(_, let title, _): Self.labelled("Formulário", title)
        case .button(_, let text): text
        case .order(let order): Self.labelled("Pedido", order.items.count == 1 ? "1 item" : "\(order.items.count) itens")
        case .system(let notice): Self.labelled("Aviso", notice.body)
        case .unsupported: "[Mensagem não suportada]"
        case .edit(_, let content): Self.labelled("Editada", content.summary)
        case .revoke: "[Mensagem apagada]"
        case .unknown: "[Mensagem de um tipo desconhecido]"
        }
    }

    fileprivate static func labelled(_ label: String, _ text: String?) -> String {
        guard let text, !text.isEmpty else { return "[\(label)]" }
        return "[\(label)] \(text)"
    }
}

extension InboundMedia {
    fileprivate var summary: String {
        let label =
            switch kind {
            case .image: "Imagem"
            case .video: "Vídeo"
            case .audio: isVoice ? "Mensagem de voz" : "Áudio"
            case .document: "Documento"
            case .sticker: "Figurinha"
            }
        return InboundContent.labelled(label, caption ?? filename)
    }
}
