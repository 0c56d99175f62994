import AsyncHTTPClient
import Conversations
import HTTPAPI
import Identity
import Integrations
import Jobs
import Kernel
import Logging
import Storage
import Tenancy

/// What WhatsApp needs of the server, put together.
struct WhatsAppParts {
    let numbers: WhatsAppNumbers
    let stops = AccountStops()
    let files: MediaFiles
    let signals: CustomerSignals
    let seal: Seal
    /// `nil`: the simulator stands in for it.
    let client: WhatsAppCloudClient?
    /// The server's own token.
    let token: String
    let credentials: @Sendable (TenantID, _ phoneNumberID: String?) async -> WhatsAppCredentials?
    let numberCount: @Sendable (TenantID) async -> Int

    func bridge(_ simulator: WhatsAppSimulator, logger: Logger) -> WhatsAppBridge {
        WhatsAppBridge(
            sender: client ?? simulator,
            credentials: credentials,
            media: client,
            files: files,
            numberCount: numberCount,
            logger: logger
        )
    }

    func fetcher(maxBytes: Int, logger: Logger) -> any MediaFetcher {
        guard let client else { return NoMedia() }
        return WhatsAppMediaFetcher(media: client, credentials: credentials, files: files, maxBytes: maxBytes, logger: logger)
    }

    func office(_ runner: JobRunner, maxBytes: Int) -> WhatsAppOffice {
        let (client, token, seal) = (client, token, seal)
        return WhatsAppOffice(
            numbers: numbers,
            stops: stops,
            media: files,
            maxMediaBytes: maxBytes,
            check: { number, own in
                guard let client else { return .ok(displayNumber: nil) }
                switch await client.check(WhatsAppCredentials(phoneNumberID: number, accessToken: own ?? token)) {
                case .ok(let display): return .ok(displayNumber: display)
                case .refused(let reason): return .refused(reason: reason)
                case .unreachable: return .unreachable
                }
            },
            seal: { seal.close($0) },
            waiting: { runner.waiting($0) },
            hasten: { runner.hasten($0) }
        )
    }

    /// The simulator's customers send no files.
    private struct NoMedia: MediaFetcher {
        func fetch(_ order: MediaOrder, tenant: TenantID) async -> MediaResult { .failed("O simulador não tem mídia") }
    }
}

extension Server {
    func whatsAppParts(
        _ store: any ManagedStore,
        _ gate: Gate,
        _ directory: Directory,
        _ http: HTTPClient,
        _ operations: Operations,
        _ seal: Seal,
        _ environment: Kernel.Environment
    ) async throws -> WhatsAppParts {
        // Only a number that a business has by the configuration is refused to others; the first one's catch-all is not.
        let numbers = WhatsAppNumbers(store: store, gate: gate, environment: environment) { id in
            await directory.tenants.first { $0.phoneNumberID == id }?.id
        }
        try await numbers.load()
        let oldTokens = Vault.oldTokens(settings)
        let logger = logger
        let client = settings.whatsapp.map { WhatsAppCloudClient(http: http, configuration: $0.client) }
        let token = settings.whatsapp?.token ?? ""
        let isSimulated = client == nil
        let credentials: @Sendable (TenantID, String?) async -> WhatsAppCredentials? = { tenant, wanted in
            // The simulator reports statuses to the tenant that stands where the number would.
            if isSimulated { return WhatsAppCredentials(phoneNumberID: tenant.description, accessToken: "") }
            let configured = await directory.tenant(tenant)?.phoneNumberID
            if let configured, wanted == nil || wanted == configured { return WhatsAppCredentials(phoneNumberID: configured, accessToken: token) }
            let registered = wanted.flatMap { numbers.number($0, of: tenant) } ?? numbers.numbers(of: tenant).first
            if let registered, wanted == nil || registered.phoneNumberID == wanted || configured == nil {
                guard let sealed = registered.sealedToken else {
                    return WhatsAppCredentials(phoneNumberID: registered.phoneNumberID, accessToken: token)
                }
                guard let token = TokenSeal.isSealed(sealed) ? oldTokens?.open(sealed) : seal.open(sealed) else {
                    logger.error(
                        "no key opens the access token of a WhatsApp number; register it again",
                        metadata: ["tenant": "\(tenant)", "phone_number_id": "\(registered.phoneNumberID)"]
                    )
                    return nil
                }
                return WhatsAppCredentials(phoneNumberID: registered.phoneNumberID, accessToken: token)
            }
            // The number the customer wrote to is no longer the business's: from the one it has.
            return configured.map { WhatsAppCredentials(phoneNumberID: $0, accessToken: token) }
        }
        let signals = CustomerSignals(environment: environment) { signal in
            guard let client, let credentials = await credentials(signal.tenant, signal.phoneNumberID) else { return }
            await client.markRead(signal.externalID, typing: signal.isTyping, credentials: credentials)
        }
        return WhatsAppParts(
            numbers: numbers,
            files: MediaFiles(dataDirectory: settings.dataDirectory),
            signals: signals,
            seal: seal,
            client: client,
            token: token,
            credentials: credentials,
            numberCount: { tenant in
                if isSimulated { return 1 }
                let configured = await directory.tenant(tenant)?.phoneNumberID
                return numbers.numbers(of: tenant).count { $0.phoneNumberID != configured } + (configured == nil ? 0 : 1)
            }
        )
    }

    /// Shown at once to everybody of the business: nothing goes out until somebody does something.
    static func tell(_ failure: Message.Failure, _ tenant: TenantID, _ number: String?, _ operations: Operations) async {
        let server = Principal(tenant: tenant, user: UserID(UniqueID(high: 0, low: 1)), role: .owner, name: "Plantão")
        let text =
            "O WhatsApp parou de aceitar mensagens \(number.map { "do número \($0)" } ?? "desta conta"): \(failure.message) (código \(failure.code)). As mensagens esperam até que isso seja resolvido."
        _ = try? await operations.postNotice(text, clientMessageID: nil, by: server)
    }
}
