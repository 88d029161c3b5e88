//! Tells a store's archive, piece by piece.
//!
//! Events come in the order of the log, the output of a run right after the group in which it ended. So one pass is
//! enough, and what is in memory is one page. The store may be written to meanwhile: all that is told had happened
//! before the moment, and never changes.

use std::{collections::VecDeque, io};

use bytes::Bytes;

use super::{
    Counts, Moment, Since,
    frame::{Begin, End, Frame},
};
use crate::{
    EventType, Position, RunId, StreamId, Timestamp, agent,
    codec::Event as _,
    envelope,
    store::{EventStore, OutputBatch, RawGroup, StoreError, damaged},
};

/// Bytes told at a time, and a little more.
const PAGE_BYTES: usize = 1 << 20;

/// Type of the event that ends a run, see [`crate::codec`]: others need not be understood here.
const RUN_ENDED: EventType = EventType(206);

/// An archive being told.
#[derive(Debug)]
pub struct Archiver {
    begin: Option<Begin>,
    /// The last position that is told.
    until: Position,
    /// The next position to be told.
    next: Position,
    /// Runs whose end was told, and the number of the last item told.
    ended: VecDeque<(RunId, u64)>,
    /// Runs that were open, the number of the last item told, and of the last one to be told.
    open: VecDeque<(RunId, u64, u64)>,
    counts: Counts,
    hasher: blake3::Hasher,
    is_done: bool,
}

impl Archiver {
    /// Begins to tell what came after `since` and had happened by `moment`. `made_at` is now, `program` our version.
    #[must_use]
    pub fn new(moment: Moment, since: Since, made_at: Timestamp, program: &str) -> Self {
        let Moment { head, open } = moment;
        let begin = Begin {
            since: since.position,
            since_chain: since.chain,
            position: head.position,
            chain: head.chain,
            epoch: head.epoch,
            at: head.at,
            made_at,
            program: program.to_owned(),
        };
        Self {
            begin: Some(begin),
            until: head.position,
            next: Position(since.position.0 + 1),
            ended: VecDeque::new(),
            open: open.into_iter().map(|(run, last)| (run, 0, last)).collect(),
            counts: Counts::default(),
            hasher: blake3::Hasher::new(),
            is_done: false,
        }
    }

    /// The next bytes, about a mebibyte; `None` after the end.
    ///
    /// # Errors
    /// Those of the store.
    pub fn next(&mut self, store: &dyn EventStore) -> Result<Option<Bytes>, StoreError> {
        if self.is_done {
            return Ok(None);
        }
        let mut page = Vec::new();
        if let Some(begin) = self.begin.take() {
            self.tell(&mut page, &Frame::Begin(begin));
        }
        while page.len() < PAGE_BYTES && !self.is_done {
            if let Some((run, after)) = self.ended.pop_front() {
                self.ended(store, &mut page, run, after)?;
            } else if self.next <= self.until {
                self.groups(store, &mut page)?;
            } else if let Some((run, after, last)) = self.open.pop_front() {
                self.open(store, &mut page, run, after, last)?;
            } else {
                self.is_done = true;
                let hash = *self.hasher.finalize().as_bytes();
                self.tell(&mut page, &Frame::End(End { counts: self.counts, hash }));
            }
        }
        Ok(Some(page.into()))
    }

    fn tell(&mut self, page: &mut Vec<u8>, frame: &Frame) {
        let bytes = frame.encode();
        self.hasher.update(&bytes);
        page.extend_from_slice(&bytes);
    }

    fn groups(&mut self, store: &dyn EventStore, page: &mut Vec<u8>) -> Result<(), StoreError> {
        let groups = store.groups(self.next, PAGE_BYTES)?;
        if groups.is_empty() {
            let missing = format!("position {}", self.next.0);
            return Err(damaged(missing)("there is no event, but there were some behind it"));
        }
        for group in groups {
            if group.first > self.until {
                break;
            }
            if group.first != self.next || group.last() > self.until {
                let place = format!("position {}", group.first.0);
                return Err(damaged(place)("a group does not begin or end where it should"));
            }
            self.ended.extend(ended_in(&group)?.into_iter().map(|run| (run, 0)));
            self.next = Position(group.last().0 + 1);
            self.counts.groups += 1;
            self.counts.events += group.envelopes.len() as u64;
            self.tell(page, &Frame::Group(group));
        }
        Ok(())
    }

