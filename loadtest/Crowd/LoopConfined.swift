import NIOCore
import NIOPosix

/// Something that lives on the generator's event loop and is touched only there; everybody else sends it closures.
struct LoopConfined<Value>: Sendable {
    private let box: NIOLoopBoundBox<Value>
    private let loop: any EventLoop

    init(on loop: any EventLoop = Generator.loop, _ make: @escaping @Sendable () throws -> Value) async throws {
        self.loop = loop
        box = try await loop.submit { NIOLoopBoundBox(try make(), eventLoop: loop) }.get()
    }

    /// For others on the same loop.
    var reference: NIOLoopBoundBox<Value> { box }

    func run<Result: Sendable>(_ body: @escaping @Sendable (Value) throws -> Result) async throws -> Result {
        try await loop.submit { [box] in try body(box.value) }.get()
    }
}

/// The one event loop on which all clients and publishers live, so that the generator takes one core at the most.
enum Generator {
    static let loop: any EventLoop = MultiThreadedEventLoopGroup(numberOfThreads: 1).next()

    /// Polls until `condition` holds; false if it did not within `seconds`.
    static func wait(seconds: Double, every milliseconds: Int = 20, _ condition: () async throws -> Bool) async throws -> Bool {
        let end = ContinuousClock.now + .seconds(seconds)
        while true {
            if try await condition() { return true }
            if ContinuousClock.now >= end { return false }
            try await Task.sleep(for: .milliseconds(milliseconds))
        }
    }
}
