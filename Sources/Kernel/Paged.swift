/// An array in pages, each copied only when it is changed while somebody still holds an older copy of it.
///
/// Whoever reads a hundred thousand elements takes a copy, which costs as many references as there are pages, and reads it beside the writer.
package struct Paged<Element: Sendable>: Sendable, RandomAccessCollection {
    package static var pageSize: Int { 256 }
    private var pages: [[Element]] = []
    /// For each page, when it was last changed; counts changes of the whole.
    package private(set) var versions: [UInt64] = []
    private var changes: UInt64 = 0
    package private(set) var count = 0

    package init() {}

    package var startIndex: Int { 0 }
    package var endIndex: Int { count }

    package subscript(position: Int) -> Element {
        get { pages[position >> 8][position & 255] }
        _modify {
            changes += 1
            versions[position >> 8] = changes
            yield &pages[position >> 8][position & 255]
        }
    }

    package mutating func append(_ element: Element) {
        if count & 255 == 0 {
            var page: [Element] = []
            page.reserveCapacity(count == 0 ? 4 : Self.pageSize)
            pages.append(page)
            versions.append(0)
        }
        changes += 1
        versions[count >> 8] = changes
        pages[count >> 8].append(element)
        count += 1
    }

    package mutating func removeLast() {
        count -= 1
        pages[count >> 8].removeLast()
        changes += 1
        versions[count >> 8] = changes
        guard count & 255 == 0 else { return }
        pages.removeLast()
        versions.removeLast()
    }
}
