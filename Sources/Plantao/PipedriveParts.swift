import AsyncHTTPClient
import Consultores
import Conversations
import HTTPAPI
import Identity
import Integrations
import Jobs
import Kernel
import Logging
import Resilience
import Storage
import Synchronization
import Tenancy
import Wire

/// Pipedrive and what belongs to it, put together.
struct PipedriveParts: Sendable {
    let tenant: TenantID
    let client: PipedriveClient
    let reports = PipedriveReports()
    private let settings: Settings.Pipedrive

    /// An account's burst limit on the smallest plan is 20 calls in 2 seconds (research/conversations.md §8), whichever 2 seconds these are: 4 at once, and 16 within
    /// the 2 seconds after.
    private static let burst = RateLimit(perSecond: 8, burst: 4)

    init(_ settings: Settings.Pipedrive, tenant: TenantID, http: HTTPClient, breakers: BreakerBoard, environment: Kernel.Environment) {
        breakers.uses(.pipedrive)
        self.settings = settings
        self.tenant = tenant
        let rate = SharedRate(Self.burst)
        client = PipedriveClient(http: http, configuration: settings.client) {
            while let wait = rate.take(at: environment.now()).retryAfter, !Task.isCancelled { try? await Task.sleep(for: wait) }
        }
    }

    func worker(_ tenants: Tenants, _ store: any Store, _ breakers: BreakerBoard, _ environment: Kernel.Environment, _ logger: Logger)
        -> PipedriveWorker
    {
        PipedriveWorker(
            tenants: tenants,
            store: store,
            api: client,
            breakers: breakers,
            reports: reports,
            environment: environment,
            logger: logger
        )
    }

    /// Takes in what Pipedrive tells: kept as a job, and carried out behind the hand-offs that came before it.
    func door(_ tenants: Tenants, _ gate: Gate, _ environment: Kernel.Environment) -> PipedriveDoor {
        let tenant = tenant
        return PipedriveDoor(tenant: tenant, credential: settings.webhook, report: { reports.report }) { news throws(Refusal) in
            try gate.admit()
            let moment = environment.moment()
            let job = Job(
                id: moment.id(),
                tenant: tenant,
                kind: PipedriveNews.jobKind,
                lane: HandOff.lane(tenant),
                order: moment.now.milliseconds,
                runAt: moment.now,
                payload: news.payload
            )
            var change = Change()
            change.jobs = [job]
            let kept = change
            try await tenants.use(tenant) { cell throws(Refusal) in try await cell.noted(kept).committed() }
        }
    }
}

/// How it goes with Pipedrive, for whoever administers.
final class PipedriveReports: Sendable {
    private let state = Mutex(PipedriveDoor.Report())

    var report: PipedriveDoor.Report { state.withLock { $0 } }
    func told(at now: Timestamp) {
        state.withLock {
            $0.told += 1
            $0.lastToldAt = now
            $0.problem = nil
        }
    }
    func heard() { state.withLock { $0.heard += 1 } }
    func wasOwn() { state.withLock { $0.own += 1 } }
    func failed(_ problem: String) { state.withLock { $0.problem = problem } }
}

/// Tells Pipedrive of hand-offs, and takes in what it tells of persons.
struct PipedriveWorker: JobWorker {
    let tenants: Tenants
    let store: any Store
    let api: any PipedriveAPI
    let breakers: BreakerBoard
    let reports: PipedriveReports
    let environment: Kernel.Environment
    let logger: Logger
    /// The user whose token it is, once asked.
    private let me = Me()

    private final class Me: Sendable { let id = Mutex<Int64?>(nil) }

    /// What could not be told within a day is told no more.
    private static let patience = Duration.seconds(24 * 3600)

    init(
        tenants: Tenants,
        store: any Store,
        api: any PipedriveAPI,
        breakers: BreakerBoard,
        reports: PipedriveReports,
        environment: Kernel.Environment,
        logger: Logger
    ) {
        self.tenants = tenants
        self.store = store
        self.api = api
        self.breakers = breakers
        self.reports = reports
        self.environment = environment
        self.logger = logger
    }

