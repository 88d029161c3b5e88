//! What stands around each event on disk: a hand-written header, the payload, a checksum.
//!
//! Written by hand, so that its layout never follows a library or a compiler, and so that any version of this program can
//! say of any event ever written what it is, where it belongs and whether it is whole, even when it cannot read the
//! payload. All numbers are big-endian. It must not know what a payload means.
//!
//! | bytes | field |
//! |---|---|
//! | 2 | magic `RE` |
//! | 1 | envelope version, 1 |
//! | 1 | flags, 0 |
//! | 2 + 2 | event type, event version |
//! | 17 | stream |
//! | 8 + 8 | place in the stream, position |
//! | 4 | writer epoch |
//! | 16 + 16 + 16 | event id, causation, run (zero for none) |
//! | 8 | time, microseconds since 1970 |
//! | 16 | hash of the stream's previous envelope (zero for the first) |
//! | 4 | payload length |
//! | … | payload |
//! | 4 | CRC-32 of everything before |

use bytes::{Buf, BufMut, Bytes};
use ulid::Ulid;
use uuid::Uuid;

use crate::{
    Encoded, EventType, NewEvent, Position, Record, RunId, Seq, StreamId, Timestamp,
    defect::Defect, store::MAX_PAYLOAD_BYTES,
};

/// The first 16 bytes of a BLAKE3 hash.
pub(crate) type Hash = [u8; 16];

const MAGIC: u16 = u16::from_be_bytes(*b"RE");
const VERSION: u8 = 1;
const HEADER_BYTES: usize = 121;
const CRC_BYTES: usize = 4;

/// Where an event goes: what the committer adds to a [`NewEvent`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    pub(crate) stream: StreamId,
    pub(crate) seq: Seq,
    pub(crate) position: Position,
    pub(crate) epoch: u32,
    /// Hash of the stream's previous envelope; zeros for the first.
    pub(crate) previous: Hash,
}

/// An event as found on disk, with the links that prove its place.
#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    pub(crate) record: Record,
    /// Hash of the stream's previous envelope; zeros for the first.
    pub(crate) previous: Hash,
    /// Hash of this envelope.
    pub(crate) hash: Hash,
    /// This envelope, byte for byte.
    pub(crate) bytes: Bytes,
}

/// Bytes that are not an envelope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EnvelopeError {
    #[error("an envelope ends early")]
    Short,
    #[error("no envelope begins here")]
    Magic,
    #[error("envelope version {0} is newer than this program, which knows {VERSION}")]
    Version(u8),
    #[error("a payload of {0} bytes is longer than any ever written")]
    Length(u32),
    #[error("a checksum does not match")]
    Checksum,
    #[error("unknown kind of stream {0}; it was written by a newer version")]
    Stream(u8),
}

/// The first 16 bytes of the BLAKE3 hash of `bytes`.
pub(crate) fn hash(bytes: &[u8]) -> Hash {
    truncated(&blake3::hash(bytes))
}

/// The first 16 bytes of a hash.
pub(crate) fn truncated(hash: &blake3::Hash) -> Hash {
    let mut short = Hash::default();
    short.copy_from_slice(&hash.as_bytes()[..16]);
    short
}

/// Writes one envelope at the end of `out` and gives its hash. The caller keeps to [`MAX_PAYLOAD_BYTES`].
pub(crate) fn write(out: &mut Vec<u8>, place: &Place, event: &NewEvent) -> Hash {
    let start = out.len();
    let payload = &event.encoded.payload;
    let length = u32::try_from(payload.len()).expect("payloads are capped far below 4 GiB");
    out.reserve(HEADER_BYTES + payload.len() + CRC_BYTES);
    out.put_u16(MAGIC);
    out.put_u8(VERSION);
    out.put_u8(0);
    out.put_u16(event.encoded.event_type.0);
    out.put_u16(event.encoded.version);
    out.put_slice(&place.stream.to_bytes());
    out.put_u64(place.seq.0);
    out.put_u64(place.position.0);
    out.put_u32(place.epoch);
    out.put_slice(&event.id.to_bytes());
    out.put_slice(&event.causation.to_bytes());
    out.put_slice(event.run.map_or(Uuid::nil(), RunId::uuid).as_bytes());
    out.put_i64(event.at.as_micros());
    out.put_slice(&place.previous);
    out.put_u32(length);
    out.put_slice(payload);
    out.put_u32(crc32fast::hash(&out[start..]));
    hash(&out[start..])
}

