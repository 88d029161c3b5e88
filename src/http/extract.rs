//! From bytes to arguments: ids in paths, queries, bodies. What does not fit is refused here, in the contract's words.

use axum::{
    extract::{FromRequest, FromRequestParts, Query as Pairs, RawPathParams, Request},
    http::{HeaderMap, header, request::Parts},
};
use retold_events::{AgentId, BlockId, McpServerId, MessageId, RunId, StepId, ToolId};
use serde::de::DeserializeOwned;

use super::{
    App, body,
    error::ApiError,
    path::Dialect,
    validation::{self, Invalid},
};
use crate::wire::{self, Kind, Relations};

/// An id that may stand in a path.
pub(super) trait PathId: Kind + Send {
    /// The name of the parameter in every route that has it.
    const PARAMETER: &'static str;

    /// What a text that is no such id is answered with.
    fn malformed(_text: &str) -> ApiError {
        Invalid::id::<Self>(Self::PARAMETER).into()
    }
}

macro_rules! path_ids {
    ($($id:ident = $parameter:literal;)*) => {$(
        impl PathId for $id {
            const PARAMETER: &'static str = $parameter;
        }
    )*};
}

path_ids! {
    AgentId = "agent_id";
    BlockId = "block_id";
    MessageId = "message_id";
    StepId = "step_id";
    ToolId = "tool_id";
}

impl PathId for RunId {
    const PARAMETER: &'static str = "run_id";

    /// V1 does not look at the form of run ids: whatever is no run is not found.
    fn malformed(text: &str) -> ApiError {
        ApiError::NotFound { what: "Run", id: text.chars().take(100).collect() }
    }
}

impl PathId for McpServerId {
    const PARAMETER: &'static str = "mcp_server_id";

    /// As with runs.
    fn malformed(text: &str) -> ApiError {
        ApiError::NotFound { what: "MCP server", id: text.chars().take(100).collect() }
    }
}

/// The id of a path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Id<T>(pub(super) T);

impl<T: PathId, S: Send + Sync> FromRequestParts<S> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let text = parameter(parts, state, T::PARAMETER).await?;
        text.parse::<T>().map(Self).map_err(|_| T::malformed(&text))
    }
}

/// The block label of a path, decoded.
#[derive(Debug, Clone)]
pub(super) struct Label(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Label {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        parameter(parts, state, "block_label").await.map(Self)
    }
}

/// The name of an MCP server in a path, decoded.
#[derive(Debug, Clone)]
pub(super) struct ServerName(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for ServerName {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        parameter(parts, state, "mcp_server_name").await.map(Self)
    }
}

/// The names of an MCP server and of a tool there in a path, decoded.
#[derive(Debug, Clone)]
pub(super) struct ServerTool {
    pub(super) server: String,
    pub(super) tool: String,
}

impl<S: Send + Sync> FromRequestParts<S> for ServerTool {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        Ok(Self {
            server: parameter(parts, state, "mcp_server_name").await?,
            tool: parameter(parts, state, "mcp_tool_name").await?,
        })
    }
}

/// The tool name of a path, decoded.
#[derive(Debug, Clone)]
pub(super) struct ToolName(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for ToolName {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        parameter(parts, state, "tool_name").await.map(Self)
    }
}

async fn parameter<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    name: &str,
) -> Result<String, ApiError> {
    let parameters = RawPathParams::from_request_parts(parts, state)
        .await
        .map_err(|_| ApiError::NotFound { what: "Path", id: parts.uri.path().to_owned() })?;
    let found = parameters.iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned());
    found.ok_or_else(|| ApiError::NoRoute(format!("{} {}", parts.method, parts.uri.path())))
}

impl<S: Send + Sync> FromRequestParts<S> for Dialect {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get().copied().unwrap_or(Self::V1))
    }
}

/// A query, in the words of a wire type.
#[derive(Debug, Clone)]
pub(super) struct Query<T>(pub(super) T);

impl<T: FromPairs, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Pairs(pairs) = Pairs::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|error| Invalid::query(&error.body_text()))?;
        T::from_pairs(&pairs).map(Self)
    }
}

/// Something a query can be read into: repeated keys, in the order they came.
pub(super) trait FromPairs: Sized + Send {
    /// Reads the pairs; unknown keys mean nothing.
    fn from_pairs(pairs: &[(String, String)]) -> Result<Self, ApiError>;
}

