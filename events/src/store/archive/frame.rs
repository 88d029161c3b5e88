//! The pieces an archive is told in: `kind, length, body, CRC-32 of all before`.
//!
//! Each frame can be checked by itself, so a stream is checked as it arrives and a damaged file is damaged at a known
//! place. All numbers are big-endian.

use std::io::{self, Read};

use bytes::{Buf, BufMut, Bytes};

use super::{Counts, FORMAT};
use crate::{
    Position, RunId, Timestamp,
    envelope::Hash,
    store::{OutputBatch, RawGroup},
};

const HEAD_BYTES: usize = 1 + 4;
const CRC_BYTES: usize = 4;
/// No frame is longer: a group holds some mebibytes at most, and one event at most 64.
const MAX_BODY_BYTES: u32 = 1 << 30;

/// A piece of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// What is told. Always the first.
    Begin(Begin),
    /// Events that were committed together.
    Group(RawGroup),
    /// Output of a run that has ended.
    Output(OutputBatch),
    /// Output of a run that was open at the end of the archive.
    OpenOutput(OutputBatch),
    /// All was told. Always the last.
    End(End),
}

/// What an archive tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Begin {
    /// Only what came after this position.
    pub(super) since: Position,
    /// Hash over everything up to there.
    pub(super) since_chain: Hash,
    /// The last position that is told.
    pub(super) position: Position,
    /// Hash over everything up to there.
    pub(super) chain: Hash,
    /// The number of times the store was opened for writing.
    pub(super) epoch: u32,
    /// When the last event happened.
    pub(super) at: Timestamp,
    /// When the archive was made.
    pub(super) made_at: Timestamp,
    /// The version of the program that made it.
    pub(super) program: String,
}

/// What was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    pub(super) counts: Counts,
    /// BLAKE3 of all frames before.
    pub(super) hash: [u8; 32],
}

/// Bytes that are not the next frame.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("it ends in the middle of a frame")]
    Short,
    #[error("a checksum does not match")]
    Checksum,
    #[error("unknown kind of frame {0}; it was written by a newer version")]
    Kind(u8),
    #[error("{0}")]
    Malformed(String),
    #[error("format {0} is newer than this program, which knows {FORMAT}")]
    Format(u32),
    #[error(transparent)]
    Io(io::Error),
}

impl Frame {
    /// The bytes of a frame.
    pub(super) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Begin(begin) => framed(1, &begin.encode()),
            Self::Group(group) => framed(2, &group.encode()),
            Self::Output(batch) => framed(3, &encode_batch(batch)),
            Self::OpenOutput(batch) => framed(4, &encode_batch(batch)),
            Self::End(end) => framed(5, &end.encode()),
        }
    }

    fn decode(kind: u8, mut body: Bytes) -> Result<Self, FrameError> {
        let malformed = |what: &str| FrameError::Malformed(format!("{what} ends early"));
        match kind {
            1 => Begin::decode(body).map(Self::Begin),
            2 => RawGroup::decode(body).map(Self::Group).map_err(FrameError::Malformed),
            3 => decode_batch(body).map(Self::Output).ok_or_else(|| malformed("an output")),
            4 => decode_batch(body).map(Self::OpenOutput).ok_or_else(|| malformed("an output")),
            5 => End::decode(&mut body).map(Self::End).ok_or_else(|| malformed("the end")),
            unknown => Err(FrameError::Kind(unknown)),
        }
    }

    /// Reads the next frame, and gives it with its bytes; `None` when there is none.
    pub(super) fn read(from: &mut impl Read) -> Result<Option<(Self, Bytes)>, FrameError> {
        let mut bytes = Vec::with_capacity(HEAD_BYTES);
        if read_up_to(from, HEAD_BYTES, &mut bytes)? == 0 {
            return Ok(None);
        }
        let mut head = bytes.get(..HEAD_BYTES).ok_or(FrameError::Short)?;
        let (kind, length) = (head.get_u8(), head.get_u32());
        if length > MAX_BODY_BYTES {
            return Err(FrameError::Malformed(format!("a frame of {length} bytes is none")));
        }
        let rest = length as usize + CRC_BYTES;
        // Grows as bytes arrive: a length that lies takes no memory.
        if read_up_to(from, rest, &mut bytes)? < rest {
            return Err(FrameError::Short);
        }
        let end = bytes.len() - CRC_BYTES;
        let mut crc = &bytes[end..];
        if crc.get_u32() != crc32fast::hash(&bytes[..end]) {
            return Err(FrameError::Checksum);
        }
        let bytes = Bytes::from(bytes);
        Ok(Some((Self::decode(kind, bytes.slice(HEAD_BYTES..end))?, bytes)))
    }
}

/// Reads at most `count` bytes, fewer only at the end. Gives how many.
fn read_up_to(from: &mut impl Read, count: usize, into: &mut Vec<u8>) -> Result<usize, FrameError> {
    from.by_ref().take(count as u64).read_to_end(into).map_err(FrameError::Io)
}

pub(super) fn framed(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD_BYTES + body.len() + CRC_BYTES);
    bytes.put_u8(kind);
    bytes.put_u32(u32::try_from(body.len()).expect("a frame is far below 4 GiB"));
    bytes.put_slice(body);
    bytes.put_u32(crc32fast::hash(&bytes));
    bytes
}

