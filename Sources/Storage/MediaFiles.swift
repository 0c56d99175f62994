package import Kernel
import NIOPosix

import struct Foundation.Data
import class Foundation.FileHandle
import class Foundation.FileManager

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// What customers and agents sent beside words: files in the data directory, one folder for each tenant, named by an id that is never used twice.
///
///     <PLANTAO_DATA>/media/<tenant>/<id>        whole, on disk before any row names it
///     <PLANTAO_DATA>/media/<tenant>/<id>.part   being written; of no use after a crash
///
/// A name is made of two ids and nothing else, so no client has a say in a path.
package struct MediaFiles: Sendable {
    package enum Identity {}
    package typealias ID = Identifier<Identity>

    private let directory: String

    package init(dataDirectory: String) { directory = dataDirectory + "/media" }

    package func path(_ id: ID, of tenant: TenantID) -> String { "\(directory)/\(tenant)/\(id)" }

    /// A file to be filled, and kept or thrown away.
    package func begin(_ id: ID, of tenant: TenantID) async throws -> MediaDraft {
        let (folder, path) = ("\(directory)/\(tenant)", path(id, of: tenant))
        return try await Self.onThread {
            try FileManager.default.createDirectory(
                atPath: folder,
                withIntermediateDirectories: true,
                attributes: [.posixPermissions: 0o700]
            )
            return try MediaDraft(path: path)
        }
    }

    package func remove(_ id: ID, of tenant: TenantID) async {
        let path = path(id, of: tenant)
        try? await Self.onThread { try FileManager.default.removeItem(atPath: path) }
    }

    /// `nil` when there is no such file.
    package func open(_ id: ID, of tenant: TenantID) async -> MediaReader? {
        let path = path(id, of: tenant)
        return try? await Self.onThread { try MediaReader(path: path) }
    }

    /// Files may lie on a slow disk: nobody who runs on the shared threads waits for it.
    static func onThread<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
        try await NIOThreadPool.singleton.runIfActive(body)
    }
}

/// What went wrong with a file, in the system's words.
package struct MediaFileError: Error, CustomStringConvertible {
    package let description: String
    init(_ doing: String) { description = "\(doing): \(String(cString: strerror(errno)))" }
}

/// A file being written. Used by one task at a time; whoever began it ends it by `keep` or `discard`.
package final class MediaDraft: @unchecked Sendable {
    private let path: String
    private var descriptor: Int32

    init(path: String) throws {
        self.path = path
        descriptor = Glibc.open(path + ".part", O_CREAT | O_TRUNC | O_RDWR | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw MediaFileError("creating a media file") }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    package var partPath: String { path + ".part" }

    package func append(_ bytes: [UInt8]) async throws {
        let descriptor = descriptor
        try await MediaFiles.onThread {
            var written = 0
            while written < bytes.count {
                let count = bytes.withUnsafeBytes { write(descriptor, $0.baseAddress! + written, bytes.count - written) }
                guard count > 0 || errno == EINTR else { throw MediaFileError("writing a media file") }
                written += max(count, 0)
            }
        }
    }

    /// Returns once it is on disk under its name.
    package func keep() async throws {
        let (descriptor, path) = (descriptor, path)
        self.descriptor = -1
        try await MediaFiles.onThread {
            defer { close(descriptor) }
            guard fsync(descriptor) == 0, rename(path + ".part", path) == 0 else { throw MediaFileError("keeping a media file") }
            let folder = Glibc.open(String(path[..<path.lastIndex(of: "/")!]), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            guard folder >= 0 else { throw MediaFileError("keeping a media file") }
            defer { close(folder) }
            guard fsync(folder) == 0 else { throw MediaFileError("keeping a media file") }
        }
    }

    package func discard() async {
        let (descriptor, path) = (descriptor, path)
        self.descriptor = -1
        try? await MediaFiles.onThread {
            if descriptor >= 0 { close(descriptor) }
            unlink(path + ".part")
        }
    }
}

/// A file being read, in pieces.
package final class MediaReader: Sendable {
    private let descriptor: Int32
    package let size: Int64

    package init(path: String) throws {
        descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw MediaFileError("opening a media file") }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else {
            close(descriptor)
            throw MediaFileError("opening a media file")
        }
        size = Int64(status.st_size)
    }

    deinit { close(descriptor) }

    /// Fewer bytes than asked for only at the end.
    package func read(_ count: Int, at offset: Int64) async throws -> [UInt8] {
        let descriptor = descriptor
        return try await MediaFiles.onThread {
            var bytes = [UInt8](repeating: 0, count: count)
            var filled = 0
            while filled < count {
                let got = bytes.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress! + filled, count - filled, off_t(offset) + off_t(filled)) }
                if got == 0 { break }
                guard got > 0 || errno == EINTR else { throw MediaFileError("reading a media file") }
                filled += max(got, 0)
            }
            bytes.removeLast(count - filled)
            return bytes
        }
    }
}
