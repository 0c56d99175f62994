package import Kernel

/// A database reached over a network, which holds the tables when they are not embedded. Behind it, `WriteBehindStore` keeps what it is owed.
package protocol RemoteDatabase: Sendable {
    /// Writes the images in one transaction, in their order; at most one of them is for any (table, key). An image that is not newer than what is stored
    /// changes nothing, so writing the same ones again is harmless. When it returns they are committed.
    func write(_ images: [RowImage]) async throws(RemoteError)
    func rows(_ query: Query) async throws(RemoteError) -> [Row]
    /// Made up when its tables were, and never changed: which database this is.
    var storeID: String { get }
    /// Another journal has written here since ours last did, or ours never has: what ours holds of jobs and marks is not to be relied on.
    var isNewToJournal: Bool { get }
    /// Makes our journal the one that writes. Until then another start finds everything as it was.
    func claim() async throws(RemoteError)
    /// Called every few seconds while there is nothing to write: notices a connection that has ended, and takes the writer's place again.
    func attend() async throws(RemoteError)
    /// Says that our journal owes nothing, so that another one may be the next to write.
    func release() async throws(RemoteError)
    /// How the way to it is, for operators.
    var status: RemoteStatus { get }
    /// Ends the connections. Whoever still waits gets `unavailable`.
    func close() async
}

/// The journal that a server has, as it introduces itself to the database.
package struct JournalIdentity: Sendable {
    package let id: String
    /// The database it belongs to, once it belongs to one.
    package let storeID: String?
    /// Changed rows that it owes.
    package let owedRows: Int

    package init(id: String, storeID: String?, owedRows: Int) {
        self.id = id
        self.storeID = storeID
        self.owedRows = owedRows
    }
}

/// What lies in a journal.
package struct JournalSummary: Sendable {
    /// The database it belongs to.
    package let storeID: String?
    package let owedRows: Int
    package let quarantinedRows: Int
}

/// Why a remote database did not do what it was asked. Of a write, nothing was done, or nobody can tell: it may be repeated in either case.
package struct RemoteError: Error, CustomStringConvertible {
    package enum Kind: Sendable, Equatable {
        /// It cannot be reached, or can do nothing at all for now; or too many are waiting for it. Trying again makes sense after this long.
        case unavailable(retryAfter: Duration)
        /// It works, and this took longer than it may. Less at a time may succeed.
        case timedOut
        /// Another journal writes here now. What ours has acknowledged since cannot be told apart from what that one has: nothing more may be decided here.
        case usurped
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
    /// `closed` (all is well), `open` (given up for a while) or `half_open` (trying); `forced_open` and `forced_closed` by a person.
    package var breaker: String
    /// Nobody is let through to the database.
    package var isRefusing: Bool { breaker == "open" || breaker == "forced_open" }
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
