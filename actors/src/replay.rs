//! A run, rebuilt from the log alone: what was recorded is folded once more, and nobody is called.
//!
//! Three things are checked on the way. The prompt of every step, built from the folded state by the very function the
//! turn built it with, must have the recorded hash. The rows that follow from the run's events must be the stored ones.
//! What the run showed must be what its events say. The first thing that differs is named with the place of the event
//! that brought it.
//!
//! The log holds all that a prompt is made of but one: the schemas of tools are those of this version of the program. So
//! where a hash differs and every message in the prompt is as stored, the tools are named as what may differ. This module
//! knows the store and no actor.

mod difference;
mod output;
mod prompts;
mod rows;
mod tools;
mod trace;
mod walk;

use std::fmt;

use retold_events::{
    AgentId, Position, RunId, Seq, StepId,
    agent::Event,
    codec::DecodeError,
    run::{StepOutcome, StopReason},
    store::{EventStore, StoreError},
};
use retold_snapshots::{
    load::LoadError,
    query::{self, QueryError},
    row::RunRow,
};

use self::{output::Outputs, prompts::Prompts, rows::Rows, walk::Walk};

pub(crate) use trace::step_trace;
pub use trace::{StepTrace, Traced};

/// A run as its events tell it, compared with what is stored of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Replay {
    /// The run.
    pub run: RunId,
    /// Whose.
    pub agent: AgentId,
    /// What came of it.
    pub status: Status,
    /// Events that were folded, from the run's acceptance to its end. Others of the agent may lie between its own.
    pub events: u64,
    /// Its steps that ended, in order.
    pub steps: Vec<ReplayedStep>,
    /// Messages that were compared with their rows.
    pub messages: u64,
    /// Pieces of output that were compared with what the run showed.
    pub items: u64,
    /// The first thing that is not as recorded.
    pub divergence: Option<Divergence>,
}

/// What came of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Status {
    /// All of the run is as recorded.
    Identical,
    /// Something is not.
    Diverged,
    /// The run has not ended; all there is of it is as recorded.
    Incomplete,
}

/// A step, replayed.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayedStep {
    /// The step.
    pub step: StepId,
    /// The event that ended it.
    pub place: Place,
    /// Number of the run's attempt that it belongs to, from 1.
    pub attempt: u32,
    /// Handle of the model.
    pub model: String,
    /// How it ended.
    pub outcome: StepOutcome,
    /// Why its run ended with it, if it did.
    pub stop_reason: Option<StopReason>,
    /// Hash of the prompt that was sent; `None` for a step that failed or was cancelled, of which none is recorded.
    pub recorded: Option<[u8; 16]>,
    /// Hash of the prompt as the replay builds it.
    pub replayed: [u8; 16],
    /// Messages in the prompt, the system message not counted.
    pub messages: u64,
    /// Tools in the prompt.
    pub tools: u64,
    /// Tokens of the prompt by our own count, tools included.
    pub tokens: u64,
}

impl ReplayedStep {
    /// Whether the prompt is the one that was sent; `None` when that is not recorded.
    #[must_use]
    pub fn matches(&self) -> Option<bool> {
        self.recorded.map(|recorded| recorded == self.replayed)
    }
}

/// The place of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Among all events of the server.
    pub position: Position,
    /// In the agent's stream.
    pub seq: Seq,
}

/// Something that is not as recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergence {
    /// The event that brought it; `None` when there is none where there should be one.
    pub place: Option<Place>,
    /// The step it belongs to.
    pub step: Option<StepId>,
    /// What differs.
    pub what: What,
    /// A sentence for a person.
    pub detail: String,
    /// What is recorded: in a row, in the output, as a hash.
    pub expected: String,
    /// What the replay gives.
    pub found: String,
}

/// What can differ in a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum What {
    /// An event is missing, or cannot be read by this version.
    Event,
    /// What was sent to the agent.
    Input,
    /// A message.
    Message,
    /// The row of a step.
    Step,
    /// The row of the run.
    Run,
    /// What the run showed.
    Output,
    /// A prompt: its system text, or messages that are no longer stored.
    Prompt,
    /// A prompt whose messages are as stored: the tools of another version, or the system text.
    Tools,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Event => "event",
            Self::Input => "input",
            Self::Message => "message",
            Self::Step => "step",
            Self::Run => "run",
            Self::Output => "output",
            Self::Prompt => "prompt",
            Self::Tools => "tools differ",
        })
    }
}