fn encode_batch(batch: &OutputBatch) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(32 + batch.items.len());
    bytes.put_slice(batch.run.as_bytes());
    bytes.put_u64(batch.first);
    bytes.put_u64(batch.last);
    bytes.put_slice(&batch.items);
    bytes
}

fn decode_batch(mut bytes: Bytes) -> Option<OutputBatch> {
    let mut run = [0; 16];
    bytes.try_copy_to_slice(&mut run).ok()?;
    let first = bytes.try_get_u64().ok()?;
    let last = bytes.try_get_u64().ok()?;
    let run = RunId::from_uuid(uuid::Uuid::from_bytes(run));
    Some(OutputBatch { run, first, last, items: bytes })
}

impl Begin {
    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.put_u32(FORMAT);
        bytes.put_u64(self.since.0);
        bytes.put_slice(&self.since_chain);
        bytes.put_u64(self.position.0);
        bytes.put_slice(&self.chain);
        bytes.put_u32(self.epoch);
        bytes.put_i64(self.at.as_micros());
        bytes.put_i64(self.made_at.as_micros());
        bytes.put_slice(self.program.as_bytes());
        bytes
    }

    fn decode(mut bytes: Bytes) -> Result<Self, FrameError> {
        let format = bytes.try_get_u32().unwrap_or(0);
        if format > FORMAT {
            return Err(FrameError::Format(format));
        }
        Self::decode_fields(bytes)
            .ok_or_else(|| FrameError::Malformed("the beginning ends early".to_owned()))
    }

    fn decode_fields(mut bytes: Bytes) -> Option<Self> {
        let (mut since_chain, mut chain) = (Hash::default(), Hash::default());
        let since = Position(bytes.try_get_u64().ok()?);
        bytes.try_copy_to_slice(&mut since_chain).ok()?;
        let position = Position(bytes.try_get_u64().ok()?);
        bytes.try_copy_to_slice(&mut chain).ok()?;
        let epoch = bytes.try_get_u32().ok()?;
        let at = Timestamp::from_micros(bytes.try_get_i64().ok()?);
        let made_at = Timestamp::from_micros(bytes.try_get_i64().ok()?);
        let program = String::from_utf8_lossy(&bytes).into_owned();
        Some(Self { since, since_chain, position, chain, epoch, at, made_at, program })
    }
}

impl End {
    fn encode(&self) -> Vec<u8> {
        let Counts { events, groups, batches } = self.counts;
        let mut bytes = Vec::new();
        bytes.put_u64(events);
        bytes.put_u64(groups);
        bytes.put_u64(batches);
        bytes.put_slice(&self.hash);
        bytes
    }

    fn decode(bytes: &mut Bytes) -> Option<Self> {
        let events = bytes.try_get_u64().ok()?;
        let groups = bytes.try_get_u64().ok()?;
        let batches = bytes.try_get_u64().ok()?;
        let mut hash = [0; 32];
        bytes.try_copy_to_slice(&mut hash).ok()?;
        Some(Self { counts: Counts { events, groups, batches }, hash })
    }
}

/// One frame of each kind.
#[cfg(test)]
pub(super) fn samples() -> Vec<Frame> {
    let run = RunId::from_uuid(uuid::Uuid::from_u128(7));
    let batch = OutputBatch { run, first: 3, last: 9, items: Bytes::from_static(b"items") };
    let counts = Counts { events: 1, groups: 2, batches: 3 };
    let envelopes = crate::envelope::samples(&[b"one".to_vec(), b"two".to_vec()]);
    let envelopes = envelopes.into_iter().map(Bytes::from).collect();
    vec![
        Frame::Begin(Begin {
            since: Position(4),
            since_chain: [5; 16],
            position: Position(6),
            chain: [7; 16],
            epoch: 8,
            at: Timestamp::from_micros(-9),
            made_at: Timestamp::from_micros(10),
            program: "0.1.0".to_owned(),
        }),
        Frame::Group(RawGroup { first: Position(1), chain: [3; 16], envelopes }),
        Frame::Output(batch.clone()),
        Frame::OpenOutput(batch),
        Frame::End(End { counts, hash: [11; 32] }),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_written_is_read_and_any_flipped_bit_is_noticed() {
        for frame in samples() {
            let bytes = frame.encode();
            let (read, raw) = Frame::read(&mut &bytes[..]).unwrap().unwrap();
            assert_eq!((read, &raw[..]), (frame, &bytes[..]));
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(Frame::read(&mut &flipped[..]).is_err(), "{bit}");
            }
            for length in 1..bytes.len() {
                assert!(Frame::read(&mut &bytes[..length]).is_err(), "{length}");
            }
        }
        assert!(Frame::read(&mut &[][..]).unwrap().is_none());
    }

    #[test]
    fn a_newer_archive_is_refused_by_name() {
        let mut body = samples()[0].encode()[HEAD_BYTES..].to_vec();
        body.truncate(body.len() - CRC_BYTES);
        body[..4].copy_from_slice(&2_u32.to_be_bytes());
        let error = Frame::read(&mut &framed(1, &body)[..]).unwrap_err();
        assert!(matches!(error, FrameError::Format(2)), "{error}");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(kind in 0_u8..8, body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Frame::read(&mut &framed(kind, &body)[..]);
            let _ = Frame::read(&mut &body[..]);
        }
    }
}
