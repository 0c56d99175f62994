import Hummingbird
import Identity
import Kernel
import Resilience
import Synchronization

/// What one address may ask for of the doors that need no credential.
final class Allowances: Sendable {
    // A mutex that may be missing is not to be had: taking an absent one for present ends the process.
    private let chatSessions: Mutex<RateTable<String>?>
    private let publicHolds: Mutex<RateTable<String>?>
    private let registrations: Mutex<RateTable<String>?>
    private let basicGuard: Mutex<LoginGuard>

    init(_ settings: API.Settings) {
        chatSessions = Mutex(settings.chatSessions.map { RateTable($0, maxKeys: 20_000) })
        var guarding = settings.loginGuard
        // Machines use these at every request, from where they always are: nobody is to keep them out from elsewhere.
        guarding.failuresPerAccount = .max
        basicGuard = Mutex(LoginGuard(guarding))
        publicHolds = Mutex(settings.publicHolds.map { RateTable($0, maxKeys: 20_000) })
        registrations = Mutex(settings.registrations.map { RateTable($0, maxKeys: 20_000) })
    }

    /// Whether the password that somebody gave with HTTP Basic is right.
    /// - Throws: 429 to who has been wrong too often, whether or not they are now.
    func basic(_ user: String, from address: String, _ environment: Kernel.Environment, _ isRight: () -> Bool) throws(Refusal) -> Bool {
        let (now, random) = (environment.now(), environment.randomBits().0)
        let account = String(user.prefix(200))
        return try basicGuard.withLock { (guarding) throws(Refusal) -> Bool in
            if guarding.count > 0, let wait = guarding.wait(account, from: address, at: now) { throw Directory.locked(wait) }
            let isRight = isRight()
            if !isRight {
                guarding.failed(account, from: address, at: now, random: random)
            } else if guarding.count > 0 {
                guarding.succeeded(account, from: address)
            }
            return isRight
        }
    }

    /// Nobody is to keep a whole calendar from everybody else.
    func takePublicHold(_ address: String, at now: Timestamp) throws(Refusal) {
        try Self.take(publicHolds.withLock { $0?.rate(of: address, at: now) }, at: now, "too_many_holds", "Muitos pedidos deste endereço")
    }

    /// The same, taken when it is first asked, however often that is: a decision may have to be made again.
    func publicHold(_ address: String, at now: Timestamp) -> @Sendable () throws(Refusal) -> Void {
        let once = Once()
        return { () throws(Refusal) in
            let isFirst = once.isTaken.withLock { isTaken in
                defer { isTaken = true }
                return !isTaken
            }
            if isFirst { try self.takePublicHold(address, at: now) }
        }
    }

    private final class Once: Sendable { let isTaken = Mutex(false) }

    func takeRegistration(_ address: String, at now: Timestamp) throws(Refusal) {
        try Self.take(
            registrations.withLock { $0?.rate(of: address, at: now) },
            at: now,
            "too_many_requests",
            "Muitos cadastros novos deste endereço"
        )
    }

    func takeChatSession(_ address: String, at now: Timestamp) throws(Refusal) {
        try Self.take(chatSessions.withLock { $0?.rate(of: address, at: now) }, at: now, "too_many_requests", "Muitas conversas novas deste endereço")
    }

    /// - Parameter rate: of the address; `nil` where there is no limit.
    private static func take(_ rate: SharedRate?, at now: Timestamp, _ code: String, _ message: String) throws(Refusal) {
        guard let decision = rate?.take(at: now), decision.allowed == 0 else { return }
        let seconds = max(1, Int((decision.retryAfter ?? .seconds(1)).inMilliseconds + 999) / 1000)
        throw Refusal(.tooMany, code, "\(message); tente novamente em instantes.", retryAfterSeconds: seconds)
    }
}

extension API {
    /// Where a request comes from, as far as it can be believed.
    func address(of request: Request, _ context: APIContext) -> String {
        context.origin(request, trusting: settings.limits.trustedProxies).network.description
    }
}

extension ClientAddress: CustomStringConvertible {
    /// `192.0.2.1`, or of IPv6 the first four groups: `2001:db8:0:1::/64` of a network, and of an address as well, as one customer has all of one.
    package var description: String {
        if isIPv4 { return [24, 16, 8, 0].map { String(low >> $0 & 0xff) }.joined(separator: ".") }
        return [48, 32, 16, 0].map { String(high >> $0 & 0xffff, radix: 16) }.joined(separator: ":") + "::/64"
    }
}