    /// Tells a page of the output of a run that has ended.
    fn ended(
        &mut self,
        store: &dyn EventStore,
        page: &mut Vec<u8>,
        run: RunId,
        after: u64,
    ) -> Result<(), StoreError> {
        let batches = store.output_batches(run, after, PAGE_BYTES)?;
        let bytes: usize = batches.iter().map(|batch| batch.items.len()).sum();
        // Only a page that is full has one behind it.
        if let Some(last) = batches.last().filter(|_| bytes > PAGE_BYTES) {
            self.ended.push_front((run, last.last));
        }
        for batch in batches {
            self.batch(page, Frame::Output(batch));
        }
        Ok(())
    }

    /// Tells a page of the output of an open run, as far as it had come.
    fn open(
        &mut self,
        store: &dyn EventStore,
        page: &mut Vec<u8>,
        run: RunId,
        after: u64,
        last: u64,
    ) -> Result<(), StoreError> {
        let batches = store.output_batches(run, after, PAGE_BYTES)?;
        let had_come = |batch: &OutputBatch| batch.last <= last;
        if let Some(newest) = batches.last().filter(|newest| newest.last < last) {
            self.open.push_front((run, newest.last, last));
        }
        for batch in batches.into_iter().filter(had_come) {
            self.batch(page, Frame::OpenOutput(batch));
        }
        Ok(())
    }

    fn batch(&mut self, page: &mut Vec<u8>, frame: Frame) {
        self.counts.batches += 1;
        self.tell(page, &frame);
    }
}

/// The runs that ended in a group.
fn ended_in(group: &RawGroup) -> Result<Vec<RunId>, StoreError> {
    let mut ended = Vec::new();
    for (position, bytes) in (group.first.0..).zip(&group.envelopes) {
        let place = || format!("position {position}");
        let envelope = envelope::read(&mut bytes.clone()).map_err(damaged(place()))?;
        let record = envelope.record;
        if record.encoded.event_type != RUN_ENDED || !matches!(record.stream, StreamId::Agent(_)) {
            continue;
        }
        match agent::Event::decode(&record.encoded) {
            Ok(agent::Event::RunEnded(end)) => ended.push(end.run),
            // Not readable by this version, which is no reason not to keep it.
            Ok(_) | Err(_) => ended.extend(record.run),
        }
    }
    Ok(ended)
}

/// An archive told as a stream of bytes, where the store is at hand.
#[derive(Debug)]
pub struct ArchiveReader<'a> {
    archiver: Archiver,
    store: &'a dyn EventStore,
    page: Bytes,
}

impl<'a> ArchiveReader<'a> {
    /// The bytes that `archiver` tells of `store`.
    #[must_use]
    pub fn new(archiver: Archiver, store: &'a dyn EventStore) -> Self {
        Self { archiver, store, page: Bytes::new() }
    }
}

impl io::Read for ArchiveReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.page.is_empty() {
            match self.archiver.next(self.store).map_err(io::Error::other)? {
                Some(page) => self.page = page,
                None => return Ok(0),
            }
        }
        let count = into.len().min(self.page.len());
        into[..count].copy_from_slice(&self.page.split_to(count));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{EndStatus, Ended, StopReason};

    #[test]
    fn the_end_of_a_run_is_known_by_the_number_of_its_type() {
        let ended = Ended {
            run: RunId::from_uuid(uuid::Uuid::from_u128(1)),
            status: EndStatus::Completed,
            stop_reason: StopReason::EndTurn,
            error: None,
            interrupted: false,
            input: Vec::new(),
            ttft_ns: None,
            total_ns: 1,
        };
        assert_eq!(agent::Event::RunEnded(ended).encode().event_type, RUN_ENDED);
    }
}
