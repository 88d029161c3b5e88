//! What fuzzers call of the cage: the channel over which results come. See [`crate::fuzzing`].

use serde_json::Value;

use super::frame::{Decoder, ENDED, Frame, FrameError, encode};
use super::job::{Ending, Status};
use super::worker;

/// Longest payload, small so that what is too long is met often.
const LIMIT: usize = 1 << 10;
/// Magic, tag, length and checksum.
const HEADER: usize = 20;

/// The first byte says how the rest is cut into pieces.
///
/// # Panics
/// When a promise is broken: the frames depend on the cuts, one that lies is taken, more is held than the limit allows, or
/// a payload means what it does not say.
pub fn result_channel(data: &[u8]) {
    let Some((&cut, stream)) = data.split_first() else { return };
    let whole = read([stream]);
    let piece = usize::from(cut % 61) + 1;
    assert_eq!(read(stream.chunks(piece)), whole, "in pieces of {piece}");
    assert_eq!(read(stream.chunks(1)), whole, "byte by byte");
    let (head, tail) = stream.split_at(usize::from(cut) % (stream.len() + 1));
    assert_eq!(read([head, &[], tail]), whole, "in two pieces and nothing between");
    let (frames, error) = whole;
    let mut rest = stream;
    for frame in &frames {
        let written = encode(frame.tag, &frame.payload);
        rest = rest.strip_prefix(&written[..]).expect("a frame is read as it was written");
        true_to_its_header(&written);
        changed(&written, usize::from(cut));
        meant(frame);
    }
    match error {
        None => assert!(rest.is_empty(), "nothing is passed over"),
        Some(error) => left(rest, &error),
    }
    // Whatever it is, it may come as a payload.
    let sent = Frame { tag: [cut; 8], payload: stream.to_vec() };
    meant(&sent);
    meant(&Frame { tag: ENDED, ..sent });
}

/// All frames, and what is wrong with what follows them.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Frame>, Option<FrameError>) {
    let mut decoder = Decoder::new(LIMIT);
    let (mut frames, mut longest) = (Vec::new(), 0);
    for piece in pieces {
        decoder.push(piece);
        longest = longest.max(piece.len());
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        let most = 2 * (HEADER + LIMIT + longest);
        assert!(decoder.held() <= most, "{} bytes are held", decoder.held());
    }
    let error = decoder.finish().err();
    (frames, error)
}

/// The length and the checksum are those of the payload, computed here bit by bit.
fn true_to_its_header(frame: &[u8]) {
    let payload = &frame[HEADER..];
    assert!(payload.len() <= LIMIT, "the limit holds");
    let number =
        |at: usize| u32::from_le_bytes([frame[at], frame[at + 1], frame[at + 2], frame[at + 3]]);
    assert_eq!(number(12) as usize, payload.len());
    let sum = frame[4..12].iter().chain(payload).fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            (sum >> 1) ^ (0xedb8_8320 & (sum & 1).wrapping_neg())
        })
    });
    assert_eq!(number(16), !sum);
}

/// A frame of which one bit was changed is none.
fn changed(frame: &[u8], bit: usize) {
    for place in [bit, bit * 7, bit * 61] {
        let mut changed = frame.to_vec();
        changed[place / 8 % frame.len()] ^= 1 << (place % 8);
        let (frames, error) = read([&changed[..]]);
        assert!(frames.is_empty() && error.is_some(), "bit {place} was changed");
    }
}

/// What could not be read was refused for what is wrong with it.
fn left(rest: &[u8], error: &FrameError) {
    let announced = rest.get(12..16).map(|it| u32::from_le_bytes([it[0], it[1], it[2], it[3]]));
    match error {
        FrameError::Magic => assert!(!rest.starts_with(b"RTLD") && !b"RTLD".starts_with(rest)),
        FrameError::TooLong { bytes, limit } => {
            assert_eq!((announced, *limit), (u32::try_from(*bytes).ok(), LIMIT));
            assert!(*bytes > LIMIT);
        }
        FrameError::Checksum => assert!(rest.len() >= HEADER),
        FrameError::Cut => assert!(!rest.is_empty() && rest.len() < HEADER + LIMIT),
    }
}

/// What a frame means is what its payload says, and only the job's own tag makes it an answer.
fn meant(frame: &Frame) {
    let said = serde_json::from_slice::<Value>(&frame.payload).unwrap_or(Value::Null);
    let own = worker::told(frame, frame.tag);
    if let Status::Returned { text, chars } = own {
        assert_eq!(said["status"], "returned");
        assert_eq!((&said["text"], &said["chars"]), (&text.into(), &chars.into()));
    } else if let Status::Raised(text) = own {
        assert_eq!((&said["status"], &said["text"]), (&"raised".into(), &text.into()));
    } else {
        assert!(matches!(own, Status::Died(_)), "{own:?}");
    }
    let other = worker::told(frame, *b"of other");
    assert!(
        frame.tag == *b"of other" || !matches!(other, Status::Returned { .. } | Status::Raised(_))
    );
    assert!(!other.text("f").is_empty());
    if let Ok(ending) = serde_json::from_slice::<Ending>(&frame.payload) {
        let again = ending.frame();
        assert_eq!(again.tag, ENDED);
        assert_eq!(serde_json::from_slice::<Ending>(&again.payload).ok(), Some(ending));
    }
}
