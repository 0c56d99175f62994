/// What the desk itself says to customers, in their language.
enum DeskWords {
    static func outOfHours(_ language: String) -> String {
        switch language {
        case "en": "We are closed right now. Your request is in line, and we will answer as soon as we open."
        case "es": "Estamos fuera del horario de atención. Su solicitud está en la fila y responderemos en cuanto abramos."
        default: "Estamos fora do horário de atendimento. Seu pedido está na fila e responderemos assim que abrirmos."
        }
    }

    static func nobodyOnline(_ language: String) -> String {
        switch language {
        case "en": "There is nobody online at the moment. You keep your place in line, and we will answer as soon as somebody is back."
        case "es": "En este momento no hay nadie en línea. Usted conserva su lugar en la fila y responderemos en cuanto alguien vuelva."
        default: "No momento não há ninguém on-line. Você continua na fila e responderemos assim que alguém voltar."
        }
    }

    static func askForSatisfaction(_ language: String) -> String {
        switch language {
        case "en": "How was it? Answer with a number from 1 (bad) to 5 (great)."
        case "es": "¿Cómo fue la atención? Responda con un número de 1 (mala) a 5 (excelente)."
        default: "Como foi o atendimento? Responda com um número de 1 (ruim) a 5 (ótimo)."
        }
    }

    /// On the button that opens a list: at most 20 characters.
    static func options(_ language: String) -> String {
        switch language {
        case "en": "Options"
        case "es": "Opciones"
        default: "Opções"
        }
    }

    static func thanks(_ language: String) -> String {
        switch language {
        case "en": "Thank you!"
        case "es": "¡Gracias!"
        default: "Obrigado pela resposta!"
        }
    }
}
