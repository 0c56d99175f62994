import RedisBus
import Testing

@Suite struct RedisURLTests {
    struct Good: Sendable, CustomTestStringConvertible {
        let url: String
        let address: RedisConfiguration.Address
        var user: String?
        var password: String?
        var database = 0
        var redacted: String
        var testDescription: String { url }
    }

    @Test(arguments: [
        Good(url: "redis://localhost:6379/0", address: .tcp(host: "localhost", port: 6379), redacted: "redis://localhost:6379/0"),
        Good(url: "redis://", address: .tcp(host: "localhost", port: 6379), redacted: "redis://localhost:6379/0"),
        Good(url: "redis:///3", address: .tcp(host: "localhost", port: 6379), database: 3, redacted: "redis://localhost:6379/3"),
        Good(url: "REDIS://r.example:7000/", address: .tcp(host: "r.example", port: 7000), redacted: "redis://r.example:7000/0"),
        Good(url: "redis://:s3cret@r", address: .tcp(host: "r", port: 6379), password: "s3cret", redacted: "redis://r:6379/0"),
        Good(
            url: "redis://ana:s3:cret@r/2",
            address: .tcp(host: "r", port: 6379),
            user: "ana",
            password: "s3:cret",
            database: 2,
            redacted: "redis://r:6379/2"
        ),
        Good(url: "redis://ana@r", address: .tcp(host: "r", port: 6379), user: "ana", password: "", redacted: "redis://r:6379/0"),
        Good(url: "redis://:p%40s%2Fs%C3%A9@r", address: .tcp(host: "r", port: 6379), password: "p@s/sé", redacted: "redis://r:6379/0"),
        Good(url: "redis://:p@ss@r", address: .tcp(host: "r", port: 6379), password: "p@ss", redacted: "redis://r:6379/0"),
        Good(url: "redis://[::1]:7001/1", address: .tcp(host: "::1", port: 7001), database: 1, redacted: "redis://[::1]:7001/1"),
        Good(url: "redis://[fe80::1]", address: .tcp(host: "fe80::1", port: 6379), redacted: "redis://[fe80::1]:6379/0"),
        Good(url: "redis://r/1?db=4&socket_timeout=5", address: .tcp(host: "r", port: 6379), database: 4, redacted: "redis://r:6379/4"),
        Good(url: "redis://r?db=4#x", address: .tcp(host: "r", port: 6379), database: 4, redacted: "redis://r:6379/4"),
        Good(url: "unix:///run/redis.sock", address: .unix(path: "/run/redis.sock"), redacted: "unix:///run/redis.sock?db=0"),
        Good(
            url: "unix:///run/my%20redis.sock?db=1",
            address: .unix(path: "/run/my redis.sock"),
            database: 1,
            redacted: "unix:///run/my redis.sock?db=1"
        ),
        Good(url: "redis+unix://:s3cret@/run/r.sock", address: .unix(path: "/run/r.sock"), password: "s3cret", redacted: "unix:///run/r.sock?db=0"),
        Good(
            url: "redis-socket:///r.sock?database=2&user=ana&password=s3cret",
            address: .unix(path: "/r.sock"),
            user: "ana",
            password: "s3cret",
            database: 2,
            redacted: "unix:///r.sock?db=2"
        ),
    ])
    func aURLIsRead(_ good: Good) throws {
        let read = try RedisConfiguration(url: good.url)
        #expect(read.address == good.address)
        #expect(read.user == good.user)
        #expect(read.password == good.password)
        #expect(read.database == good.database)
        #expect(read.redacted == good.redacted)
    }

    @Test(arguments: [
        ("localhost:6379", "not a URL"), (":s3cret@localhost", "not a URL"), ("", "not a URL"),
        ("rediss://:s3cret@r", "stunnel"), ("http://r", "scheme"), ("postgres://ana:s3cret@r", "scheme"),
        ("redis://r:port", "port"), ("redis://r:0", "port"), ("redis://r:65536", "port"), ("redis://r:+1", "port"), ("redis://r:-1", "port"),
        ("redis://:s3cret/x@r:6379/0", "port"), ("redis://ana:s3cret?@r", "port"),
        ("redis://::1/0", "brackets"), ("redis://[::1/0", "brackets"), ("redis://[::1]x", "only a port"),
        ("redis://r/zero", "database"), ("redis://r/-1", "database"), ("redis://r/+1", "database"), ("redis://r?db=99999999999", "database"),
        ("redis://:s3cret%zz@r", "percent"), ("redis://:s3cret%@r", "percent"), ("redis://:s3cret%FF@r", "percent"),
        ("redis://:s3cret%00@r", "percent"),
        ("redis://a b", "host"), ("unix://run/redis.sock", "three slashes"), ("unix:///", "three slashes"),
        ("unix:///" + String(repeating: "x", count: 120), "107"),
    ])
    func aBadURLIsRefusedWithASentenceAndNoSecret(_ url: String, _ word: String) {
        let error = #expect(throws: RedisConfiguration.InvalidURL.self) { try RedisConfiguration(url: url) }
        let text = "\(error!)"
        #expect(text.hasPrefix("REDIS_URL: "))
        #expect(text.contains(word))
        #expect(text.hasSuffix("."))
        #expect(!text.contains("s3cret"))
    }

    @Test func aConfigurationDoesNotGiveItsPasswordAway() throws {
        let configuration = try RedisConfiguration(url: "redis://ana:s3cret@r")
        var dumped = ""
        dump(configuration, to: &dumped)
        for text in ["\(configuration)", String(reflecting: configuration), "\([configuration])", "\(Optional(configuration) as Any)", dumped] {
            #expect(!text.contains("s3cret"))
        }
    }
}
