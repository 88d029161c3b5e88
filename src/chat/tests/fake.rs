//! A fake V1 server: a few agents, one scripted answer, and a memory of what it was asked.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Request, State},
    http::{Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use futures_util::stream;
use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use serde_json::{Value, json};
use tokio::sync::Notify;

pub(super) const ID: &str = "agent-123e4567-e89b-42d3-8456-426614174000";

/// What the fake knows, and what it heard.
#[derive(Default)]
pub(super) struct Fake {
    pub(super) agents: Vec<Value>,
    /// Data of the events of every answer. `HANG` waits for a cancellation.
    pub(super) script: Vec<String>,
    pub(super) password: Option<&'static str>,
    pub(super) has_default_model: bool,
    pub(super) ignores_cancel: bool,
    pub(super) cancelled: Notify,
    pub(super) was_cancelled: AtomicBool,
    pub(super) heard: Mutex<Vec<(String, Value)>>,
}

pub(super) const HANG: &str = "hang";

pub(super) fn agent(id: &str, name: &str) -> Value {
    json!({ "id": id, "name": name, "model": "retold/rehearsal", "agent_type": "letta_v1_agent" })
}

pub(super) fn ping() -> String {
    json!({ "message_type": "ping", "run_id": "run-7" }).to_string()
}

pub(super) fn said(text: &str) -> String {
    json!({ "message_type": "assistant_message", "id": "message-1", "content": text }).to_string()
}

pub(super) fn stopped(reason: &str) -> String {
    json!({ "message_type": "stop_reason", "stop_reason": reason }).to_string()
}

pub(super) fn done() -> String {
    "[DONE]".to_owned()
}

impl Fake {
    /// A server with one agent called `default` that answers with `script`.
    pub(super) fn answering(script: impl IntoIterator<Item = String>) -> Self {
        let agents = vec![agent(ID, "default")];
        Self {
            agents,
            script: script.into_iter().collect(),
            has_default_model: true,
            ..Self::default()
        }
    }

    pub(super) async fn start(self) -> (Arc<Self>, String) {
        let fake = Arc::new(self);
        let router = Router::new().fallback(answer).with_state(Arc::clone(&fake));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let service = TowerToHyperService::new(router.clone());
                let connection =
                    http1::Builder::new().serve_connection(TokioIo::new(socket), service);
                tokio::spawn(async move { connection.await.is_ok() });
            }
        });
        (fake, url)
    }

    pub(super) fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().iter().map(|(what, _)| what.clone()).collect()
    }

    pub(super) fn body_of(&self, what: &str) -> Value {
        self.heard.lock().unwrap().iter().find(|(heard, _)| heard == what).unwrap().1.clone()
    }

    fn events(self: Arc<Self>) -> Body {
        let script = self.script.clone().into_iter();
        Body::from_stream(stream::unfold((self, script), |(fake, mut script)| async move {
            let mut data = script.next()?;
            if data == HANG {
                fake.cancelled.notified().await;
                data = script.next()?;
            }
            Some((Ok::<_, Infallible>(format!("data: {data}\n\n")), (fake, script)))
        }))
    }
}

async fn answer(State(fake): State<Arc<Fake>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body =
        serde_json::from_slice(&to_bytes(body, 1 << 20).await.unwrap()).unwrap_or(Value::Null);
    let path = parts.uri.path_and_query().unwrap().to_string();
    fake.heard.lock().unwrap().push((format!("{} {path}", parts.method), body.clone()));
    let bearer = fake.password.map(|password| format!("Bearer {password}"));
    let given =
        parts.headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
    if path == "/v1/health/" {
        return axum::Json(json!({ "version": "1", "status": "ok" })).into_response();
    }
    if bearer.is_some() && bearer != given {
        return refuse(StatusCode::UNAUTHORIZED, "Unauthorized");
    }
    route(fake, &parts.method, parts.uri.path(), parts.uri.query().unwrap_or_default(), &body)
}

fn route(fake: Arc<Fake>, method: &Method, path: &str, query: &str, body: &Value) -> Response {
    let known = fake.agents.iter().find(|agent| path.ends_with(agent["id"].as_str().unwrap()));
    match (method.as_str(), path) {
        ("GET", "/v1/models/") => {
            axum::Json(json!([{ "handle": "openai/a" }, { "handle": null }])).into_response()
        }
        ("GET", "/v1/agents/") => {
            let named = |agent: &&Value| {
                query.starts_with(&format!("name={}&", agent["name"].as_str().unwrap()))
            };
            axum::Json(fake.agents.iter().filter(named).collect::<Vec<_>>()).into_response()
        }
        ("POST", "/v1/agents/") if body["model"].is_null() && !fake.has_default_model => {
            refuse(StatusCode::BAD_REQUEST, "model is required: no default model is configured")
        }
        ("POST", "/v1/agents/") => {
            axum::Json(agent(ID, body["name"].as_str().unwrap())).into_response()
        }
        ("GET", _) => known.map_or_else(
            || refuse(StatusCode::NOT_FOUND, "Agent not found"),
            |it| axum::Json(it).into_response(),
        ),
        ("PATCH", _) => axum::Json(json!({ "id": ID, "name": "default", "model": body["model"] }))
            .into_response(),
        (_, path) if path.ends_with("/messages/stream") => {
            ([(header::CONTENT_TYPE, "text/event-stream")], fake.events()).into_response()
        }
        (_, path) if path.ends_with("/messages/cancel") => {
            fake.was_cancelled.store(true, Ordering::SeqCst);
            if !fake.ignores_cancel {
                fake.cancelled.notify_one();
            }
            axum::Json(json!({ "run-7": "cancelled" })).into_response()
        }
        _ => refuse(StatusCode::NOT_FOUND, "no such route"),
    }
}

fn refuse(status: StatusCode, detail: &str) -> Response {
    (status, axum::Json(json!({ "detail": detail }))).into_response()
}
