//! Where a handler reads: the server as it stands, or as it stood at the moment that the client names with `as_of`.
//!
//! A handler that takes a [`Reader`] answers both with the same lines. Which position a moment was is told in a header,
//! so that a client that named a time can name the very same moment again. Where a route reads no past moment, whoever
//! names one is refused: he would take the present for the past.

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use axum::{
    extract::{FromRequestParts, MatchedPath, Query as Pairs, Request, State},
    http::{HeaderName, HeaderValue, Method, Uri, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use retold_actors::{AgentView, BlockView, Host, Refusal, ToolView, Whose};
use retold_events::{
    AgentId, BlockId, McpServerId, Position, RunId, Seq, StepId, StreamId, ToolId,
    store::EventStore,
};
use retold_snapshots::{
    past::Tables,
    query::{self, JudgedStep, QueryError},
    row::{McpServerRow, RunRow},
};

use utoipa::openapi::{OpenApi, RefOr, path::Operation};

use super::{App, error::ApiError, extract::Query, validation::Invalid};
use crate::wire::{AS_OF, AsOfQuery};

/// The header that names the position an answer is of. Only answers to `as_of` have it.
pub(super) const HEADER: HeaderName = HeaderName::from_static("retold-as-of");

/// Reads the server as it stands or as it stood.
#[derive(Debug, Clone)]
pub(super) struct Reader {
    host: Host,
    at: Option<Position>,
}

impl FromRequestParts<App> for Reader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, ApiError> {
        let Query(asked) = Query::<AsOfQuery>::from_request_parts(parts, app).await?;
        let mut reader = Self::now(&app.host);
        if let Some(moment) = asked.as_of {
            let position = app.host.moment(moment).await?;
            reader.at = Some(position);
            if let Some(Told(told)) = parts.extensions.get() {
                // The first one stays, and there is only one.
                let _ = told.set(position);
            }
        }
        Ok(reader)
    }
}

impl Reader {
    /// A reader of the present.
    pub(super) fn now(host: &Host) -> Self {
        Self { host: host.clone(), at: None }
    }

    /// Whether it reads how the server stood, rather than how it stands.
    pub(super) const fn is_of_the_past(&self) -> bool {
        self.at.is_some()
    }

    /// An agent.
    pub(super) async fn agent(&self, id: AgentId) -> Result<AgentView, ApiError> {
        Ok(match self.at {
            None => self.host.agent(id).await?,
            Some(at) => self.host.agent_at(id, at).await?,
        })
    }

    /// Several agents, in the order asked for; those that are not there are left out.
    pub(super) async fn agents(&self, ids: &[AgentId]) -> Result<Vec<AgentView>, ApiError> {
        Ok(match self.at {
            None => self.host.agents(ids).await?,
            Some(at) => self.host.agents_at(ids, at).await?,
        })
    }

    /// A block.
    pub(super) async fn block(&self, id: BlockId) -> Result<BlockView, ApiError> {
        Ok(match self.at {
            None => self.host.block(id).await?,
            Some(at) => self.host.block_at(id, at).await?,
        })
    }

    /// A tool.
    pub(super) async fn tool(&self, id: ToolId) -> Result<ToolView, ApiError> {
        Ok(match self.at {
            None => self.host.tool(id).await?,
            Some(at) => self.host.tool_at(id, at).await?,
        })
    }

    /// An MCP server.
    pub(super) async fn mcp_server(&self, id: McpServerId) -> Result<McpServerRow, ApiError> {
        let missing = || Refusal::NotFound { what: "MCP server", id: id.to_string() };
        Ok(match self.at {
            None => self.host.mcp_server(id).ok_or_else(missing)?.row.clone(),
            Some(at) => self.host.mcp_server_at(id, at).await?,
        })
    }

    /// Whether there ever was a tool with this id.
    pub(super) async fn was_tool(&self, id: ToolId) -> Result<bool, ApiError> {
        let was_made = move |store: &dyn EventStore| store.stream_head(StreamId::Tool(id));
        let is_builtin = retold_actors::tool::by_id(id).is_some();
        Ok(is_builtin || self.host.read(was_made).await? > Seq(0))
    }

    /// A run.
    pub(super) async fn run(&self, id: RunId) -> Result<RunRow, ApiError> {
        let Some(at) = self.at else { return Ok(self.host.run(id).await?) };
        let owner = self.present(move |store| query::agent_of_run(store, id)).await?;
        // A run that was deleted since is found in the past of the server only.
        let whose = owner.map_or(Whose::Server(Tables::RUNS), Whose::Agent);
        let found = self.past(whose, at, move |store| query::run(store, id)).await?;
        Ok(found.ok_or_else(|| Refusal::no_run(id))?)
    }

    /// A step that has ended.
    pub(super) async fn step(&self, id: StepId) -> Result<JudgedStep, ApiError> {
        let missing = || ApiError::NotFound { what: "Step", id: id.to_string() };
        let owner = self.present(move |store| query::agent_of_step(store, id)).await?;
        let whose = Whose::Agent(owner.ok_or_else(missing)?);
        self.query(whose, move |store| query::step(store, id)).await?.ok_or_else(missing)
    }

    /// Reads read models. Of the past, it sees the rows of `whose` only.
    pub(super) async fn query<T: Send + 'static>(
        &self,
        whose: Whose,
        read: impl FnOnce(&dyn EventStore) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, ApiError> {
        match self.at {
            None => self.present(read).await,
            Some(at) => self.past(whose, at, read).await,
        }
    }

    async fn present<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn EventStore) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, ApiError> {
        Ok(self.host.read(move |store| Ok(read(store))).await??)
    }

    async fn past<T: Send + 'static>(
        &self,
        whose: Whose,
        at: Position,
        read: impl FnOnce(&dyn EventStore) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, ApiError> {
        Ok(self.host.read_at(whose, at, move |store| Ok(read(store))).await??)
    }
}

