package import Kernel

/// A database reached over a network, which holds the tables when they are not embedded. Behind it, `WriteBehindStore` keeps what it is owed.
package protocol RemoteDatabase: Sendable {
    /// Writes the images in one transaction, in their order; at most one of them is for any (table, key). An image that is not newer than what is stored
    /// changes nothing, so writing the same ones again is harmless. When it returns they are committed.
    func write(_ images: [RowImage]) async throws(RemoteError)
    func rows(_ query: Query) async throws(RemoteError) -> [Row]
    /// Made up when its tables were, and never changed: which database this is.
    var storeID: String { get }
    /// How the way to it is, for operators.
    var status: RemoteStatus { get }
    /// Ends the connections. Whoever still waits gets `unavailable`.
    func close() async
}

/// Why a remote database did not do what it was asked. Of a write, nothing was done, or nobody can tell: it may be repeated in either case.
package struct RemoteError: Error, CustomStringConvertible {
    package enum Kind: Sendable, Equatable {
        /// It cannot be reached, or can do nothing at all for now; or too many are waiting for it. Trying again makes sense after this long.
        case unavailable(retryAfter: Duration)
        /// It works, and this took longer than it may. Less at a time may succeed.
        case timedOut
        /// Something in this cannot be written or read, now or later, such as a second row under a unique key.
        case content
    }

    package let kind: Kind
    /// For operators: the database's own words, without any values.
    package let description: String

    package init(_ kind: Kind, _ description: String) {
        self.kind = kind
        self.description = description
    }
}

package struct RemoteStatus: Sendable {
    /// `closed` (all is well), `open` (given up for a while) or `half_open` (trying).
    package var breaker: String
    /// How often the breaker has opened.
    package var timesOpened: Int
    package var connections: Int
    /// Reads waiting for a connection.
    package var waiting: Int
    package var lastError: String?

    package init(breaker: String, timesOpened: Int, connections: Int, waiting: Int, lastError: String?) {
        self.breaker = breaker
        self.timesOpened = timesOpened
        self.connections = connections
        self.waiting = waiting
        self.lastError = lastError
    }
}
