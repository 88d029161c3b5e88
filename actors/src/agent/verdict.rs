//! Whether the loop goes on after a step, and what status a run ends with.

use retold_events::{
    ToolCall,
    run::{EndStatus, StopReason},
};
use retold_models::Finish;

use crate::{
    rules::Solver,
    turn::{Answer, StepDone},
};

/// Whether the loop goes on after a step.
#[derive(Debug)]
pub(super) enum Verdict {
    Stop(StopReason),
    /// Goes on, with a heartbeat that names the reason where one is due.
    Continue(Option<String>),
}

/// The current loop: text ends it, calls go on.
pub(super) fn verdict_v1(
    finish: Finish,
    has_calls: bool,
    terminal: bool,
    uncalled: &[String],
) -> Verdict {
    if terminal {
        return Verdict::Stop(StopReason::ToolRule);
    }
    if has_calls {
        return Verdict::Continue(None);
    }
    if finish == Finish::Length {
        return Verdict::Stop(StopReason::MaxTokensExceeded);
    }
    match uncalled {
        [] => Verdict::Stop(StopReason::EndTurn),
        uncalled => Verdict::Continue(Some(still_to_call(uncalled))),
    }
}

/// The older loops: they go on when the model asks for it, and when something is still to be done.
pub(super) fn verdict_older(
    done: &StepDone,
    has_calls: bool,
    failed: bool,
    terminal: bool,
    solver: &Solver<'_>,
    uncalled: &[String],
) -> Verdict {
    let Some((call, _)) = done.executed.first().filter(|_| has_calls) else {
        return Verdict::Stop(StopReason::NoToolCall);
    };
    if terminal && uncalled.is_empty() {
        return Verdict::Stop(StopReason::ToolRule);
    }
    if !uncalled.is_empty() {
        return Verdict::Continue(Some(still_to_call(uncalled)));
    }
    if failed {
        return Verdict::Continue(Some("the tool call failed; see its error and go on".to_owned()));
    }
    if solver.continues(&call.name) {
        return Verdict::Continue(Some("a tool rule asks for another step".to_owned()));
    }
    if wants_heartbeat(&done.answer, call) {
        return Verdict::Continue(Some("the tool call asked for a heartbeat".to_owned()));
    }
    Verdict::Stop(StopReason::EndTurn)
}

fn still_to_call(tools: &[String]) -> String {
    format!("before the turn can end these tools must be called: {}", tools.join(", "))
}

/// Whether the model asked to go on; read from what it wrote, since the argument is not kept.
fn wants_heartbeat(answer: &Answer, call: &ToolCall) -> bool {
    let written = answer.calls.iter().find(|written| written.id == call.id);
    written
        .and_then(|written| serde_json::from_str::<serde_json::Value>(&written.arguments).ok())
        .and_then(|arguments| arguments.get("request_heartbeat")?.as_bool())
        .unwrap_or(false)
}

/// V1's status of a run for the reason it stopped.
pub(super) fn status_of(stop_reason: StopReason) -> EndStatus {
    match stop_reason {
        StopReason::EndTurn
        | StopReason::MaxSteps
        | StopReason::ToolRule
        | StopReason::RequiresApproval => EndStatus::Completed,
        StopReason::Cancelled => EndStatus::Cancelled,
        StopReason::Error
        | StopReason::LlmApiError
        | StopReason::InvalidLlmResponse
        | StopReason::InvalidToolCall
        | StopReason::MaxTokensExceeded
        | StopReason::NoToolCall
        | StopReason::InsufficientCredits
        | StopReason::ContextWindowOverflowInSystemPrompt => EndStatus::Failed,
    }
}
