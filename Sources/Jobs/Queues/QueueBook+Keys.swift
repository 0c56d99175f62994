extension QueueBook {
    /// Whether a message under this key is in memory, or was lately: another one is not taken.
    package func isKnown(_ key: String) -> Bool { keys[key] != nil }
}
