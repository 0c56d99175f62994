import NIOCore
import TestSupport
import Testing

@testable import RedisBus

@Suite struct CommandPipelineTests {
    private var pipeline = CommandPipeline(Self.configuration)
    private static let start = NIODeadline.uptimeNanoseconds(1_000_000_000_000)

    private static var configuration: RedisConfiguration {
        var configuration = RedisConfiguration(address: .unix(path: "/x"))
        (configuration.maxPendingCommands, configuration.maxPendingBytes) = (10, 100)
        return configuration
    }

    private func request(_ id: Int, replies: Int = 1, bytes: Int = 1, seconds: Int64 = 5, isBlocking: Bool = false) -> CommandPipeline.Request {
        .init(
            id: id,
            bytes: ByteBuffer(repeating: UInt8(truncatingIfNeeded: id), count: bytes),
            replies: replies,
            timeout: .seconds(seconds),
            isBlocking: isBlocking
        )
    }
    private func at(_ seconds: Int64) -> NIODeadline { Self.start + .seconds(seconds) }

    @Test mutating func whatWaitsIsSentInOrderWhenTheConnectionIsReady() {
        #expect(pipeline.submitted(request(1), at: at(0)) == [])
        #expect(pipeline.submitted(request(2), at: at(0)) == [])
        #expect(pipeline.connectionReady(at: at(1)) == [.send(request(1).bytes), .send(request(2).bytes)])
        #expect(pipeline.submitted(request(3), at: at(1)) == [.send(request(3).bytes)])
    }

    @Test mutating func repliesBelongToTheOldest() {
        _ = pipeline.connectionReady(at: at(0))
        _ = pipeline.submitted(request(1, replies: 2), at: at(0))
        _ = pipeline.submitted(request(2), at: at(0))
        #expect(pipeline.replyReceived(.integer(1), at: at(0)) == [])
        #expect(pipeline.replyReceived(.integer(2), at: at(0)) == [.answer(1, [.integer(1), .integer(2)])])
        #expect(pipeline.replyReceived(.null, at: at(0)) == [.answer(2, [.null])])
        #expect(pipeline.isIdle)
        #expect(pipeline.replyReceived(.null, at: at(0)) == [.condemn(.violation("an answer to nothing"))])
    }

    @Test mutating func whatWasSentIsNeverSentAgain() {
        _ = pipeline.connectionReady(at: at(0))
        _ = pipeline.submitted(request(1), at: at(0))
        #expect(pipeline.connectionLost(.closedByServer) == [.refuse(1, .connectionLost(.closedByServer))])
        _ = pipeline.submitted(request(2), at: at(0))
        #expect(pipeline.connectionReady(at: at(1)) == [.send(request(2).bytes)])
    }

    @Test mutating func whatWaitsForAConnectionWaitsUntilItsDeadline() {
        _ = pipeline.submitted(request(1, seconds: 5), at: at(0))
        _ = pipeline.submitted(request(2, seconds: 2), at: at(0))
        #expect(pipeline.wakeUp == at(2))
        #expect(pipeline.timePassed(at: at(2)) == [.refuse(2, .timedOut(wasSent: false))])
        #expect(pipeline.wakeUp == at(5))
        // Exactly at its deadline it is not sent any more.
        #expect(pipeline.connectionReady(at: at(5)) == [.refuse(1, .timedOut(wasSent: false))])
        #expect(pipeline.commands == 0 && pipeline.bytes == 0)
    }

    @Test mutating func oneThatTimesOutKeepsItsPlace() {
        _ = pipeline.connectionReady(at: at(0))
        _ = pipeline.submitted(request(1, seconds: 1), at: at(0))
        _ = pipeline.submitted(request(2), at: at(0))
        #expect(pipeline.timePassed(at: at(1)) == [.refuse(1, .timedOut(wasSent: true))])
        #expect(pipeline.replyReceived(.integer(1), at: at(2)) == [])
        #expect(pipeline.replyReceived(.integer(2), at: at(2)) == [.answer(2, [.integer(2)])])
    }

    @Test mutating func silenceForAWholeCommandTimeoutCondemnsTheConnection() {
        _ = pipeline.connectionReady(at: at(0))
        _ = pipeline.submitted(request(1, seconds: 1), at: at(0))
        _ = pipeline.submitted(request(2, seconds: 9), at: at(3))
        _ = pipeline.timePassed(at: at(1))
        #expect(pipeline.timePassed(at: at(4)) == [])
        #expect(pipeline.timePassed(at: at(5)) == [.condemn(.silent)])
        // Slow, but alive.
        _ = pipeline.replyReceived(.null, at: at(5))
        #expect(pipeline.timePassed(at: at(11)) == [])
        #expect(pipeline.timePassed(at: at(14)) == [.refuse(2, .timedOut(wasSent: true)), .condemn(.silent)])
    }

    @Test mutating func aBlockedReadMayBeSilentForItsOwnTime() {
        _ = pipeline.connectionReady(at: at(0))
        _ = pipeline.submitted(request(1, seconds: 35, isBlocking: true), at: at(0))
        #expect(pipeline.timePassed(at: at(34)) == [])
        #expect(pipeline.timePassed(at: at(35)) == [.refuse(1, .timedOut(wasSent: true)), .condemn(.silent)])
    }

