//! What is written to the stores: commits that follow from a seed and their number, so that whoever knows how many there
//! are knows what a store has to hold.
//!
//! Every commit puts its number into one row. So the number found there says which commits a store holds, and all else
//! has to be exactly what these amount to.

use std::collections::HashMap;

use retold_events::store::conformance::{agent, block, event};
use retold_events::store::{Append, Commit, OutputBatch, RowChange, SavedState, Table};
use retold_events::{RunId, Seq, StreamId};

use crate::random::Random;

/// Where the number of the last commit is.
pub(crate) const LAST: (Table, &[u8]) = (Table::Feedback, b"last");
/// Streams that are written to.
pub(crate) const AGENTS: u128 = 6;
pub(crate) const BLOCKS: u128 = 3;
/// Commits whose output goes to one run.
const COMMITS_PER_RUN: u64 = 12;

/// How large things are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// Some hundred bytes a commit.
    Small,
    /// Now and then a value of more than one piece.
    Mixed,
    /// Much that is written over again, so that the database moves what is left of its oldest files' parts.
    Churn,
    /// Now and then a commit that is larger than a part of the database's file.
    Huge,
}

impl Size {
    pub(crate) const ALL: [Self; 4] = [Self::Small, Self::Mixed, Self::Churn, Self::Huge];

    /// The name by which a child process is told.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Small => "small",
            Self::Mixed => "mixed",
            Self::Churn => "churn",
            Self::Huge => "huge",
        }
    }

    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|size| size.name() == name)
    }
}

/// The commits, one after the other.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    seed: u64,
    size: Size,
    /// Number of the last commit that was given.
    pub(crate) number: u64,
    places: HashMap<StreamId, u64>,
    items: HashMap<u64, u64>,
}

impl Script {
    pub(crate) fn new(seed: u64, size: Size) -> Self {
        Self { seed, size, number: 0, places: HashMap::new(), items: HashMap::new() }
    }

    /// As it is after `number` commits.
    pub(crate) fn after(seed: u64, size: Size, number: u64) -> Self {
        let mut script = Self::new(seed, size);
        while script.number < number {
            script.next();
        }
        script
    }

    /// The run that a commit's output belongs to.
    pub(crate) fn run(number: u64) -> RunId {
        RunId::from_uuid(uuid::Uuid::from_u128(u128::from(1 + number / COMMITS_PER_RUN)))
    }

    pub(crate) fn next(&mut self) -> Commit {
        self.number += 1;
        let mut random = Random::new(self.seed ^ self.number.wrapping_mul(0x9e37_79b9));
        let mut commit = Commit::default();
        if !self.number.is_multiple_of(7) {
            self.add_events(&mut commit, &mut random);
        }
        self.add_rows(&mut commit, &mut random);
        if random.one_in(3) {
            self.add_output(&mut commit, &mut random);
        }
        if random.one_in(15) {
            self.add_state(&mut commit, &mut random);
        }
        commit
    }

    fn add_events(&mut self, commit: &mut Commit, random: &mut Random) {
        let mut streams = vec![agent(u128::from(random.below(AGENTS as u64)))];
        if random.one_in(3) {
            streams.push(block(u128::from(random.below(BLOCKS as u64))));
        }
        for stream in streams {
            let place = self.places.entry(stream).or_default();
            let expected = Seq(*place);
            let count = 1 + random.below(3);
            let (size, number) = (self.size, self.number);
            let events = (1..=count).map(|index| {
                let may_be_huge = index == 1 && number % 5 == 3;
                let bytes = size.event_bytes(may_be_huge, random);
                event(expected.0 + index, noise(bytes, random))
            });
            let events = events.collect();
            *place += count;
            commit.appends.push(Append { stream, expected, events });
        }
    }

    fn add_rows(&self, commit: &mut Commit, random: &mut Random) {
        let (table, key) = LAST;
        let mut put = |table, key: Vec<u8>, value: Option<Vec<u8>>| {
            commit.rows.push(RowChange { table, key, value: value.map(Into::into) });
        };
        put(table, key.to_vec(), Some(self.number.to_be_bytes().to_vec()));
        for _ in 0..random.below(4) {
            let table = [Table::Agents, Table::Runs, Table::Messages][random.below(3) as usize];
            let key = format!("{}", random.below(self.size.rows())).into_bytes();
            let is_removal = random.one_in(6);
            let bytes = self.size.row_bytes(random);
            put(table, key, (!is_removal).then(|| noise(bytes, random)));
        }
    }

    fn add_output(&mut self, commit: &mut Commit, random: &mut Random) {
        let items = self.items.entry(self.number / COMMITS_PER_RUN).or_default();
        let (first, last) = (*items + 1, *items + 1 + random.below(4));
        *items = last;
        let run = Self::run(self.number);
        let bytes = 40 + random.below(300) as usize;
        commit.outputs.push(OutputBatch { run, first, last, items: noise(bytes, random).into() });
    }

    fn add_state(&self, commit: &mut Commit, random: &mut Random) {
        let stream = agent(u128::from(random.below(AGENTS as u64)));
        let seq = Seq(self.places.get(&stream).copied().unwrap_or_default());
        let bytes = noise(self.size.row_bytes(random) * 2, random).into();
        commit.snapshots.push(SavedState { stream, seq, bytes });
    }
}

impl Size {
    fn event_bytes(self, may_be_huge: bool, random: &mut Random) -> usize {
        match self {
            Self::Mixed if random.one_in(25) => 60_000 + random.below(200_000) as usize,
            Self::Huge if may_be_huge => (8 << 20) + random.below(8 << 20) as usize,
            Self::Small | Self::Mixed | Self::Churn | Self::Huge => 20 + random.below(400) as usize,
        }
    }

    fn row_bytes(self, random: &mut Random) -> usize {
        match self {
            Self::Mixed if random.one_in(25) => 60_000 + random.below(200_000) as usize,
            Self::Churn => 5_000 + random.below(40_000) as usize,
            Self::Small | Self::Mixed | Self::Huge => random.below(300) as usize,
        }
    }

    /// Rows there may be in a table.
    fn rows(self) -> u64 {
        match self {
            Self::Small | Self::Mixed | Self::Huge => 50,
            Self::Churn => 200,
        }
    }
}

/// Bytes that nothing makes smaller.
fn noise(length: usize, random: &mut Random) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        bytes.extend(random.next().to_be_bytes());
    }
    bytes.truncate(length);
    bytes
}
