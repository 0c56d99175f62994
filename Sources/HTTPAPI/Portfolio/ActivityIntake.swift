import CustomerHealth
import Kernel
import NIOCore
import Tenancy
import Wire

/// Activities line by line as they come in, recorded a thousand lines at a time: however many there are, no more than that are in memory. A line that is wrong is
/// left out and reported; the others are recorded.
struct ActivityIntake {
    private static let batchLines = 1000
    private static let maxLineBytes = 64 << 10
    /// As many lines at fault are told in full.
    private static let maxReported = 100

    let operations: Operations
    let tenant: TenantID
    /// Lines recorded under this key before are not recorded again, and what was left out then is left out again.
    let key: String?
    private var rest: [UInt8] = []
    private var line = 0
    private var batch: [(line: Int, activity: Activity)] = []
    /// The wrong ones of its lines.
    private var wrongInBatch: [Int] = []
    /// Of all its lines as they came.
    private var digestOfBatch = RequestDigest()
    private var linesInBatch = 0
    private var accepted = 0
    private var refused = 0
    private var faults: [(line: Int, error: String)] = []

    init(operations: Operations, tenant: TenantID, key: String?) {
        self.operations = operations
        self.tenant = tenant
        self.key = key
    }

    mutating func take(_ buffer: ByteBuffer) async throws(Refusal) {
        var bytes = buffer.readableBytesView[...]
        while let end = bytes.firstIndex(of: UInt8(ascii: "\n")) {
            rest.append(contentsOf: bytes[..<end])
            bytes = bytes[(end + 1)...]
            try await takeLine()
        }
        rest.append(contentsOf: bytes)
        if rest.count > Self.maxLineBytes {
            throw Refusal(
                .tooLarge,
                "line_too_large",
                "A linha \(line + 1) passa de \(Self.maxLineBytes) bytes; as \(line - linesInBatch) anteriores já foram gravadas.",
                facts: ["limit": String(Self.maxLineBytes)]
            )
        }
    }

    mutating func finish() async throws(Refusal) {
        if !rest.isEmpty { try await takeLine() }
        try await record()
    }

    private mutating func takeLine() async throws(Refusal) {
        line += 1
        linesInBatch += 1
        if key != nil {
            digestOfBatch.take(rest)
            digestOfBatch.take(UInt8(ascii: "\n"))
        }
        if rest.last == UInt8(ascii: "\r") { rest.removeLast() }
        if !rest.isEmpty {
            do throws(Refusal) {
                guard let json = try? JSON.parse(rest) else { throw .invalid([.init(["body"], "JSON inválido", type: "json_invalid")]) }
                batch.append((line, try Activity(json, at: ["body"], now: operations.environment.now())))
            } catch {
                refuse(line, error.message)
                wrongInBatch.append(line)
            }
        }
        rest.removeAll(keepingCapacity: true)
        if linesInBatch == Self.batchLines { try await record() }
    }

    private mutating func refuse(_ line: Int, _ reason: String) {
        refused += 1
        if faults.count < Self.maxReported { faults.append((line, reason)) }
    }

    private mutating func record() async throws(Refusal) {
        defer {
            batch.removeAll(keepingCapacity: true)
            wrongInBatch.removeAll()
            digestOfBatch = RequestDigest()
            linesInBatch = 0
        }
        guard !batch.isEmpty else { return }
        // The same lines of the same stream make the same batches.
        let outcome = try await operations.record(
            ActivityBatch(batch, left: wrongInBatch, key: key.map { "\($0) \(line)" }, digest: digestOfBatch.text, tenant),
            tenant
        )
        accepted += outcome.recorded
        for (line, activity) in batch where outcome.left.contains(line) {
            refuse(
                line,
                outcome.isRepeat
                    ? "foi recusada da primeira vez; envie-a de novo sob outra chave" : "body.tenant_id: não há cliente \(activity.customer)"
            )
        }
    }

    /// `{aceitas, recusadas, erros: [{linha, erro}]}`; of the lines at fault the first hundred.
    func write(to writer: inout JSONWriter) {
        writer.field("aceitas", accepted)
        writer.field("recusadas", refused)
        writer.list("erros") { list in
            for fault in faults.sorted(by: { $0.line < $1.line }) {
                list.object {
                    $0.field("linha", fault.line)
                    $0.field("erro", fault.error)
                }
            }
        }
    }
}