    @Test mutating func boundsCountWhatIsSentToo() {
        _ = pipeline.connectionReady(at: at(0))
        _ = pipeline.submitted(request(1, replies: 6), at: at(0))
        #expect(pipeline.submitted(request(2, replies: 5), at: at(0)) == [.refuse(2, .overloaded)])
        #expect(pipeline.submitted(request(3, bytes: 100), at: at(0)) == [.refuse(3, .overloaded)])
        #expect(pipeline.submitted(request(4, bytes: 101), at: at(0)) == [.refuse(4, .tooLarge(bytes: 101, allowed: 100))])
        // One that nobody waits for any more still counts, until its replies are there.
        #expect(pipeline.cancelled(1) == [.refuse(1, .cancelled(wasSent: true))])
        #expect(pipeline.submitted(request(5, replies: 5), at: at(0)) == [.refuse(5, .overloaded)])
        for _ in 0..<6 { #expect(pipeline.replyReceived(.null, at: at(0)) == []) }
        #expect(pipeline.submitted(request(6, replies: 10, bytes: 100), at: at(0)) == [.send(request(6, replies: 10, bytes: 100).bytes)])
    }

    @Test mutating func whileUnavailableEverythingIsRefusedAtOnce() {
        _ = pipeline.submitted(request(1), at: at(0))
        #expect(pipeline.becameUnavailable(retryAfter: .seconds(30), at: at(0)) == [.refuse(1, .unavailable(retryAfter: .seconds(30)))])
        #expect(pipeline.submitted(request(2), at: at(10)) == [.refuse(2, .unavailable(retryAfter: .seconds(20)))])
        #expect(
            pipeline.submitted(request(3), at: at(40)) == [.refuse(3, .unavailable(retryAfter: .milliseconds(100)))],
            "while the probe is under way"
        )
        _ = pipeline.connectionReady(at: at(41))
        #expect(pipeline.submitted(request(4), at: at(41)) == [.send(request(4).bytes)])
    }

    @Test mutating func cancellingABlockedReadGivesItsConnectionUp() {
        _ = pipeline.connectionReady(at: at(0))
        _ = pipeline.submitted(request(1, isBlocking: true), at: at(0))
        #expect(pipeline.cancelled(1) == [.refuse(1, .cancelled(wasSent: true)), .giveUp])
        #expect(pipeline.cancelled(1) == [])
        #expect(pipeline.connectionLost(.closedByUs) == [])
        #expect(pipeline.isIdle)
    }

    @Test mutating func stoppedItRefusesAll() {
        _ = pipeline.connectionReady(at: at(0))
        _ = pipeline.submitted(request(1), at: at(0))
        #expect(pipeline.stopped() == [.refuse(1, .connectionLost(.closedByUs))])
        #expect(pipeline.submitted(request(2), at: at(0)) == [.refuse(2, .closed)])
        #expect(pipeline.connectionReady(at: at(0)) == [])
        #expect(pipeline.submitted(request(3), at: at(0)) == [.refuse(3, .closed)])
    }

    /// A server that is a queue of ids, and a caller who counts. Replies carry the id of the request they belong to.
    @Test func everyRequestGetsExactlyOneAnswerAndItIsItsOwn() {
        var random = SeededGenerator.fresh()
        for _ in 0..<200 {
            var pipeline = CommandPipeline(Self.configuration)
            var server: [(id: Int, missing: Int)] = []
            var wasSent: Set<Int> = []
            var requests: [Int: CommandPipeline.Request] = [:]
            var outcomes: [Int: Int] = [:]
            var isConnected = false
            var seconds: Int64 = 0
            func perform(_ outputs: [CommandPipeline.Output]) {
                var queue = outputs
                while !queue.isEmpty {
                    switch queue.removeFirst() {
                    case .send(let bytes):
                        let id = Int(bytes.getInteger(at: bytes.readerIndex, as: UInt8.self) ?? 0)
                        #expect(isConnected && wasSent.insert(id).inserted)
                        server.append((id, requests[id]?.replies ?? 0))
                    case .answer(let id, let replies):
                        outcomes[id, default: 0] += 1
                        #expect(replies == Array(repeating: .integer(id), count: requests[id]?.replies ?? 0))
                    case .refuse(let id, let error):
                        outcomes[id, default: 0] += 1
                        #expect(error.outcomeIsUnknown == wasSent.contains(id))
                    case .condemn, .giveUp:
                        isConnected = false
                        server = []
                        queue += pipeline.connectionLost(.silent)
                    }
                }
            }
            for id in 0..<100 {
                switch Int.random(in: 0..<12, using: &random) {
                case 0..<5:
                    requests[id] = request(
                        id,
                        replies: .random(in: 1...3, using: &random),
                        bytes: .random(in: 1...30, using: &random),
                        seconds: .random(in: 1...9, using: &random),
                        isBlocking: .random(using: &random)
                    )
                    perform(pipeline.submitted(requests[id]!, at: at(seconds)))
                case 5..<8 where isConnected && !server.isEmpty:
                    let id = server[0].id
                    server[0].missing -= 1
                    if server[0].missing == 0 { server.removeFirst() }
                    perform(pipeline.replyReceived(.integer(id), at: at(seconds)))
                case 8 where isConnected:
                    isConnected = false
                    server = []
                    perform(pipeline.connectionLost(.closedByServer))
                case 8:
                    isConnected = true
                    perform(pipeline.connectionReady(at: at(seconds)))
                case 9: perform(pipeline.cancelled(.random(in: 0...id, using: &random)))
                case 10:
                    seconds += .random(in: 1...4, using: &random)
                    perform(pipeline.timePassed(at: at(seconds)))
                    if let wakeUp = pipeline.wakeUp { #expect(wakeUp > at(seconds)) }
                default: if !isConnected { perform(pipeline.becameUnavailable(retryAfter: .seconds(3), at: at(seconds))) }
                }
                #expect(pipeline.commands <= 10 && pipeline.bytes <= 100)
            }
            perform(pipeline.stopped())
            #expect(outcomes == requests.mapValues { _ in 1 })
            #expect(pipeline.commands == 0 && pipeline.bytes == 0)
        }
    }
}
