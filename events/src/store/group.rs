//! What a group of commits becomes: who is refused, and every place, position and hash of the rest.
//!
//! Pure, so that every implementation of the store gives the same answers and writes the same envelopes. It must not know
//! where they are kept.

use std::collections::HashMap;

use super::{Commit, Committed, Conflict, Head, MAX_PAYLOAD_BYTES, StoreError};
use crate::{
    Position, Seq, StreamId,
    defect::Defect,
    envelope::{self, Hash, Place},
};

/// Where a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tip {
    /// Its last place.
    pub(super) seq: Seq,
    /// Hash of its last envelope; zeros when there is none.
    pub(super) hash: Hash,
}

/// All a stream gets in one group: what is stored as one value.
#[derive(Debug)]
pub(super) struct Packed {
    pub(super) stream: StreamId,
    /// Place of the first event.
    pub(super) first: Seq,
    pub(super) count: u32,
    /// Envelopes, in order of their places.
    pub(super) envelopes: Vec<u8>,
    /// Where the stream stands afterwards.
    pub(super) tip: Tip,
}

/// A group, judged and numbered.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// One answer per commit, in order.
    pub(super) answers: Vec<Result<Committed, Conflict>>,
    /// The commits that go through.
    pub(super) accepted: Vec<&'a Commit>,
    /// What each stream gets, in order of first mention.
    pub(super) streams: Vec<Packed>,
    /// Position of the first event of the group.
    pub(super) first: Position,
    /// The head afterwards.
    pub(super) head: Head,
}

impl Plan<'_> {
    /// Whether there is anything to write.
    pub(super) fn is_empty(&self) -> bool {
        self.accepted.iter().all(|commit| {
            commit.appends.iter().all(|append| append.events.is_empty())
                && commit.rows.is_empty()
                && commit.outputs.is_empty()
                && commit.snapshots.is_empty()
        })
    }
}

/// Judges `group` in order, after `head`; `tip` tells where a stream stood before the group.
///
/// # Errors
/// What `tip` gives, and [`StoreError::Io`] for an event longer than [`MAX_PAYLOAD_BYTES`].
pub(super) fn plan(
    group: &[Commit],
    head: Head,
    mut tip: impl FnMut(StreamId) -> Result<Tip, StoreError>,
) -> Result<Plan<'_>, StoreError> {
    let mut writer = Writer {
        streams: Vec::new(),
        places: HashMap::new(),
        chain: blake3::Hasher::new(),
        head,
        written: 0,
    };
    writer.head.position.0 += u64::from(Defect::PositionGap.is_on());
    writer.chain.update(&head.chain);
    let mut tips: HashMap<StreamId, Tip> = HashMap::new();
    let mut answers = Vec::with_capacity(group.len());
    let mut accepted = Vec::with_capacity(group.len());
    for commit in group {
        let mut conflict = None;
        for append in &commit.appends {
            let actual = match tips.get(&append.stream) {
                Some(known) => known.seq,
                None => tips.entry(append.stream).insert_entry(tip(append.stream)?).get().seq,
            };
            if actual != append.expected && !Defect::ConflictUnseen.is_on() {
                let (stream, expected) = (append.stream, append.expected);
                conflict = Some(Conflict { stream, expected, actual });
                break;
            }
        }
        if let Some(conflict) = conflict {
            answers.push(Err(conflict));
            continue;
        }
        for append in &commit.appends {
            let tip = tips.entry(append.stream).or_default();
            for event in &append.events {
                check_length(event.encoded.payload.len())?;
                writer.write(append.stream, tip, event);
            }
        }
        answers.push(Ok(Committed { position: writer.head.position }));
        accepted.push(commit);
    }
    if writer.written > 0 {
        writer.head.chain = envelope::truncated(&writer.chain.finalize());
    }
    let first = Position(head.position.0 + 1);
    Ok(Plan { answers, accepted, streams: writer.streams, first, head: writer.head })
}

fn check_length(bytes: usize) -> Result<(), StoreError> {
    if bytes > MAX_PAYLOAD_BYTES {
        let message = format!("an event of {bytes} bytes is too long");
        return Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, message).into());
    }
    Ok(())
}

struct Writer {
    streams: Vec<Packed>,
    places: HashMap<StreamId, usize>,
    chain: blake3::Hasher,
    head: Head,
    written: usize,
}

impl Writer {
    fn write(&mut self, stream: StreamId, tip: &mut Tip, event: &crate::NewEvent) {
        let (seq, previous) = (tip.seq.next(), tip.hash);
        let index = *self.places.entry(stream).or_insert_with(|| {
            let (count, envelopes) = (0, Vec::new());
            self.streams.push(Packed { stream, first: seq, count, envelopes, tip: *tip });
            self.streams.len() - 1
        });
        let packed = &mut self.streams[index];
        self.head.position = Position(self.head.position.0 + 1);
        self.head.at = event.at;
        let (position, epoch) = (self.head.position, self.head.epoch);
        let place = Place { stream, seq, position, epoch, previous };
        let hash = envelope::write(&mut packed.envelopes, &place, event);
        *tip = Tip { seq, hash };
        packed.tip = *tip;
        packed.count += 1;
        self.chain.update(&hash);
        self.written += 1;
    }
}
