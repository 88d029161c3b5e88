//! Everything that can go wrong with a request, and the one place that knows its status and its body.
//!
//! Bodies are those of Letta V1 with three members more: `trace_id` (the id of the request) and `code` (stable, for
//! programs) always, `hint` (what to do) where there is one. Details of internal failures go to the log and not to the
//! client.

use std::time::Duration;

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use retold_actors::Refusal;
use retold_events::{AgentId, RunId, run::RunError};
use retold_models::ResolveError;
use retold_snapshots::query::QueryError;
use serde_json::json;

use super::{answer::Answer, body::BodyFault, trace::RequestId, validation::Invalid};
use crate::wire::{Check, CheckStatus, Problem, QueryProblem};

/// Why a request gets no answer of its own.
#[derive(Debug, Clone)]
pub(super) enum ApiError {
    /// The core refused.
    Refused(Box<Refusal>),
    /// The request does not have the form it must have.
    Invalid(Invalid),
    /// The body could not be read.
    Body(BodyFault),
    /// The body is compressed or not JSON at all.
    UnsupportedBody(String),
    /// No or the wrong password.
    Unauthorized,
    /// The `Host` header names another server: a web page may be using its own name for this one.
    ForeignHost(String),
    /// A web page of another origin wants to change something.
    ForeignOrigin(String),
    /// The `user_id` header is not the id of a user.
    MalformedUser(String),
    /// There is no such route.
    NoRoute(String),
    /// The route exists, but not with this method.
    MethodNotAllowed(String),
    /// A WebSocket lives here, and the request asks for none, or for a version there is not.
    UpgradeRequired(&'static str),
    /// The handshake of a WebSocket lacks something.
    MalformedHandshake(&'static str),
    /// There is no such thing.
    NotFound { what: &'static str, id: String },
    /// The agent has no run that could be cancelled.
    NothingToCancel(AgentId),
    /// Messages are history and cannot be edited.
    MessageIsHistory,
    /// A blocking run failed.
    RunFailed {
        run: RunId,
        error: RunError,
        /// Whether anything of it is in the history: then a client that sends it again by itself does harm.
        kept: bool,
    },
    /// The server does not pass a probe.
    Failing(Vec<Check>),
    /// Secrets cannot be kept: the key is missing or cannot be used. Why is in the log.
    NoVault,
    /// Something that should not happen; it has been logged.
    Internal,
}

/// An error in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// For a person.
    pub(super) message: String,
    /// Stable, for programs.
    pub(super) code: String,
    /// What to do.
    pub(super) hint: Option<String>,
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Refusal::from(problem).into()
    }
}

impl From<BodyFault> for ApiError {
    fn from(fault: BodyFault) -> Self {
        Self::Body(fault)
    }
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

impl From<QueryProblem> for ApiError {
    fn from(problem: QueryProblem) -> Self {
        // What V1 looks at by itself, rather than leaving it to its validation.
        if ["statuses", "tool_types", "exclude_tool_types"].contains(&problem.loc.as_str()) {
            return Refusal::Invalid(problem.to_string()).into();
        }
        Self::Invalid(Invalid::query_member(&problem.loc, &problem.msg))
    }
}

impl From<QueryError> for ApiError {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Store(error) => Refusal::from(error).into(),
            QueryError::UnknownCursor(id) => Self::NotFound { what: "Cursor", id },
            QueryError::ReversedWindow { after, before } => Refusal::Invalid(format!(
                "`after` ({after}) does not come before `before` ({before})"
            ))
            .into(),
            QueryError::Row(error) => Self::internal(&error),
            QueryError::Output(error) => Self::internal(&error),
        }
    }
}

impl ApiError {
    /// Logs why secrets cannot be kept.
    pub(super) fn no_vault(error: &dyn std::error::Error) -> Self {
        tracing::error!(%error, "secrets cannot be kept");
        Self::NoVault
    }

    /// Logs what happened and tells the client that something did.
    pub(super) fn internal(error: &dyn std::error::Error) -> Self {
        tracing::error!(error = %error, trace_id = RequestId::current(), "a request failed");
        Self::Internal
    }

    /// Its stable code.
    #[cfg(test)]
    pub(super) fn code(&self) -> String {
        self.told().code
    }

    /// What a client is told that hears of it in a frame, where there is no status.
    pub(super) fn told(&self) -> Told {
        let body = self.answer().body;
        let text = |member: &str| body.get(member)?.as_str().map(str::to_owned);
        let nested = || Some(body.get("error")?.get("message")?.as_str()?.to_owned());
        Told {
            message: text("detail").or_else(nested).unwrap_or_default(),
            code: text("code").unwrap_or_default(),
            hint: text("hint"),
        }
    }

