/// Files to and from WhatsApp: the Cloud API, or nothing where the simulator stands in for it.
package protocol WhatsAppMedia: Sendable {
    /// Fetches what a customer sent, piece by piece. The id dies within days and the address behind it within five minutes, so each attempt asks for a
    /// new address (research/conversations.md §5.5).
    /// - Parameter receive: is given each piece in order; what it throws ends the download.
    func download(
        _ mediaID: String,
        maxBytes: Int,
        credentials: WhatsAppCredentials,
        receive: @Sendable ([UInt8]) async throws -> Void
    ) async -> MediaDownload
    /// Hands a file over, to be sent by the id it gets. Nothing reaches the customer by it, so it may be repeated.
    /// - Parameter read: gives the bytes from an offset on, at most so many.
    func upload(
        _ file: MediaUploadFile,
        credentials: WhatsAppCredentials,
        read: @escaping @Sendable (Int, Int64) async throws -> [UInt8]
    ) async -> MediaUpload
}

package struct MediaUploadFile: Sendable {
    package let size: Int64
    package let mimeType: String
    package let filename: String

    package init(size: Int64, mimeType: String, filename: String) {
        self.size = size
        self.mimeType = mimeType
        self.filename = filename
    }
}

package enum MediaDownload: Sendable, Equatable {
    /// Everything was received. The digest is WhatsApp's own word, in hexadecimal.
    case done(mimeType: String?, sha256: String?)
    /// It cannot be had, and never will: expired, too large, refused. A sentence for people.
    case impossible(String)
    /// To be tried again, from a new address.
    case again(reason: String)
}

package enum MediaUpload: Sendable, Equatable {
    case uploaded(id: String)
    case refused(code: Int, title: String, action: ErrorAction)
    case again(after: Duration?, code: Int?, reason: String)
}

/// What a customer sees of us beside messages. Losing one of these is no harm, so they are tried once.
package protocol WhatsAppSignals: Sendable {
    /// Two blue ticks on the message and all before it; `typing` shows for about 25 seconds that somebody writes.
    func markRead(_ wamid: String, typing: Bool, credentials: WhatsAppCredentials) async
}
