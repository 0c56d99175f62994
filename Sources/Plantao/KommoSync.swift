import Kernel
import Logging
import ServiceLifecycle
import StoragePostgres
import Tenancy
import Wire

/// Keeps the portfolio in step with a Kommo Postgres: all of it at the start and once an hour, and in between what has changed. While that cannot be read,
/// everything else goes on.
struct KommoSync: Service {
    struct Configuration {
        var database: PostgresConfiguration
        var interval: Duration
    }

    /// Rows read and put at a time.
    private static let page = 500
    /// Rounds between two readings of everything, which also finds what was changed without its `atualizado_em`.
    private static let everything = Duration.seconds(3600)
    /// What was committed late may be older than what was seen.
    private static let overlap = Duration.seconds(300)

    let configuration: Configuration
    let tenant: TenantID
    let operations: Operations
    let logger: Logger

    func run() async throws {
        await cancelWhenGracefulShutdown {
            let database = KommoDatabase(configuration.database)
            var since: Timestamp?
            var lastOfAll = ContinuousClock.now
            var isFailing = false
            while !Task.isCancelled {
                if since != nil, .now - lastOfAll > Self.everything { since = nil }
                if since == nil { lastOfAll = .now }
                do {
                    let began = try await database.now()
                    let (read, refused) = try await follow(database, since)
                    if since == nil || refused > 0 {
                        logger.notice("customers were read from Kommo's database", metadata: ["rows": "\(read)", "refused": "\(refused)"])
                    }
                    since = began.map { $0 - Self.overlap }
                    isFailing = false
                } catch {
                    if !isFailing { logger.warning("Kommo's database could not be followed", metadata: ["reason": "\(error)"]) }
                    isFailing = true
                }
                try? await Task.sleep(for: configuration.interval)
            }
        }
    }

    private func follow(_ database: KommoDatabase, _ since: Timestamp?) async throws -> (read: Int, refused: Int) {
        var (read, refused) = (0, 0)
        var after = Int64.min
        while !Task.isCancelled {
            let rows = try await database.customers(after: after, since: since, limit: Self.page)
            var patches: [CustomerPatch] = []
            for row in rows {
                guard let json = try? JSON.parse(row), let id = json["client_id"]?.int else { continue }
                after = id
                do throws(Refusal) { patches.append(try CustomerPatch(json, at: ["clientes_kommo", String(id)])) } catch {
                    refused += 1
                    logger.warning("a customer of Kommo's database was left out", metadata: ["client_id": "\(id)", "reason": "\(error.message)"])
                }
            }
            if !patches.isEmpty { _ = try await operations.upsertCustomers(patches, tenant) }
            read += rows.count
            if rows.count < Self.page { break }
        }
        return (read, refused)
    }
}
