//! What every request passes on its way in and out, in one function: its id, its one path, the guard, a panic's end.

use std::panic::AssertUnwindSafe;

use axum::{
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use futures_util::FutureExt as _;
use tokio::time::Instant;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer, ExposeHeaders};

use super::{
    App,
    error::ApiError,
    metrics::Template,
    past::{self, Told},
    path,
    trace::{self, RequestId},
};

/// Takes a request in and its answer out.
pub(super) async fn pass(State(app): State<App>, request: Request, next: Next) -> Response {
    let id = RequestId::of(request.headers(), &app.request_ids);
    let header = id.header();
    let (begun, method, meters) = (Instant::now(), request.method().clone(), app.meters.clone());
    let mut response = id.scope(answer(app, request, next)).await;
    let status = response.status().as_u16();
    meters.answered(method.as_str(), Template::of(&response), status, begun);
    response.headers_mut().insert(trace::HEADER, header);
    response
}

async fn answer(app: App, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let (uri, dialect) = path::canonical(request.uri());
    let route = format!("{} {}", request.method(), uri.path());
    if let Err(error) = app.guard.check(uri.path(), &request) {
        return error.into_response();
    }
    *request.uri_mut() = uri;
    request.extensions_mut().insert(dialect);
    let told = Told::go_with(&mut request);
    let mut response = caught(&route, next.run(request)).await;
    if let Some(told) = told {
        told.tell(&mut response);
    }
    let (status, took_ms) = (response.status().as_u16(), begun.elapsed().as_millis());
    tracing::debug!(route, status, took_ms, trace_id = RequestId::current(), "answered");
    response
}

/// A panic of a handler ends its request and nothing else.
async fn caught(route: &str, answering: impl Future<Output = Response>) -> Response {
    AssertUnwindSafe(answering).catch_unwind().await.unwrap_or_else(|panic| {
        let (panic, trace_id) = (panic_text(&*panic), RequestId::current());
        tracing::error!(route, panic, trace_id, "a handler panicked");
        ApiError::Internal.into_response()
    })
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("(no text)")
}

/// Answers paths that are none.
pub(super) async fn no_route(request: Request) -> ApiError {
    ApiError::NoRoute(format!("{} {}", request.method(), request.uri().path()))
}

/// Answers methods a path does not have. axum adds the `Allow` header; to whoever only asks for it, that is the answer.
pub(super) async fn no_method(request: Request) -> Response {
    if request.method() == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    ApiError::MethodNotAllowed(format!("{} {}", request.method(), request.uri().path()))
        .into_response()
}

/// The answers to browsers asking whether a page may call; `None` when no origin is configured.
pub(super) fn cors(origins: &[String]) -> Option<CorsLayer> {
    if origins.is_empty() {
        return None;
    }
    let listed = origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(listed)
    };
    let exposed =
        [super::page::NEXT, super::page::PREV, trace::HEADER, past::HEADER, header::RETRY_AFTER];
    Some(
        CorsLayer::new()
            .allow_origin(allowed)
            .allow_methods(AllowMethods::mirror_request())
            .allow_headers(AllowHeaders::mirror_request())
            .expose_headers(ExposeHeaders::list(exposed)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered_without_its_text() {
        let response = caught("GET /", async { panic!("secret") }).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(response.into_body(), 1000).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["detail"], "An unknown error occurred");
        assert!(!body.to_string().contains("secret"));
    }
}
