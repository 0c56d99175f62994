import Foundation
import NIOCore

enum Processors {
    /// The cores that this process may run on: its affinity (`taskset`, cpusets; proc(5), Cpus_allowed), and a container's quota.
    static var available: Int {
        let status = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8)) ?? ""
        let mask = status.split(separator: "\n").first { $0.hasPrefix("Cpus_allowed:") }?.dropFirst("Cpus_allowed:".count) ?? ""
        let allowed = mask.compactMap(\.hexDigitValue).reduce(0) { $0 + $1.nonzeroBitCount }
        return allowed == 0 ? System.coreCount : min(allowed, System.coreCount)
    }
}
