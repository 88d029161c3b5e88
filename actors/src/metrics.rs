//! What a host measures of itself.
//!
//! Each host has its own numbers, so that several servers in one process do not mix theirs. Labels are few and bounded:
//! never an id of an agent or a run, and a model's handle only once the catalog has resolved it, for a limited number of
//! handles. How much there is of something at this moment is counted when somebody looks ([`Now`]), not kept up to date.

mod model;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use retold_events::{
    ReturnStatus,
    agent::Event,
    run::{EndStatus, StepOutcome, Usage},
};
use retold_snapshots::agent::State;
use tokio::time::Instant;

use self::model::Models;

/// Upper bounds for what needs no model, in seconds.
const SHORT: [f64; 14] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];
/// Upper bounds for what waits for a model, in seconds: from a scripted one to ten minutes of tools.
const LONG: [f64; 14] =
    [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0];

/// Upper bounds for items of a run's output: from none to a long answer token by token.
const ITEMS: [f64; 8] = [0.0, 1.0, 10.0, 100.0, 1000.0, 10_000.0, 100_000.0, 1_000_000.0];

/// The numbers of one host.
#[derive(Debug)]
pub struct Metrics {
    runs_accepted: Counter,
    runs_ended: Family<Ended, Counter>,
    run_seconds: Histogram,
    run_first_output_seconds: Histogram,
    steps: Family<Outcome, Counter>,
    tool_calls: Family<Outcome, Counter>,
    cancel_seconds: Histogram,
    activation_seconds: Histogram,
    activations_failed: Counter,
    stream_reads: Family<Source, Counter>,
    /// The two of `stream_reads`, which followers count on their way.
    ring_reads: Counter,
    log_reads: Counter,
    resume_items: Histogram,
    pub(crate) models: Models,
}

/// What a host has at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Now {
    /// Agents in memory.
    pub awake: usize,
    /// Bytes that they fill, as estimated.
    pub awake_bytes: usize,
    /// Agents that answer nothing until the next start.
    pub quarantined: usize,
    /// Open runs that wait for their turn.
    pub waiting: usize,
    /// Open runs under way.
    pub running: usize,
    /// Open runs under way whose cancel was asked for.
    pub cancelling: usize,
    /// Open runs of the agent that has most.
    pub longest_queue: usize,
    /// Open runs that the server takes at most.
    pub max_open_runs: usize,
    /// Open runs that an agent takes at most.
    pub queue_bound: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    status: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Source {
    source: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        let stream_reads = Family::<Source, Counter>::default();
        let reads = |source| stream_reads.get_or_create_owned(&Source { source });
        let metrics = Self {
            ring_reads: reads("ring"),
            log_reads: reads("log"),
            stream_reads,
            runs_accepted: Counter::default(),
            runs_ended: Family::default(),
            run_seconds: Histogram::new(LONG),
            run_first_output_seconds: Histogram::new(LONG),
            steps: Family::default(),
            tool_calls: Family::default(),
            cancel_seconds: Histogram::new(SHORT),
            activation_seconds: Histogram::new(SHORT),
            activations_failed: Counter::default(),
            resume_items: Histogram::new(ITEMS),
            models: Models::default(),
        };
        // There from the start, so that a rate over them has a beginning.
        for status in [EndStatus::Completed, EndStatus::Failed, EndStatus::Cancelled] {
            let _ = metrics.runs_ended.get_or_create_owned(&Ended { status: status_name(status) });
        }
        metrics
    }
}

impl Metrics {
    /// Lets `registry` show these numbers.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "retold_runs_accepted",
            "Runs that were accepted",
            self.runs_accepted.clone(),
        );
        registry.register("retold_runs_ended", "Runs that ended", self.runs_ended.clone());
        registry.register(
            "retold_run_seconds",
            "From the acceptance of a run to its end",
            self.run_seconds.clone(),
        );
        registry.register(
            "retold_run_first_output_seconds",
            "From the acceptance of a run to its first output",
            self.run_first_output_seconds.clone(),
        );
        registry.register("retold_steps", "Steps that ended", self.steps.clone());
        registry.register("retold_tool_calls", "Tool calls with a return", self.tool_calls.clone());
        registry.register(
            "retold_cancel_seconds",
            "From a request to cancel to the durable end of every run it named",
            self.cancel_seconds.clone(),
        );
        registry.register(
            "retold_agent_activation_seconds",
            "Waking an agent: folding its history and starting its actor",
            self.activation_seconds.clone(),
        );
        registry.register(
            "retold_agent_activations_failed",
            "Agents that could not be woken",
            self.activations_failed.clone(),
        );
        registry.register(
            "retold_stream_reads",
            "Reads of those who follow a run: from the ring of its newest output, or from the log",
            self.stream_reads.clone(),
        );
        registry.register(
            "retold_stream_resume_items",
            "How many items of a live run were there already when somebody began to follow it",
            self.resume_items.clone(),
        );
        self.models.register(registry);
    }

    /// Something was recorded of an agent, whose state was `before`.
    pub(crate) fn recorded(&self, before: &State, event: &Event) {
        if let Event::RunAccepted(_) = event {
            self.runs_accepted.inc();
        } else if let Event::StepEnded(ended) = event {
            let outcome = outcome_name(&ended.outcome);
            self.steps.get_or_create_owned(&Outcome { outcome }).inc();
            for returned in ended.messages.iter().flat_map(|message| &message.tool_returns) {
                let outcome = match returned.status {
                    ReturnStatus::Success => "success",
                    ReturnStatus::Error => "error",
                };
                self.tool_calls.get_or_create_owned(&Outcome { outcome }).inc();
            }
            // A step without tokens called no model: its handle may be anything a client made up.
            let step = before.open_runs.get(&ended.run).and_then(|open| open.step.as_ref());
            if let Some(step) = step.filter(|_| ended.usage != Usage::default()) {
                self.models.used(&step.model, &ended.usage);
            }
        } else if let Event::RunEnded(ended) = event {
            let status = status_name(ended.status);
            self.runs_ended.get_or_create_owned(&Ended { status }).inc();
            self.run_seconds.observe(seconds(ended.total_ns));
            if let Some(first) = ended.ttft_ns {
                self.run_first_output_seconds.observe(seconds(first));
            }
        }
    }

    /// Runs were cancelled, and are over; it was asked for at `asked`.
    pub(crate) fn cancelled(&self, asked: Instant) {
        self.cancel_seconds.observe(asked.elapsed().as_secs_f64());
    }

    /// An agent was woken, or could not be; that began at `began`.
    pub(crate) fn activated(&self, began: Instant, well: bool) {
        if well {
            self.activation_seconds.observe(began.elapsed().as_secs_f64());
        } else {
            self.activations_failed.inc();
        }
    }

    /// Somebody began to follow a live run, so many items behind it.
    pub(crate) fn follows(&self, behind: u64) {
        self.resume_items.observe(behind as f64);
    }

    /// A follower found what it wanted in the ring.
    pub(crate) fn read_ring(&self) {
        self.ring_reads.inc();
    }

    /// A follower had to read the log.
    pub(crate) fn read_log(&self) {
        self.log_reads.inc();
    }
}

fn status_name(status: EndStatus) -> &'static str {
    match status {
        EndStatus::Completed => "completed",
        EndStatus::Failed => "failed",
        EndStatus::Cancelled => "cancelled",
    }
}

fn outcome_name(outcome: &StepOutcome) -> &'static str {
    match outcome {
        StepOutcome::Success => "success",
        StepOutcome::Failed { .. } => "failed",
        StepOutcome::Cancelled => "cancelled",
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
