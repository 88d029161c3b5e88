//! Probes, as orchestrators ask them: is the process alive, is the server ready. Open to all, and cheap: they look at what
//! is in memory.
//!
//! A server is alive until its storage has failed: nothing it does from then on is acknowledged, and only a new process
//! helps. It is ready once it has taken up what its log holds, until it drains. A disk that is nearly full makes it neither
//! dead nor unready: reads and cancels go on, and taking the only server there is out of service would end those too. It
//! is a warning among the checks, and a number among the metrics.

use axum::{
    Json as Answer,
    extract::{RawQuery, State},
};
use retold_actors::{Host, Refusal};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{App, error::ApiError, openapi::ReadErrors};
use crate::wire::{Check, CheckStatus, Probe};

/// The paths of the probes.
pub(super) const PATHS: [&str; 3] = ["/livez", "/readyz", "/healthz"];

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::default().routes(routes!(livez)).routes(routes!(readyz)).routes(routes!(healthz))
}

/// Whether the process is of any use: until its storage has failed. If not, it is to be started anew.
#[utoipa::path(get, path = "/livez", tag = "server", operation_id = "livez",
    params(("verbose" = Option<String>, Query, description = "Whether to list what was looked at; the value does not matter")),
    responses((status = 200, description = "It is", body = Probe), ReadErrors))]
async fn livez(State(app): State<App>, asked: RawQuery) -> Result<Answer<Probe>, ApiError> {
    told(vec![log(&app.host)], &asked)
}

/// Whether the server takes requests: once it has taken up what its log holds, until it shuts down or its storage fails.
#[utoipa::path(get, path = "/readyz", tag = "server", operation_id = "readyz",
    params(("verbose" = Option<String>, Query, description = "Whether to list what was looked at; the value does not matter")),
    responses((status = 200, description = "It does", body = Probe), ReadErrors))]
async fn readyz(State(app): State<App>, asked: RawQuery) -> Result<Answer<Probe>, ApiError> {
    told(checks(&app.host), &asked)
}

/// The same as `/readyz`, for those who know one probe only.
#[utoipa::path(get, path = "/healthz", tag = "server", operation_id = "healthz",
    params(("verbose" = Option<String>, Query, description = "Whether to list what was looked at; the value does not matter")),
    responses((status = 200, description = "It does", body = Probe), ReadErrors))]
async fn healthz(State(app): State<App>, asked: RawQuery) -> Result<Answer<Probe>, ApiError> {
    told(checks(&app.host), &asked)
}

/// The answer of a server that has not taken up yet what its log holds.
pub(super) fn while_starting(path: &str, query: Option<&str>) -> Result<Answer<Probe>, ApiError> {
    let starting = "the server is taking up what its log holds";
    let checks = match path {
        "/livez" => vec![Check::ok("process")],
        _ => vec![Check::not_ok("recovery", CheckStatus::Failed, starting)],
    };
    told(checks, &RawQuery(query.map(str::to_owned)))
}

fn told(checks: Vec<Check>, RawQuery(query): &RawQuery) -> Result<Answer<Probe>, ApiError> {
    if checks.iter().any(|check| check.status == CheckStatus::Failed) {
        return Err(ApiError::Failing(checks));
    }
    let names = |member: &str| member.split('=').next() == Some("verbose");
    let verbose = query.as_deref().is_some_and(|query| query.split('&').any(names));
    Ok(Answer(Probe { status: "ok", checks: verbose.then_some(checks) }))
}

fn checks(host: &Host) -> Vec<Check> {
    vec![Check::ok("recovery"), log(host), admission(host), disk(host)]
}

fn log(host: &Host) -> Check {
    match host.log().failure() {
        None => Check::ok("log"),
        // Why is in the server's log: whoever asks here has shown no password.
        Some(_) => Check::not_ok("log", CheckStatus::Failed, "the storage failed"),
    }
}

fn admission(host: &Host) -> Check {
    if host.is_draining() {
        let why = Refusal::Draining.to_string();
        return Check::not_ok("admission", CheckStatus::Failed, why);
    }
    Check::ok("admission")
}

fn disk(host: &Host) -> Check {
    let space = host.log().space();
    if space.free < space.reserve {
        let full = Refusal::StorageFull { free: space.free, reserve: space.reserve };
        return Check::not_ok("disk", CheckStatus::Warning, full.to_string());
    }
    Check::ok("disk")
}