    /// Each step looks before it makes, so what was interrupted is done again.
    func foundInterrupted(_ job: Job) async -> JobProgress { await attempt(job) }

    func attempt(_ job: Job) async -> JobProgress {
        let breaker = breakers.breaker(.pipedrive, of: job.tenant)
        let generation: Int
        switch breaker.callRequested() {
        case .allowed(let allowed): generation = allowed
        case .refused(let retryAfter): return .held(until: environment.now() + retryAfter)
        }
        let began = ContinuousClock.now
        var verdict = CallVerdict.ignored
        defer { breaker.callEnded(generation, verdict, took: .now - began) }
        do {
            if let handOff = HandOff(job) {
                try await tell(handOff, job)
                verdict = .succeeded
            } else if let news = PipedriveNews(payload: job.payload) {
                if try await hear(news, job) { verdict = .succeeded }
            } else {
                try await end(job)
            }
            return .ended
        } catch let fault as PipedriveFault {
            switch fault {
            case .throttled(let wait):
                verdict = .throttled(wait)
                return later(job, wait)
            case .unavailable(let reason):
                verdict = .failed
                return await again(job, after: pause(job), reason)
            case .unauthorized:
                verdict = .succeeded
                return await again(job, after: .seconds(300), "the token is refused (401)")
            case .forbidden(let reason), .rejected(_, let reason):
                verdict = .succeeded
                return await giveUp(job, reason)
            case .missing:
                verdict = .succeeded
                return await giveUp(job, "not found (404)")
            }
        } catch let refusal as Refusal {
            return later(job, .seconds(Int64(refusal.retryAfterSeconds ?? 1)))
        } catch {
            return later(job, .seconds(1))
        }
    }

    // MARK: Telling

    private func tell(_ handOff: HandOff, _ job: Job) async throws {
        let tenant = job.tenant
        let customer = try await tenants.use(tenant) { cell throws(Refusal) in
            if await !cell.has(handOff.conversation) {
                await cell.adopt(try await ConversationDesk.load(handOff.conversation, tenant: tenant, from: store))
            }
            return await cell.customer(of: handOff.conversation)
        }
        guard let customer else { return try await end(job) }
        let now = environment.now()
        var link =
            try await PipedriveLink.of(handOff.conversation, tenant: tenant, from: store)
            ?? PipedriveLink(conversation: handOff.conversation, contact: customer.contact, at: now)
        var before = PipedriveProgress(person: link.person, deal: link.deal, activity: link.activity, owner: link.owner)
        if before.person == nil, let known = try await PipedriveLink.ofContact(customer.contact, tenant: tenant, from: store).first {
            before.person = known.person
            before.deal = known.deal
        }
        let numero = (handOff.protocolo ?? customer.protocolo).map(protocolText)
        let request = PipedriveHandOff(
            name: customer.name,
            phones: customer.number.map { Self.forms($0) } ?? [],
            owner: handOff.owner,
            title: "Atendimento \(numero ?? handOff.conversation.description)",
            note: "Plantão: conversa \(handOff.conversation)\(numero.map { ", protocolo \($0)" } ?? ""), canal \(customer.channel)."
        )
        let done = try await PipedriveSync(api).tell(request, from: before) { progress in
            link.take(progress, at: environment.now())
            var change = Change()
            change.rows = [link.image(tenant: tenant)]
            try await commit(change, tenant)
        }
        link.take(done, at: environment.now())
        link.error = nil
        var change = Change()
        change.rows = [link.image(tenant: tenant)]
        change.endedJobs = [job]
        try await commit(change, tenant)
        reports.told(at: environment.now())
    }

    /// WhatsApp may write a Brazilian mobile with or without its ninth digit.
    private static func forms(_ number: String) -> [String] {
        let forms = BrazilianPhone.variants(of: number)
        return [number] + forms.filter { $0 != number }
    }

    // MARK: Hearing

