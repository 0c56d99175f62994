package import Kernel
import NIOCore
package import Realtime
package import Tenancy
import Wire

/// What a session needs of the world, and may be called from any thread. One for all of them: as a value it would be most of what a client costs.
package final class SessionServices: Sendable {
    package let operations: Operations
    package let authenticate: Authenticate
    private let loginStands: @Sendable (LoginSessionID) -> Bool
    /// Who is there.
    package let presence: PresenceBook
    /// How many there may be, and how much they may ask.
    package let admission: Admission
    package let environment: Environment
    package let settings: SocketSettings
    package let version: String

    package init(
        operations: Operations,
        authenticate: @escaping Authenticate,
        stands: @escaping @Sendable (LoginSessionID) -> Bool,
        presence: PresenceBook,
        admission: Admission,
        environment: Environment,
        settings: SocketSettings,
        version: String
    ) {
        self.operations = operations
        self.authenticate = authenticate
        loginStands = stands
        self.presence = presence
        self.admission = admission
        self.environment = environment
        self.settings = settings
        self.version = version
    }

    var hub: StreamHub { operations.hub }

    /// Whether a login has not ended since its token was proved.
    func stands(_ credential: Credential) -> Bool { credential.session.map(loginStands) ?? true }

    func prove(_ token: String) async -> Result<Credential, Refusal> {
        do throws(Refusal) { return .success(try await authenticate(token)) } catch { return .failure(error) }
    }

    func call(id: UInt32, _ method: String, _ data: JSON, _ principal: Principal) async -> CentrifugeReply {
        do throws(Refusal) {
            guard let answer = try await operations.call(method, data, by: principal) else { return .error(id: id, .methodNotFound) }
            return .rpc(id: id, data: answer)
        } catch { return .error(id: id, CentrifugeError(error)) }
    }

    /// - Parameter channels: those of the registration's requests.
    func subscribe(_ principal: Principal, _ channels: [TenantCell.Channel], _ registration: Registration) async {
        let hub = hub
        do throws(Refusal) {
            try await operations.subscribe(
                principal,
                to: channels,
                needsSnapshot: { registration.needsSnapshot($0, hub) },
                register: { result in
                    switch result {
                    case .success(let snapshots): registration.register(hub, snapshots)
                    case .failure(let refusal): registration.refuse(hub, CentrifugeError(subscribing: refusal))
                    }
                }
            )
        } catch { registration.refuse(hub, CentrifugeError(subscribing: error)) }
    }

    /// When one of those who were told to come back is to do so.
    func reconnectDelay() -> Duration {
        .milliseconds(Int64(environment.randomBits().0 % UInt64(max(1, settings.reconnectWindow.inMilliseconds))))
    }

    /// What a client is told with the reply to `connect`: over how many seconds those who are sent away (3001) are to spread their coming back.
    func greetingData() -> [UInt8] {
        var writer = JSONWriter()
        writer.object { $0.field("reconnect_within", settings.reconnectWindow.components.seconds) }
        return writer.bytes
    }

    /// What others see of a connection, in presence.
    func connectionInfo(_ principal: Principal) -> [UInt8] {
        var writer = JSONWriter()
        writer.object {
            $0.field("name", principal.name)
            $0.field("role", principal.role.rawValue)
        }
        // Of the size that it has: it is kept for as long as the connection.
        return writer.bytes.withUnsafeBufferPointer { Array($0) }
    }
}

/// Subscriptions on their way through the gate, together.
struct Registration: Sendable {
    let connection: ConnectionID
    let loop: any EventLoop
    /// The client's; `nil` for what the server subscribes it to.
    let command: UInt32?
    let requests: [SubscriptionRequest]

    init(connection: ConnectionID, loop: any EventLoop, command: UInt32?, _ requests: [SubscriptionRequest]) {
        self.connection = connection
        self.loop = loop
        self.command = command
        self.requests = requests
    }

    func needsSnapshot(_ index: Int, _ hub: StreamHub) -> Bool {
        let request = requests[index]
        guard let since = request.since else { return true }
        return !request.rejectsUnrecovered && !hub.canRecover(request.stream, since: since)
    }

    func register(_ hub: StreamHub, _ snapshots: [[UInt8]?]) { hub.subscribe(connection, on: loop, command: command, requests, snapshots: snapshots) }
    func refuse(_ hub: StreamHub, _ error: CentrifugeError) { hub.refuse(connection, on: loop, command: command, error) }
}

extension Refusal {
    static func closedChannel(_ name: String) -> Refusal {
        Refusal(.forbidden, "channel_forbidden", "O canal '\(name)' não está aberto para o seu perfil.")
    }
}

extension CentrifugeError {
    /// What a command refused by the business answers: the HTTP status that REST would have given, in the range that the protocol leaves to applications
    /// (400–1999). What may succeed later is marked temporary, so that SDKs try again.
    init(_ refusal: Refusal) {
        self.init(UInt32(refusal.kind.status), refusal.message, temporary: refusal.kind == .unavailable || refusal.kind == .tooMany)
    }

    /// What a refused subscription answers: one of the protocol's own codes.
    init(subscribing refusal: Refusal) {
        self =
            switch refusal.kind {
            case .notFound: .unknownChannel
            case .forbidden, .unauthenticated: .permissionDenied
            case .tooMany: .tooManyRequests
            case .unavailable: .internalServerError
            case .malformed, .paymentRequired, .conflict, .tooLarge, .invalid: .badRequest
            }
    }
}