/// Reads the envelope at the start of `bytes` and moves past it.
///
/// # Errors
/// [`EnvelopeError`], never a panic, whatever the bytes are; `bytes` then stays where it was.
pub(crate) fn read(bytes: &mut Bytes) -> Result<Envelope, EnvelopeError> {
    let mut header = bytes.get(..HEADER_BYTES).ok_or(EnvelopeError::Short)?;
    if header.get_u16() != MAGIC {
        return Err(EnvelopeError::Magic);
    }
    let version = header.get_u8();
    if version != VERSION {
        return Err(EnvelopeError::Version(version));
    }
    let mut length = &bytes[HEADER_BYTES - 4..HEADER_BYTES];
    let length = length.get_u32();
    let payload_bytes = usize::try_from(length).map_err(|_| EnvelopeError::Length(length))?;
    if payload_bytes > MAX_PAYLOAD_BYTES {
        return Err(EnvelopeError::Length(length));
    }
    let end = HEADER_BYTES + payload_bytes;
    let mut crc = bytes.get(end..end + CRC_BYTES).ok_or(EnvelopeError::Short)?;
    if crc.get_u32() != crc32fast::hash(&bytes[..end]) && !Defect::ChecksumUnseen.is_on() {
        return Err(EnvelopeError::Checksum);
    }

    let _flags = header.get_u8();
    let event_type = EventType(header.get_u16());
    let event_version = header.get_u16();
    let stream: [u8; StreamId::BYTES] = take(&mut header);
    let stream = StreamId::from_bytes(stream).ok_or(EnvelopeError::Stream(stream[0]))?;
    let seq = Seq(header.get_u64());
    let position = Position(header.get_u64());
    let epoch = header.get_u32();
    let id = Ulid::from_bytes(take(&mut header));
    let causation = Ulid::from_bytes(take(&mut header));
    let run = Uuid::from_bytes(take(&mut header));
    let at = Timestamp::from_micros(header.get_i64());
    let previous = take(&mut header);

    let whole = bytes.split_to(end + CRC_BYTES);
    let payload = whole.slice(HEADER_BYTES..end);
    let encoded = Encoded { event_type, version: event_version, payload };
    let run = (!run.is_nil()).then(|| RunId::from_uuid(run));
    let record = Record { stream, seq, position, epoch, id, causation, run, at, encoded };
    Ok(Envelope { record, previous, hash: hash(&whole), bytes: whole })
}

fn take<const N: usize>(header: &mut &[u8]) -> [u8; N] {
    let mut taken = [0; N];
    header.copy_to_slice(&mut taken);
    taken
}

/// `data` as an envelope whose length and checksum are right; `None` when it is too short for one.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn with_its_checksum(data: &[u8]) -> Option<Vec<u8>> {
    let end = data.len().checked_sub(CRC_BYTES).filter(|&end| end >= HEADER_BYTES)?;
    let mut whole = data[..end].to_vec();
    let length = u32::try_from(end - HEADER_BYTES).ok()?;
    whole[HEADER_BYTES - 4..HEADER_BYTES].copy_from_slice(&length.to_be_bytes());
    whole.put_u32(crc32fast::hash(&whole));
    Some(whole)
}

