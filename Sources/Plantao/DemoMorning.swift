import Client
import Foundation
import NIOCore
import NIOPosix
import Synchronization
import Wire

/// The scripted morning: three customers, a bot, two agents on real WebSockets.
struct DemoMorning: Sendable {
    let api: DemoAPI
    let url: String
    let pace: Double
    let screen: DemoScreen
    private let phones: DemoPhones

    init(api: DemoAPI, url: String, pace: Double, screen: DemoScreen) {
        self.api = api
        self.url = url
        self.pace = pace
        self.screen = screen
        phones = DemoPhones(screen: screen)
    }

    private var socketURL: String { url.replacing("http://", with: "ws://") + "/connection/websocket" }

    private struct Agent: Sendable {
        let name: String
        let userID: String
        let consultorID: Int64
        let token: String
        let socket: RealtimeClient
    }

    func play(email: String, password: String) async throws {
        let login = try await api.post("/api/v1/auth/login", ["email": .string(email), "password": .string(password)])
        guard let admin = login["access_token"]?.string else { throw DemoAPI.Failure(description: "the login gave no token") }
        let info = try await api.get("/info")
        guard info["whatsapp"]?.string == "simulator" else {
            throw DemoAPI.Failure(description: "the server sends through the real WhatsApp; the demo needs one that uses the simulator")
        }

        try await phones.switchOn(url: socketURL, token: admin)
        screen.show(.stage, "", "Duas pessoas abrem suas telas: cada uma é um WebSocket, inscrito em conversas e fila.")
        let maria = try await agent("Maria", languages: ["pt"], admin: admin)
        let diego = try await agent("Diego", languages: ["es", "pt"], admin: admin)
        await pause()

        screen.show(.stage, "", "Ana escreve. O bot responde sozinho.")
        let ana = "55119\(String(format: "%08d", Int.random(in: 0...99_999_999)))"
        try await customer("Ana", ana, "Bom dia!", admin)
        await pause(2)
        try await customer("Ana", ana, "2", admin)
        await pause(2)

        screen.show(.stage, "", "Ana pede uma pessoa: ganha um protocolo, e a fila oferece a conversa a quem espera há mais tempo.")
        try await customer("Ana", ana, "quero falar com um atendente", admin)
        let first = try await accepted(by: [maria, diego], number: ana, admin)
        await pause()
        try await write(first.agent, first.conversation, "Bom dia, Ana! Aqui é \(first.agent.name). Já vi sua fatura, um momento.")
        await pause(2)
        try await customer("Ana", ana, "Obrigada!", admin)
        await pause()

        screen.show(.stage, "", "Juan escreve em espanhol: só quem fala espanhol recebe a oferta.")
        let juan = "55119\(String(format: "%08d", Int.random(in: 0...99_999_999)))"
        try await customer("Juan", juan, "español", admin)
        await pause(2)
        try await customer("Juan", juan, "agente", admin)
        let second = try await accepted(by: [diego], number: juan, admin)
        await pause()
        try await write(second.agent, second.conversation, "Hola Juan, soy \(second.agent.name). ¿En qué puedo ayudar?")
        await pause(2)

        screen.show(.stage, "", "As duas pessoas clicam em “assumir” na mesma conversa, ao mesmo tempo. Uma ganha; a outra fica sabendo quem.")
        let bia = "55119\(String(format: "%08d", Int.random(in: 0...99_999_999)))"
        try await customer("Bia", bia, "Olá", admin)
        await pause(2)
        let contested = try await conversation(number: bia, admin)
        await withTaskGroup(of: Void.self) { group in
            for agent in [maria, diego] {
                group.addTask {
                    do {
                        _ = try await agent.socket.rpc("conversation.claim", data: ["conversation_id": .string(contested)])
                        screen.show(.agent, agent.name, "assumiu a conversa de Bia")
                    } catch { screen.show(.agent, agent.name, "não conseguiu: \(Self.sentence(error))") }
                }
            }
        }
        await pause()

        screen.show(.stage, "", "\(first.agent.name) encerra a conversa de Ana.")
        _ = try await first.agent.socket.rpc("conversation.resolve", data: ["conversation_id": .string(first.conversation)])
        await pause()
        let after = try await api.get("/info")
        let changes = after["gate"]?["changes"]?.int ?? 0
        let commits = after["gate"]?["commits"]?.int ?? 0
        screen.show(.server, "", "\(changes) alterações em disco, em \(commits) gravações. Nada apareceu em tela antes disso.")
        await phones.switchOff()
        for agent in [maria, diego] {
            _ = try? await agent.socket.rpc("consultor.connection", data: ["status_online": false])
            await agent.socket.close()
        }
    }

