//! The log of events: listed, or followed live, for everything, for an agent, for a run.
//!
//! One address serves both: a list as JSON, and a stream to whoever accepts `text/event-stream`. What was deleted stays
//! readable here, for that is what a log is for.

use axum::{
    extract::State,
    http::{HeaderMap, HeaderName, header},
    response::{IntoResponse as _, Response},
};
use retold_actors::{LogEvent, Scope};
use retold_events::{AgentId, Position, RunId};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App,
    error::ApiError,
    event_stream,
    extract::{Id, Query},
    openapi::{ListErrors, ReadErrors},
    page::Page,
    validation::Invalid,
};
use crate::wire::{Cursor, Event, EventName, EventsQuery};

/// What a browser sends when it takes a stream up again.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Events looked at in one reading of the log, where only some are wanted.
const LOOKED_AT: usize = 256;
/// Readings that may add to a page. Each holds a mebibyte or one large event, so this bounds what a page holds in memory.
const READINGS: usize = 8;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(list)).routes(routes!(of_agent)).routes(routes!(of_run))
}

/// What happened on this server, oldest first: to agents, to blocks, in runs.
///
/// `next-cursor` and `prev-cursor` in the headers are the positions of the ends of the page. The end of the list is an
/// empty page. With `Accept: text/event-stream` the answer is a stream: past events from the cursor on, then live ones.
/// Its `id:` lines are positions; it is taken up again with `after` or with `Last-Event-ID`, of which the header wins:
/// a browser that reconnects repeats the address it began with and adds the header.
/// Comments keep it alive. It ends with an event called `end`, whose data holds a `reason` and, as `after`, the position
/// to go on from.
#[utoipa::path(get, path = "/v1/events", tag = "events", operation_id = "list_events",
    params(EventsQuery, ("last-event-id" = Option<String>, Header, description = "Streams: as `after`, over which it wins")),
    responses((status = 200, description = "A page of events, or a stream of them",
        content((Vec<Event> = "application/json"), (super::openapi::EventStream = "text/event-stream"))), ListErrors))]
async fn list(
    State(app): State<App>,
    headers: HeaderMap,
    Query(asked): Query<EventsQuery>,
) -> Result<Response, ApiError> {
    answer(&app, Scope::All, &headers, asked).await
}

/// What happened to an agent, oldest first: its configuration, its messages, its runs and steps. An agent that was
/// deleted can still be read.
///
/// The events of a fork begin with `agent.forked`; what came before is in the events of its parent. Listed and followed
/// as `GET /v1/events`.
#[utoipa::path(get, path = "/v1/agents/{agent_id}/events", tag = "events", operation_id = "list_events_for_agent",
    params(("agent_id" = String, Path, description = "The agent"), EventsQuery,
        ("last-event-id" = Option<String>, Header, description = "Streams: as `after`, over which it wins")),
    responses((status = 200, description = "A page of events, or a stream of them",
        content((Vec<Event> = "application/json"), (super::openapi::EventStream = "text/event-stream"))), ReadErrors))]
async fn of_agent(
    State(app): State<App>,
    Id(agent): Id<AgentId>,
    headers: HeaderMap,
    Query(asked): Query<EventsQuery>,
) -> Result<Response, ApiError> {
    answer(&app, Scope::Agent(agent), &headers, asked).await
}

/// What happened in a run, oldest first: from its acceptance to its end, with the edits of blocks that its tools made, and
/// its callback and judgements of its steps where there were any.
///
/// Listed and followed as `GET /v1/events`; a stream ends once the run has ended.
#[utoipa::path(get, path = "/v1/runs/{run_id}/events", tag = "events", operation_id = "list_events_for_run",
    params(("run_id" = String, Path, description = "The run"), EventsQuery,
        ("last-event-id" = Option<String>, Header, description = "Streams: as `after`, over which it wins")),
    responses((status = 200, description = "A page of events, or a stream of them",
        content((Vec<Event> = "application/json"), (super::openapi::EventStream = "text/event-stream"))), ReadErrors))]
