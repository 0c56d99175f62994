import Kernel
import Wire

extension BotFlow {
    /// The flow of a business that has not made its own: version 0.
    package static func standard(businessName: String) -> BotFlow {
        let json: JSON = [
            "start": "menu",
            "greeting": "Olá! Você está falando com {{empresa}}.",
            "not_understood": "Desculpe, não entendi.",
            "nodes": [
                "menu": [
                    "kind": "menu",
                    "text": "Como posso ajudar? Responda com o número:",
                    "options": [
                        [
                            "key": "1", "title": "Planos e preços", "keywords": ["plano", "planos", "preço", "preços", "valor", "valores"],
                            "next": "planos",
                        ],
                        [
                            "key": "2", "title": "Segunda via da fatura",
                            "keywords": ["fatura", "boleto", "segunda via", "pagamento", "conta"], "next": "fatura",
                        ],
                        [
                            "key": "3", "title": "Suporte técnico",
                            "keywords": ["suporte", "lento", "lenta", "sem internet", "caiu", "problema"], "next": "suporte",
                        ],
                        ["key": "4", "title": "Falar com um atendente", "next": "pessoa"],
                    ],
                    "footer": "For English, type *english*. Para español, escriba *español*.",
                ],
                "planos": [
                    "kind": "say",
                    "text": "Temos planos a partir de 300 mega. Um atendente pode montar a melhor proposta para o seu endereço: digite *atendente*.",
                ],
                "fatura": [
                    "kind": "say",
                    "text": "A segunda via da fatura fica na área do cliente, em Financeiro > Faturas. Se preferir, digite *atendente*.",
                ],
                "suporte": [
                    "kind": "say",
                    "text": "Desligue o roteador da tomada por 30 segundos e ligue de novo. Se não resolver, digite *atendente*.",
                ],
                "pessoa": ["kind": "hand_off", "reason": "O cliente escolheu falar com um atendente"],
            ],
            "languages": [
                ["words": ["english"], "code": "en", "text": "Sure, let's continue in English. Type *human* to talk to a person."],
                ["words": ["español"], "code": "es", "text": "Claro, seguimos en español. Escriba *agente* para hablar con una persona."],
                ["words": ["português"], "code": "pt", "text": "Certo, seguimos em português. Digite *atendente* para falar com uma pessoa."],
            ],
            "hand_off": [
                "words": ["atendente", "humano", "pessoa"],
                "after_misunderstandings": 3,
                "text": "Vou chamar uma pessoa para ajudar você.",
                "deadline_seconds": 600,
                "then": "wait",
            ],
            "variables": ["empresa": .string(businessName)],
            "assistant": [
                "instructions":
                    "Você atende os clientes de um provedor de internet por mensagem. Responda em poucas frases, no idioma do cliente, sem inventar preços, prazos nem dados da conta. Quando o cliente pedir uma pessoa, estiver irritado ou precisar de algo que você não sabe, chame hand_off.",
                "answers_unknown": true,
            ],
        ]
        do throws(Refusal) { return try read(json) } catch {
            preconditionFailure("the standard flow has faults: \(error.fields)")
        }
    }
}
