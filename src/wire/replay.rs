//! Replays as clients see them.

use retold_actors::replay::{Divergence, Replay, ReplayedStep, Status, What};
use retold_events::{AgentId, RunId, StepId};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Id, step_end::StepEnd};

/// A run, rebuilt from the log alone and compared with what is stored of it. No model and no tool was called.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RunReplay {
    /// The run.
    #[schema(value_type = String)]
    pub run_id: Id<RunId>,
    /// Whose.
    #[schema(value_type = String)]
    pub agent_id: Id<AgentId>,
    /// What came of it.
    pub status: ReplayStatus,
    /// A sentence about the status.
    pub message: String,
    /// Events that were folded, from the run's acceptance to its end or to what there is.
    pub events: u64,
    /// Its steps that ended, in order.
    pub steps: Vec<RunReplayStep>,
    /// Messages that were compared with the stored ones.
    pub messages: u64,
    /// Pieces of output that were compared with those the run showed.
    pub items: u64,
    /// The first thing that is not as recorded.
    pub divergence: Option<ReplayDivergence>,
}

/// What came of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReplayStatus {
    /// All of the run is as recorded.
    Identical,
    /// Something is not.
    Diverged,
    /// The run has not ended; all there is of it is as recorded.
    Incomplete,
}

/// A step, replayed.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RunReplayStep {
    /// The step.
    #[schema(value_type = String)]
    pub step_id: Id<StepId>,
    /// Position in the log of the event that ended it.
    pub position: u64,
    /// Its place in the agent's stream.
    pub sequence: u64,
    /// Number of the run's attempt that it belongs to, from 1: a crash may make a second one necessary.
    pub attempt: u32,
    /// `provider/model`.
    pub model: String,
    /// `success|failed|cancelled`.
    #[schema(value_type = String)]
    pub status: &'static str,
    /// Hash of the prompt that was sent, in hexadecimal; `null` for a step that failed or was cancelled.
    pub recorded_prompt_hash: Option<String>,
    /// Hash of the prompt as it was rebuilt.
    pub replayed_prompt_hash: String,
    /// Whether the two are the same; `null` when none was recorded.
    pub matches: Option<bool>,
    /// Messages in the prompt, the system message not counted.
    pub messages: u64,
    /// Tools in the prompt.
    pub tools: u64,
    /// Tokens of the prompt by the server's own count.
    pub tokens: u64,
}

/// Something that is not as recorded.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ReplayDivergence {
    /// Position in the log of the event that brought it; `null` when an event is missing.
    pub position: Option<u64>,
    /// Its place in the agent's stream.
    pub sequence: Option<u64>,
    /// The step it belongs to.
    #[schema(value_type = Option<String>)]
    pub step_id: Option<Id<StepId>>,
    /// `event`, `input`, `message`, `step`, `run`, `output`, `prompt` or `tools differ`.
    pub what: String,
    /// A sentence for a person.
    pub detail: String,
    /// What is recorded, cut to where it begins to differ.
    pub expected: String,
    /// What the replay gives, cut likewise.
    pub found: String,
}

impl From<&Replay> for RunReplay {
    fn from(replay: &Replay) -> Self {
        Self {
            run_id: Id(replay.run),
            agent_id: Id(replay.agent),
            status: match replay.status {
                Status::Identical => ReplayStatus::Identical,
                Status::Diverged => ReplayStatus::Diverged,
                Status::Incomplete => ReplayStatus::Incomplete,
            },
            message: message(replay),
            events: replay.events,
            steps: replay.steps.iter().map(Into::into).collect(),
            messages: replay.messages,
            items: replay.items,
            divergence: replay.divergence.as_ref().map(Into::into),
        }
    }
}