/// An envelope around each payload.
#[cfg(test)]
pub(crate) fn samples(payloads: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let uuid = Uuid::from_u128(7);
    let streams = [
        StreamId::Agent(crate::AgentId::from_uuid(uuid)),
        StreamId::Block(crate::BlockId::from_uuid(uuid)),
    ];
    let written = payloads.iter().zip(1..).zip(streams.into_iter().cycle());
    written
        .map(|((payload, number), stream)| {
            let place = Place {
                stream,
                seq: Seq(number),
                position: Position(number),
                epoch: 1,
                previous: [5; 16],
            };
            let event = NewEvent {
                id: Ulid::from(u128::from(number)),
                causation: Ulid::nil(),
                run: number.is_multiple_of(2).then(|| RunId::from_uuid(uuid)),
                at: Timestamp::from_micros(1),
                encoded: Encoded {
                    event_type: EventType(101),
                    version: 1,
                    payload: Bytes::from(payload.clone()),
                },
            };
            let mut bytes = Vec::new();
            write(&mut bytes, &place, &event);
            bytes
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{AgentId, BlockId, McpServerId, ToolId};

    prop_compose! {
        fn envelopes()(
            stream in any::<([u8; 16], u8)>(),
            numbers in any::<(u64, u64, u32, u16, u16)>(),
            ids in any::<(u128, u128, u128, u128)>(),
            at in any::<i64>(),
            payload in prop::collection::vec(any::<u8>(), 0..200),
        ) -> (Place, NewEvent) {
            let uuid = Uuid::from_bytes(stream.0);
            let stream = match stream.1 % 4 {
                0 => StreamId::Agent(AgentId::from_uuid(uuid)),
                1 => StreamId::Block(BlockId::from_uuid(uuid)),
                2 => StreamId::Tool(ToolId::from_uuid(uuid)),
                _ => StreamId::McpServer(McpServerId::from_uuid(uuid)),
            };
            let (seq, position, epoch, event_type, version) = numbers;
            let place = Place {
                stream,
                seq: Seq(seq),
                position: Position(position),
                epoch,
                previous: ids.3.to_be_bytes(),
            };
            let event = NewEvent {
                id: Ulid(ids.0),
                causation: Ulid(ids.1),
                run: (ids.2 != 0).then(|| RunId::from_uuid(Uuid::from_u128(ids.2))),
                at: Timestamp::from_micros(at),
                encoded: Encoded {
                    event_type: EventType(event_type),
                    version,
                    payload: Bytes::from(payload),
                },
            };
            (place, event)
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read((place, event) in envelopes(), rest in any::<[u8; 3]>()) {
            let mut out = Vec::new();
            let hash = write(&mut out, &place, &event);
            out.extend(rest);
            let mut bytes = Bytes::from(out);
            let envelope = read(&mut bytes).unwrap();
            prop_assert_eq!(&bytes[..], &rest[..]);
            prop_assert_eq!(envelope.hash, hash);
            prop_assert_eq!(envelope.previous, place.previous);
            let Place { stream, seq, position, epoch, .. } = place;
            let NewEvent { id, causation, run, at, encoded } = event;
            let record = Record { stream, seq, position, epoch, id, causation, run, at, encoded };
            prop_assert_eq!(envelope.record, record);
        }

        #[test]
        fn any_flipped_bit_is_noticed((place, event) in envelopes(), bit in any::<prop::sample::Index>()) {
            let mut out = Vec::new();
            write(&mut out, &place, &event);
            let bit = bit.index(out.len() * 8);
            out[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(read(&mut Bytes::from(out)).is_err());
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut guided = vec![b'R', b'E', VERSION];
            guided.extend(&bytes);
            prop_assert!(read(&mut Bytes::from(bytes)).is_err());
            prop_assert!(read(&mut Bytes::from(guided)).is_err());
        }
    }

    #[test]
    fn version_1_is_written_as_it_always_was() {
        let stream = StreamId::Block(BlockId::from_uuid(Uuid::from_u128(0xb10c)));
        let (seq, position) = (Seq(3), Position(0x0102_0304));
        let place = Place { stream, seq, position, epoch: 5, previous: [6; 16] };
        let event = NewEvent {
            id: Ulid(7),
            causation: Ulid(8),
            run: Some(RunId::from_uuid(Uuid::from_u128(9))),
            at: Timestamp::from_micros(-2),
            encoded: Encoded {
                event_type: EventType(301),
                version: 2,
                payload: Bytes::from_static(b"payload"),
            },
        };
        let mut bytes = Vec::new();
        let hash = write(&mut bytes, &place, &event);
        // Never edited: these bytes are in data directories.
        let golden = [
            "52450100012d000202",
            "0000000000000000000000000000b10c",
            "00000000000000030000000001020304",
            "00000005",
            "00000000000000000000000000000007",
            "00000000000000000000000000000008",
            "00000000000000000000000000000009",
            "fffffffffffffffe",
            "06060606060606060606060606060606",
            "00000007",
            "7061796c6f6164",
            "20a40bfe",
        ];
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden.concat());
        assert_eq!(hash, read(&mut Bytes::from(bytes)).unwrap().hash);
    }

    #[test]
    fn a_newer_envelope_is_refused_by_name() {
        let mut bytes = vec![b'R', b'E', 2];
        bytes.resize(200, 0);
        let error = read(&mut Bytes::from(bytes)).unwrap_err();
        assert_eq!(error, EnvelopeError::Version(2));
    }

    #[test]
    fn a_length_beyond_the_cap_is_refused_before_anything_is_read() {
        let mut bytes = vec![b'R', b'E', VERSION];
        bytes.resize(HEADER_BYTES, 0xff);
        let error = read(&mut Bytes::from(bytes)).unwrap_err();
        assert_eq!(error, EnvelopeError::Length(u32::MAX));
    }
}
