//! What fuzzers call: the event streams of providers, as any bytes in any pieces.
//!
//! libFuzzer calls it from `fuzz/`, and the test below calls it with seeds and what is made from those.

use crate::sse::{Event, Parser, TooLong};

#[cfg(test)]
mod tests;

/// Small, so that what is too long is met often.
const LIMIT: usize = 256;

/// The first byte says how the rest is cut into pieces.
///
/// # Panics
/// When a promise is broken: the events depend on the cuts, or an event is not read as it was written.
pub fn sse(data: &[u8]) {
    let Some((&cut, stream)) = data.split_first() else { return };
    let whole = parse([stream]);
    let piece = usize::from(cut % 31) + 1;
    assert_eq!(parse(stream.chunks(piece)), whole, "in pieces of {piece}");
    assert_eq!(parse(stream.chunks(1)), whole, "byte by byte");
    let (head, tail) = stream.split_at(usize::from(cut) % (stream.len() + 1));
    assert_eq!(parse([head, &[], tail]), whole, "in two pieces and nothing between");
    let (events, error) = whole;
    for event in &events {
        assert!(event.data.len() <= 3 * LIMIT, "a byte becomes three at most: {event:?}");
    }
    if error.is_none() {
        let written: String = events.iter().map(written).collect();
        // An event is longer as it is written than as it was read: the limit is for the length of what is read.
        let mut parser = Parser::new(8 * LIMIT);
        let mut again = Vec::new();
        let pushed = parser.push(written.as_bytes(), |event| again.push(event));
        assert_eq!((pushed, again), (Ok(()), events), "what is written is read: {written:?}");
    }
}

fn parse<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Event>, Option<TooLong>) {
    let mut parser = Parser::new(LIMIT);
    let mut events = Vec::new();
    for piece in pieces {
        if let Err(error) = parser.push(piece, |event| events.push(event)) {
            return (events, Some(error));
        }
    }
    match parser.finish() {
        Ok(last) => {
            events.extend(last);
            (events, None)
        }
        Err(error) => (events, Some(error)),
    }
}

fn written(event: &Event) -> String {
    let data: String = event.data.split('\n').map(|line| format!("data: {line}\n")).collect();
    if event.name.is_empty() { data + "\n" } else { format!("event: {}\n{data}\n", event.name) }
}
