//! The events of a run, found in the stream of its agent and beside it.

use retold_events::{
    Position, Record, RunId, Seq, StreamId, agent,
    block::{self, Author},
    run::StepEnded,
    store::{EventStore, StoreError},
};
use retold_snapshots::{
    query::{self, Order, Page, QueryError},
    row::{RunRow, RunStatus},
};

use super::{Fact, LogEvent, next_after, read::Chunk};

/// Events of a run after which a page is full. A step may hold all of a long answer.
const PAGE_BYTES: usize = 1 << 20;
/// Events read at a time to find the edits that a step made. Most make one.
const EDITS: u64 = 8;

/// How far the reader of a run has come.
#[derive(Debug, Clone)]
pub(super) struct RunReader {
    run: RunId,
    stream: StreamId,
    /// The place in the stream to be read next.
    next: Seq,
    /// Position of the event before that one, or one in between: edits of the run stand after it.
    previous: Position,
    /// The last place in the stream that can hold an event of the run; `None` when that is not known.
    last: Option<Seq>,
    /// Whether the run had ended when its reader began, so that nothing more will come.
    had_ended: bool,
    /// Whether its callback is still to be found, after its end.
    wants_callback: bool,
    /// Whether judgements of its steps may be found after its end.
    wants_feedback: bool,
    saw_end: bool,
    over: bool,
}

impl RunReader {
    /// A reader of the events of `row` after the position `after`.
    pub(super) fn open(
        store: &dyn EventStore,
        row: &RunRow,
        after: Position,
    ) -> Result<Self, StoreError> {
        let stream = StreamId::Agent(row.agent);
        let had_ended = matches!(row.status, RunStatus::Ended(_));
        let wants_feedback = had_ended && has_feedback(store, row.id)?;
        let wants_callback = row.callback.is_some();
        let last =
            if wants_feedback || wants_callback { None } else { last_place(store, stream, row)? };
        Ok(Self {
            run: row.id,
            stream,
            next: accepted(store, stream, row)?.max(next_after(store, stream, after)?),
            previous: after,
            last,
            had_ended,
            wants_callback,
            wants_feedback,
            saw_end: false,
            over: false,
        })
    }

    pub(super) fn stream(&self) -> StreamId {
        self.stream
    }

    /// Whether there will never be more.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    /// The next events after `cursor`. None when there are none yet, or none any more.
    pub(super) fn read(
        &mut self,
        store: &dyn EventStore,
        cursor: Position,
        limit: usize,
    ) -> Result<Vec<LogEvent>, StoreError> {
        let (mut page, mut bytes, mut chunk) = (Vec::new(), 0, Chunk::new());
        while page.len() < limit && bytes < PAGE_BYTES && !self.over {
            let records = store.read_stream(self.stream, self.next, chunk.size())?;
            if records.is_empty() {
                self.over = self.had_ended || self.saw_end;
                break;
            }
            chunk.learn(&records);
            for record in records {
                if self.over || page.len() >= limit || bytes >= PAGE_BYTES {
                    break;
                }
                bytes += record.encoded.payload.len();
                self.take(store, cursor, record, &mut page)?;
            }
        }
        Ok(page)
    }

    /// Takes the next event of the stream, and the edits that were committed with it. Together they may pass the limit by
    /// a few, which is better than a cursor within a commit.
    fn take(
        &mut self,
        store: &dyn EventStore,
        cursor: Position,
        record: Record,
        page: &mut Vec<LogEvent>,
    ) -> Result<(), StoreError> {
        let (seq, position) = (record.seq, record.position);
        if record.run == Some(self.run) {
            let event = LogEvent::from(record);
            if may_edit(&event.fact) {
                let edits = self.edits_before(store, position)?;
                page.extend(edits.into_iter().filter(|edit| edit.position > cursor));
            }
            self.note(&event.fact);
            page.push(event);
        }
        (self.next, self.previous) = (seq.next(), position);
        let is_last = self.last.is_some_and(|last| seq >= last);
        self.over = is_last || self.saw_end && !self.wants_callback && !self.wants_feedback;
        Ok(())
    }

    fn note(&mut self, fact: &Fact) {
        match fact {
            Fact::Agent(agent::Event::RunEnded(_)) => self.saw_end = true,
            Fact::Agent(agent::Event::CallbackSent(_)) => self.wants_callback = false,
            Fact::Agent(_)
            | Fact::Block(_)
            | Fact::Tool(_)
            | Fact::McpServer(_)
            | Fact::Unreadable { .. } => {}
        }
    }

