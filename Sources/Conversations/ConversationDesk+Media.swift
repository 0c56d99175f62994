package import Kernel
import Wire

// A customer's file on its way in. The message is there at once with `state: pending`; a job fetches the file and the message says what became of it.
//
//     pending ──▶ stored | failed
//
// Fetching has no effect on anybody else, so an attempt cut off by a crash is simply made again.

/// What is to be fetched.
package struct MediaOrder: Sendable, Equatable {
    package let message: MessageID
    /// The provider's id of the file.
    package let mediaID: String
    package let mimeType: String?
    /// The digest of the file in Base64, as the provider announced it.
    package let sha256: String?
    package let phoneNumberID: String?
}

package enum MediaResult: Sendable, Equatable {
    /// - Parameter sha256: in hexadecimal.
    case stored(mimeType: String, size: Int64, sha256: String)
    case failed(String)
    case again
}

extension ConversationDesk {
    package static let mediaJobKind = "whatsapp.media"
    /// With the pauses between them, about an hour.
    package static let maxMediaAttempts = 10

    func mediaJob(_ message: Message, _ moment: Moment) -> Job {
        // A lane of its own: a large file keeps no message waiting.
        return Job(
            id: moment.id(),
            tenant: tenant,
            kind: Self.mediaJobKind,
            lane: "media:\(message.id)",
            order: 1,
            runAt: moment.now,
            payload: Self.jobPayload(message)
        )
    }

    /// - Returns: `nil` when there is nothing to fetch any more.
    /// - Precondition: the message is in memory, or there is none.
    package func mediaOrder(_ job: Job) -> MediaOrder? {
        guard let id = Self.message(of: job), let message = messages[id], let content = message.content.flatMap({ try? JSON.parse($0) }),
            content["state"]?.string == "pending", let mediaID = content["media_id"]?.string
        else { return nil }
        return MediaOrder(
            message: id,
            mediaID: mediaID,
            mimeType: content["mime_type"]?.string,
            sha256: content["sha256"]?.string,
            phoneNumberID: sessions[message.conversation]?.conversation.phoneNumberID
        )
    }

    /// - Returns: the job's next attempt; `nil` when it is over.
    /// - Precondition: the message is in memory, or there is none.
    package func mediaEnded(_ job: Job, _ result: MediaResult, _ moment: Moment) -> (Job?, Change) {
        var turn = Turn(moment)
        var result = result
        if result == .again {
            guard job.attempts + 1 >= Self.maxMediaAttempts else {
                var next = job
                next.attempts += 1
                next.runAt = moment.now + Self.pause(afterAttempt: next.attempts)
                turn.change.jobs.append(next)
                return (next, finish(turn))
            }
            result = .failed("Não foi possível baixar a mídia do WhatsApp")
        }
        turn.change.endedJobs.append(job)
        if let id = Self.message(of: job), var message = messages[id], let text = message.content, var content = try? JSON.parse(text) {
            switch result {
            case .stored(let mimeType, let size, let sha256):
                content = content.adding("state", "stored").adding("file", .string(id.description)).adding("mime_type", .string(mimeType))
                    .adding("size", .int(size)).adding("sha256", .string(sha256))
            case .failed(let reason): content = content.adding("state", "failed").adding("error", .string(reason))
            case .again: break
            }
            message.carries(content.text)
            update(message, &turn)
        }
        return (nil, finish(turn))
    }
}