    // MARK: Agents

    private func agent(_ name: String, languages: [String], admin: String) async throws -> Agent {
        let suffix = String(UInt32.random(in: .min ... .max), radix: 36)
        let email = "\(name.lowercased()).\(suffix)@demo.local"
        let password = "Demo#\(suffix)Aa1"
        let user = try await api.post(
            "/api/v1/users/",
            ["email": .string(email), "name": .string(name), "role": "agent", "password": .string(password)],
            token: admin
        )
        let userID = user["id"]?.string ?? ""
        let consultor = try await api.post(
            "/consultor",
            ["nome": .string(name), "idiomas": .array(languages.map { .string($0) }), "user_id": .string(userID)],
            token: admin
        )
        let login = try await api.post("/api/v1/auth/login", ["email": .string(email), "password": .string(password)])
        let token = login["access_token"]?.string ?? ""

        let view = DemoView(agent: name, screen: screen)
        var events = RealtimeEvents()
        events.onPublication = { channel, publication in
            guard let event = try? JSON.parse(publication.data) else { return }
            view.see(event, on: channel)
        }
        let socket = try await RealtimeClient.connect(
            url: socketURL,
            token: token,
            events: events,
            on: MultiThreadedEventLoopGroup.singleton.next()
        )
        for channel in ["conversations", "queue"] { _ = try await socket.subscribe(to: channel) }
        _ = try await socket.rpc("consultor.connection", data: ["status_online": true])
        screen.show(.agent, name, "online, fala \(languages.joined(separator: ", "))")
        return Agent(name: name, userID: userID, consultorID: consultor["id"]?.int ?? 0, token: token, socket: socket)
    }

    /// Waits until the conversation is on offer to one of them, who accepts.
    private func accepted(by agents: [Agent], number: String, _ admin: String) async throws -> (agent: Agent, conversation: String) {
        for _ in 0..<30 {
            let id = try await conversation(number: number, admin)
            let conversation = try await api.get("/api/v1/conversations/\(id)", token: admin)
            if let offered = conversation["offer"]?["consultor_id"]?.int, let agent = agents.first(where: { $0.consultorID == offered }) {
                await pause()
                _ = try await agent.socket.rpc("conversation.claim", data: ["conversation_id": .string(id)])
                screen.show(.agent, agent.name, "aceitou a oferta, protocolo \(conversation["protocol"]?.string ?? "")")
                return (agent, id)
            }
            try await Task.sleep(for: .milliseconds(100))
        }
        // Somebody of an earlier morning is still on duty and was offered it. Anybody may take it nevertheless.
        let id = try await conversation(number: number, admin)
        _ = try await agents[0].socket.rpc("conversation.claim", data: ["conversation_id": .string(id)])
        screen.show(.agent, agents[0].name, "assumiu a conversa, que estava oferecida a outra pessoa")
        return (agents[0], id)
    }

    private func write(_ agent: Agent, _ conversation: String, _ text: String) async throws {
        screen.show(.agent, agent.name, "escreve: \(text)")
        _ = try await agent.socket.rpc(
            "conversation.messages",
            data: ["conversation_id": .string(conversation), "text": .string(text), "client_message_id": .string(UUID().uuidString)]
        )
    }

    // MARK: Customers

