//! What the server has acknowledged, kept where a kill of the server cannot reach it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

/// Shared by the clients that write it and the checks that read it.
#[derive(Clone)]
pub(crate) struct Ledger(Arc<Mutex<Book>>);

#[derive(Default)]
pub(crate) struct Book {
    pub(crate) agents: BTreeMap<String, Agent>,
    pub(crate) runs: BTreeMap<String, Run>,
    pub(crate) count: Count,
}

pub(crate) struct Agent {
    pub(crate) name: String,
    /// The id of the block `ledger`, which only the driver writes.
    pub(crate) block: String,
    /// The value last acknowledged.
    pub(crate) value: String,
    /// A value that was sent after it and not answered: it may have been stored or not.
    pub(crate) sent: Option<String>,
    /// Messages that a blocking request answered with.
    pub(crate) messages: Vec<Value>,
    /// What the user said in requests that were answered: each is there exactly once.
    pub(crate) said: Vec<String>,
    /// The history as the last check read it: only ever added to.
    pub(crate) history: Vec<Value>,
}

#[derive(Default)]
pub(crate) struct Run {
    pub(crate) agent: String,
    pub(crate) text: String,
    /// The numbered frames a client was sent, in order.
    pub(crate) seen: Vec<Value>,
    /// A client saw `[DONE]`.
    pub(crate) done: bool,
    /// A cancel of it was answered.
    pub(crate) cancelled: bool,
    /// How it ended, once a check has read that: never to change again.
    pub(crate) settled: Option<Settled>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settled {
    pub(crate) status: String,
    pub(crate) stop_reason: Value,
    pub(crate) frames: Vec<Value>,
}

/// What happened, for the closing figures.
#[derive(Clone, Default)]
pub(crate) struct Count {
    pub(crate) creates: u64,
    pub(crate) edits: u64,
    pub(crate) messages: u64,
    pub(crate) runs: u64,
    pub(crate) frames: u64,
    pub(crate) cancels: u64,
    /// Runs that a kill hit after their first frame and before their last.
    pub(crate) cut: u64,
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    /// Cut runs whose replay went on after the last frame that was seen.
    pub(crate) continued: u64,
}

impl Ledger {
    pub(crate) fn new() -> Self {
        Self(Arc::default())
    }

    /// The book itself. It is whole after a panic of another holder too: each entry is one push.
    pub(crate) fn open(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn figures(&self) -> Count {
        self.open().count.clone()
    }
}

impl Book {
    /// Notes one frame of a run, and answers the run that it belongs to.
    pub(crate) fn note_frame(&mut self, agent: &str, text: &str, frame: &Value) -> Option<String> {
        let id = frame["run_id"].as_str()?.to_owned();
        if !self.runs.contains_key(&id) {
            self.count.runs += 1;
        }
        let run = self.runs.entry(id.clone()).or_default();
        (run.agent, run.text) = (agent.to_owned(), text.to_owned());
        if crate::http::is_numbered(frame) {
            run.seen.push(frame.clone());
            self.count.frames += 1;
        }
        Some(id)
    }
}

impl Count {
    pub(crate) fn acknowledged(&self) -> u64 {
        self.creates + self.edits + self.messages + self.frames + self.cancels
    }

    /// A loop that never hits anything in the middle proves nothing.
    pub(crate) fn show_that_the_loop_bites(&self, kills: u64) {
        assert!(self.creates >= kills, "hardly any agent was created: {self}");
        assert!(self.edits >= kills, "hardly any edit was answered: {self}");
        assert!(self.frames >= kills, "hardly any frame was read: {self}");
        if kills >= 30 {
            assert!(self.cut >= kills / 2, "hardly any run was cut: {self}");
            assert!(self.completed >= kills / 2, "hardly any run was completed: {self}");
            assert!(self.cancels >= 5, "hardly any cancel was answered: {self}");
        }
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} agents created, {} block edits, {} messages, {} runs with {} frames, {} cancels \
             ({} runs cut by a kill, {} of them with more to read afterwards; {} completed, {} \
             failed)",
            self.creates,
            self.edits,
            self.messages,
            self.runs,
            self.frames,
            self.cancels,
            self.cut,
            self.continued,
            self.completed,
            self.failed,
        )
    }
}
