//! The first member in which two readings of one thing differ, in words.

use std::fmt::Debug;

use retold_events::Message;
use retold_snapshots::row::{RunRow, StepRow};

/// Characters shown of a value, around where it begins to differ.
const SHOWN: usize = 240;
/// Characters shown before that.
const BEFORE: usize = 40;

/// A member that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    /// Its name.
    pub(super) member: &'static str,
    /// As recorded.
    pub(super) expected: String,
    /// As replayed.
    pub(super) found: String,
}

impl Difference {
    fn new(member: &'static str, recorded: &impl Debug, replayed: &impl Debug) -> Self {
        let (expected, found) = excerpts(&format!("{recorded:?}"), &format!("{replayed:?}"));
        Self { member, expected, found }
    }
}

/// Compares the named members, in this order. Destructuring names them all: a new one must be compared, too.
macro_rules! first_difference {
    ($type:ident, $recorded:expr, $replayed:expr; $($member:ident)*) => {{
        let $type { $($member),* } = $recorded;
        $(
            if *$member != $replayed.$member {
                return Some(Difference::new(stringify!($member), $member, &$replayed.$member));
            }
        )*
        None
    }};
}

pub(super) fn of_messages(recorded: &Message, replayed: &Message) -> Option<Difference> {
    first_difference!(Message, recorded, replayed;
        content tool_calls tool_returns role id name otid sender model step run conversation created_at tokens is_err
        interrupted)
}

pub(super) fn of_steps(recorded: &StepRow, replayed: &StepRow) -> Option<Difference> {
    first_difference!(StepRow, recorded, replayed;
        id run agent conversation model provider endpoint_type context_window outcome stop_reason usage timing messages
        prompt_hash)
}

pub(super) fn of_runs(recorded: &RunRow, replayed: &RunRow) -> Option<Difference> {
    first_difference!(RunRow, recorded, replayed;
        id agent request created_at status stop_reason error interrupted usage steps context_tokens completed_at ttft_ns
        total_ns messages callback tools_called asked_by)
}

/// Two texts cut to where they begin to differ.
pub(super) fn excerpts(recorded: &str, replayed: &str) -> (String, String) {
    let same =
        recorded.chars().zip(replayed.chars()).take_while(|(one, other)| one == other).count();
    let from = same.saturating_sub(BEFORE);
    let excerpt = |text: &str| {
        let mut rest = text.chars().skip(from);
        let mut cut: String = rest.by_ref().take(SHOWN).collect();
        if from > 0 {
            cut.insert(0, '…');
        }
        if rest.next().is_some() {
            cut.push('…');
        }
        cut
    };
    (excerpt(recorded), excerpt(replayed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_shown_where_they_begin_to_differ() {
        let long = "a".repeat(1000);
        let (expected, found) = excerpts(&format!("{long}b"), &format!("{long}c{long}"));
        assert_eq!(expected, format!("…{}b", "a".repeat(BEFORE)));
        assert!(found.starts_with(&format!("…{}c", "a".repeat(BEFORE))) && found.ends_with('…'));
        assert_eq!(excerpts("one", "two"), ("one".to_owned(), "two".to_owned()));
    }
}
