import Kernel
import Logging
import Synchronization

// The flusher: one task that brings what is owed to the database, in the portions that the queue hands out.

extension WriteBehindStore {
    func flush() async {
        while !state.withLock({ $0.isAbandoned }) {
            await retryWhatIsAsked()
            let now = environment.now()
            let (step, isStopping) = state.withLock { state in
                let isAwaited = !state.waiters.isEmpty || !state.retries.isEmpty || state.isStopping
                return (state.queue.next(now: now, isAwaited: isAwaited), state.isStopping)
            }
            switch step {
            case .idle:
                if isStopping { return }
                if state.withLock({ $0.retries.isEmpty }) { await idle() }
            case .linger(let wait): await bell.wait(upTo: wait)
            case .load(let sequences, let count): await load(sequences, count)
            case .write(let stretch): await write(WriteBehindQueue.latest(of: stretch))
            }
        }
    }

    /// Nothing is owed. Blocks that the gate's next commit would drop are dropped, when there is none for a while.
    func idle() async {
        let droppable = state.withLock { $0.droppable }
        await bell.wait(upTo: .seconds(droppable == nil ? 2 : 1))
        do throws(RemoteError) { try await database.attend() } catch {
            if error.kind == .usurped { usurped(error) }
        }
        guard let droppable, state.withLock({ $0.queue.rows == 0 && $0.droppable == droppable }) else { return }
        do throws(JournalError) {
            try file.drop(droppable)
            state.withLock { $0.dropped = max($0.dropped, droppable.upperBound) }
        } catch {
            logger.warning("the journal could not be shortened", metadata: ["reason": "\(error)"])
        }
    }

    func load(_ sequences: ClosedRange<Int64>, _ count: Int) async {
        do {
            let images = try await file.images(sequences)
            guard images.count == count else { throw ImageCodec.Unreadable(description: "blocks of \(sequences) are missing") }
            state.withLock { $0.queue.loaded(images) }
        } catch {
            logger.error("the journal could not be read", metadata: ["reason": "\(error)"])
            await pause(.seconds(1))
        }
    }

    func write(_ images: [RowImage]) async {
        let clock = ContinuousClock()
        let start = clock.now
        do throws(RemoteError) {
            try await database.write(images)
            let took = clock.now - start
            guard release(images) else {
                // Not done with: an older image left there could be written over these, later.
                state.withLock { $0.queue.postponed() }
                return await pause(.seconds(1))
            }
            let outage = state.withLock { state in
                state.queue.written(took: took)
                state.status.batches += 1
                state.status.writtenImages += images.count
                state.status.lastBatchTook = took
                defer { state.outage = nil }
                return state.outage
            }
            settings.batchWritten?(took)
            endFollowed()
            wakeReaders()
            if let outage {
                let left = state.withLock { $0.queue.rows }
                logger.notice(
                    "the database is back",
                    metadata: ["away_seconds": "\((environment.now() - outage.since).inMilliseconds / 1000)", "owed_rows": "\(left)"]
                )
            }
        } catch {
            state.withLock { $0.status.failedBatches += 1 }
            switch error.kind {
            case .content: await refused(error)
            case .timedOut:
                logger.warning("the database was too slow for a batch", metadata: ["rows": "\(images.count)", "reason": "\(error)"])
                state.withLock { $0.queue.timedOut() }
            case .unavailable(let retryAfter): await unavailable(error, retryAfter)
            case .usurped:
                usurped(error)
                await unavailable(error, .seconds(5))
            }
        }
    }

    func usurped(_ error: RemoteError) {
        let isNew = state.withLock { state in
            defer { state.isUsurped = true }
            return !state.isUsurped
        }
        if isNew { logger.critical("another server took over the database; commands are refused from now on", metadata: ["reason": "\(error)"]) }
    }

    func unavailable(_ error: RemoteError, _ retryAfter: Duration) async {
        let now = environment.now()
        let isNew = state.withLock { state in
            state.queue.postponed()
            let isNew = state.outage == nil
            state.outage = (state.outage?.since ?? now, now + retryAfter)
            return isNew
        }
        if isNew { logger.warning("the database cannot be written; the journal keeps what it is owed", metadata: ["reason": "\(error)"]) }
        await pause(max(retryAfter, .milliseconds(50)))
    }

    func refused(_ error: RemoteError) async {
        guard let image = state.withLock({ $0.queue.refused() }) else { return }
        do throws(JournalError) {
            try file.quarantine(image, reason: error.description, at: environment.now())
        } catch {
            // It stays owed, and is tried again.
            logger.error("a refused row could not be put in quarantine", metadata: ["reason": "\(error)"])
            state.withLock { $0.queue.postponed() }
            return await pause(.seconds(1))
        }
        logger.error(
            "the database will not take a row; it is in quarantine (GET /api/v1/storage)",
            metadata: ["table": "\(image.table.name)", "reason": "\(error)"]
        )
        state.withLock { state in
            if error.description.contains("23P01") { state.status.exclusions += 1 }
            state.queue.quarantined()
            state.quarantined.insert(.init(image))
        }
        wakeReaders()
    }

    /// Rows of which a newer image was taken must not stay in quarantine.
    func release(_ images: [RowImage]) -> Bool {
        let keys = state.withLock { state in
            state.quarantined.isEmpty ? [] : images.map(WriteBehindQueue.RowKey.init).filter(state.quarantined.contains)
        }
        if keys.isEmpty { return true }
        do throws(JournalError) {
            try file.release(keys)
            state.withLock { $0.quarantined.subtract(keys) }
            return true
        } catch {
            logger.warning("rows could not be let out of quarantine", metadata: ["reason": "\(error)"])
            return false
        }
    }

    /// Waits, but not once the server is stopping.
    func pause(_ duration: Duration) async {
        let clock = ContinuousClock()
        let end = clock.now + duration
        // Somebody may close the breaker by hand meanwhile.
        let wasRefused = database.status.isRefusing
        while clock.now < end, !state.withLock({ $0.isStopping }), !wasRefused || database.status.isRefusing {
            try? await clock.sleep(for: min(.milliseconds(100), end - clock.now))
        }
        if state.withLock({ $0.isStopping }) { try? await clock.sleep(for: .milliseconds(100)) }
    }
}
