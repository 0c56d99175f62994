import Kernel
import Wire

// The `id` of a server-sent event (WHATWG HTML §9.2): where the client is in every channel of its stream once it has the event.
//
//     id = position *("_" position)        one for each channel, in the order of their names
//     position = epoch "." offset          both in base 36
//
// The channels are not named: who comes back asks for the same ones. If it does not, an epoch is not the stream's, and the answer is a snapshot.

/// The positions of a stream's channels.
struct EventPositions {
    private var positions: [(channel: String, position: StreamPosition)] = []

    init(_ positions: some Sequence<(channel: String, position: StreamPosition)> = []) {
        for (channel, position) in positions { set(channel, position) }
    }

    var isEmpty: Bool { positions.isEmpty }
    subscript(channel: String) -> StreamPosition? { positions.first { $0.channel == channel }?.position }

    mutating func set(_ channel: String, _ position: StreamPosition) {
        let index = positions.firstIndex { $0.channel >= channel } ?? positions.count
        if index < positions.count, positions[index].channel == channel {
            positions[index].position = position
        } else {
            positions.insert((channel, position), at: index)
        }
    }

    /// - Returns: whether the channel is one of them.
    mutating func advance(_ channel: String, to offset: UInt64) -> Bool {
        guard let index = positions.firstIndex(where: { $0.channel == channel }) else { return false }
        positions[index].position.offset = offset
        return true
    }

    var id: [UInt8] {
        var id: [UInt8] = []
        id.reserveCapacity(20 * positions.count)
        for (_, position) in positions {
            if !id.isEmpty { id.append(UInt8(ascii: "_")) }
            id += position.epoch.utf8
            id.append(UInt8(ascii: "."))
            id += String(position.offset, radix: 36).utf8
        }
        return id
    }

    /// What an id says of the channels that a client asks for. Nothing, if it is not of as many.
    static func positions(_ id: String, of channels: some Collection<String>) -> [String: StreamPosition] {
        let parts = id.split(separator: "_", omittingEmptySubsequences: false)
        guard parts.count == channels.count else { return [:] }
        var positions: [String: StreamPosition] = [:]
        for (channel, part) in zip(channels.sorted(), parts) {
            let halves = part.split(separator: ".", omittingEmptySubsequences: false)
            guard halves.count == 2, !halves[0].isEmpty, halves[0].utf8.count <= 32, let offset = UInt64(halves[1], radix: 36) else { return [:] }
            positions[channel] = StreamPosition(epoch: String(halves[0]), offset: offset)
        }
        return positions
    }
}
