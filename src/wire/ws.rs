//! The words of the WebSocket.
//!
//! The frames of a conversation are those of the retired server's socket: `user_message` in, `agent_response_start`,
//! `agent_response` and `agent_response_end` out. The others are our own: they let one socket follow many runs, take up
//! any of them at any number, and cancel. Every frame that belongs to a run carries `run_id` and `seq_id`: the number to
//! resume after once the frame has been dealt with. In the form `v1` the `data` of a `run_event` is, byte for byte, what
//! an event stream carries after `data: `.

mod cursor;
mod simple;

use retold_events::{AgentId, RunId, run::EndStatus};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Content, CreateAgentRequest, Event, Frame, Id, LettaUsageStatistics, WireStopReason};

pub use cursor::{Cursor, close_reason};
pub use simple::Simple;

/// Types of frames a client may send.
pub const CLIENT_FRAMES: [&str; 7] =
    ["user_message", "command", "cancel", "resume", "subscribe", "unsubscribe", "ping"];

/// What every frame of a client has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Envelope {
    /// One of [`CLIENT_FRAMES`].
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// The client's name of its request; its direct answers carry it.
    pub request_id: Option<String>,
}

/// How a run is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `agent_response` frames: thoughts, messages, and calls together with what they returned.
    #[default]
    Simple,
    /// `run_event` frames: what an event stream shows.
    V1,
}

/// `user_message`: something is said to an agent. Beside these, it has the members of a request to send messages.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct UserMessage {
    /// The agent.
    pub agent_id: Option<Id<AgentId>>,
    /// What is said; `input` and `messages` are other ways to say it.
    pub message: Option<Content>,
    /// How the answer is wanted.
    #[serde(default)]
    pub format: Format,
}

/// `command`: which.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Command {
    /// `create_agent`.
    pub command: Option<String>,
}

/// `command` `create_agent`.
#[derive(Debug, Clone, Deserialize)]
pub struct CreateAgentCommand {
    /// As in a request to create an agent.
    #[serde(default)]
    pub config: CreateAgentRequest,
}

/// `cancel`: a run is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Cancel {
    /// The run.
    pub run_id: Id<RunId>,
}

/// `resume`: a run is to be followed, live or long ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Resume {
    /// The run.
    pub run_id: Id<RunId>,
    /// The last number the client has.
    #[serde(default)]
    pub after_seq: u64,
    /// How it is shown.
    #[serde(default)]
    pub format: Format,
}

/// `subscribe`: the events of an agent are to be followed.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Subscribe {
    /// The agent.
    pub agent_id: Id<AgentId>,
    /// The position of the last event the client has; absent: from now on.
    pub after: Option<u64>,
}

/// `unsubscribe`: a run or an agent is not to be followed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Unsubscribe {
    /// The run.
    pub run_id: Option<Id<RunId>>,
    /// The agent.
    pub agent_id: Option<Id<AgentId>>,
}

/// A frame of the server. `run_event` and `agent_event` are written around what they carry: [`run_event`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame<'a> {
    /// The answer to a `user_message` or a simple `resume` begins.
    AgentResponseStart {
        /// The agent.
        agent_id: Id<AgentId>,
        /// The run; `null` when none began.
        run_id: Option<Id<RunId>>,
        /// The number after which it is shown.
        seq_id: u64,
        /// The client's name of its request.
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
    },
    /// Something the agent thought, said or did.
    AgentResponse {
        /// What.
        message_type: Voice,
        /// The text, or the call and its return.
        message: Said<'a>,
        /// The message's id.
        id: String,
        /// The run.
        run_id: Id<RunId>,
        /// The number to resume after.
        seq_id: u64,
    },
    /// The run failed or there was none.
    AgentResponseError {
        /// What went wrong, for a person.
        message: &'a str,
        /// What went wrong, for a program.
        code: &'a str,
        /// What to do.
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<&'a str>,
        /// What the provider said.
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<&'a str>,
        /// The run.
        run_id: Option<Id<RunId>>,
        /// The number to resume after.
        seq_id: Option<u64>,
        /// The client's name of its request.
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
    },
    /// The answer is complete.
    AgentResponseEnd {
        /// The run; `null` when none began.
        run_id: Option<Id<RunId>>,
        /// Number of the end.
        seq_id: Option<u64>,
        /// Why it ended.
        stop_reason: Option<WireStopReason>,
        /// What it cost.
        usage: Option<&'a LettaUsageStatistics>,
        /// The client's name of its request, where the request was refused.
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
    },
    /// `run_event` frames of a run follow.
    RunStart {
        /// The agent.
        agent_id: Id<AgentId>,
        /// The run.
        run_id: Id<RunId>,
        /// The number after which it is shown.
        seq_id: u64,
        /// The client's name of its request.
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
    },
    /// They are complete: where an event stream says `[DONE]`.
    RunEnd {
        /// The run.
        run_id: Id<RunId>,
        /// Number of the end.
        seq_id: u64,
    },
    /// What came of a `command`.
    CommandResponse {
        /// `OK: ...` or `Error: ...`.
        status: String,
        /// The agent that was made.
        agent_id: Option<Id<AgentId>>,
        /// What went wrong, for a program.
        #[serde(skip_serializing_if = "Option::is_none")]
        code: Option<&'a str>,
        /// The client's name of its request.
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
    },
    /// What came of a `cancel`.
    CancelResponse {
        /// The run.
        run_id: Id<RunId>,
        /// How it ended: `cancelled`, or what it had come to before.
        status: &'static str,
        /// The client's name of its request.
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
    },
    /// Events of an agent follow.
    Subscribed {
        /// The agent.
        agent_id: Id<AgentId>,
        /// The position after which they are shown.
        after: u64,
        /// The client's name of its request.
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
    },
    /// No more frames of a run or an agent follow.
    Unsubscribed {
        /// What is not followed any more, and where to go on.
        #[serde(flatten)]
        cursor: Cursor,
        /// The client's name of its request.
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
    },
    /// A frame of the client was refused, or something broke off.
    ServerError {
        /// What went wrong, for a person.
        message: &'a str,
        /// What went wrong, for a program.
        code: &'a str,
        /// What to do.
        #[serde(skip_serializing_if = "Option::is_none")]
        hint: Option<&'a str>,
        /// What broke off, and where to go on.
        #[serde(flatten)]
        cursor: Option<Cursor>,
        /// The client's name of its request.
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
    },
    /// The server stops while something is followed that goes on after its next start.
    GoingAway {
        /// What, and where to go on.
        #[serde(flatten)]
        cursor: Cursor,
    },
    /// The client did not read for too long; the socket is closed.
    Stalled {
        /// What was followed, and where to go on.
        cursors: &'a [Cursor],
    },
    /// The answer to a `ping`.
    Pong {
        /// The client's name of its request.
        #[serde(skip_serializing_if = "Option::is_none")]
        request_id: Option<&'a str>,
    },
}