async fn of_run(
    State(app): State<App>,
    Id(run): Id<RunId>,
    headers: HeaderMap,
    Query(asked): Query<EventsQuery>,
) -> Result<Response, ApiError> {
    answer(&app, Scope::Run(run), &headers, asked).await
}

async fn answer(
    app: &App,
    scope: Scope,
    headers: &HeaderMap,
    asked: EventsQuery,
) -> Result<Response, ApiError> {
    if accepts_stream(headers) {
        let after = taken_up_after(headers, &asked)?;
        return event_stream::of(app, scope, position(app, after), asked).await;
    }
    let events = page(app, scope, &asked).await?;
    let page = Page::of(events, |event| event.position.0.to_string(), |event| Event::from(&event));
    Ok(page.into_response())
}

fn accepts_stream(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("text/event-stream")
    })
}

/// Where a stream begins. A browser that reconnects repeats the address it began with and adds the header: so where both
/// are given, the header is the newer.
fn taken_up_after(headers: &HeaderMap, asked: &EventsQuery) -> Result<Cursor, ApiError> {
    if asked.before.is_some() {
        let message = "a stream has no end: leave `before` out, or accept application/json";
        return Err(Invalid::query_member("before", message).into());
    }
    let last = headers.get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or_default());
    match last.filter(|last| !last.is_empty()) {
        Some(last) => Cursor::parse("last-event-id", last)
            .map_err(|problem| Invalid::header(&problem.loc, &problem.msg).into()),
        None => Ok(asked.after.unwrap_or(Cursor::At(0))),
    }
}

fn position(app: &App, cursor: Cursor) -> Position {
    Position(cursor.or_last(app.host.log().head().position.0))
}

async fn page(app: &App, scope: Scope, asked: &EventsQuery) -> Result<Vec<LogEvent>, ApiError> {
    let after = position(app, asked.after.unwrap_or(Cursor::At(0)));
    match asked.before {
        None => page_after(app, scope, after, asked).await,
        Some(Cursor::Latest) => {
            let end = Position(app.host.log().head().position.0 + 1);
            page_before(app, scope, after, end, asked).await
        }
        Some(Cursor::At(before)) => page_before(app, scope, after, Position(before), asked).await,
    }
}

async fn page_after(
    app: &App,
    scope: Scope,
    after: Position,
    asked: &EventsQuery,
) -> Result<Vec<LogEvent>, ApiError> {
    let mut reader = app.host.follow_events(scope, after).await?;
    let (mut found, mut readings): (Vec<LogEvent>, usize) = (Vec::new(), 0);
    while found.len() < asked.limit && readings < READINGS {
        let limit = if asked.names.is_empty() { asked.limit - found.len() } else { LOOKED_AT };
        let mut events = reader.past(limit).await?;
        if events.is_empty() {
            break;
        }
        events.retain(|event| asked.wants(EventName::of(&event.fact)));
        readings += usize::from(!events.is_empty());
        found.append(&mut events);
    }
    found.truncate(asked.limit);
    Ok(found)
}

/// The events nearest to `before`.
async fn page_before(
    app: &App,
    scope: Scope,
    after: Position,
    mut before: Position,
    asked: &EventsQuery,
) -> Result<Vec<LogEvent>, ApiError> {
    let (mut found, mut readings): (Vec<LogEvent>, usize) = (Vec::new(), 0);
    while found.len() < asked.limit && readings < READINGS {
        let limit = if asked.names.is_empty() { asked.limit - found.len() } else { LOOKED_AT };
        let mut events = app.host.events_before(scope, before, limit).await?;
        let Some(first) = events.first() else { break };
        before = first.position;
        events.retain(|event| event.position > after && asked.wants(EventName::of(&event.fact)));
        readings += usize::from(!events.is_empty());
        events.append(&mut found);
        found = events;
        if before <= after {
            break;
        }
    }
    found.drain(..found.len().saturating_sub(asked.limit));
    Ok(found)
}
