import Storage
import Testing

@testable import StoragePostgres

@Suite struct PostgresConfigurationTests {
    @Test(
        arguments: [
            ("postgresql://ana:s%40gredo@db.example:6543/desk", "ana", "s@gredo", "db.example", "6543", "desk"),
            ("postgres://ana:segredo@db.example/desk", "ana", "segredo", "db.example", nil, "desk"),
            ("postgresql+asyncpg://ana:segredo@db.example:5432/desk", "ana", "segredo", "db.example", "5432", "desk"),
            ("postgresql+psycopg2://ana:segredo@[::1]:5432/desk", "ana", "segredo", "::1", "5432", "desk"),
            ("POSTGRESQL+asyncpg://ana@db.example/desk", "ana", nil, "db.example", nil, "desk"),
            ("postgresql://ana:segredo@a:1,b:2/desk?target_session_attrs=any", "ana", "segredo", "a,b", "1,2", "desk"),
            ("postgresql://%2Fvar%2Frun%2Fpostgresql/desk", nil, nil, "/var/run/postgresql", nil, "desk"),
            ("postgresql:///desk?host=/tmp&user=ana", "ana", nil, "/tmp", nil, "desk"),
            ("host=db.example port=6543 dbname=desk user=ana password='a b'", "ana", "a b", "db.example", "6543", "desk"),
        ] as [(String, String?, String?, String, String?, String)]
    )
    func everyFormOfURLIsRead(_ url: String, user: String?, password: String?, host: String, port: String?, database: String) throws {
        let configuration = try PostgresConfiguration(url: url)
        #expect(configuration["user"] == user && configuration["password"] == password && configuration["host"] == host)
        #expect(configuration["port"] == port && configuration["dbname"] == database)
        if let password { #expect(!configuration.redacted.contains(password)) }
    }

    @Test(arguments: [
        ("?sslmode=verify-full&sslrootcert=/ca.pem", "verify-full"), ("?ssl=require", "require"), ("?ssl=true", "require"),
        ("?ssl=disable", "disable"),
        ("?statement_cache_size=0&ssl=verify-ca", "verify-ca"),
    ])
    func encryptionIsAskedForInBothSpellings(_ query: String, mode: String) throws {
        #expect(try PostgresConfiguration(url: "postgresql+asyncpg://a:b@h/d" + query)["sslmode"] == mode)
    }

    @Test(arguments: [
        "mysql://ana:segredo@h/d", "redis://:segredo@h", "nonsense", "postgresql://ana:segredo@h:notaport/d?nosuch=1",
        "postgresql://ana:segr%zzedo@h/d",
        "http://ana:segredo@h/d", "host=h password=segredo nosuch=1", "postgresql://ana:segredo@[::1/d", "postgresql://ana:segr@edo@h/d",
        "postgresql://ana:segr/edo@h/d",
    ])
    func whatIsNoURLIsRefusedWithoutShowingThePassword(_ url: String) {
        let error = #expect(throws: StartupError.self) { try PostgresConfiguration(url: url) }
        #expect(error?.description.hasPrefix("DATABASE_URL: ") == true && error?.description.contains("Allowed: postgresql://") == true)
        #expect(error?.description.contains("segredo") == false && error?.description.contains("segr") == false)
    }

    @Test func theURLsOwnWordsComeBeforeOurs() throws {
        let plain = try PostgresConfiguration(url: "postgresql://h/d").connectParameters
        #expect(plain.contains { $0 == ("application_name", "plantao") } && plain.contains { $0 == ("target_session_attrs", "read-write") })
        let own = try PostgresConfiguration(url: "postgresql://h/d?application_name=desk&client_encoding=latin1").connectParameters
        #expect(own.filter { $0.keyword == "application_name" }.map(\.value) == ["desk"])
        #expect(own.filter { $0.keyword == "client_encoding" }.map(\.value) == ["UTF8"])
    }
}
