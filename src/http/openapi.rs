//! The description of the API, made from the code: every route is registered together with what is said of it here.
//!
//! Only the canonical paths are described: under `/v1`, without a slash at the end. The other spellings (see
//! [`path`](super::path)) lead to the same handlers.

use std::collections::BTreeMap;

use axum::http::header;
use bytes::Bytes;
use utoipa::{
    IntoResponses, OpenApi, PartialSchema, ToSchema,
    openapi::{
        Content, Deprecated, OpenApi as Description, Ref, RefOr, Response, ResponseBuilder,
        schema::{AnyOfBuilder, ObjectBuilder, Schema, SchemaType},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    App, agent_blocks, agent_tools, agents, backup, block_history, blocks, events, fork, health,
    mcp, mcp_older, messages, metrics, models, probes, replay, run_stream, runs, steps, tags,
    tool_run, tool_search, tools, trace_step, ws,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Retold",
        description = "Stateful LLM agents on an event log, behind the Letta V1 REST API.\n\n\
                       Every path is also served with a slash at the end, and under `/api`, `/api/v1` and `/latest` in \
                       place of `/v1`. A failed request is answered with an `ErrorBody`, except for failed model calls, \
                       which have a `ModelErrorBody`.",
    ),
    components(schemas(ErrorBody, ModelErrorBody)),
    security((), ("password" = []))
)]
struct Api;

/// All routes with their descriptions.
pub(super) fn routes() -> OpenApiRouter<App> {
    let mut description = Api::openapi();
    let password = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some("The server's password; needed when one is set."))
        .build();
    description
        .components
        .get_or_insert_default()
        .security_schemes
        .insert("password".to_owned(), SecurityScheme::Http(password).into());
    let mut routes = OpenApiRouter::with_openapi(description)
        .merge(agents::routes())
        .merge(agent_blocks::routes())
        .merge(agent_tools::routes())
        .merge(messages::routes())
        .merge(blocks::routes())
        .merge(block_history::routes())
        .merge(fork::routes())
        .merge(tool_run::routes())
        .merge(mcp::routes())
        .merge(mcp_older::routes())
        .merge(tools::routes())
        .merge(tool_search::routes())
        .merge(runs::routes())
        .merge(run_stream::routes())
        .merge(replay::routes())
        .merge(trace_step::routes())
        .merge(steps::routes())
        .merge(models::routes())
        .merge(tags::routes())
        .merge(events::routes())
        .merge(health::routes())
        .merge(ws::routes())
        .merge(backup::routes())
        .merge(probes::routes())
        .merge(metrics::routes())
        .routes(routes!(openapi_json));
    mark_deprecated(routes.get_openapi_mut());
    mark_refused(routes.get_openapi_mut());
    routes
}

/// Whatever is read may be asked for as of a past moment, and refuses where there is none to read.
fn mark_refused(description: &mut Description) {
    let (status, refused) = response(&UNPROCESSABLE);
    for operation in description.paths.paths.values_mut().filter_map(|path| path.get.as_mut()) {
        operation.responses.responses.entry(status.clone()).or_insert_with(|| refused.clone());
    }
}

/// Operations that V1 keeps for older clients, by their ids.
const DEPRECATED: [&str; 5] = [
    "recompile_agent_system_prompt",
    "retrieve_agent_memory",
    "list_active_runs",
    "modify_message",
    "retrieve_provider_trace",
];

fn mark_deprecated(description: &mut Description) {
    for path in description.paths.paths.values_mut() {
        for operation in [&mut path.get, &mut path.post, &mut path.patch].into_iter().flatten() {
            if operation.operation_id.as_deref().is_some_and(|id| DEPRECATED.contains(&id)) {
                operation.deprecated = Some(Deprecated::True);
            }
        }
    }
}

/// This description.
#[utoipa::path(get, path = "/openapi.json", tag = "server", operation_id = "openapi",
    responses((status = 200, description = "The description of this API", body = serde_json::Value)))]
async fn openapi_json(
    axum::extract::State(app): axum::extract::State<App>,
) -> impl axum::response::IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], app.description.clone())
}

/// A description as it is sent.
pub(super) fn encode(description: &Description) -> Bytes {
    let mut description = description.clone();
    // What an event tells is of one form for each type, and some forms hold what others do: so of any, not of one.
    let schemas = description.components.as_mut().map(|components| &mut components.schemas);
    if let Some(RefOr::T(payload)) = schemas.and_then(|schemas| schemas.get_mut("EventPayload"))
        && let Schema::OneOf(forms) = payload
    {
        let items = std::mem::take(&mut forms.items);
        *payload = items.into_iter().fold(AnyOfBuilder::new(), AnyOfBuilder::item).into();
    }
    description
        .to_json()
        .map(Bytes::from)
        .expect("a description is made of texts and lists, which always encode")
}

