//! What fuzzers call of the way in: frames of WebSocket clients, cursors and moments, and the streams that `chat` reads.
//!
//! Each takes any bytes and panics when a promise is broken. libFuzzer calls them from `fuzz/`, and the tests below call
//! them with seeds and what is made from those.

use std::io::{self, Read, Write};

use retold_actors::AsOf;
use retold_events::{AgentId, BlockId, ConversationId, MessageId, RunId, StepId, ToolId};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tungstenite::{
    Message, WebSocket,
    protocol::{Role, WebSocketConfig},
};

use super::validation;
use crate::{
    client::sse,
    wire::{
        AgentBlocksQuery, AgentQuery, AgentToolsQuery, AgentsQuery, AsOfQuery, BackupQuery,
        BlockAgentsQuery, BlockHistoryQuery, BlocksQuery, Cursor, EventsQuery, Id, Kind,
        LettaStreamingRequest, MAX_PAGE, MessagesQuery, ModelsQuery, RunMessagesQuery,
        RunStepsQuery, RunTraceQuery, RunsQuery, StepMessagesQuery, StepsQuery, StreamQuery,
        TagsQuery, Time, ToolsQuery,
        ws::{
            self, Cancel, Command, CreateAgentCommand, Envelope, Resume, Subscribe, Unsubscribe,
            UserMessage,
        },
    },
};

#[cfg(test)]
mod tests;

/// Longest message in [`frames`].
const LONGEST: usize = 4096;

