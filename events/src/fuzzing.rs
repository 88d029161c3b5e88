//! What fuzzers call: one function per format that is read from the disk or from a file of somebody else's.
//!
//! Each takes any bytes and panics when a promise of the format is broken, which is more than a panic of its own: what is
//! accepted has to be written and read back the same, and a part that was refused has to stay where it was. libFuzzer
//! calls them from `fuzz/`, and the tests below call them with seeds and what is made from those.

use bytes::Bytes;

use crate::{
    Encoded, EventType, NewEvent, agent, block,
    codec::{self, DecodeError, Event},
    envelope::{self, Place},
    mcp, tool,
};

pub use crate::store::fuzzing::{archive, journal};

#[cfg(test)]
mod tests;

/// Envelopes as they stand one behind the other, and one whose checksum is put right, so that its fields are reached.
///
/// # Panics
/// When a promise is broken.
pub fn envelope(data: &[u8]) {
    envelopes(data);
    if let Some(whole) = envelope::with_its_checksum(data) {
        envelopes(&whole);
    }
}

fn envelopes(data: &[u8]) {
    let mut rest = Bytes::copy_from_slice(data);
    loop {
        let before = rest.clone();
        let Ok(found) = envelope::read(&mut rest) else {
            assert_eq!(rest, before, "what is refused is not moved past");
            return;
        };
        assert_eq!([&found.bytes[..], &rest[..]].concat(), before, "it is moved past, and no more");
        let alone = envelope::read(&mut found.bytes.clone()).expect("it needs nothing behind it");
        assert_eq!(alone.hash, found.hash);
        let record = found.record;
        let place = Place {
            stream: record.stream,
            seq: record.seq,
            position: record.position,
            epoch: record.epoch,
            previous: found.previous,
        };
        let event = NewEvent {
            id: record.id,
            causation: record.causation,
            run: record.run,
            at: record.at,
            encoded: record.encoded.clone(),
        };
        let mut written = Vec::new();
        envelope::write(&mut written, &place, &event);
        let again = envelope::read(&mut Bytes::from(written.clone())).expect("it is readable");
        assert_eq!((again.record, again.previous), (record, found.previous));
        // Flags are for versions to come; nothing gives them a meaning yet.
        if found.bytes[3] == 0 {
            assert_eq!(written, found.bytes, "it is written as it was read");
        }
    }
}

/// A payload of any event of any version: the first byte chooses the type, the second the version.
///
/// # Panics
/// When a promise is broken.
pub fn event(data: &[u8]) {
    let Some((&[number, version], payload)) = data.split_first_chunk() else { return };
    let types = types();
    let (event_type, newest) = types[usize::from(number) % types.len()];
    let version = u16::from(version) % (newest + 2);
    let payload = Bytes::copy_from_slice(payload);
    let encoded = Encoded { event_type: EventType(event_type), version, payload };
    check::<agent::Event>(&encoded, newest);
    check::<block::Event>(&encoded, newest);
    check::<tool::Event>(&encoded, newest);
    check::<mcp::Event>(&encoded, newest);
}

fn check<E: Event>(encoded: &Encoded, newest: u16) {
    let Ok(event) = E::decode(encoded) else { return };
    assert!((1..=newest).contains(&encoded.version), "{event:?}");
    let again = event.encode();
    assert_eq!((again.event_type, again.version), (encoded.event_type, newest));
    let read = E::decode(&again).expect("what is written is readable");
    assert_eq!(read.encode(), again, "it is what it was");
    let longer = Bytes::from([&encoded.payload[..], &[0]].concat());
    let longer = Encoded { payload: longer, ..encoded.clone() };
    assert!(E::decode(&longer).is_err(), "nothing is passed over: {event:?}");
}

/// Every type of event there is, and its newest version.
fn types() -> &'static [(u16, u16)] {
    static TYPES: std::sync::OnceLock<Vec<(u16, u16)>> = std::sync::OnceLock::new();
    TYPES.get_or_init(|| {
        let known = |number| {
            newest::<agent::Event>(number)
                .or_else(|| newest::<block::Event>(number))
                .or_else(|| newest::<tool::Event>(number))
                .or_else(|| newest::<mcp::Event>(number))
                .map(|version| (number, version))
        };
        (0..=u16::MAX).filter_map(known).collect()
    })
}

fn newest<E: Event>(number: u16) -> Option<u16> {
    let unknown =
        Encoded { event_type: EventType(number), version: u16::MAX, payload: Bytes::new() };
    match E::decode(&unknown) {
        Err(DecodeError::UnknownVersion { known, .. }) => Some(known),
        Err(DecodeError::UnknownType(_) | DecodeError::Malformed { .. }) | Ok(_) => None,
    }
}

/// Output of a run.
///
/// # Panics
/// When a promise is broken.
pub fn items(data: &[u8]) {
    let Ok(items) = codec::decode_items(data) else { return };
    let written = codec::encode_items(&items);
    let again = codec::decode_items(&written).expect("what is written is readable");
    assert_eq!(codec::encode_items(&again), written, "it is what it was");
    let longer = [data, &[0]].concat();
    assert!(codec::decode_items(&longer).is_err(), "nothing is passed over");
}