macro_rules! queries {
    ($($query:ident)*) => {$(
        impl FromPairs for wire::$query {
            fn from_pairs(pairs: &[(String, String)]) -> Result<Self, ApiError> {
                wire::$query::from_pairs(pairs).map_err(ApiError::from)
            }
        }
    )*};
}

queries! {
    AgentsQuery AgentQuery ApprovalQuery BackupQuery AsOfQuery AgentBlocksQuery AgentToolsQuery BlockAgentsQuery BlockHistoryQuery BlocksQuery EventsQuery MessagesQuery ModelsQuery RecompileQuery
    RunMessagesQuery RunStepsQuery RunTraceQuery RunsQuery StepMessagesQuery StepsQuery StreamQuery TagsQuery ToolsQuery
}

/// Which SDK generation is asking. V1 leaves relations out of lists for the newer ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Client {
    /// The SDKs from 1.0 on, and who says nothing.
    Current,
    /// Everybody else.
    Legacy,
}

impl Client {
    /// The relations of agents in lists, when the client did not say.
    pub(super) fn list_relations(self) -> Relations {
        match self {
            Self::Current => Relations::NONE,
            Self::Legacy => Relations::ALL,
        }
    }

    fn of(headers: &HeaderMap) -> Self {
        let agent = headers.get(header::USER_AGENT).map(|agent| agent.to_str().unwrap_or(""));
        let products = ["letta-client/1.", "@letta-ai/letta-client/1."];
        let is_current = headers.contains_key("x-stainless-package-version")
            || agent.is_none_or(|agent| products.iter().any(|product| agent.starts_with(product)));
        if is_current { Self::Current } else { Self::Legacy }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        Ok(Self::of(&parts.headers))
    }
}

/// A body that must be there. What it says it is made of is not looked at: some clients say nothing, some say text.
#[derive(Debug, Clone)]
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<App> for Json<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let bytes = body_of(request, app).await?;
        if is_blank(&bytes) {
            return Err(Invalid::missing_body().into());
        }
        Ok(Self(validation::parse(&bytes)?))
    }
}

/// A body that may be left out, or be `null`.
#[derive(Debug, Clone)]
pub(super) struct OptionalJson<T>(pub(super) T);

impl<T: DeserializeOwned + Default> FromRequest<App> for OptionalJson<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &App) -> Result<Self, ApiError> {
        let bytes = body_of(request, app).await?;
        if is_blank(&bytes) {
            return Ok(Self(T::default()));
        }
        Ok(Self(validation::parse::<Option<T>>(&bytes)?.unwrap_or_default()))
    }
}

async fn body_of(request: Request, app: &App) -> Result<bytes::Bytes, ApiError> {
    if let Err(error) = check_encoding(request.headers()) {
        body::pass_over(request.into_body(), &app.body_limits).await;
        return Err(error);
    }
    Ok(body::read(request.into_body(), &app.body_limits).await?)
}

/// Compressed bodies are not taken: a few bytes of one can stand for gigabytes.
fn check_encoding(headers: &HeaderMap) -> Result<(), ApiError> {
    match headers.get(header::CONTENT_ENCODING).map(|encoding| encoding.to_str().unwrap_or("?")) {
        None | Some("identity" | "") => Ok(()),
        Some(encoding) => Err(ApiError::UnsupportedBody(format!(
            "request bodies encoded as {encoding} are not supported; send plain JSON"
        ))),
    }
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(u8::is_ascii_whitespace)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn the_newer_sdks_are_known_by_their_headers() {
        let of = |name: &'static str, value: &'static str| {
            Client::of(&HeaderMap::from_iter([(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )]))
        };
        assert_eq!(of("x-stainless-package-version", "1.12.1"), Client::Current);
        assert_eq!(of("user-agent", "letta-client/1.2"), Client::Current);
        assert_eq!(of("user-agent", "@letta-ai/letta-client/1.2"), Client::Current);
        assert_eq!(of("accept", "*/*"), Client::Current);
        for agent in ["curl/8", "letta-client/0.1.324", "letta-client", "Mozilla/5.0"] {
            assert_eq!(of("user-agent", agent), Client::Legacy, "{agent}");
        }
    }
}
