//! A run's part of its agent's history, folded event by event from where the run was accepted.

use retold_events::{
    Record, Seq, StreamId, Timestamp,
    agent::Event,
    codec::Event as _,
    store::{EventStore, StoreError},
};
use retold_snapshots::{
    agent::{self, State},
    load::{self, LoadError},
    row::RunRow,
};

use super::{Divergence, Place, ReplayError, What};

/// Events read from the store at a time.
const PAGE: usize = 256;

/// Folds an agent's events, from the acceptance of a run on.
pub(super) struct Walk<'a> {
    store: &'a dyn EventStore,
    stream: StreamId,
    /// The agent as it was before the next event.
    state: State,
    next: Seq,
    read: std::vec::IntoIter<Record>,
}

/// An event, or why it cannot be read.
pub(super) type Happened = Result<(Record, Event), Divergence>;

impl<'a> Walk<'a> {
    /// Stands before the event that accepted the run of `row`. The inner error says what is missing.
    pub(super) fn begin(
        store: &'a dyn EventStore,
        row: &RunRow,
    ) -> Result<Result<Self, Divergence>, ReplayError> {
        let stream = StreamId::Agent(row.agent);
        let Some(accepted) = accepted(store, stream, row)? else {
            return Ok(Err(missing("no event of the agent accepts the run")));
        };
        let before = Seq(accepted.seq.0.saturating_sub(1));
        let loaded = match load::agent_to(store, row.agent, before) {
            Ok(loaded) => loaded,
            Err(LoadError::Event { stream, seq, source }) => {
                let place = place(store, stream, seq)?;
                return Ok(Err(Divergence::unreadable(place, &source)));
            }
            Err(error @ LoadError::Store(_)) => return Err(error.into()),
        };
        Ok(match loaded {
            Some(loaded) => Ok(Self {
                store,
                stream,
                state: loaded.state,
                next: accepted.seq,
                read: Vec::new().into_iter(),
            }),
            None => Err(missing("the log holds no agent before the run")),
        })
    }

    /// The agent as it was before the event given last, until that is folded.
    pub(super) fn state(&self) -> &State {
        &self.state
    }

    /// The next event of the agent; `None` at the end of its stream.
    pub(super) fn next(&mut self) -> Result<Option<Happened>, StoreError> {
        if self.read.len() == 0 {
            self.read = self.store.read_stream(self.stream, self.next, PAGE)?.into_iter();
        }
        let Some(record) = self.read.next() else { return Ok(None) };
        self.next = record.seq.next();
        Ok(Some(match Event::decode(&record.encoded) {
            Ok(event) => Ok((record, event)),
            Err(error) => Err(Divergence::unreadable(Some(Place::of(&record)), &error)),
        }))
    }

    /// Folds the event given last.
    pub(super) fn fold(&mut self, record: &Record, event: &Event) {
        agent::apply(&mut self.state, record.at, event);
    }
}

/// The event that accepted a run. It is looked for by its time first, since time in a stream never runs backwards as long
/// as its agent writes it: some twenty looks for a million events. A history that somebody else wrote to is read whole.
fn accepted(
    store: &dyn EventStore,
    stream: StreamId,
    row: &RunRow,
) -> Result<Option<Record>, StoreError> {
    let (mut low, mut high) = (1, store.stream_head(stream)?.0 + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let record = store.read_stream(stream, Seq(middle), 1)?;
        match record.first() {
            Some(record) if record.at < row.created_at => low = middle + 1,
            Some(_) | None => high = middle,
        }
    }
    match accepted_from(store, stream, row, Seq(low), Some(row.created_at))? {
        Some(found) => Ok(Some(found)),
        None => accepted_from(store, stream, row, Seq(1), None),
    }
}

/// The event that accepted a run, among those from `from` on that are not later than `until`.
fn accepted_from(
    store: &dyn EventStore,
    stream: StreamId,
    row: &RunRow,
    mut from: Seq,
    until: Option<Timestamp>,
) -> Result<Option<Record>, StoreError> {
    loop {
        let records = store.read_stream(stream, from, PAGE)?;
        if records.is_empty() {
            return Ok(None);
        }
        for record in records {
            if until.is_some_and(|until| record.at > until) {
                return Ok(None);
            }
            from = record.seq.next();
            // An event that cannot be read is not judged here: it may be of anything else.
            let event = Event::decode(&record.encoded);
            if matches!(event, Ok(Event::RunAccepted(accepted)) if accepted.run == row.id) {
                return Ok(Some(record));
            }
        }
    }
}

/// The place of an event that cannot be read.
fn place(store: &dyn EventStore, stream: StreamId, seq: Seq) -> Result<Option<Place>, StoreError> {
    Ok(store.read_stream(stream, seq, 1)?.first().map(Place::of))
}

fn missing(what: &str) -> Divergence {
    Divergence {
        place: None,
        step: None,
        what: What::Event,
        detail: what.to_owned(),
        expected: "an event".to_owned(),
        found: "nothing".to_owned(),
    }
}
