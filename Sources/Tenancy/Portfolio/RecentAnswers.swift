import OrderedCollections

/// What was decided lately, by its key: whoever looked at what is stored before that was there, and decides after, finds it here.
struct RecentAnswers<Key: Hashable & Sendable, Answer: Sendable>: Sendable {
    private var answers: OrderedDictionary<Key, Answer> = [:]
    private let limit: Int

    /// - Parameter limit: how many are kept; the oldest are forgotten.
    init(limit: Int) { self.limit = limit }

    subscript(key: Key) -> Answer? { answers[key] }

    mutating func keep(_ answer: Answer, for key: Key) {
        answers[key] = answer
        // Half at a time, so that each costs little.
        if answers.count > limit { answers.removeFirst(limit / 2) }
    }
}