/// What a failed request is answered with.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it describes what `error` builds")]
struct ErrorBody {
    /// A sentence for a person.
    detail: String,
    /// Stable, for programs.
    code: String,
    /// The id of the request, as in `x-request-id`.
    trace_id: String,
    /// What to do.
    hint: Option<String>,
    /// What would have been right, where a value has the wrong form.
    examples: Option<Vec<String>>,
    /// The run it is about.
    run_id: Option<String>,
    /// What a probe looked at that the server does not pass.
    checks: Option<Vec<crate::wire::Check>>,
}

/// What a failed model call is answered with, and a failed connection to an MCP server.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it describes what `error` builds")]
struct ModelErrorBody {
    error: ModelErrorDetail,
    /// Stable, for programs; the same as `error.type`.
    code: String,
    /// The id of the request, as in `x-request-id`.
    trace_id: String,
    /// The run that failed; nothing where it is about an MCP server.
    run_id: Option<String>,
}

/// What went wrong at the provider, or with the MCP server.
#[derive(Debug, ToSchema)]
#[expect(dead_code, reason = "it describes what `error` builds")]
struct ModelErrorDetail {
    /// `llm_authentication`, `llm_insufficient_credits`, `llm_rate_limit`, `llm_timeout`, `llm_bad_request`, `llm_error`,
    /// `mcp_connection_error`.
    r#type: String,
    /// A sentence for a person.
    message: String,
    /// What the provider said, or what stands in the way.
    detail: Option<String>,
}

/// One line of a list of error responses: status, meaning, name of the body.
type Line = (u16, &'static str, &'static str);

const PLAIN: &str = "ErrorBody";
const NESTED: &str = "ModelErrorBody";

/// What every request may be answered with.
const COMMON: [Line; 4] = [
    (401, "A password is set, and it was not sent", PLAIN),
    UNPROCESSABLE,
    (500, "An unknown error occurred", PLAIN),
    (503, "The server is overloaded, shutting down, or its storage failed", PLAIN),
];
const UNPROCESSABLE: Line = (422, "Something in the request does not have its form", PLAIN);
const BAD_REQUEST: Line = (400, "The request makes no sense", PLAIN);
const NOT_FOUND: Line = (404, "There is no such thing", PLAIN);
const CONFLICT: Line = (409, "Something stands against it", PLAIN);
const TOO_LARGE: Line = (413, "The body is larger than it may be", PLAIN);
const FULL: Line = (507, "The disk is almost full", PLAIN);
/// What a failed model call is answered with where the answer waits for the run.
const MODEL: [Line; 5] = [
    (402, "The provider wants money", NESTED),
    (429, "The agent has too many open runs, or the provider too many requests", PLAIN),
    (504, "The provider did not answer in time", NESTED),
    (408, "The body came too slowly", PLAIN),
    FOREIGN,
];
/// What goes wrong with an MCP server that is asked for its tools.
const MCP: [Line; 2] = [
    (408, "The MCP server did not answer in time", PLAIN),
    (502, "The MCP server cannot be spoken to", NESTED),
];
const FOREIGN: Line = (403, "A web page of another origin asks", PLAIN);
const UPGRADE: Line = (426, "The request does not ask for a WebSocket of version 13", PLAIN);

fn response(&(status, meaning, body): &Line) -> (String, RefOr<Response>) {
    let content = Content::new(Some(Ref::from_schema_name(body)));
    let response =
        ResponseBuilder::new().description(meaning).content("application/json", content).build();
    (status.to_string(), RefOr::T(response))
}

fn responses(lines: &[&[Line]]) -> BTreeMap<String, RefOr<Response>> {
    COMMON.iter().chain(lines.iter().copied().flatten()).map(response).collect()
}

/// A stream of server-sent events: each `data:` line is one JSON object, and the last one says `[DONE]` or how it failed.
/// A schema for the body as a whole would be a string and for one event another, so none is given.
#[derive(Debug)]
pub(super) struct EventStream;

impl PartialSchema for EventStream {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new().schema_type(SchemaType::AnyValue).into()
    }
}

impl ToSchema for EventStream {}

macro_rules! error_sets {
    ($($(#[$doc:meta])* $name:ident = $lines:expr;)*) => {$(
        $(#[$doc])*
        pub(super) struct $name;

        impl IntoResponses for $name {
            fn responses() -> BTreeMap<String, RefOr<Response>> {
                responses($lines)
            }
        }
    )*};
}

error_sets! {
    /// Errors of lists.
    ListErrors = &[&[BAD_REQUEST, NOT_FOUND]];
    /// Errors of reading one thing.
    ReadErrors = &[&[BAD_REQUEST, NOT_FOUND]];
    /// Errors of asking an MCP server for its tools.
    McpErrors = &[&MCP];
    /// Errors of an archive.
    ArchiveErrors = &[&[CONFLICT]];
    /// Errors of changing something.
    WriteErrors = &[&[BAD_REQUEST, NOT_FOUND, CONFLICT, TOO_LARGE, FULL]];
    /// Errors of a WebSocket's handshake.
    HandshakeErrors = &[&[BAD_REQUEST, FOREIGN, UPGRADE]];
    /// Errors of sending to an agent.
    SendErrors = &[&[BAD_REQUEST, NOT_FOUND, TOO_LARGE, FULL], &MODEL];
}
