//! Whether the server is there, and whether it takes work. Open to all.

use axum::{Json as Answer, extract::State};
use retold_actors::Refusal;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{App, error::ApiError, openapi::ReadErrors};

/// The state of the server.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    /// Its version.
    version: &'static str,
    /// `ok`.
    status: &'static str,
}

const OK: Health = Health { version: env!("CARGO_PKG_VERSION"), status: "ok" };

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(health)).routes(routes!(ready))
}

/// Whether the server is there.
#[utoipa::path(get, path = "/v1/health", tag = "server", operation_id = "check_health",
    responses((status = 200, description = "It is", body = Health)))]
async fn health() -> Answer<Health> {
    Answer(OK)
}

/// Whether the server takes work: not while it shuts down, nor after its storage failed.
#[utoipa::path(get, path = "/v1/ready", tag = "server", operation_id = "check_readiness",
    responses((status = 200, description = "It does", body = Health), ReadErrors))]
async fn ready(State(app): State<App>) -> Result<Answer<Health>, ApiError> {
    if let Some(failure) = app.host.log().failure() {
        return Err(Refusal::Storage(failure.to_string()).into());
    }
    if app.host.is_draining() {
        return Err(Refusal::Draining.into());
    }
    Ok(Answer(OK))
}