    fn answer(&self) -> Answer {
        match self {
            Self::Refused(refusal) => refused(refusal),
            Self::Invalid(invalid) => invalid_request(invalid),
            Self::Body(fault) => unreadable(fault),
            Self::UnsupportedBody(what) => {
                Answer::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_body", what.as_str())
            }
            Self::Unauthorized => {
                Answer::new(StatusCode::UNAUTHORIZED, "unauthorized", "Unauthorized")
                    .hint("send the server's password as `Authorization: Bearer <password>`")
                    .header(header::WWW_AUTHENTICATE, "Bearer")
            }
            Self::ForeignHost(host) => Answer::new(
                StatusCode::FORBIDDEN,
                "foreign_host",
                format!("this server is not called {host}"),
            )
            .hint("call it by localhost or its address, or set a password"),
            Self::ForeignOrigin(origin) => Answer::new(
                StatusCode::FORBIDDEN,
                "foreign_origin",
                format!("web pages of {origin} may not call this server"),
            )
            .hint("add the origin to `cors_origins` (--cors-origins)"),
            Self::MalformedUser(id) => Answer::new(
                StatusCode::BAD_REQUEST,
                "malformed_user_id",
                format!("Invalid user ID format: {id}. Expected format: 'user-{{uuid4}}'"),
            ),
            Self::NoRoute(route) => {
                Answer::new(StatusCode::NOT_FOUND, "no_such_route", "Not Found")
                    .hint(&format!("there is no {route}; GET /openapi.json lists what there is"))
            }
            Self::MethodNotAllowed(route) => Answer::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "Method Not Allowed",
            )
            .hint(&format!("there is no {route}; the Allow header lists the methods of this path")),
            Self::UpgradeRequired(says) => {
                Answer::new(StatusCode::UPGRADE_REQUIRED, "upgrade_required", *says)
                    .hint("connect with a WebSocket client, as ws://, version 13")
                    .header(header::UPGRADE, "websocket")
                    .header(header::CONNECTION, "upgrade")
                    .header(header::SEC_WEBSOCKET_VERSION, "13")
            }
            Self::MalformedHandshake(says) => {
                Answer::new(StatusCode::BAD_REQUEST, "malformed_handshake", *says)
            }
            Self::NotFound { what, id } => not_found(what, id),
            Self::NothingToCancel(agent) => Answer::new(
                StatusCode::CONFLICT,
                "nothing_to_cancel",
                format!("No active runs to cancel for agent {agent}"),
            )
            .not_again(),
            Self::MessageIsHistory => Answer::new(
                StatusCode::METHOD_NOT_ALLOWED,
                "message_is_history",
                "messages cannot be edited: they are what was said",
            )
            .hint("send a further message, or set the agent's message_ids"),
            Self::RunFailed { run, error, kept: false } => run_failed(*run, error),
            Self::RunFailed { run, error, kept: true } => run_failed(*run, error).not_again(),
            Self::Failing(checks) => failing(checks),
            Self::NoVault => Answer::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "secrets_unavailable",
                "this server cannot keep secrets: its key cannot be used",
            )
            .hint("nothing was stored; the server's log says what is wrong with the key")
            .not_again(),
            Self::Internal => Answer::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal_error",
                "An unknown error occurred",
            ),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.answer().into_response()
    }
}

fn failing(checks: &[Check]) -> Answer {
    let failed = checks.iter().filter(|check| check.status == CheckStatus::Failed);
    let details: Vec<&str> = failed.filter_map(|check| check.detail.as_deref()).collect();
    Answer::new(StatusCode::SERVICE_UNAVAILABLE, "not_ready", details.join("; "))
        .with("checks", json!(checks))
}

fn not_found(what: &str, id: &str) -> Answer {
    // Clients compare this one by its text.
    let detail = if what == "Agent" {
        "Agent not found".to_owned()
    } else {
        format!("{what} not found: {id}")
    };
    let code = format!("{}_not_found", what.to_lowercase().replace(' ', "_"));
    Answer::new(StatusCode::NOT_FOUND, &code, detail)
}

