//! What one reader has seen of one run.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::Value;

/// The form in which a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Form {
    /// As an event stream shows it, whatever the transport.
    V1,
    /// The simple frames of the WebSocket.
    Simple,
}

/// A reader's place in a run, and the hashes of what it was shown up to there.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    pub(crate) run: String,
    pub(crate) form: Form,
    /// The number to go on after.
    pub(crate) cursor: u64,
    /// Number and hash of everything numbered.
    pub(crate) seen: Vec<(u64, u64)>,
    /// Hashes of the end, once all of it was seen.
    pub(crate) end: Option<Vec<u64>>,
    /// The end as far as this connection has shown it.
    ending: Vec<u64>,
    /// Whether this connection has begun to show it.
    pub(crate) begun: bool,
    /// Whether this connection said that the stream goes on elsewhere.
    pub(crate) sent_on: bool,
}

pub(crate) fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

impl Progress {
    pub(crate) fn new(run: &str, form: Form) -> Self {
        Self {
            run: run.to_owned(),
            form,
            cursor: 0,
            seen: Vec::new(),
            end: None,
            ending: Vec::new(),
            begun: false,
            sent_on: false,
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.end.is_some()
    }

    /// A new connection begins: half an end is none.
    pub(crate) fn connect(&mut self) {
        self.ending.clear();
        self.begun = false;
        self.sent_on = false;
    }

    /// Takes the data of an event, from whatever transport.
    pub(crate) fn take_data(&mut self, data: &str) {
        assert!(!self.is_done(), "{}: something after its end: {data}", self.run);
        if data == "[DONE]" {
            if !self.sent_on {
                self.end = Some(std::mem::take(&mut self.ending));
            }
            return;
        }
        let json: Value =
            serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}"));
        match json["message_type"].as_str() {
            Some("ping") => {}
            Some("stop_reason" | "usage_statistics") => self.ending.push(hash(data)),
            Some("error_message") if json["error_type"] == "stream_incomplete" => {
                assert_eq!(
                    json["starting_after"], self.cursor,
                    "{}: a wrong place to go on",
                    self.run
                );
                self.sent_on = true;
            }
            Some("error_message") => self.ending.push(hash(data)),
            Some(_) => {
                let seq = json["seq_id"].as_u64().unwrap_or_else(|| panic!("no number: {data}"));
                assert_eq!(seq, self.cursor + 1, "{}: a gap or a double: {data}", self.run);
                self.number(seq, data);
            }
            None => panic!("not a message: {data}"),
        }
    }

    /// Takes a simple frame.
    pub(crate) fn take_simple(&mut self, frame: &Value, text: &str) {
        assert!(!self.is_done(), "{}: something after its end: {text}", self.run);
        match frame["type"].as_str() {
            Some("agent_response") => {
                let seq = frame["seq_id"].as_u64().unwrap_or_else(|| panic!("no number: {text}"));
                assert!(seq > self.cursor, "{}: a double: {text}", self.run);
                self.number(seq, text);
            }
            Some("agent_response_error") => self.ending.push(hash(text)),
            Some("agent_response_end") => {
                self.ending.push(hash(text));
                self.end = Some(std::mem::take(&mut self.ending));
            }
            _ => panic!("not a simple frame: {text}"),
        }
    }

    fn number(&mut self, seq: u64, text: &str) {
        assert!(self.ending.is_empty(), "{}: something in the middle of its end: {text}", self.run);
        self.cursor = seq;
        self.seen.push((seq, hash(text)));
    }
}
