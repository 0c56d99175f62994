import Kernel
import Testing

@testable import HTTPAPI

/// RFC 7578, in pieces of every size.
@Suite struct MultipartFormTests {
    /// A form with these contents of its file.
    private static func form(_ file: [UInt8]) -> [UInt8] {
        Array("preamble\r\n--AbC123\r\nContent-Disposition: form-data; name=\"caption\"\r\n\r\nolá; tudo \"bem\"?\r\n".utf8)
            + Array("--AbC123\r\nContent-Disposition: form-data; name=\"outro\"\r\n\r\n\r\n".utf8)
            + Array("--AbC123\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a \\\"b\\\".png\"\r\nContent-Type: image/png\r\n\r\n".utf8)
            + file + Array("\r\n--AbC123\r\nContent-Disposition: form-data; name=\"filename\"\r\n\r\nx.png\r\n--AbC123--\r\nepilogue".utf8)
    }

    /// What a form says, with the pieces of its file put together.
    private func read(_ body: [UInt8], inPiecesOf size: Int) throws -> (
        fields: [String: String], file: [UInt8], name: String?, type: String?, isComplete: Bool
    ) {
        var form = MultipartForm(boundary: "AbC123")
        var (fields, file, name, type): ([String: String], [UInt8], String?, String?) = ([:], [], nil, nil)
        var rest = body[...]
        while !rest.isEmpty {
            for event in try form.received(Array(rest.prefix(size))) {
                switch event {
                case .field(let name, let value): fields[name] = value
                case .fileBegan(let filename, let contentType): (name, type) = (filename, contentType)
                case .fileBytes(let bytes): file += bytes
                }
            }
            rest = rest.dropFirst(size)
        }
        return (fields, file, name, type, form.isComplete)
    }

    @Test(arguments: Array(1...90) + [4096]) func theSameIsReadInPiecesOfAnySize(_ size: Int) throws {
        for file in [
            Array("\r\n--not the boundary\r\n--AbC12\r\n\u{0}\r\n\r\n-".utf8), [], [0x0d], Array("\r\n".utf8), Array(repeating: 0x2d, count: 200),
        ] {
            let read = try read(Self.form(file), inPiecesOf: size)
            #expect(read.fields == ["caption": "olá; tudo \"bem\"?", "filename": "x.png"])
            #expect(read.file == file)
            #expect(read.name == "a \"b\".png")
            #expect(read.type == "image/png")
            #expect(read.isComplete)
        }
    }

    @Test func aFormThatIsCutShortIsNotComplete() throws {
        let whole = Self.form([1, 2, 3])
        let end = whole.count - "\r\nepilogue".utf8.count
        for length in 0..<end { #expect(try !read(Array(whole[..<length]), inPiecesOf: 7).isComplete, "\(length) of \(end)") }
    }

    @Test func whatHasNoEndIsRefused() {
        var headers = MultipartForm(boundary: "b")
        #expect(throws: Refusal.self) {
            _ = try headers.received(Array("--b\r\n".utf8) + Array(repeating: 0x61, count: MultipartForm.maxHeaderBytes + 1))
        }
        var field = MultipartForm(boundary: "b")
        #expect(throws: Refusal.self) {
            _ = try field.received(
                Array("--b\r\nContent-Disposition: form-data; name=\"caption\"\r\n\r\n".utf8)
                    + Array(repeating: 0x61, count: MultipartForm.maxFieldBytes + 10)
            )
        }
        var parts = MultipartForm(boundary: "b")
        #expect(throws: Refusal.self) {
            for _ in 0...MultipartForm.maxParts {
                _ = try parts.received(Array("--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n\r\n".utf8))
            }
        }
    }

    @Test func theBoundaryIsReadAsClientsWriteIt() {
        #expect(MultipartForm.boundary(in: "multipart/form-data; boundary=abc") == "abc")
        #expect(MultipartForm.boundary(in: "multipart/form-data; charset=utf-8; Boundary=\"a=b\"") == "a=b")
        #expect(MultipartForm.boundary(in: "multipart/form-data") == nil)
        #expect(MultipartForm.boundary(in: "multipart/form-data; boundary=") == nil)
        #expect(MultipartForm.boundary(in: "multipart/form-data; boundary=" + String(repeating: "a", count: 71)) == nil)
    }
}

@Suite struct ByteRangeTests {
    @Test(arguments: [
        ("bytes=0-0", ByteRange.part(0..<1)), ("bytes=0-", .part(0..<10)), ("bytes=3-5", .part(3..<6)), ("bytes=8-99", .part(8..<10)),
        ("bytes=-3", .part(7..<10)),
        ("bytes=-30", .part(0..<10)), ("bytes=10-", .unsatisfiable), ("bytes=-0", .unsatisfiable), ("bytes=5-3", .whole), ("bytes=1-2,4-5", .whole),
        ("items=0-1", .whole),
        ("bytes=", .whole), ("bytes=-", .whole), ("bytes=99999999999999999999-", .whole), ("bytes=+1-2", .whole),
    ]) func aRangeIsReadAsRFC9110Says(_ header: String, _ expected: ByteRange) {
        #expect(ByteRange.read(header, size: 10) == expected)
    }

    @Test func nothingOfAnEmptyFileCanBeHad() {
        #expect(ByteRange.read("bytes=0-", size: 0) == .unsatisfiable)
        #expect(ByteRange.read("bytes=-1", size: 0) == .unsatisfiable)
    }
}
