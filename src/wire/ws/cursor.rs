//! Where a client goes on that is cut: in a frame, and in the reason of a close.

use retold_events::{AgentId, RunId};
use serde::Serialize;

use crate::wire::Id;

/// Something that is followed, and how far it was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(untagged)]
pub enum Cursor {
    /// A run.
    Run {
        /// Its id.
        run_id: Id<RunId>,
        /// The `after_seq` to resume with.
        after_seq: u64,
    },
    /// The events of an agent.
    Agent {
        /// Its id.
        agent_id: Id<AgentId>,
        /// The `after` to subscribe with.
        after: u64,
    },
}

/// Longest reason of a close frame.
const LONGEST_REASON: usize = 123;

/// The reason of a close: as many cursors as fit, in the form `run=<id>;after_seq=<n>`, and how many do not.
#[must_use]
pub fn close_reason(cursors: &[Cursor]) -> String {
    let mut reason = String::new();
    for (shown, cursor) in cursors.iter().enumerate() {
        let comma = if shown == 0 { "" } else { "," };
        let next = match cursor {
            Cursor::Run { run_id, after_seq } => {
                format!("{comma}run={};after_seq={after_seq}", run_id.0)
            }
            Cursor::Agent { agent_id, after } => {
                format!("{comma}agent={};after={after}", agent_id.0)
            }
        };
        let more = format!(",more={}", cursors.len() - shown);
        let is_last = shown + 1 == cursors.len();
        if reason.len() + next.len() + if is_last { 0 } else { more.len() } > LONGEST_REASON {
            reason.push_str(&more);
            break;
        }
        reason.push_str(&next);
    }
    reason
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::wire::ws::ServerFrame;

    fn run(number: u32) -> Id<RunId> {
        Id(format!("run-123e4567-e89b-42d3-8456-{number:012}").parse().unwrap())
    }

    #[test]
    fn a_reason_names_what_fits_and_counts_the_rest() {
        let cursor = |number| Cursor::Run { run_id: run(number), after_seq: u64::MAX };
        assert_eq!(close_reason(&[]), "");
        let one = close_reason(&[cursor(1)]);
        assert_eq!(one, format!("run={};after_seq={}", run(1).0, u64::MAX));
        for count in 2..70 {
            let cursors: Vec<Cursor> = (0..count).map(cursor).collect();
            let reason = close_reason(&cursors);
            assert!(reason.len() <= LONGEST_REASON, "{reason}");
            assert!(reason.ends_with(&format!(",more={}", count - 1)), "{reason}");
        }
        let short = |number| Cursor::Run { run_id: run(number), after_seq: 1 };
        assert_eq!(
            close_reason(&[short(1), short(2)]),
            format!("run={};after_seq=1,run={};after_seq=1", run(1).0, run(2).0)
        );
    }

    #[test]
    fn cursors_name_the_member_that_is_sent_back() {
        let agent: AgentId = "agent-123e4567-e89b-42d3-8456-426614174000".parse().unwrap();
        let going =
            ServerFrame::GoingAway { cursor: Cursor::Agent { agent_id: Id(agent), after: 9 } };
        let read: Value = serde_json::from_str(&going.text()).unwrap();
        assert_eq!(read, json!({"type": "going_away", "agent_id": Id(agent), "after": 9}));
        let cursors = [Cursor::Run { run_id: run(1), after_seq: 3 }];
        let stalled: Value =
            serde_json::from_str(&ServerFrame::Stalled { cursors: &cursors }.text()).unwrap();
        let wanted = json!({"type": "stalled", "cursors": [{"run_id": run(1), "after_seq": 3}]});
        assert_eq!(stalled, wanted);
    }
}
