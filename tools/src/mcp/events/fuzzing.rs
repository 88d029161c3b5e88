//! What fuzzers call of the reader of event streams. See [`crate::fuzzing`].

use std::collections::VecDeque;

use sse_stream::Sse;

use super::{Broken, Parser};

/// Small, so that what is too large is met often.
const LIMIT: usize = 256;

/// A stream of events. The first byte says how the rest is cut into pieces.
///
/// # Panics
/// When a promise is broken: the events depend on the cuts, one is larger than the limit allows, or is not read as it was
/// written.
pub fn mcp_events(data: &[u8]) {
    let Some((&cut, stream)) = data.split_first() else { return };
    let whole = read(LIMIT, [stream]);
    let piece = usize::from(cut % 31) + 1;
    assert_eq!(read(LIMIT, stream.chunks(piece)), whole, "in pieces of {piece}");
    let bytes = stream.chunks(1).flat_map(|byte| [byte, &[]]);
    assert_eq!(read(LIMIT, bytes), whole, "byte by byte, with nothing between");
    let (head, tail) = stream.split_at(usize::from(cut) % (stream.len() + 1));
    assert_eq!(read(LIMIT, [head, tail]), whole, "in two pieces");
    let (events, is_whole) = whole;
    for event in &events {
        let texts = [&event.event, &event.data, &event.id].into_iter().flatten();
        let length: usize = texts.map(String::len).sum();
        assert!(length <= 3 * LIMIT, "a byte becomes three at most: {event:?}");
    }
    if is_whole {
        let written: String = events.iter().map(written).collect();
        let again = read(8 * LIMIT, [written.as_bytes()]);
        assert_eq!(again, (events, true), "what is written is read: {written:?}");
    }
}

/// All events, and whether none was too large.
fn read<'a>(limit: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Sse>, bool) {
    let mut parser = Parser { limit, ..Parser::default() };
    let mut events = VecDeque::new();
    for piece in pieces {
        if let Err(Broken::TooLarge(_) | Broken::Cut(_)) = parser.push(piece, &mut events) {
            return (events.into(), false);
        }
        assert!(parser.line.len() <= limit, "no more of a line is held than an event may have");
    }
    (events.into(), true)
}

fn written(event: &Sse) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: &str| text.push_str(&format!("{name}: {value}\n"));
    if let Some(name) = &event.event {
        field("event", name);
    }
    for line in event.data.iter().flat_map(|data| data.split('\n')) {
        field("data", line);
    }
    if let Some(id) = &event.id {
        field("id", id);
    }
    if let Some(after) = event.retry {
        field("retry", &after.to_string());
    }
    text + "\n"
}
