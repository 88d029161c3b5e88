//! The spans of a run, in the form in which V1's trace store gives them: one object per span, with the columns of
//! OpenTelemetry's ClickHouse schema. Nothing is traced on the way of a message; the spans follow from the log.

use std::collections::BTreeMap;

use retold_events::{Message, Timestamp, ToolReturn};
use retold_snapshots::row::{RunRow, StepRow};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    Time, WireStopReason,
    query::{Pairs, QueryProblem},
    step_end::StepEnd,
};

/// Spans of an answer, unless the client asks otherwise.
const SPANS: i64 = 1000;
/// Spans of an answer at most.
const MOST_SPANS: i64 = 5000;

/// How many spans of a run are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RunTraceQuery {
    /// Spans at most, 1 to 5000.
    #[param(required = false)]
    pub limit: usize,
}

impl RunTraceQuery {
    /// Reads the query of `GET /v1/runs/{id}/trace`.
    ///
    /// # Errors
    /// [`QueryProblem`] when `limit` is malformed or out of bounds.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, QueryProblem> {
        let limit = Pairs(pairs).int("limit")?.unwrap_or(SPANS);
        if limit < 1 {
            let message = "Input should be greater than or equal to 1";
            return Err(QueryProblem::new("limit", message));
        }
        if limit > MOST_SPANS {
            let message = format!("Input should be less than or equal to {MOST_SPANS}");
            return Err(QueryProblem::new("limit", message));
        }
        Ok(Self { limit: usize::try_from(limit).unwrap_or(usize::MAX) })
    }
}

/// A span of a run.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "PascalCase")]
pub struct TraceSpan {
    /// When it began.
    pub timestamp: Time,
    /// The trace: the run's id in hexadecimal.
    pub trace_id: String,
    /// Its id, which follows from what it is of.
    pub span_id: String,
    /// The span it is below; empty for that of the run.
    pub parent_span_id: String,
    /// Always empty.
    pub trace_state: String,
    /// `run`, `time_to_first_token`, `agent_step`, or the name of a tool.
    pub span_name: String,
    /// `Server` for the run, `Client` for a model call, else `Internal`.
    #[schema(value_type = String)]
    pub span_kind: &'static str,
    /// `retold`.
    #[schema(value_type = String)]
    pub service_name: &'static str,
    /// What it is about, texts all.
    pub span_attributes: BTreeMap<&'static str, String>,
    /// How long it took, in nanoseconds.
    pub duration: u64,
    /// `Ok`, `Error`, or `Unset` for what was cut short or is under way.
    #[schema(value_type = String)]
    pub status_code: &'static str,
    /// What went wrong.
    pub status_message: String,
}

impl TraceSpan {
    /// The spans of a run, in the order they began. The tools of a step are timed together: each of their spans lasts as
    /// long as all of them.
    #[must_use]
    pub fn of_run(run: &RunRow, steps: &[(StepRow, Vec<Message>)]) -> Vec<Self> {
        let mut spans = vec![whole(run)];
        spans.extend(first_token(run));
        for (step, messages) in steps {
            let below = agent_step(run, step);
            let returns = messages.iter().flat_map(|message| &message.tool_returns);
            let tools: Vec<Self> = (1..)
                .zip(returns)
                .map(|(index, returned)| tool(run, step, index, returned))
                .collect();
            spans.push(below);
            spans.extend(tools);
        }
        spans
    }
}

fn blank(run: &RunRow, timestamp: Timestamp) -> TraceSpan {
    TraceSpan {
        timestamp: Time(timestamp),
        trace_id: run.id.uuid().simple().to_string(),
        span_id: String::new(),
        parent_span_id: span_id(run.id.as_bytes(), 0),
        trace_state: String::new(),
        span_name: String::new(),
        span_kind: "Internal",
        service_name: "retold",
        span_attributes: BTreeMap::from([
            ("run_id", run.id.to_string()),
            ("agent_id", run.agent.to_string()),
        ]),
        duration: 0,
        status_code: "Unset",
        status_message: String::new(),
    }
}