fn refused(refusal: &Refusal) -> Answer {
    let says = refusal.to_string();
    match refusal {
        Refusal::NotFound { what, id } => not_found(what, id),
        Refusal::Invalid(_) => Answer::new(StatusCode::BAD_REQUEST, "invalid_argument", says),
        Refusal::Unprocessable(_) => {
            Answer::new(StatusCode::UNPROCESSABLE_ENTITY, "unprocessable", says)
                .with("examples", json!([]))
        }
        Refusal::Conflict(_) => Answer::new(StatusCode::CONFLICT, "conflict", says).not_again(),
        Refusal::Busy { run, .. } => {
            let answer = Answer::new(StatusCode::CONFLICT, "conversation_busy", says)
                .retry_after(Duration::from_secs(1));
            match run {
                Some(run) => answer.with("run_id", run.to_string()),
                None => answer,
            }
        }
        Refusal::PendingApproval { request } => {
            let detail = json!({
                "code": "PENDING_APPROVAL",
                "message": says,
                "pending_request_id": request.to_string(),
            });
            Answer::new(StatusCode::CONFLICT, "pending_approval", says)
                .with("detail", detail)
                .not_again()
        }
        Refusal::QueueFull { retry_after, .. } => {
            Answer::new(StatusCode::TOO_MANY_REQUESTS, "agent_queue_full", says)
                .retry_after(*retry_after)
        }
        Refusal::Overloaded { retry_after, .. } => {
            Answer::new(StatusCode::SERVICE_UNAVAILABLE, "server_overloaded", says)
                .retry_after(*retry_after)
        }
        Refusal::Crowded { retry_after } => {
            Answer::new(StatusCode::SERVICE_UNAVAILABLE, "past_busy", says)
                .hint("what is being looked up goes on and will be there when you ask again")
                .retry_after(*retry_after)
        }
        Refusal::Draining => Answer::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", says)
            .retry_after(Duration::from_secs(2)),
        Refusal::StorageFull { .. } => {
            Answer::new(StatusCode::INSUFFICIENT_STORAGE, "storage_full", says)
                .hint("reading, cancelling and deleting still work")
                .not_again()
        }
        Refusal::Storage(_) => Answer::new(StatusCode::SERVICE_UNAVAILABLE, "storage_failed", says),
        Refusal::Quarantined { .. } => Answer::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "agent_quarantined",
            says,
        )
        .hint("the agent can still be read; the server's log says what is wrong with its history")
        .not_again(),
        Refusal::UnknownModel(error) => match &**error {
            ResolveError::BadForm { .. } => {
                Answer::new(StatusCode::BAD_REQUEST, "malformed_model_handle", says)
            }
            ResolveError::UnknownProvider { .. } | ResolveError::UnknownModel { .. } => {
                Answer::new(StatusCode::NOT_FOUND, "model_not_found", says)
                    .hint("GET /v1/models/ lists the models")
            }
        },
        Refusal::McpUnreachable { reason, .. } => {
            let kind = "mcp_connection_error";
            let nested = json!({ "type": kind, "message": says, "detail": reason });
            Answer::nested(StatusCode::BAD_GATEWAY, kind, nested)
        }
        // A client that repeats it by itself waits as long once more.
        Refusal::McpTimeout { .. } => {
            Answer::new(StatusCode::REQUEST_TIMEOUT, "mcp_timeout", says).not_again()
        }
        // Whether it was done is not known, so a client that repeats it by itself could do it twice.
        Refusal::Unresponsive(_) => {
            Answer::new(StatusCode::SERVICE_UNAVAILABLE, "agent_unresponsive", says).not_again()
        }
    }
}

fn invalid_request(invalid: &Invalid) -> Answer {
    Answer::new(StatusCode::UNPROCESSABLE_ENTITY, "validation_failed", invalid.printed())
        .with("examples", json!(invalid.examples()))
}

fn unreadable(fault: &BodyFault) -> Answer {
    let says = fault.to_string();
    match fault {
        BodyFault::TooLarge(_) => {
            Answer::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", says)
                .hint("the limit is the setting `max_body_bytes` (--max-body-bytes)")
                .header(header::CONNECTION, "close")
        }
        BodyFault::NoRoom => Answer::new(StatusCode::SERVICE_UNAVAILABLE, "bodies_busy", says)
            .hint("the limit is the setting `bodies_bytes` (--bodies-bytes)")
            .header(header::CONNECTION, "close")
            .retry_after(Duration::from_secs(2)),
        BodyFault::TooSlow => Answer::new(StatusCode::REQUEST_TIMEOUT, "body_too_slow", says)
            .header(header::CONNECTION, "close"),
        BodyFault::Broken(_) => Answer::new(StatusCode::BAD_REQUEST, "body_broken", says)
            .header(header::CONNECTION, "close"),
    }
}