impl ServerFrame<'_> {
    /// The frame as it is sent.
    #[must_use]
    pub fn text(&self) -> String {
        serde_json::to_string(self)
            .expect("frames are structs of text and numbers, and memory takes every write")
    }
}

/// What an `agent_response` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Voice {
    /// What the agent thinks.
    InternalMonologue,
    /// What it says.
    AssistantMessage,
    /// A tool it called, and what that returned.
    FunctionMessage,
}

/// What an `agent_response` says.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Said<'a> {
    /// A text.
    Text(&'a str),
    /// A call and its return.
    Call {
        /// The tool.
        function: &'a str,
        /// Its arguments: JSON text of an object.
        args: &'a str,
        /// What it returned.
        result: &'a str,
        /// `success` or `error`.
        status: &'static str,
    },
}

/// A `run_event` around the bytes of a frame; the end of a stream is a `run_end`.
#[must_use]
pub fn run_event(run: RunId, cursor: u64, frame: &Frame, is_end: bool) -> String {
    if is_end {
        return ServerFrame::RunEnd { run_id: Id(run), seq_id: cursor }.text();
    }
    let name = frame.event.map(|name| format!(r#""event":"{name}","#)).unwrap_or_default();
    let data = std::str::from_utf8(&frame.data).expect("JSON is UTF-8");
    format!(r#"{{"type":"run_event","run_id":"{run}","seq_id":{cursor},{name}"data":{data}}}"#)
}

/// An `agent_event` around an event as the routes of events show it.
#[must_use]
pub fn agent_event(agent: AgentId, position: u64, event: &Event) -> String {
    let event = json!(event);
    format!(r#"{{"type":"agent_event","agent_id":"{agent}","after":{position},"event":{event}}}"#)
}

/// The word for how a run ended.
#[must_use]
pub const fn ended_word(status: EndStatus) -> &'static str {
    match status {
        EndStatus::Completed => "completed",
        EndStatus::Failed => "failed",
        EndStatus::Cancelled => "cancelled",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn run(number: u32) -> Id<RunId> {
        Id(format!("run-123e4567-e89b-42d3-8456-{number:012}").parse().unwrap())
    }

    #[test]
    fn an_event_carries_the_bytes_of_the_stream_unchanged() {
        let data = r#"{"b":1, "a":"\u00e9 [DONE]","n":1.50}"#;
        let frame = Frame { event: None, data: data.as_bytes().to_vec().into(), seq: 7 };
        let text = run_event(run(1).0, 7, &frame, false);
        assert!(text.ends_with(&format!(r#""data":{data}}}"#)), "{text}");
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&read["type"], &read["seq_id"]), (&json!("run_event"), &json!(7)));
        assert!(read.get("event").is_none());
        let named = Frame { event: Some("error"), ..frame };
        let read: Value = serde_json::from_str(&run_event(run(1).0, 6, &named, false)).unwrap();
        assert_eq!((&read["event"], &read["seq_id"]), (&json!("error"), &json!(6)));
        let end: Value = serde_json::from_str(&run_event(run(1).0, 8, &named, true)).unwrap();
        assert_eq!(end, json!({"type": "run_end", "run_id": run(1), "seq_id": 8}));
    }

    #[test]
    fn what_a_client_leaves_out_has_its_meaning() {
        let resume: Resume = serde_json::from_value(json!({"run_id": run(1)})).unwrap();
        assert_eq!((resume.after_seq, resume.format), (0, Format::Simple));
        let resume: Resume =
            serde_json::from_value(json!({"run_id": run(1), "after_seq": 5, "format": "v1"}))
                .unwrap();
        assert_eq!((resume.after_seq, resume.format), (5, Format::V1));
        assert!(serde_json::from_value::<Resume>(json!({"run_id": "run-1"})).is_err());
        assert!(
            serde_json::from_value::<Resume>(json!({"run_id": run(1), "after_seq": -1})).is_err()
        );
        let said: UserMessage = serde_json::from_value(json!({"message": "hi"})).unwrap();
        assert_eq!((said.agent_id, said.format), (None, Format::Simple));
    }
}
