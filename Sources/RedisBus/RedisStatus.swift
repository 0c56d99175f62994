package import Resilience

/// How it goes with Redis, for operators. Holds no secret.
package struct RedisStatus: Sendable {
    /// The URL without user and password.
    package var address: String
    package var isConnected = false
    package var isSubscriberConnected = false
    package var breaker: CircuitBreaker
    /// Commands that wait to be sent or answered, and their bytes.
    package var pendingCommands = 0
    package var pendingBytes = 0
    package var blockingReads = 0
    package var subscriptions = 0
    /// Why there is no connection, or why there last was none; kept until there is another reason.
    package var lastError: String?
}
