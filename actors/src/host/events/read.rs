//! Pages of the log, forwards and backwards, bounded by number and by bytes.

use retold_events::{
    Position, Record, Seq, StreamId,
    store::{EventStore, StoreError},
};
use retold_snapshots::load;

use super::LogEvent;

/// Bytes of payload after which a page is full. One event may be larger by itself.
const PAGE_BYTES: usize = 1 << 20;
/// Events read at first: one may have tens of megabytes.
const FEW: usize = 8;
/// Events read at a time, at most, where they are small.
const MANY: usize = 256;
/// Events are small while those of one read have no more bytes than this.
const SMALL: usize = 128 << 10;

/// How much to read next, so that neither many small events nor a few large ones cost more than they need.
#[derive(Debug)]
pub(super) struct Chunk(usize);

impl Chunk {
    pub(super) fn new() -> Self {
        Self(FEW)
    }

    /// How many events to read.
    pub(super) fn size(&self) -> usize {
        self.0
    }

    /// Learns from what was read. Gives its bytes.
    pub(super) fn learn(&mut self, records: &[Record]) -> usize {
        let bytes = records.iter().map(|record| record.encoded.payload.len()).sum();
        self.0 = if bytes <= SMALL { (self.0 * 4).min(MANY) } else { FEW };
        bytes
    }
}

/// Events of all streams from `next` on.
pub(super) fn all(
    store: &dyn EventStore,
    next: Position,
    limit: usize,
) -> Result<Vec<LogEvent>, StoreError> {
    gather(
        next.0,
        limit,
        |next, count| store.read_all(Position(next), count),
        |last| last.position.0,
    )
}

/// Events of a stream from `next` on.
pub(super) fn stream(
    store: &dyn EventStore,
    stream: StreamId,
    next: Seq,
    limit: usize,
) -> Result<Vec<LogEvent>, StoreError> {
    gather(
        next.0,
        limit,
        |next, count| store.read_stream(stream, Seq(next), count),
        |last| last.seq.0,
    )
}

fn gather(
    mut next: u64,
    limit: usize,
    read: impl Fn(u64, usize) -> Result<Vec<Record>, StoreError>,
    place: impl Fn(&Record) -> u64,
) -> Result<Vec<LogEvent>, StoreError> {
    let (mut page, mut bytes, mut chunk) = (Vec::new(), 0, Chunk::new());
    while page.len() < limit && bytes < PAGE_BYTES {
        let records = read(next, chunk.size().min(limit - page.len()))?;
        let Some(last) = records.last() else { break };
        next = place(last) + 1;
        bytes += chunk.learn(&records);
        page.extend(records.into_iter().map(LogEvent::from));
    }
    Ok(page)
}

/// The last events of all streams up to the one at `until`.
pub(super) fn back_all(
    store: &dyn EventStore,
    until: Position,
    limit: usize,
) -> Result<Vec<LogEvent>, StoreError> {
    gather_back(until.0, limit, |from, count| store.read_all(Position(from), count))
}

/// The last events of a stream up to the position `until`.
pub(super) fn back_stream(
    store: &dyn EventStore,
    stream: StreamId,
    until: Position,
    limit: usize,
) -> Result<Vec<LogEvent>, StoreError> {
    let last = load::last_at(store, stream, until)?;
    gather_back(last.0, limit, |from, count| store.read_stream(stream, Seq(from), count))
}

/// Places have no gap, so going back is arithmetic.
fn gather_back(
    mut last: u64,
    limit: usize,
    read: impl Fn(u64, usize) -> Result<Vec<Record>, StoreError>,
) -> Result<Vec<LogEvent>, StoreError> {
    let (mut chunks, mut count, mut bytes, mut chunk) = (Vec::new(), 0, 0, Chunk::new());
    while last > 0 && count < limit && bytes < PAGE_BYTES {
        let wanted = chunk.size().min(limit - count);
        let from = last.saturating_sub(wanted as u64) + 1;
        let records = read(from, usize::try_from(last - from + 1).unwrap_or(wanted))?;
        bytes += chunk.learn(&records);
        count += records.len();
        last = from - 1;
        chunks.push(records);
    }
    Ok(chunks.into_iter().rev().flatten().map(LogEvent::from).collect())
}
