//! Seeded defects, to see that the tests catch them: a proof that cannot fail proves nothing.
//!
//! With the feature `zoo`, the environment variable `RETOLD_DEFECT` switches on one of them by its name. Without it,
//! which is how the program is built, every question is answered `false` by a constant, and nothing of this is left.
//! `tests/zoo` holds which test has to fail for each.

macro_rules! defects {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A defect that a test has to catch.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Defect {
            $($(#[$doc])* $variant,)*
        }

        impl Defect {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The name it is switched on by.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

defects! {
    /// A commit is answered before the store has it.
    AnswerBeforeSync = "answer-before-sync",
    /// The journal is written and not synced.
    JournalUnsynced = "journal-unsynced",
    /// A read does not wait for what it saw to be durable.
    ReadAhead = "read-ahead",
    /// A commit that the log refused counts as durable.
    RefusedIsDurable = "refused-is-durable",
    /// After a failure of the store the log goes on writing.
    WriteAfterFailure = "write-after-failure",
    /// A commit may expect any place of a stream.
    ConflictUnseen = "conflict-unseen",
    /// Each group leaves out a position.
    PositionGap = "position-gap",
    /// The checksum of an envelope is not compared.
    ChecksumUnseen = "checksum-unseen",
    /// A log that is shorter than its head file says is taken for whole.
    ShortLogAccepted = "short-log-accepted",
    /// The output of a run is read from one item too late.
    OutputCursorOff = "output-cursor-off",
    /// A crash between two groups loses what the journal has.
    JournalIgnored = "journal-ignored",
    /// The order of an agent's blocks is that of a hash map.
    HashedBlocks = "hashed-blocks",
    /// A saved state claims one event more than it holds.
    SavedTooNew = "saved-too-new",
    /// A deleted agent keeps its place in the lists.
    DeletedIsListed = "deleted-is-listed",
    /// After a crash a call that must not be made twice is.
    CallMadeAgain = "call-made-again",
    /// A question to another agent that was sent before a crash is sent again.
    AskedTwice = "asked-twice",
    /// Agents may wait for one another in a circle.
    CircleAllowed = "circle-allowed",
    /// A cancel leaves what was asked of others as it is.
    AskedGoesOn = "asked-goes-on",
    /// Calls may wait for a decision for ever.
    WaitsForEver = "waits-for-ever",
    /// A cursor of a list names the key before it.
    ListCursorOff = "list-cursor-off",
    /// A cancel that comes before the turn has begun does not reach it.
    EarlyCancelLost = "early-cancel-lost",
    /// A tool that the model called in a cancelled step takes effect.
    CancelledToolRuns = "cancelled-tool-runs",
    /// A run that was cancelled first and failed then has failed.
    FailureBeatsCancel = "failure-beats-cancel",
    /// The answer to a cancel that came too late says that it came in time.
    CancelClaimed = "cancel-claimed",
    /// A call of a cancelled step is kept without a return.
    CallWithoutReturn = "call-without-return",
    /// A run may end twice.
    TwoEnds = "two-ends",
    /// A cancelled run forgets what was said.
    PartialForgotten = "partial-forgotten",
    /// A failed step leaves its input in the thread.
    FailedInputStays = "failed-input-stays",
    /// After a crash a run that had shown something is begun again from nothing.
    ResumeForgets = "resume-forgets",
    /// A model call that ends the process is made after each start.
    TriedForEver = "tried-for-ever",
    /// An agent's queue has no bound.
    QueueUnbounded = "queue-unbounded",
    /// The ring of a run gives what follows the next item.
    RingCursorOff = "ring-cursor-off",
    /// An agent that somebody holds is put to sleep.
    SleepsWhileHeld = "sleeps-while-held",
    /// Two who wake an agent at once both fold its history.
    WokenTwice = "woken-twice",
    /// A resumed stream begins one item too late.
    StreamCursorOff = "stream-cursor-off",
    /// Any password is right, and none as well.
    AnyPassword = "any-password",
    /// Any origin may talk to the server.
    AnyOrigin = "any-origin",
}

impl Defect {
    /// Whether it is switched on.
    #[cfg(feature = "zoo")]
    #[must_use]
    pub fn is_on(self) -> bool {
        static ON: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
        let on = ON.get_or_init(|| std::env::var("RETOLD_DEFECT").ok().filter(|it| !it.is_empty()));
        let known = |name: &str| Self::ALL.iter().any(|defect| defect.name() == name);
        assert!(on.as_deref().is_none_or(known), "no defect is called {on:?}");
        on.as_deref() == Some(self.name())
    }

    /// Whether it is switched on, which it never is in the program.
    #[cfg(not(feature = "zoo"))]
    #[must_use]
    pub const fn is_on(self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Defects that are caught, a line each: name, package, target, test.
    const LISTED: &str = include_str!("../../tests/zoo/defects.txt");

    #[test]
    fn every_defect_is_listed_once_and_nothing_else_is() {
        let lines = LISTED.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        let listed: Vec<&str> = lines.filter_map(|line| line.split_whitespace().next()).collect();
        let known: BTreeSet<&str> = Defect::ALL.iter().map(|defect| defect.name()).collect();
        assert_eq!(known.len(), Defect::ALL.len(), "no two have one name");
        assert_eq!(BTreeSet::from_iter(listed.iter().copied()), known);
        assert_eq!(listed.len(), known.len(), "each has the one test that has to fail");
    }
}
