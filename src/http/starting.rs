//! A server that listens before it is ready, so that those who ask how it is doing are told.
//!
//! Taking up a long log may take longer than a probe waits. Meanwhile probes are answered, and everybody else waits, as
//! they would if nobody had accepted their connection yet.

use std::convert::Infallible;

use axum::{
    extract::Request,
    response::{IntoResponse as _, Response},
};
use retold_actors::{IdSource, Refusal};
use tokio::sync::watch;
use tower::{ServiceExt as _, util::BoxCloneSyncService};

use super::{
    error::ApiError,
    path,
    probes::{self, PATHS},
    trace::{self, RequestId},
};

/// An application as a service.
pub(crate) type Service = BoxCloneSyncService<Request, Response, Infallible>;

/// Says that the application is there. Dropped, it says that it never will be.
#[derive(Debug)]
pub(crate) struct Ready(watch::Sender<Option<Service>>);

impl Ready {
    /// Lets `service` answer from now on, those who wait first.
    pub(crate) fn with(self, service: Service) {
        self.0.send_replace(Some(service));
    }
}

/// The service of a server that is starting, and what makes it one that has started.
pub(crate) fn starting() -> (Service, Ready) {
    let (sender, receiver) = watch::channel(None);
    let service = tower::service_fn(move |request| answer(receiver.clone(), request));
    (BoxCloneSyncService::new(service), Ready(sender))
}

async fn answer(
    mut ready: watch::Receiver<Option<Service>>,
    request: Request,
) -> Result<Response, Infallible> {
    let known = ready.borrow().clone();
    if let Some(service) = known {
        return service.oneshot(request).await;
    }
    let (uri, _) = path::canonical(request.uri());
    let id = RequestId::of(request.headers(), &IdSource::random());
    if PATHS.contains(&uri.path()) {
        let header = id.header();
        let telling = async { probes::while_starting(uri.path(), uri.query()).into_response() };
        let mut response = id.scope(telling).await;
        response.headers_mut().insert(trace::HEADER, header);
        return Ok(response);
    }
    let started = ready.wait_for(Option::is_some).await.ok().and_then(|ready| ready.clone());
    match started {
        Some(service) => service.oneshot(request).await,
        // The start failed, and the process is about to end.
        None => Ok(id.scope(async { ApiError::from(Refusal::Draining).into_response() }).await),
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, http::StatusCode};

    use super::*;

    async fn ask(service: &Service, path: &str) -> (u16, serde_json::Value) {
        let request = Request::builder().uri(path).body(Body::empty()).unwrap();
        let response = service.clone().oneshot(request).await.unwrap();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    fn app() -> Service {
        BoxCloneSyncService::new(tower::service_fn(|request: Request| async move {
            Ok((StatusCode::OK, format!("\"{}\"", request.uri().path())).into_response())
        }))
    }

    #[tokio::test]
    async fn probes_are_answered_while_everybody_else_waits() {
        let (service, ready) = starting();
        assert_eq!(ask(&service, "/livez").await.0, 200);
        for path in ["/readyz", "/readyz/", "/healthz?verbose"] {
            let (status, body) = ask(&service, path).await;
            assert_eq!((status, &body["code"]), (503, &"not_ready".into()), "{path}");
            assert_eq!(body["checks"][0]["name"], "recovery");
        }
        let waiting = tokio::spawn({
            let service = service.clone();
            async move { ask(&service, "/v1/agents").await }
        });
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        assert!(!waiting.is_finished());
        ready.with(app());
        assert_eq!(waiting.await.unwrap(), (200, "/v1/agents".into()));
        assert_eq!(ask(&service, "/readyz").await, (200, "/readyz".into()));
    }

    #[tokio::test]
    async fn who_waits_for_a_start_that_fails_is_told() {
        let (service, ready) = starting();
        let asking = ask(&service, "/v1/agents");
        drop(ready);
        assert_eq!(asking.await.0, 503);
    }
}