    /// The edits of blocks by this run that stand right before `position`, in the same commit.
    fn edits_before(
        &self,
        store: &dyn EventStore,
        position: Position,
    ) -> Result<Vec<LogEvent>, StoreError> {
        let mut found = Vec::new();
        let mut end = position.0;
        while end > self.previous.0 + 1 {
            let from = end.saturating_sub(EDITS).max(self.previous.0 + 1);
            let count = usize::try_from(end - from).unwrap_or_default();
            let records = store.read_all(Position(from), count)?;
            for record in records.into_iter().rev() {
                let event = LogEvent::from(record);
                if !is_edit_by(self.run, &event.fact) {
                    found.reverse();
                    return Ok(found);
                }
                found.push(event);
            }
            end = from;
        }
        found.reverse();
        Ok(found)
    }

    /// The last `limit` events of the run up to the position `until`.
    pub(super) fn until(
        mut self,
        store: &dyn EventStore,
        until: Position,
        limit: usize,
    ) -> Result<Vec<LogEvent>, StoreError> {
        let mut kept: Vec<LogEvent> = Vec::new();
        let mut cursor = Position(0);
        loop {
            let page = self.read(store, cursor, usize::MAX)?;
            let Some(last) = page.last() else { break };
            cursor = last.position;
            kept.extend(page.into_iter().filter(|event| event.position <= until));
            kept.drain(..kept.len().saturating_sub(limit));
            if cursor >= until {
                break;
            }
        }
        Ok(kept)
    }
}

/// Whether edits of blocks may stand in the same commit.
fn may_edit(fact: &Fact) -> bool {
    match fact {
        Fact::Agent(agent::Event::StepEnded(StepEnded { tools_called, .. })) => {
            !tools_called.is_empty()
        }
        // Of a block that the agent made by writing to it.
        Fact::Agent(agent::Event::BlockAttached(_)) => true,
        Fact::Agent(_)
        | Fact::Block(_)
        | Fact::Tool(_)
        | Fact::McpServer(_)
        | Fact::Unreadable { .. } => false,
    }
}

fn is_edit_by(run: RunId, fact: &Fact) -> bool {
    let author = match fact {
        Fact::Block(block::Event::Created(created)) => &created.author,
        Fact::Block(block::Event::Edited(edited)) => &edited.author,
        Fact::Block(block::Event::Deleted(deleted)) => &deleted.author,
        Fact::Block(block::Event::Forked(_))
        | Fact::Agent(_)
        | Fact::Tool(_)
        | Fact::McpServer(_)
        | Fact::Unreadable { .. } => return false,
    };
    matches!(author, Author::Agent { run: by, .. } if *by == run)
}

/// The place in a stream where a run was accepted.
///
/// Time in a stream does not run backwards, so it is found by halving; where what is found there is not the beginning of
/// the run, the whole stream is read.
fn accepted(store: &dyn EventStore, stream: StreamId, row: &RunRow) -> Result<Seq, StoreError> {
    let start = first_not(store, stream, |record| record.at < row.created_at)?;
    let mut next = start;
    loop {
        let records = store.read_stream(stream, next, 1)?;
        let Some(record) = records.into_iter().next() else { return Ok(Seq(1)) };
        if record.at > row.created_at {
            return Ok(Seq(1));
        }
        next = record.seq.next();
        if record.run == Some(row.id) {
            let is_beginning =
                matches!(LogEvent::from(record).fact, Fact::Agent(agent::Event::RunAccepted(_)));
            return Ok(if is_beginning { start } else { Seq(1) });
        }
    }
}

/// The last place of the time at which a run ended; `None` while it has not, or when the clock tells nothing.
fn last_place(
    store: &dyn EventStore,
    stream: StreamId,
    row: &RunRow,
) -> Result<Option<Seq>, StoreError> {
    let Some(ended) = row.completed_at else { return Ok(None) };
    let last = Seq(first_not(store, stream, |record| record.at <= ended)?.0 - 1);
    let found = store.read_stream(stream, last, 1)?;
    Ok(found.first().is_some_and(|record| record.at == ended).then_some(last))
}

/// The first place in a stream where `holds` does not, when it holds up to some place and nowhere later.
fn first_not(
    store: &dyn EventStore,
    stream: StreamId,
    holds: impl Fn(&Record) -> bool,
) -> Result<Seq, StoreError> {
    let (mut low, mut high) = (0, store.stream_head(stream)?.0 + 1);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        if store.read_stream(stream, Seq(middle), 1)?.first().is_some_and(&holds) {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok(Seq(high))
}

/// Whether any step of a run was ever judged.
fn has_feedback(store: &dyn EventStore, run: RunId) -> Result<bool, StoreError> {
    let page = Page { after: None, before: None, limit: usize::MAX, order: Order::Asc };
    match query::steps_of_run(store, run, &page) {
        Ok(steps) => Ok(steps.iter().any(|(_, feedback)| feedback.is_some())),
        Err(QueryError::Store(error)) => Err(error),
        // Rows that cannot be read say nothing: then the stream is read to its end.
        Err(_) => Ok(true),
    }
}
