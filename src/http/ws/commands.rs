//! What the frames of a client ask for.
//!
//! A frame is read as the body of a request would be, and what it asks for goes the way of the route that does the same.
//! A refusal is a frame; nothing a client says ends its connection.

use axum::extract::ws::Utf8Bytes;
use retold_actors::{Scope, run::CancelOutcome};
use retold_events::{AgentId, Position, RunId};
use retold_snapshots::row::RunRow;
use serde::de::DeserializeOwned;

use super::{
    event_feed,
    feed::{self, Feed},
    pipe::{Key, Out},
    session::MOST_FOLLOWED,
};
use crate::{
    http::{
        App, agents,
        error::{ApiError, Told},
        messages,
        past::Reader,
        run_reader::check_cursor,
        turn, validation,
    },
    wire::{
        Call, Id, LettaStreamingRequest, Problem, WireStopReason,
        ws::{
            self, CLIENT_FRAMES, Cancel, Command, CreateAgentCommand, Envelope, Format, Resume,
            ServerFrame, Subscribe, Unsubscribe, UserMessage,
        },
    },
};

/// Longest name of a request that is repeated in its answers.
const LONGEST_NAME: usize = 128;

/// What a session does about a frame.
pub(super) enum Effect {
    /// Says something.
    Say(Out),
    /// Follows something, in place of what it followed of it before.
    Follow { key: Key, after: u64, feed: Feed },
    /// Follows it no longer.
    Forget { key: Key, request_id: Option<String> },
}

/// A frame in hand.
struct Request {
    app: App,
    text: Utf8Bytes,
    /// The client's name of it.
    id: Option<String>,
    /// Whether one more thing may be followed.
    room: bool,
}

/// Does what a frame asks for.
pub(super) async fn perform(app: App, text: Utf8Bytes, room: bool) -> Vec<Effect> {
    let mut request = Request { app, text, id: None, room };
    let kind = match request.open() {
        Ok(kind) => kind,
        Err(error) => return vec![request.refused(&error)],
    };
    let done = match kind.as_str() {
        "user_message" => return request.user_message().await,
        "command" => request.command().await,
        "cancel" => request.cancel().await,
        "resume" => request.resume().await,
        "subscribe" => request.subscribe().await,
        "unsubscribe" => request.unsubscribe(),
        "ping" => Ok(vec![request.say(&ServerFrame::Pong { request_id: request.id.as_deref() })]),
        unknown => Err(unprocessable(format!(
            "{unknown:?} is no type of frame; there are {}",
            CLIENT_FRAMES.join(", ")
        ))),
    };
    done.unwrap_or_else(|error| vec![request.refused(&error)])
}

fn unprocessable(message: String) -> ApiError {
    Problem::Unprocessable(message).into()
}

impl Request {
    /// Reads what every frame has; gives its type.
    fn open(&mut self) -> Result<String, ApiError> {
        let Envelope { kind, request_id } = self.parse()?;
        self.id = request_id;
        if self.id.as_ref().is_some_and(|id| id.len() > LONGEST_NAME) {
            self.id = None;
            return Err(unprocessable(format!("request_id: at most {LONGEST_NAME} bytes")));
        }
        kind.ok_or_else(|| {
            unprocessable(format!(
                "the frame has no `type`; there are {}",
                CLIENT_FRAMES.join(", ")
            ))
        })
    }