/// A replay that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the run is compared with cannot be read.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The agent's history before the run cannot be folded.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Replays a run; `None` when there is no such run, or a client removed it from the lists.
///
/// # Errors
/// [`ReplayError`]. An event of the run that cannot be read is none: it is what diverges.
pub fn replay(store: &dyn EventStore, run: RunId) -> Result<Option<Replay>, ReplayError> {
    let Some(row) = query::run(store, run)? else { return Ok(None) };
    Replayer::new(store, &row).replay(&row).map(Some)
}

/// Puts a replay together.
struct Replayer<'a> {
    store: &'a dyn EventStore,
    rows: Rows,
    outputs: Outputs,
    prompts: Prompts,
    divergences: Vec<Divergence>,
}

impl<'a> Replayer<'a> {
    fn new(store: &'a dyn EventStore, row: &RunRow) -> Self {
        Self {
            store,
            rows: Rows::new(row.id),
            outputs: Outputs::new(row.id),
            prompts: Prompts::new(row.id),
            divergences: Vec::new(),
        }
    }

    fn replay(mut self, row: &RunRow) -> Result<Replay, ReplayError> {
        let (mut events, mut ended, mut stored) = (0, false, None);
        match Walk::begin(self.store, row)? {
            Ok(mut walk) => {
                while let Some(happened) = walk.next()? {
                    let (place, event) = match happened {
                        Ok((record, event)) => {
                            self.see(&mut walk, &record, &event);
                            (Place::of(&record), event)
                        }
                        Err(unreadable) => {
                            self.divergences.push(unreadable);
                            break;
                        }
                    };
                    events += 1;
                    if matches!(&event, Event::RunEnded(end) if end.run == row.id) {
                        ended = true;
                        // Read anew: what is read now has seen this event.
                        stored = query::run(self.store, row.id)?;
                        self.after_the_end(&mut walk, stored.as_ref(), place)?;
                        break;
                    }
                }
            }
            Err(missing) => self.divergences.push(missing),
        }
        self.rows.compare_run(stored.as_ref(), &mut self.divergences);
        let messages = self.rows.compare(self.store, &mut self.divergences)?;
        let items = self.outputs.compare(self.store, ended, &mut self.divergences)?;
        self.prompts.compare(self.store, row.agent, &mut self.divergences)?;
        let divergence = first(self.divergences);
        Ok(Replay {
            run: row.id,
            agent: row.agent,
            status: match (&divergence, ended) {
                (Some(_), _) => Status::Diverged,
                (None, true) => Status::Identical,
                (None, false) => Status::Incomplete,
            },
            events,
            steps: self.prompts.into_steps(),
            messages,
            items,
            divergence,
        })
    }

    fn see(&mut self, walk: &mut Walk<'_>, record: &retold_events::Record, event: &Event) {
        self.rows.before(walk.state(), record, event, &mut self.divergences);
        self.outputs.before(walk.state(), record, event);
        walk.fold(record, event);
        self.prompts.after(self.store, walk.state(), record, event);
    }

    /// The call to the address of a client changes the run's row once more, after its end.
    fn after_the_end(
        &mut self,
        walk: &mut Walk<'_>,
        stored: Option<&RunRow>,
        end: Place,
    ) -> Result<(), ReplayError> {
        let Some(row) = stored.filter(|row| row.callback.is_some()) else { return Ok(()) };
        while let Some(happened) = walk.next()? {
            let (record, event) = match happened {
                Ok(happened) => happened,
                Err(unreadable) => {
                    self.divergences.push(unreadable);
                    return Ok(());
                }
            };
            self.rows.before(walk.state(), &record, &event, &mut self.divergences);
            walk.fold(&record, &event);
            if matches!(&event, Event::CallbackSent(sent) if sent.run == row.id) {
                return Ok(());
            }
        }
        self.divergences.push(Divergence {
            place: Some(end),
            step: None,
            what: What::Event,
            detail: "the run's row tells of a call to its callback address, the log does not"
                .to_owned(),
            expected: "callback sent".to_owned(),
            found: "nothing".to_owned(),
        });
        Ok(())
    }
}

/// The one whose event comes first; of several of one event the one found first.
fn first(divergences: Vec<Divergence>) -> Option<Divergence> {
    divergences.into_iter().min_by_key(|divergence| match divergence.place {
        Some(place) => (false, place.position),
        None => (true, Position(0)),
    })
}

impl Place {
    fn of(record: &retold_events::Record) -> Self {
        Self { position: record.position, seq: record.seq }
    }
}

impl Divergence {
    /// An event that this version cannot read.
    fn unreadable(place: Option<Place>, error: &DecodeError) -> Self {
        Self {
            place,
            step: None,
            what: What::Event,
            detail: "an event cannot be read by this version of the program".to_owned(),
            expected: "an event that can be read".to_owned(),
            found: error.to_string(),
        }
    }
}
