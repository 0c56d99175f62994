/// The serial executor that all live actors of one tenant share.
///
/// Actors on it can call one another within a single synchronous turn (`assumeIsolated`), so that a decision which touches two of them, such as
/// handing a conversation to the consultor whose turn it is, is one turn and one `Change`, with no `await` in between.
package actor TenantTurn {
    package init() {}
}
