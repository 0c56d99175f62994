import Wire

// The body of `:streamGenerateContent?alt=sse` (research/conversations.md §7), whatever the pieces that it comes in.
//
//     data: {a whole response object}⏎⏎        one event (WHATWG HTML §9.2.6); lines end in LF, CR LF or CR
//     : comment⏎                                passed over, as are `event`, `id` and `retry`
//     {"error": …}                              an error in mid-stream comes without `data:`
//     [{…}, {…}]                                the whole body, when the server does not know `alt=sse`
//
// There is no `[DONE]`: the end of the body is the end. Pieces are cut anywhere, also inside a character: lines are put together from bytes before they are read.

package struct GeminiStreamParser: Sendable {
    package enum Event: Sendable, Equatable {
        case chunk(GeminiChunk)
        case failure(GeminiFailure)
    }

    /// A line or the text outside of events, at the most.
    package static let maxBytes = 4 << 20

    private var line: [UInt8] = []
    private var endedWithCR = false
    private var isAtStart = true
    private var data: [UInt8] = []
    private var hasData = false
    /// What is no line of an event stream.
    private var stray: [UInt8] = []
    private var isOver = false

    package init() {}

    package mutating func receive(_ bytes: some Sequence<UInt8>) -> [Event] {
        var events: [Event] = []
        for byte in bytes where !isOver {
            if endedWithCR, byte == UInt8(ascii: "\n") {
                endedWithCR = false
                continue
            }
            endedWithCR = byte == UInt8(ascii: "\r")
            if byte == UInt8(ascii: "\n") || endedWithCR {
                endLine(&events)
            } else {
                line.append(byte)
                if line.count + data.count + stray.count > Self.maxBytes { fail(.malformed, &events) }
            }
        }
        return events
    }

    /// The body has ended.
    package mutating func finish() -> [Event] {
        var events: [Event] = []
        if !isOver, !line.isEmpty { endLine(&events) }
        // The last event may lack its empty line.
        if !isOver, hasData { dispatch(&events) }
        if !isOver, !stray.isEmpty { readStray(&events) }
        isOver = true
        return events
    }

    private mutating func endLine(_ events: inout [Event]) {
        var line = line[...]
        self.line.removeAll(keepingCapacity: true)
        if isAtStart {
            isAtStart = false
            if line.starts(with: [0xef, 0xbb, 0xbf]) { line = line.dropFirst(3) }
        }
        if line.isEmpty {
            if hasData { dispatch(&events) }
        } else if let value = Self.value(of: "data", line) {
            if hasData { data.append(UInt8(ascii: "\n")) }
            data += value
            hasData = true
        } else if line.first == UInt8(ascii: ":") || ["event", "id", "retry"].contains(where: { Self.value(of: $0, line) != nil }) {
        } else if stray.isEmpty, let json = try? JSON.parse(line), let failure = GeminiFailure(json) {
            fail(failure, &events)
        } else {
            stray += line
            stray.append(UInt8(ascii: "\n"))
        }
    }

    /// The value of a field, without the one space that may follow the colon.
    private static func value(of field: String, _ line: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard line.starts(with: field.utf8) else { return nil }
        let rest = line.dropFirst(field.utf8.count)
        guard rest.first == UInt8(ascii: ":") else { return nil }
        return rest.dropFirst(rest.dropFirst().first == UInt8(ascii: " ") ? 2 : 1)
    }

    private mutating func dispatch(_ events: inout [Event]) {
        defer {
            data.removeAll(keepingCapacity: true)
            hasData = false
        }
        guard let json = try? JSON.parse(data), json.object != nil else { return fail(.malformed, &events) }
        take(json, &events)
    }

    private mutating func readStray(_ events: inout [Event]) {
        guard let json = try? JSON.parse(stray) else { return fail(.malformed, &events) }
        for element in json.array ?? [json] where !isOver { take(element, &events) }
    }

    private mutating func take(_ json: JSON, _ events: inout [Event]) {
        if let failure = GeminiFailure(json) { fail(failure, &events) } else { events.append(.chunk(GeminiChunk(json))) }
    }

    private mutating func fail(_ failure: GeminiFailure, _ events: inout [Event]) {
        events.append(.failure(failure))
        isOver = true
    }
}
