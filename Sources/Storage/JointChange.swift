package import Kernel

/// What one live actor has decided together with another: the other one puts it into its own change, so that one commit has both (DESIGN §1).
package struct JointChange: Sendable {
    package let change: Change
    /// To be called by the gate with what became of the commit.
    package let release: Gate.Release

    package init(_ change: Change, release: @escaping Gate.Release) {
        self.change = change
        self.release = release
    }
}