fn whole(run: &RunRow) -> TraceSpan {
    let mut span = blank(run, run.created_at);
    span.span_id = span_id(run.id.as_bytes(), 0);
    span.parent_span_id = String::new();
    span.span_name = "run".to_owned();
    span.span_kind = "Server";
    span.duration = run.total_ns.unwrap_or(0);
    span.span_attributes.insert("run_type", run.request.run_type.clone());
    if let Some(reason) = run.stop_reason {
        span.span_attributes.insert("stop_reason", WireStopReason::from(reason).word().to_owned());
        span.status_code = "Ok";
    }
    if let Some(error) = &run.error {
        span.status_code = "Error";
        span.status_message.clone_from(&error.message);
    }
    span
}

fn first_token(run: &RunRow) -> Option<TraceSpan> {
    let duration = run.ttft_ns?;
    let span_id = span_id(run.id.as_bytes(), 1);
    let span_name = "time_to_first_token".to_owned();
    Some(TraceSpan {
        span_id,
        span_name,
        duration,
        status_code: "Ok",
        ..blank(run, run.created_at)
    })
}

fn agent_step(run: &RunRow, step: &StepRow) -> TraceSpan {
    let mut span = blank(run, step.timing.started_at);
    span.span_id = span_id(step.id.as_bytes(), 0);
    span.span_name = "agent_step".to_owned();
    span.span_kind = "Client";
    span.duration = step.timing.total_ns;
    span.span_attributes.extend([
        ("step_id", step.id.to_string()),
        ("model", step.model.clone()),
        ("prompt_tokens", step.usage.prompt_tokens.to_string()),
        ("completion_tokens", step.usage.completion_tokens.to_string()),
        ("llm_request_ns", step.timing.model_ns.to_string()),
    ]);
    match StepEnd::of(&step.outcome, step.stop_reason) {
        StepEnd { error: Some(error), .. } => {
            span.status_code = "Error";
            span.status_message.clone_from(&error.message);
        }
        StepEnd { status: "success", error: None } => span.status_code = "Ok",
        StepEnd { error: None, .. } => {}
    }
    span
}

fn tool(run: &RunRow, step: &StepRow, index: u64, returned: &ToolReturn) -> TraceSpan {
    let began = step.timing.model_started_at.as_micros();
    let after = i64::try_from(step.timing.model_ns / 1000).unwrap_or(i64::MAX);
    let mut span = blank(run, Timestamp::from_micros(began.saturating_add(after)));
    span.span_id = span_id(step.id.as_bytes(), index);
    span.parent_span_id = span_id(step.id.as_bytes(), 0);
    span.span_name.clone_from(&returned.name);
    span.duration = step.timing.tools_ns;
    span.span_attributes.extend([
        ("step_id", step.id.to_string()),
        ("tool_name", returned.name.clone()),
        ("tool_call_id", returned.call_id.clone()),
    ]);
    span.status_code = match returned.status {
        retold_events::ReturnStatus::Success => "Ok",
        retold_events::ReturnStatus::Error => "Error",
    };
    span
}

/// The id of a span in hexadecimal: it follows from what the span is of, so that whoever asks twice finds the same.
fn span_id(of: &[u8; 16], index: u64) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(of);
    hasher.update(&index.to_be_bytes());
    hasher.finalize().as_bytes()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(text: &str) -> Result<usize, QueryProblem> {
        RunTraceQuery::from_pairs(&[("limit".to_owned(), text.to_owned())]).map(|query| query.limit)
    }

    #[test]
    fn the_limit_is_within_its_bounds() {
        assert_eq!(RunTraceQuery::from_pairs(&[]).unwrap().limit, 1000);
        assert_eq!((limit("1"), limit("5000")), (Ok(1), Ok(5000)));
        for wrong in ["0", "-1", "5001", "many"] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
    }
}