    fn parse<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        Ok(validation::parse(self.text.as_bytes())?)
    }

    fn say(&self, frame: &ServerFrame<'_>) -> Effect {
        Effect::Say(Out::says(frame))
    }

    fn refused(&self, error: &ApiError) -> Effect {
        let Told { message, code, hint } = error.told();
        self.say(&ServerFrame::ServerError {
            message: &message,
            code: &code,
            hint: hint.as_deref(),
            cursor: None,
            request_id: self.id.as_deref(),
        })
    }

    fn check_room(&self) -> Result<(), ApiError> {
        if self.room {
            return Ok(());
        }
        Err(unprocessable(format!(
            "this socket follows {MOST_FOLLOWED} runs and agents already; unsubscribe from one, or open another socket"
        )))
    }

    async fn user_message(&self) -> Vec<Effect> {
        let asked = match self.parse::<UserMessage>() {
            Ok(asked) => asked,
            Err(error) => return vec![self.not_answered(&error)],
        };
        let Some(Id(agent)) = asked.agent_id else {
            let error = unprocessable("agent_id was not specified in the request".to_owned());
            return vec![self.not_answered(&error)];
        };
        let format = asked.format;
        match self.send(agent, asked).await {
            Ok(effects) => effects,
            Err(error) if format == Format::V1 => vec![self.not_answered(&error)],
            // Older clients wait for the end of what has begun.
            Err(error) => vec![
                self.begun(agent, None, 0, format),
                self.not_answered(&error),
                self.say(&ServerFrame::AgentResponseEnd {
                    run_id: None,
                    seq_id: None,
                    stop_reason: Some(WireStopReason::Error),
                    usage: None,
                    request_id: self.id.as_deref(),
                }),
            ],
        }
    }

    async fn send(&self, agent: AgentId, asked: UserMessage) -> Result<Vec<Effect>, ApiError> {
        self.check_room()?;
        let mut request = self.parse::<LettaStreamingRequest>()?;
        let ways = [asked.message.is_some(), request.input.is_some(), request.messages.is_some()];
        if ways.into_iter().filter(|given| *given).count() != 1 {
            let says = "exactly one of `message`, `input` and `messages` must be given";
            return Err(unprocessable(says.to_owned()));
        }
        request.input = request.input.or(asked.message);
        let send = request.into_send(agent, Call::Streaming)?;
        let (run, agent_type) = messages::start(&self.app, agent, send).await?;
        let begun = self.begun(agent, Some(run.id), 0, asked.format);
        let key = Key::Run(run.id);
        let feed = feed::of_run(&self.app, run, agent_type, 0, asked.format);
        Ok(vec![begun, Effect::Follow { key, after: 0, feed }])
    }

    /// Says that a run is shown from here on.
    fn begun(&self, agent: AgentId, run: Option<RunId>, after: u64, format: Format) -> Effect {
        let (agent_id, request_id, seq_id) = (Id(agent), self.id.as_deref(), after);
        self.say(&match (format, run) {
            (Format::V1, Some(run)) => {
                ServerFrame::RunStart { agent_id, run_id: Id(run), seq_id, request_id }
            }
            (Format::Simple, _) | (Format::V1, None) => {
                let run_id = run.map(Id);
                ServerFrame::AgentResponseStart { agent_id, run_id, seq_id, request_id }
            }
        })
    }

    /// Says why a message has no answer.
    fn not_answered(&self, error: &ApiError) -> Effect {
        let Told { message, code, hint } = error.told();
        self.say(&ServerFrame::AgentResponseError {
            message: &message,
            code: &code,
            hint: hint.as_deref(),
            detail: None,
            run_id: None,
            seq_id: None,
            request_id: self.id.as_deref(),
        })
    }

    async fn command(&self) -> Result<Vec<Effect>, ApiError> {
        let Command { command } = self.parse()?;
        match command.as_deref() {
            Some("create_agent") => Ok(vec![self.create_agent().await]),
            Some(unknown) => {
                Err(unprocessable(format!("{unknown:?} is no command; there is create_agent")))
            }
            None => Err(unprocessable("command: Field required; there is create_agent".to_owned())),
        }
    }

    async fn create_agent(&self) -> Effect {
        let made = match self.parse::<CreateAgentCommand>() {
            Ok(asked) => agents::make(&self.app, asked.config).await,
            Err(error) => Err(error),
        };
        let told = made.as_ref().err().map(ApiError::told);
        let status = match &told {
            None => "OK: Agent initialized".to_owned(),
            Some(told) => format!("Error: Failed to init agent - {}", told.message),
        };
        self.say(&ServerFrame::CommandResponse {
            status,
            agent_id: made.ok().map(|agent| Id(agent.state.id)),
            code: told.as_ref().map(|told| told.code.as_str()),
            request_id: self.id.as_deref(),
        })
    }

    /// Ends a run, whoever began it.
    async fn cancel(&self) -> Result<Vec<Effect>, ApiError> {
        let Cancel { run_id: Id(run) } = self.parse()?;
        let agent = self.app.host.run(run).await?.agent;
        let outcomes = self.app.host.cancel(agent, Some(vec![run])).await?;
        let outcome = outcomes.into_iter().find(|(of, _)| *of == run).map(|(_, outcome)| outcome);
        let status = match outcome {
            Some(CancelOutcome::Cancelled) => "cancelled",
            Some(CancelOutcome::AlreadyEnded(status)) => ws::ended_word(status),
            Some(CancelOutcome::Unknown) | None => {
                return Err(ApiError::NotFound { what: "Run", id: run.to_string() });
            }
        };
        let request_id = self.id.as_deref();
        Ok(vec![self.say(&ServerFrame::CancelResponse { run_id: Id(run), status, request_id })])
    }

    async fn resume(&self) -> Result<Vec<Effect>, ApiError> {
        let Resume { run_id: Id(run), after_seq, format } = self.parse()?;
        self.check_room()?;
        let row: RunRow = self.app.host.run(run).await?;
        let agent_type = turn::agent_type(&Reader::now(&self.app.host), &row).await?;
        check_cursor(&self.app, run, after_seq).await?;
        let begun = self.begun(row.agent, Some(run), after_seq, format);
        let feed = feed::of_run(&self.app, row, agent_type, after_seq, format);
        Ok(vec![begun, Effect::Follow { key: Key::Run(run), after: after_seq, feed }])
    }

    async fn subscribe(&self) -> Result<Vec<Effect>, ApiError> {
        let Subscribe { agent_id: Id(agent), after } = self.parse()?;
        self.check_room()?;
        let after = after.map_or_else(|| self.app.host.log().head().position, Position);
        let follow = self.app.host.follow_events(Scope::Agent(agent), after).await?;
        let (agent_id, request_id) = (Id(agent), self.id.as_deref());
        let begun = self.say(&ServerFrame::Subscribed { agent_id, after: after.0, request_id });
        let feed = event_feed::of_agent(&self.app, agent, follow);
        Ok(vec![begun, Effect::Follow { key: Key::Agent(agent), after: after.0, feed }])
    }

    fn unsubscribe(&self) -> Result<Vec<Effect>, ApiError> {
        let key = match self.parse()? {
            Unsubscribe { run_id: Some(Id(run)), agent_id: None } => Key::Run(run),
            Unsubscribe { run_id: None, agent_id: Some(Id(agent)) } => Key::Agent(agent),
            Unsubscribe { .. } => {
                let says = "exactly one of `run_id` and `agent_id` must be given";
                return Err(unprocessable(says.to_owned()));
            }
        };
        Ok(vec![Effect::Forget { key, request_id: self.id.clone() }])
    }
}
