//! How a step ended, as clients are told it.
//!
//! The log says of a step that was cut short only that: what was seen of it is kept, whoever cut it. To a client it makes
//! a difference: what it asked to end is cancelled, as its run is, and what ended with the server failed, as its run did.

use std::borrow::Cow;

use retold_actors::run::interrupted;
use retold_events::run::{RunError, StepOutcome, StopReason};

/// How a step ended.
pub(super) struct StepEnd<'a> {
    /// `success|failed|cancelled`.
    pub(super) status: &'static str,
    /// What went wrong, where it failed.
    pub(super) error: Option<Cow<'a, RunError>>,
}

impl<'a> StepEnd<'a> {
    /// The end of a step with this outcome, and with this reason where its run ended with it.
    pub(super) fn of(outcome: &'a StepOutcome, stop_reason: Option<StopReason>) -> Self {
        match (outcome, stop_reason) {
            (StepOutcome::Success, _) => Self { status: "success", error: None },
            (StepOutcome::Failed { error }, _) => {
                Self { status: "failed", error: Some(Cow::Borrowed(error)) }
            }
            (StepOutcome::Cancelled, Some(StopReason::Error)) => {
                Self { status: "failed", error: Some(Cow::Owned(interrupted())) }
            }
            (StepOutcome::Cancelled, _) => Self { status: "cancelled", error: None },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ended_with_the_server_failed_and_what_was_asked_to_end_is_cancelled() {
        let told = |stop_reason| {
            let end = StepEnd::of(&StepOutcome::Cancelled, stop_reason);
            (end.status, end.error.map(|error| error.error_type.clone()))
        };
        assert_eq!(told(Some(StopReason::Error)), ("failed", Some("interrupted".to_owned())));
        assert_eq!(told(Some(StopReason::Cancelled)), ("cancelled", None));
        assert_eq!(told(None), ("cancelled", None));
    }
}
