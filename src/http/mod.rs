//! The HTTP side: routes, and everything between a socket and a handler.
//!
//! A handler parses, asks the host, and answers; it holds no rule of the domain. The way in is `listen` (connections),
//! `front` (ids, paths, the guard), axum's router, `extract` (arguments); the way out is a wire type or
//! `error::ApiError`. Routes are registered together with their description (`openapi`), so none is undocumented.

mod agent_blocks;
mod agent_secrets;
mod agent_tools;
mod agents;
mod answer;
mod auth;
mod backup;
mod block_history;
mod blocks;
mod body;
mod callback;
mod error;
mod event_stream;
mod events;
mod extract;
mod fork;
mod front;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
mod health;
mod listen;
mod mcp;
mod mcp_older;
mod messages;
mod metrics;
mod models;
mod openapi;
mod paced;
mod page;
mod past;
mod path;
mod probes;
mod replay;
mod run_reader;
mod run_stream;
mod runs;
mod sse;
mod starting;
mod steps;
mod tags;
mod tool_run;
mod tool_search;
mod tools;
mod trace;
mod trace_step;
mod turn;
mod validation;
mod ws;

use std::{net::SocketAddr, ops::Deref, sync::Arc, time::Duration};

use axum::{Router, middleware};
use bytes::Bytes;
use retold_actors::{Host, IdSource};
use retold_events::store::EventStore;
use retold_snapshots::query::QueryError;
use retold_tools::egress::Egress;
use tokio_util::sync::CancellationToken;
use tower::{Layer as _, util::BoxCloneSyncService};

use self::{
    auth::Guard,
    body::{BodyLimits, BodyMemory},
    error::ApiError,
    past::PastRoutes,
};
pub(crate) use self::{
    callback::Caller,
    listen::{Limits, Stop, serve},
    starting::{Ready, Service, starting},
};
use crate::{config::Config, meters::Meters, otel::Parents, vault::Vault, wire::Defaults};

/// What every handler may use. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct App(Arc<Shared>);

/// The parts of an [`App`].
#[derive(Debug)]
pub(crate) struct Shared {
    host: Host,
    /// Where secrets are sealed and opened.
    vault: Vault,
    guard: Guard,
    /// Where addresses that clients name may lead.
    egress: Egress,
    /// Whether MCP servers that are programs are started.
    mcp_stdio: bool,
    defaults: Defaults,
    body_limits: BodyLimits,
    /// Silence after which a stream carries a ping.
    keepalive: Duration,
    /// How long a client may leave a stream unread.
    stall_timeout: Duration,
    request_ids: IdSource,
    /// Tripped when the server closes its connections: whoever waits for a run is told so.
    leaving: CancellationToken,
    /// The description of the API, encoded.
    description: Bytes,
    /// What is counted.
    meters: Meters,
    /// Where it is noted which traces runs belong to; `None` when none are exported.
    parents: Option<Parents>,
}

/// Those who watch a server.
#[derive(Debug)]
pub(crate) struct Watchers {
    /// What is counted.
    pub(crate) meters: Meters,
    /// Where it is noted which traces runs belong to; `None` when none are exported.
    pub(crate) parents: Option<Parents>,
}

impl App {
    /// The application at `address`.
    fn new(
        host: Host,
        vault: Vault,
        config: &Config,
        address: SocketAddr,
        leaving: CancellationToken,
        watchers: Watchers,
        description: Bytes,
    ) -> Self {
        let password = config.password.as_ref().map(|password| password.value.expose());
        Self(Arc::new(Shared {
            host,
            vault,
            guard: Guard::new(address, password, &config.cors_origins.value),
            egress: config.egress(),
            mcp_stdio: config.mcp_stdio.value,
            defaults: defaults(config),
            body_limits: BodyLimits {
                max_bytes: config.max_body_bytes.value,
                idle_timeout: config.body_timeout.value,
                // The largest body that is allowed always has a chance.
                memory: BodyMemory::new(config.bodies_bytes.value.max(config.max_body_bytes.value)),
            },
            keepalive: config.keepalive_interval.value,
            stall_timeout: config.stall_timeout.value,
            request_ids: IdSource::random(),
            leaving,
            description,
            meters: watchers.meters,
            parents: watchers.parents,
        }))
    }

    /// Reads read models, and no more than is durable.
    async fn query<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn EventStore) -> Result<T, QueryError> + Send + 'static,
    ) -> Result<T, ApiError> {
        Ok(self.host.read(move |store| Ok(read(store))).await??)
    }
}

impl Deref for App {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

/// What a new agent gets when its request does not say.
fn defaults(config: &Config) -> Defaults {
    Defaults {
        model: config.model_of_new_agents().map(str::to_owned),
        embedding: config.default_embedding.as_ref().map(|handle| handle.value.clone()),
    }
}

/// The application at `address` as a service, for [`serve`]. Streams end once `leaving` is tripped.
pub(crate) fn service(
    host: Host,
    vault: Vault,
    config: &Config,
    address: SocketAddr,
    leaving: CancellationToken,
    watchers: Watchers,
) -> Service {
    let (routes, description) = openapi::routes().split_for_parts();
    let description_bytes = openapi::encode(&description);
    let app = App::new(host, vault, config, address, leaving, watchers, description_bytes);
    let past_routes = PastRoutes::of(&description);
    let router: Router = routes
        .route_layer(middleware::from_fn_with_state(past_routes, past::only_where_there_is_one))
        .route_layer(middleware::from_fn(metrics::note_template))
        .fallback(front::no_route)
        .method_not_allowed_fallback(front::no_method)
        .with_state(app.clone());
    let fronted = middleware::from_fn_with_state(app, front::pass).layer(router);
    match front::cors(&config.cors_origins.value) {
        Some(cors) => BoxCloneSyncService::new(cors.layer(fronted)),
        None => BoxCloneSyncService::new(fronted),
    }
}
