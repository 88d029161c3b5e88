//! What an error looks like from outside: status, body, headers. Built by [`error`](super::error), and nowhere else.

use std::time::Duration;

use axum::{
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value};

use super::trace::RequestId;

/// Tells the SDKs whether to send a request again; `false` is what they look for.
pub(super) const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// An error as it is answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Map<String, Value>,
    pub(super) headers: HeaderMap,
}

impl Answer {
    /// The plain form: a sentence for a person and a code for programs.
    pub(super) fn new(status: StatusCode, code: &str, detail: impl Into<Value>) -> Self {
        let mut body = Map::new();
        body.insert("detail".to_owned(), detail.into());
        body.insert("code".to_owned(), code.into());
        Self { status, body, headers: HeaderMap::new() }
    }

    /// The nested form of failed model calls.
    pub(super) fn nested(status: StatusCode, code: &str, error: Value) -> Self {
        let mut answer = Self::new(status, code, Value::Null).with("error", error);
        answer.body.remove("detail");
        answer
    }

    /// With one member more.
    pub(super) fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.body.insert(member.to_owned(), value.into());
        self
    }

    /// With what to do.
    pub(super) fn hint(self, hint: &str) -> Self {
        self.with("hint", hint)
    }

    /// With one header more.
    pub(super) fn header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.insert(name, HeaderValue::from_static(value));
        self
    }

    /// Tells the SDKs that sending it again would not help, or could do harm.
    pub(super) fn not_again(self) -> Self {
        self.header(SHOULD_RETRY, "false")
    }

    /// Tells when to send it again: in whole seconds, at least one.
    pub(super) fn retry_after(mut self, pause: Duration) -> Self {
        let seconds = pause.as_millis().div_ceil(1000).max(1);
        if let Ok(value) = HeaderValue::from_str(&seconds.to_string()) {
            self.headers.insert(header::RETRY_AFTER, value);
        }
        self
    }
}

impl IntoResponse for Answer {
    fn into_response(mut self) -> Response {
        self.body.insert("trace_id".to_owned(), RequestId::current().into());
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        (self.status, self.headers, Value::Object(self.body).to_string()).into_response()
    }
}
