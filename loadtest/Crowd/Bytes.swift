import Glibc

extension UnsafeRawBufferPointer {
    /// Where `mark` begins, from `start` on and wholly before `end`; found by its first byte, which should be a rare one.
    func firstIndex(of mark: StaticString, from start: Int = 0, to end: Int? = nil) -> Int? {
        firstIndex(of: UnsafeRawBufferPointer(start: mark.utf8Start, count: mark.utf8CodeUnitCount), from: start, to: end)
    }

    func firstIndex(of mark: UnsafeRawBufferPointer, from start: Int = 0, to end: Int? = nil) -> Int? {
        guard let base = baseAddress, let wanted = mark.baseAddress, let first = mark.first else { return nil }
        let last = Swift.min(end ?? count, count) - mark.count
        var at = start
        while at <= last {
            guard let found = memchr(base + at, Int32(first), last - at + 1) else { return nil }
            at = UnsafeRawPointer(found) - base
            if memcmp(base + at, wanted, mark.count) == 0 { return at }
            at += 1
        }
        return nil
    }

    func has(_ mark: UnsafeRawBufferPointer, at index: Int) -> Bool {
        guard index >= 0, index + mark.count <= count, let base = baseAddress, let wanted = mark.baseAddress else { return false }
        return memcmp(base + index, wanted, mark.count) == 0
    }
}