/// What a client sends over a WebSocket: as bytes on the wire, and as the text of one frame.
///
/// # Panics
/// When a promise is broken.
pub fn frames(data: &[u8]) {
    let whole = messages(data, usize::MAX);
    for piece in [1, 7] {
        assert_eq!(messages(data, piece), whole, "in pieces of {piece}");
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    if data.len() < LONGEST {
        let fragments =
            [fragmented(data, data.len() / 60 + 1), fragmented(data, data.len() / 2 + 1)];
        for wire in fragments {
            let read = messages(&wire, 5).0;
            assert_eq!(read.first(), Some(&Message::text(text)), "in fragments");
        }
    }
    frame(text);
}

/// All messages of a client that sends these bytes, and what is said of the end.
fn messages(data: &[u8], piece: usize) -> (Vec<Message>, String) {
    let config =
        WebSocketConfig::default().max_message_size(Some(LONGEST)).max_frame_size(Some(LONGEST));
    let mut socket = WebSocket::from_raw_socket(Pieces { data, piece }, Role::Server, Some(config));
    let mut messages = Vec::new();
    loop {
        match socket.read() {
            Ok(message) => messages.push(message),
            Err(error) => return (messages, error.to_string()),
        }
    }
}

/// A text message in masked fragments of `size`..
fn fragmented(text: &[u8], size: usize) -> Vec<u8> {
    let mut wire = Vec::new();
    let mut rest = text;
    let mut opcode = 1;
    loop {
        let (now, later) = rest.split_at(size.min(rest.len()));
        rest = later;
        put_frame(&mut wire, opcode | if rest.is_empty() { 0x80 } else { 0 }, now);
        if rest.is_empty() {
            return wire;
        }
        opcode = 0;
    }
}

fn put_frame(wire: &mut Vec<u8>, head: u8, payload: &[u8]) {
    let mask = [0x5a, 0, 0xff, 1];
    wire.push(head);
    match u16::try_from(payload.len()) {
        Ok(length @ ..126) => wire.push(0x80 | u8::try_from(length).unwrap_or(0)),
        Ok(length) => {
            wire.push(0x80 | 126);
            wire.extend(length.to_be_bytes());
        }
        Err(_) => unreachable!("only short messages are sent"),
    }
    wire.extend(mask);
    wire.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

/// The text of one frame, read as each of the frames there are.
fn frame(text: &str) {
    let _ = parse::<UserMessage>(text);
    let _ = parse::<LettaStreamingRequest>(text);
    let _ = parse::<CreateAgentCommand>(text);
    stable::<Envelope>(text);
    stable::<Command>(text);
    stable::<Cancel>(text);
    stable::<Unsubscribe>(text);
    if let Some(resume) = stable::<Resume>(text) {
        let cursor = ws::Cursor::Run { run_id: resume.run_id, after_seq: resume.after_seq };
        let again = parse::<Resume>(&written(&cursor)).expect("a cursor can be sent back");
        assert_eq!((again.run_id, again.after_seq), (resume.run_id, resume.after_seq));
    }
    if let Some(Subscribe { agent_id, after: Some(after) }) = stable::<Subscribe>(text) {
        let cursor = ws::Cursor::Agent { agent_id, after };
        let again = parse::<Subscribe>(&written(&cursor)).expect("a cursor can be sent back");
        assert_eq!(again, Subscribe { agent_id, after: Some(after) });
    }
}

fn parse<T: DeserializeOwned>(text: &str) -> Option<T> {
    match validation::parse(text.as_bytes()) {
        Ok(read) => Some(read),
        Err(invalid) => {
            let said = invalid.printed();
            assert!(said.starts_with("[{'type': '"), "{said}");
            assert!(said.len() <= 16 * text.len() + 1024, "a refusal is no larger than its cause");
            None
        }
    }
}

/// A frame means the same however its JSON is spelled.
fn stable<T: DeserializeOwned + PartialEq + std::fmt::Debug>(text: &str) -> Option<T> {
    let read = parse::<T>(text)?;
    if let Ok(value) = serde_json::from_str::<Value>(text) {
        assert_eq!(parse::<T>(&value.to_string()).as_ref(), Some(&read), "spelled anew");
    }
    Some(read)
}

fn written(value: &impl Serialize) -> String {
    json!(value).to_string()
}

/// Cursors, moments and whole query strings.
///
/// # Panics
/// When a promise is broken.
pub fn cursors(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(cursor) = Cursor::parse("after", text) {
        let shown = match cursor {
            Cursor::At(position) => position.to_string(),
            Cursor::Latest => "latest".to_owned(),
        };
        assert_eq!(Cursor::parse("last-event-id", &shown), Ok(cursor));
    }
    moment(text);
    id::<AgentId>(text);
    id::<BlockId>(text);
    id::<ConversationId>(text);
    id::<MessageId>(text);
    id::<RunId>(text);
    id::<StepId>(text);
    id::<ToolId>(text);
    queries(text);
}

fn moment(text: &str) {
    let of = |text: String| AsOfQuery::from_pairs(&[("as_of".to_owned(), text)]);
    let Ok(AsOfQuery { as_of }) = of(text.to_owned()) else { return };
    let shown = match as_of.expect("it was given") {
        AsOf::Position(position) => position.0.to_string(),
        AsOf::Time(at) => Time(at).to_string(),
    };
    assert_eq!(of(shown.clone()), Ok(AsOfQuery { as_of }), "{shown}");
}

/// An id is shown as it was sent.
fn id<T: Kind>(text: &str) {
    if let Ok(id) = text.parse::<T>() {
        assert_eq!(id.to_string(), text);
        assert!(parse::<Id<T>>(&json!(text).to_string()).is_some());
    }
}

fn queries(text: &str) {
    let pairs: Vec<(String, String)> = text
        .split('&')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect();
    macro_rules! read {
        ($($query:ident)*) => {$(
            match $query::from_pairs(&pairs) {
                Ok(read) => assert_eq!($query::from_pairs(&pairs).ok().as_ref(), Some(&read)),
                Err(problem) => assert!(!problem.to_string().is_empty()),
            }
        )*};
    }
    read! {
        AgentsQuery AgentQuery BackupQuery AgentBlocksQuery AgentToolsQuery BlockAgentsQuery BlockHistoryQuery
        BlocksQuery MessagesQuery ModelsQuery RunMessagesQuery RunStepsQuery RunTraceQuery RunsQuery StepMessagesQuery
        StepsQuery StreamQuery TagsQuery ToolsQuery
    }
    if let Ok(events) = EventsQuery::from_pairs(&pairs) {
        assert!((1..=MAX_PAGE).contains(&events.limit));
    }
}

/// The stream of a server, as `chat` reads it. The first byte says how the rest is cut into pieces.
///
/// # Panics
/// When the events depend on the cuts.
pub fn answers(data: &[u8]) {
    let Some((&cut, stream)) = data.split_first() else { return };
    let read = |piece: usize| {
        let mut parser = sse::Parser::default();
        let mut events = Vec::new();
        for piece in stream.chunks(piece) {
            match parser.push(piece) {
                Ok(more) => events.extend(more),
                Err(error) => return Err(error),
            }
        }
        Ok(events)
    };
    let whole = read(stream.len().max(1));
    assert_eq!(read(1), whole);
    assert_eq!(read(usize::from(cut) + 1), whole);
}

/// A client that sends bytes a few at a time and throws away what it gets.
struct Pieces<'a> {
    data: &'a [u8],
    piece: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.piece.min(into.len()).min(self.data.len());
        let (now, later) = self.data.split_at(count);
        into[..count].copy_from_slice(now);
        self.data = later;
        Ok(count)
    }
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
