import Foundation

/// A directory of its own for a test, gone with the last reference to it.
package final class TemporaryDirectory: Sendable {
    package let path = NSTemporaryDirectory() + "plantao-test-" + UUID().uuidString

    package init() {}

    deinit { try? FileManager.default.removeItem(atPath: path) }
}
