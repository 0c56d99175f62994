import Foundation
import Kernel
import Logging
import Wire

/// One JSON object per line on standard error: `time`, `level`, `message`, and the metadata as members, so that a request's line has `request`, `response` or `error` at the top as
/// in contracts/consultores.md "Formato dos Logs".
struct JSONLogHandler: LogHandler {
    var metadata: Logger.Metadata = [:]
    var logLevel: Logger.Level
    let label: String

    subscript(metadataKey key: String) -> Logger.MetadataValue? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        var writer = JSONWriter()
        let all = metadata.merging(event.metadata ?? [:]) { _, own in own }
        writer.object { line in
            line.field("time", Kernel.Environment.system.now().description)
            line.field("level", event.level.rawValue)
            line.field("logger", label)
            line.field("message", event.message.description)
            for (name, value) in all.sorted(by: { $0.key < $1.key }) where name != "hb.request.id" {
                line.key(name)
                Self.write(value, &line)
            }
        }
        let line = writer.bytes + [UInt8(ascii: "\n")]
        // One write per line, so that lines of different threads do not mix. A log that cannot be written must not stop the server.
        line.withUnsafeBytes { _ = Foundation.write(STDERR_FILENO, $0.baseAddress, $0.count) }
    }

    private static func write(_ value: Logger.MetadataValue, _ writer: inout JSONWriter) {
        switch value {
        case .string(let text): writer.string(text)
        case .stringConvertible(let value):
            if let number = value as? any BinaryInteger { writer.int(Int64(clamping: number)) } else { writer.string(value.description) }
        case .array(let values): writer.array { for value in values { write(value, &$0) } }
        case .dictionary(let values):
            writer.object {
                for (name, value) in values.sorted(by: { $0.key < $1.key }) {
                    $0.key(name)
                    write(value, &$0)
                }
            }
        }
    }
}