    private func customer(_ name: String, _ number: String, _ text: String, _ admin: String) async throws {
        screen.show(.customer, name, "escreve: \(text)")
        _ = try await api.post(
            "/api/v1/simulator/messages",
            ["from": .string(number), "name": .string(name), "text": .string(text)],
            token: admin
        )
        try await phones.watch(try await conversation(number: number, admin), of: name)
    }

    private func conversation(number: String, _ admin: String) async throws -> String {
        let list = try await api.get("/api/v1/conversations/?state=open&q=\(number)", token: admin)
        guard let id = list["items"]?.array?.first?["id"]?.string else {
            throw DemoAPI.Failure(description: "there is no conversation of \(number)")
        }
        return id
    }

    private func pause(_ times: Double = 1) async { try? await Task.sleep(for: .seconds(pace * times)) }

    private static func sentence(_ error: any Error) -> String {
        if let error = error as? RealtimeError, case .reply(let reply) = error { return reply.message }
        return "\(error)"
    }
}

/// What an agent's screen has shown, so that it says each thing once.
private final class DemoView: Sendable {
    private let agent: String
    private let screen: DemoScreen
    private let shown = Mutex<[String: String]>([:])

    init(agent: String, screen: DemoScreen) {
        self.agent = agent
        self.screen = screen
    }

    private static func short(_ text: String?) -> String {
        let line = (text ?? "").split(separator: "\n").first.map(String.init) ?? ""
        return line.count > 48 ? line.prefix(48) + "…" : line
    }

    func see(_ event: JSON, on channel: String) {
        switch event["type"]?.string {
        case "conversation.changed" where channel == "conversations":
            guard let conversation = event["conversation"], let id = conversation["id"]?.string else { return }
            let state = conversation["state"]?.string ?? ""
            let name = conversation["contact"]?["name"]?.string ?? "?"
            let last = conversation["last_message"]
            let line: String
            switch state {
            case "offered": line = "vê na tela: conversa de \(name) oferecida a \(conversation["offer"]?["name"]?.string ?? "?")"
            case "active":
                line = "vê na tela: \(name) com \(conversation["assignee"]?["name"]?.string ?? "?") — “\(Self.short(last?["text"]?.string))”"
            case "resolved": line = "vê na tela: conversa de \(name) encerrada"
            default: line = "vê na tela: \(name) (\(state)) — “\(Self.short(last?["text"]?.string))”"
            }
            let isNew = shown.withLock { shown in
                defer { shown[id] = line }
                return shown[id] != line
            }
            if isNew { screen.show(.agent, agent, line) }
        default: break
        }
    }
}

/// The customers' handsets: shows what reaches them, by following each conversation's deliveries.
private final class DemoPhones: Sendable {
    private let screen: DemoScreen
    private let owners = Mutex<[String: String]>([:])
    private let socket = Mutex<RealtimeClient?>(nil)

    init(screen: DemoScreen) { self.screen = screen }

    func switchOn(url: String, token: String) async throws {
        var events = RealtimeEvents()
        events.onPublication = { [self] channel, publication in
            guard let event = try? JSON.parse(publication.data), event["type"]?.string == "message.changed", let message = event["message"],
                message["direction"]?.string == "out", message["status"]?.string == "delivered",
                let owner = owners.withLock({ $0[String(channel.dropFirst("conversation:".count))] })
            else { return }
            screen.show(.customer, owner, "recebe:  \(message["text"]?.string ?? "")")
        }
        let client = try await RealtimeClient.connect(url: url, token: token, events: events, on: MultiThreadedEventLoopGroup.singleton.next())
        socket.withLock { $0 = client }
    }

    func watch(_ conversation: String, of name: String) async throws {
        let isNew = owners.withLock { $0.updateValue(name, forKey: conversation) == nil }
        if isNew { _ = try await socket.withLock { $0 }?.subscribe(to: "conversation:\(conversation)") }
    }

    func switchOff() async { await socket.withLock { $0 }?.close() }
}
