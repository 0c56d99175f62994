import Wire

// Whose bytes they are, on a connection to the one port.
//
//     silent ──first request──▶ http ──a request asks for a WebSocket, whole, and every answer before it is out──▶ switching ──▶ over
//        │                      │  ▲                                                                                 ▲
//        │                      └──┘ requests and answers                                                            │
//        └──the first request asks for one───────────────────────────────────────────────────────────────────────────┘
//
// A WebSocket may be asked for by any request of a connection (RFC 9110 §7.8), also by one that was sent before the answers to earlier ones had come.
// Those come first, each in its turn, and then the handshake's.
//
// Invariants
// 1. No more bytes are read between a request that asks for an upgrade and its answer: they are another protocol's, and the HTTP parser keeps what it has.
// 2. A request that asks for some other protocol is answered as if it had not asked (RFC 9110 §7.8); since the parser stops at it, it is the connection's last.

/// Counts requests and answers of one connection, and says when it stops being HTTP. `Head` is the head of a request.
struct UpgradeMachine<Head> {
    enum Asked {
        case nothing
        /// A WebSocket.
        case webSocket
        /// Another protocol, or a tunnel: nothing that is spoken here.
        case another
    }

    private enum State {
        case silent
        case http(owed: Int)
        /// The last request that can be read has come.
        case lastRequest(isWhole: Bool, owed: Int)
        case asked(Head, isWhole: Bool, owed: Int)
        case switching
        case over
    }

    enum Request {
        /// The first of its connection: HTTP begins.
        case begin
        case pass
        /// For nobody: it is kept here.
        case keep
        /// The connection changes over, for this request.
        case change(Head)
        /// The parser has read on where it ought to have stopped: nothing of it can be trusted.
        case abandon
    }

    enum Answer: Equatable {
        case pass
        /// Nothing can be read after it: to be said in its head, and done at its end.
        case last
    }

    private var state = State.silent

    /// Whether bytes are to be read.
    var isReading: Bool {
        switch state {
        case .silent, .http: true
        case .asked(_, let isWhole, _), .lastRequest(let isWhole, _): !isWhole
        case .switching, .over: false
        }
    }

    /// Answers that are due.
    var owed: Int {
        switch state {
        case .http(let owed), .lastRequest(_, let owed), .asked(_, _, let owed): owed
        case .silent, .switching, .over: 0
        }
    }

    /// Nothing has been asked yet.
    var isSilent: Bool { if case .silent = state { true } else { false } }

    mutating func requestBegan(_ head: Head, asks asked: Asked) -> Request {
        let owed: Int
        let isFirst = isSilent
        switch state {
        case .silent: owed = 0
        case .http(let count): owed = count
        case .lastRequest, .asked, .switching, .over: return .abandon
        }
        switch asked {
        case .nothing: state = .http(owed: owed + 1)
        case .another: state = .lastRequest(isWhole: false, owed: owed + 1)
        case .webSocket:
            state = .asked(head, isWhole: false, owed: owed)
            return .keep
        }
        return isFirst ? .begin : .pass
    }

    mutating func requestWentOn() -> Request { if case .asked = state { .keep } else { .pass } }

    mutating func requestEnded() -> Request {
        switch state {
        case .asked(let head, false, let owed):
            state = .asked(head, isWhole: true, owed: owed)
            return changeIfDue() ?? .keep
        case .lastRequest(_, let owed): state = .lastRequest(isWhole: true, owed: owed)
        default: break
        }
        return .pass
    }

    /// Part of an answer goes out.
    func answerWentOut() -> Answer { if case .lastRequest(_, owed: 1) = state { .last } else { .pass } }

    /// An answer's end has gone out. A change that was waiting for it is due.
    mutating func answerEnded() -> Request {
        switch state {
        case .http(let owed): state = .http(owed: owed - 1)
        case .lastRequest(let isWhole, let owed): state = owed == 1 ? .over : .lastRequest(isWhole: isWhole, owed: owed - 1)
        case .asked(let head, let isWhole, let owed):
            state = .asked(head, isWhole: isWhole, owed: owed - 1)
            return changeIfDue() ?? .pass
        case .silent, .switching, .over: break
        }
        return .pass
    }

    private mutating func changeIfDue() -> Request? {
        guard case .asked(let head, true, owed: 0) = state else { return nil }
        state = .switching
        return .change(head)
    }
}

extension UpgradeMachine.Asked {
    /// What a request asks for, as the parser reads it, which takes what follows for another protocol's when both headers are there.
    init(isConnect: Bool, headers values: (String) -> [String]) {
        if isConnect {
            self = .another
        } else if WebSocketHandshake.isUpgrade(headers: values) {
            self = WebSocketHandshake.isAsked(headers: values) ? .webSocket : .another
        } else {
            self = .nothing
        }
    }
}

extension UpgradeMachine.Request: Equatable where Head: Equatable {}
