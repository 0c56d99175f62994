package import Hummingbird
import Kernel
import Logging
import NIOCore
import Synchronization

/// What goes with one request: its id, and what may be said of it in the log.
package struct APIContext: RequestContext {
    package typealias Source = ApplicationRequestContextSource

    package var coreContext: CoreRequestContextStorage
    /// Eight hexadecimal digits, as in contracts/consultores.md "Formato dos Logs", unless the client has named it. Also the header `X-Request-ID`.
    package internal(set) var requestID: String
    /// Ids and numbers for the log's response line. Never what somebody wrote.
    package let notes = RequestNotes()
    package let weight = RequestWeight()
    /// The other end of the connection.
    package let peer: ClientAddress?

    package init(source: Source) {
        coreContext = CoreRequestContextStorage(source: source)
        peer = source.channel.remoteAddress?.ipAddress.flatMap { ClientAddress($0) }
        let digits = String(UInt32.random(in: .min ... .max), radix: 16)
        requestID = String(repeating: "0", count: 8 - digits.count) + digits
    }
}

package final class RequestNotes: Sendable {
    private let values = Mutex<Logger.Metadata>([:])

    package func note(_ name: String, _ value: some CustomStringConvertible) { values.withLock { $0[name] = .string(value.description) } }
    /// A number is written as one.
    package func note(_ name: String, _ value: Int64) { values.withLock { $0[name] = .stringConvertible(value) } }
    package func note(_ name: String, _ value: Int) { values.withLock { $0[name] = .stringConvertible(value) } }
    var all: Logger.Metadata { values.withLock { $0 } }
}
