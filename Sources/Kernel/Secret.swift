/// Comparing what somebody sent with a secret.
package enum Secret {
    /// Whether both are the same, in a time that tells how long `given` is, and not how much of it was right.
    package static func isEqual(_ given: some Collection<UInt8>, _ secret: some Collection<UInt8>) -> Bool {
        let (given, secret) = (Array(given), Array(secret))
        guard !secret.isEmpty else { return given.isEmpty }
        var difference: UInt8 = given.count == secret.count ? 0 : 1
        for index in given.indices { difference |= (given[index] ^ secret[index % secret.count]) }
        return difference == 0
    }

    package static func isEqual(_ given: String, _ secret: String) -> Bool { isEqual(given.utf8, secret.utf8) }
}