/// The nested form of failed model calls; the plain one for what failed on our side.
fn run_failed(run: RunId, error: &RunError) -> Answer {
    let status = match error.error_type.as_str() {
        "llm_authentication" => StatusCode::UNAUTHORIZED,
        "llm_insufficient_credits" => StatusCode::PAYMENT_REQUIRED,
        "llm_rate_limit" => StatusCode::TOO_MANY_REQUESTS,
        "llm_timeout" => StatusCode::GATEWAY_TIMEOUT,
        "llm_bad_request" => StatusCode::BAD_REQUEST,
        "llm_error" | "llm_empty_response" => StatusCode::INTERNAL_SERVER_ERROR,
        "context_window_overflow_in_system_prompt" => {
            let code = "context_window_overflow_in_system_prompt";
            return Answer::new(StatusCode::BAD_REQUEST, code, error.message.as_str())
                .with("run_id", run.to_string());
        }
        "interrupted" => {
            let answer =
                Answer::new(StatusCode::SERVICE_UNAVAILABLE, "interrupted", error.message.as_str());
            return answer.with("run_id", run.to_string()).retry_after(Duration::from_secs(2));
        }
        _ => {
            let code = "internal_error";
            return Answer::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                code,
                "An unknown error occurred",
            )
            .with("run_id", run.to_string());
        }
    };
    let nested =
        json!({ "type": error.error_type, "message": error.message, "detail": error.detail });
    let answer = Answer::nested(status, &error.error_type, nested);
    match error.retry_after_s {
        Some(seconds) => answer.retry_after(Duration::from_secs(seconds.into())),
        None => answer,
    }
    .with("run_id", run.to_string())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use serde_json::Value;

    use super::*;
    use crate::http::answer::SHOULD_RETRY;

    fn body_of(error: ApiError) -> (u16, Value) {
        let answer = error.answer();
        (answer.status.as_u16(), Value::Object(answer.body))
    }

    fn run() -> RunId {
        "run-123e4567-e89b-42d3-8456-426614174000".parse().unwrap()
    }

    fn failed(error_type: &str) -> ApiError {
        let error = RunError {
            error_type: error_type.to_owned(),
            message: "it failed".to_owned(),
            detail: Some("why".to_owned()),
            retry_after_s: Some(7),
        };
        ApiError::RunFailed { run: run(), error, kept: false }
    }

    #[test]
    fn a_failed_run_of_which_something_is_kept_is_not_sent_again_by_the_sdks() {
        let mut error = failed("llm_error");
        assert!(error.answer().headers.get(SHOULD_RETRY).is_none());
        if let ApiError::RunFailed { kept, .. } = &mut error {
            *kept = true;
        }
        assert_eq!(error.answer().headers[SHOULD_RETRY], "false");
    }

    #[test]
    fn failed_model_calls_have_the_nested_form_and_their_status() {
        for (error_type, status) in [
            ("llm_authentication", 401),
            ("llm_insufficient_credits", 402),
            ("llm_rate_limit", 429),
            ("llm_timeout", 504),
            ("llm_bad_request", 400),
            ("llm_error", 500),
        ] {
            let (found, body) = body_of(failed(error_type));
            assert_eq!(found, status, "{error_type}");
            assert_eq!(
                body["error"],
                json!({ "type": error_type, "message": "it failed", "detail": "why" })
            );
            assert!(body.get("detail").is_none());
        }
        assert_eq!(failed("llm_rate_limit").answer().headers[header::RETRY_AFTER], "7");
    }

    #[test]
    fn what_fails_inside_says_nothing_of_itself() {
        let (status, body) = body_of(failed("internal_error"));
        assert_eq!((status, &body["detail"]), (500, &json!("An unknown error occurred")));
    }

    #[test]
    fn a_full_queue_names_the_time_to_wait() {
        let refusal = Refusal::QueueFull { open: 32, retry_after: Duration::from_millis(1200) };
        let answer = ApiError::from(refusal).answer();
        assert_eq!(
            (answer.status.as_u16(), &answer.headers[header::RETRY_AFTER]),
            (429, &HeaderValue::from_static("2"))
        );
    }

    #[test]
    fn a_crowded_past_names_the_time_to_wait() {
        let refusal = Refusal::Crowded { retry_after: Duration::from_secs(5) };
        let answer = ApiError::from(refusal).answer();
        assert_eq!(
            (answer.status.as_u16(), &answer.headers[header::RETRY_AFTER], &answer.body["code"]),
            (503, &HeaderValue::from_static("5"), &json!("past_busy"))
        );
    }

    #[test]
    fn an_unknown_agent_is_named_as_clients_expect() {
        let agent: AgentId = "agent-123e4567-e89b-42d3-8456-426614174000".parse().unwrap();
        let (status, body) = body_of(Refusal::no_agent(agent).into());
        assert_eq!(
            (status, &body["detail"], &body["code"]),
            (404, &json!("Agent not found"), &json!("agent_not_found"))
        );
    }

    #[test]
    fn a_conflict_that_stays_is_not_to_be_repeated() {
        let agent = "agent-123e4567-e89b-42d3-8456-426614174000".parse().unwrap();
        let answer = ApiError::NothingToCancel(agent).answer();
        assert_eq!(
            (answer.status.as_u16(), &answer.headers[SHOULD_RETRY]),
            (409, &HeaderValue::from_static("false"))
        );
    }
}
