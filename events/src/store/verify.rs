//! What a check of a whole data directory finds, and what it asks of those who know what bytes mean.
//!
//! A check goes on behind damage, so that one look tells all of it; up to a bound, past which it only counts.

use bytes::Bytes;

use super::{OutputBatch, SavedState, Table};
use crate::{Position, Record, RunId, Seq, StreamId};

pub use super::disk::Copy;

/// Findings that are told one by one. More of them tell a person nothing more.
pub const MAX_FINDINGS: usize = 100;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether anything is lost by it. What is only noted can be made anew, or takes room for nothing.
    pub is_damage: bool,
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub reason: String,
}

/// Where something is, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// In which stream.
    pub stream: Option<StreamId>,
    /// At which place in it.
    pub seq: Option<Seq>,
    /// At which position.
    pub position: Option<Position>,
    /// In the output of which run.
    pub run: Option<RunId>,
    /// Under which key of the tree, or in which file.
    pub key: Option<String>,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// What is not as it should be, at most [`MAX_FINDINGS`] of each kind.
    pub findings: Vec<Finding>,
    /// Damage in all.
    pub damage: u64,
    /// Notes in all.
    pub notes: u64,
    /// What was looked at.
    pub seen: Seen,
    /// The last position.
    pub position: Position,
    /// Hash over everything up to it.
    pub chain: [u8; 16],
    /// The number of times the directory was opened for writing.
    pub epoch: u32,
}

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Events.
    pub events: u64,
    /// Streams.
    pub streams: u64,
    /// Groups.
    pub groups: u64,
    /// Batches of output.
    pub batches: u64,
    /// Rows.
    pub rows: u64,
    /// Saved states.
    pub saved_states: u64,
}

impl Report {
    /// Whether nothing is lost.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damage == 0
    }

    /// Adds damage.
    pub fn damage(&mut self, place: Place, reason: impl ToString) {
        self.damage += 1;
        self.add(Finding { is_damage: true, place, reason: reason.to_string() }, self.damage);
    }

    /// Adds a note.
    pub fn note(&mut self, place: Place, reason: impl ToString) {
        self.notes += 1;
        self.add(Finding { is_damage: false, place, reason: reason.to_string() }, self.notes);
    }

    fn add(&mut self, finding: Finding, count: u64) {
        if count <= MAX_FINDINGS as u64 {
            self.findings.push(finding);
        }
    }
}

impl Place {
    /// An event of a stream.
    #[must_use]
    pub fn event(stream: StreamId, seq: Seq) -> Self {
        Self { stream: Some(stream), seq: Some(seq), ..Self::default() }
    }

    /// A position.
    #[must_use]
    pub fn position(position: Position) -> Self {
        Self { position: Some(position), ..Self::default() }
    }

    /// Output of a run.
    #[must_use]
    pub fn run(run: RunId) -> Self {
        Self { run: Some(run), ..Self::default() }
    }

    /// A key or a file.
    #[must_use]
    pub fn key(key: impl ToString) -> Self {
        Self { key: Some(key.to_string()), ..Self::default() }
    }
}

/// Those who know what bytes mean. Each says what is wrong, or nothing.
pub trait Meaning {
    /// Whether an event can be read.
    fn event(&mut self, record: &Record) -> Option<String>;
    /// Whether output can be read.
    fn output(&mut self, batch: &OutputBatch) -> Option<String>;
    /// Whether a saved state can be used.
    fn saved(&mut self, saved: &SavedState) -> Option<String>;
    /// Whether a row can be read.
    fn row(&mut self, table: Table, key: &[u8], value: &Bytes) -> Option<String>;
}

/// Takes bytes as they are: only where they are and whether they are whole counts.
#[derive(Debug, Clone, Copy, Default)]
pub struct AnyMeaning;

impl Meaning for AnyMeaning {
    fn event(&mut self, _: &Record) -> Option<String> {
        None
    }

    fn output(&mut self, _: &OutputBatch) -> Option<String> {
        None
    }

    fn saved(&mut self, _: &SavedState) -> Option<String> {
        None
    }

    fn row(&mut self, _: Table, _: &[u8], _: &Bytes) -> Option<String> {
        None
    }
}
