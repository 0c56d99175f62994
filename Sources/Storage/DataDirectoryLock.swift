import Foundation

#if canImport(Glibc)
    import Glibc
#else
    import Darwin
#endif

/// Keeps a second process off the data directory: an exclusive `flock` on `plantao.lock`, which the system lets go of when the process ends, however
/// it ends. Makes the directory when there is none.
final class DataDirectoryLock: Sendable {
    private let descriptor: Int32

    init(directory: String) throws {
        do {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch {
            throw StartupError(
                "PLANTAO_DATA: the directory '\(directory)' cannot be created (\(error.localizedDescription)). Name one that this user can write."
            )
        }
        let path = directory + "/plantao.lock"
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw StartupError(
                "PLANTAO_DATA: '\(path)' cannot be opened (\(String(cString: strerror(errno)))). Name a directory that this user can write."
            )
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            close(descriptor)
            throw StartupError("PLANTAO_DATA: another plantao process is using '\(directory)'. Stop it first, or name another directory.")
        }
    }

    /// Lets the next one in. Not to be called twice.
    func release() { flock(descriptor, LOCK_UN) }

    deinit { close(descriptor) }
}