fn message(replay: &Replay) -> String {
    let unchecked = replay.steps.iter().filter(|step| step.recorded.is_none()).count();
    let said = match (replay.status, &replay.divergence) {
        (Status::Incomplete, _) => {
            "the run has not ended; what there is of it is as recorded".to_owned()
        }
        (_, Some(Divergence { what: What::Tools, detail, .. })) => detail.clone(),
        (_, Some(divergence)) => {
            format!("the replay differs from what is recorded: {}", divergence.detail)
        }
        (_, None) => "every event, message and piece of output is as recorded".to_owned(),
    };
    match unchecked {
        0 => said,
        1 => format!("{said}; 1 step failed or was cancelled and has no prompt hash to compare"),
        steps => {
            format!(
                "{said}; {steps} steps failed or were cancelled and have no prompt hash to compare"
            )
        }
    }
}

impl From<&ReplayedStep> for RunReplayStep {
    fn from(step: &ReplayedStep) -> Self {
        Self {
            step_id: Id(step.step),
            position: step.place.position.0,
            sequence: step.place.seq.0,
            attempt: step.attempt,
            model: step.model.clone(),
            status: StepEnd::of(&step.outcome, step.stop_reason).status,
            recorded_prompt_hash: step.recorded.map(hex),
            replayed_prompt_hash: hex(step.replayed),
            matches: step.matches(),
            messages: step.messages,
            tools: step.tools,
            tokens: step.tokens,
        }
    }
}

impl From<&Divergence> for ReplayDivergence {
    fn from(divergence: &Divergence) -> Self {
        Self {
            position: divergence.place.map(|place| place.position.0),
            sequence: divergence.place.map(|place| place.seq.0),
            step_id: divergence.step.map(Id),
            what: divergence.what.to_string(),
            detail: divergence.detail.clone(),
            expected: divergence.expected.clone(),
            found: divergence.found.clone(),
        }
    }
}

fn hex(hash: [u8; 16]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use retold_actors::replay::Place;
    use retold_events::{Position, Seq, run::StepOutcome};
    use serde_json::json;

    use super::*;

    fn replay(status: Status, divergence: Option<Divergence>) -> Replay {
        let place = Place { position: Position(9), seq: Seq(4) };
        let uuid = uuid::Uuid::from_u128(1);
        let step = ReplayedStep {
            step: StepId::from_uuid(uuid),
            place,
            attempt: 1,
            model: "p/m".to_owned(),
            outcome: StepOutcome::Cancelled,
            stop_reason: None,
            recorded: None,
            replayed: [0xab; 16],
            messages: 3,
            tools: 1,
            tokens: 100,
        };
        Replay {
            run: RunId::from_uuid(uuid),
            agent: AgentId::from_uuid(uuid),
            status,
            events: 5,
            steps: vec![step],
            messages: 2,
            items: 3,
            divergence,
        }
    }

    #[test]
    fn a_step_without_a_recorded_hash_is_said_to_be_unchecked() {
        let shown =
            serde_json::to_value(RunReplay::from(&replay(Status::Identical, None))).unwrap();
        assert_eq!((&shown["status"], &shown["divergence"]), (&json!("identical"), &json!(null)));
        assert_eq!(shown["steps"][0]["matches"], json!(null));
        assert_eq!(shown["steps"][0]["replayed_prompt_hash"], json!("ab".repeat(16)));
        let message = shown["message"].as_str().unwrap();
        assert!(message.contains("1 step failed or was cancelled"), "{message}");
    }

    #[test]
    fn a_divergence_is_shown_with_its_place() {
        let divergence = Divergence {
            place: Some(Place { position: Position(7), seq: Seq(2) }),
            step: None,
            what: What::Input,
            detail: "it is otherwise".to_owned(),
            expected: "a".to_owned(),
            found: "b".to_owned(),
        };
        let shown = RunReplay::from(&replay(Status::Diverged, Some(divergence)));
        let shown = serde_json::to_value(shown).unwrap();
        assert_eq!(
            shown["divergence"],
            json!({
                "position": 7, "sequence": 2, "step_id": null, "what": "input",
                "detail": "it is otherwise", "expected": "a", "found": "b",
            })
        );
        assert!(shown["message"].as_str().unwrap().contains("it is otherwise"));
    }
}