    /// - Returns: whether Pipedrive was asked anything.
    private func hear(_ news: PipedriveNews, _ job: Job) async throws -> Bool {
        let tenant = job.tenant
        var asked = false
        if let user = news.apiUser {
            var own = me.id.withLock { $0 }
            if own == nil {
                let id = try await api.me()
                asked = true
                me.id.withLock { $0 = id }
                own = id
            }
            // What we did ourselves is no news, and would go around for ever.
            if user == own {
                reports.wasOwn()
                try await end(job)
                return asked
            }
        }
        var links = try await PipedriveLink.ofPerson(news.person, tenant: tenant, from: store)
        let latest = links.compactMap(\.personChangedAt).max()
        guard !links.isEmpty, news.at.map({ at in latest.map { $0 <= at } ?? true }) ?? true else {
            try await end(job)
            return asked
        }
        reports.heard()
        var change = Change()
        for index in links.indices {
            links[index].personChangedAt = news.at ?? links[index].personChangedAt
            switch news.event {
            case .named: break
            case .deleted:
                links[index].person = nil
                links[index].deal = nil
            case .merged(let other): links[index].person = other
            }
            change.rows.append(links[index].image(tenant: tenant))
        }
        guard case .named(let name) = news.event else {
            change.endedJobs = [job]
            try await commit(change, tenant)
            return asked
        }
        let written = String(name.prefix(120))
        let contacts = Set(links.map(\.contact)).sorted()
        for (number, contact) in contacts.enumerated() {
            var part = Change()
            if number == contacts.count - 1 {
                part = change
                part.endedJobs = [job]
            }
            let with = part
            try await tenants.use(tenant) { cell throws(Refusal) in
                if await !cell.hasContact(contact), let stored = try await ConversationDesk.contact(contact, tenant: tenant, from: store) {
                    await cell.adopt([stored])
                }
                try await cell.named(contact, written, with: with).committed()
            }
        }
        return asked
    }

    // MARK: The end of a job

    private func commit(_ change: Change, _ tenant: TenantID) async throws(Refusal) {
        try await tenants.use(tenant) { cell throws(Refusal) in try await cell.noted(change).committed() }
    }

    private func end(_ job: Job) async throws(Refusal) {
        var change = Change()
        change.endedJobs = [job]
        try await commit(change, job.tenant)
    }

    private func later(_ job: Job, _ wait: Duration) -> JobProgress {
        var job = job
        job.runAt = environment.now() + wait
        return .again(job)
    }

    /// A second and more, up to a minute, by how long it has been tried.
    private func pause(_ job: Job) -> Duration {
        let age = environment.now() - Timestamp(milliseconds: job.order)
        return min(max(age / 2, .seconds(1)), .seconds(60))
    }

    private func again(_ job: Job, after wait: Duration, _ reason: String) async -> JobProgress {
        reports.failed(reason)
        guard environment.now() - Timestamp(milliseconds: job.order) < Self.patience else { return await giveUp(job, reason) }
        logger.warning("Pipedrive could not be told; it is tried again", metadata: ["job": "\(job.id)", "reason": "\(reason)"])
        return later(job, wait)
    }

    private func giveUp(_ job: Job, _ reason: String) async -> JobProgress {
        reports.failed(reason)
        logger.error("Pipedrive does not take it, and it is given up", metadata: ["job": "\(job.id)", "kind": "\(job.kind)", "reason": "\(reason)"])
        do throws(Refusal) {
            var change = Change()
            change.endedJobs = [job]
            if let handOff = HandOff(job), var link = try await PipedriveLink.of(handOff.conversation, tenant: job.tenant, from: store) {
                link.error = reason
                link.syncedAt = environment.now()
                change.rows = [link.image(tenant: job.tenant)]
            }
            try await commit(change, job.tenant)
            return .ended
        } catch {
            return later(job, .seconds(Int64(error.retryAfterSeconds ?? 1)))
        }
    }
}

extension PipedriveLink {
    fileprivate mutating func take(_ progress: PipedriveProgress, at now: Timestamp) {
        person = progress.person
        deal = progress.deal
        activity = progress.activity
        owner = progress.owner
        syncedAt = now
    }
}