/// Where a reader notes the moment it reads, for the header of the answer.
#[derive(Debug, Clone, Default)]
pub(super) struct Told(Arc<OnceLock<Position>>);

impl Told {
    /// Goes with a request that may name a moment.
    pub(super) fn go_with(request: &mut Request) -> Option<Self> {
        if !names_a_moment(request.uri()) {
            return None;
        }
        let told = Self::default();
        request.extensions_mut().insert(told.clone());
        Some(told)
    }

    /// Names the moment in the answer's header.
    pub(super) fn tell(&self, response: &mut Response) {
        if let Some(position) = self.0.get() {
            response.headers_mut().insert(HEADER, HeaderValue::from(position.0));
        }
    }
}

/// The templates of the paths that can be read as of a past moment.
#[derive(Debug, Clone)]
pub(super) struct PastRoutes(Arc<BTreeSet<String>>);

impl PastRoutes {
    /// Those of which the description says so.
    pub(super) fn of(description: &OpenApi) -> Self {
        let takes_as_of = |operation: &Operation| {
            operation.parameters.iter().flatten().any(
                |parameter| matches!(parameter, RefOr::T(parameter) if parameter.name == AS_OF),
            )
        };
        let paths = description.paths.paths.iter();
        let knowing = paths.filter(|(_, item)| item.get.as_ref().is_some_and(takes_as_of));
        Self(Arc::new(knowing.map(|(path, _)| path.clone()).collect()))
    }
}

/// Refuses to read a past moment where there is none to read.
pub(super) async fn only_where_there_is_one(
    State(PastRoutes(known)): State<PastRoutes>,
    request: Request,
    next: Next,
) -> Response {
    let reads = [Method::GET, Method::HEAD].contains(request.method());
    if !reads || !names_a_moment(request.uri()) {
        return next.run(request).await;
    }
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    if matched.is_none_or(|path| known.contains(path)) {
        return next.run(request).await;
    }
    let message = "this route reads no past moment; leave `as_of` out, \
         GET /openapi.json names the routes that take it";
    ApiError::from(Invalid::query_member(AS_OF, message)).into_response()
}

fn names_a_moment(uri: &Uri) -> bool {
    // What cannot be decoded is for the handler to refuse.
    Pairs::<Vec<(String, String)>>::try_from_uri(uri)
        .is_ok_and(|Pairs(pairs)| AsOfQuery::is_among(&pairs))
}
