//! From a provider's failure to a [`ModelError`].
//!
//! Providers agree on status codes only roughly and on wording not at all, so the kind is decided from the status, the
//! code words and, for a full context window, the sentence. What a provider said is shown, cut and with the key struck
//! out; what to do next is ours.

use std::time::Duration;

use reqwest::{StatusCode, header::HeaderMap};
use serde_json::{Value, value::RawValue};

use super::Upstream;
use crate::{ModelError, ModelErrorKind as Kind, limits, tokens::clip};

/// How much of what the provider said goes into the sentence for a person.
const SENTENCE_BYTES: usize = 300;

/// Longest wait a provider may ask for and be passed on.
const LONGEST_RETRY: Duration = Duration::from_secs(24 * 3600);

/// What a full context window sounds like. Sources: OpenAI, Azure, Anthropic, vLLM, llama.cpp, Ollama, LM Studio,
/// OpenRouter and Groq, in this order where they differ.
const CONTEXT_WORDS: [&str; 13] = [
    "context_length_exceeded",
    "maximum context length",
    "reduce the length of the messages",
    "prompt is too long",
    "exceed context limit",
    "context window",
    "too many tokens",
    "maximum model length",
    "available context size",
    "context length",
    "context_window",
    "input is too long",
    "maximum number of tokens",
];

/// What a provider said, from whatever shape it said it in.
#[derive(Debug, Default)]
struct Said {
    message: String,
    /// Codes, types and nested raw errors, lower case, for classification only.
    words: String,
    status: Option<u16>,
}

impl Said {
    /// `{"error":{"message","type","code"}}`, the same without the outer object, `{"error":"text"}`,
    /// `{"message"}`, `{"detail"}`, or no JSON at all.
    fn from_text(text: &str) -> Self {
        match serde_json::from_str(text) {
            Ok(value) => Self::from_json(&value),
            Err(_) => Self { message: plain(text), words: text.to_lowercase(), status: None },
        }
    }

    fn from_json(value: &Value) -> Self {
        let error = match value {
            Value::Array(list) => list.first().unwrap_or(value),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_) => value,
        };
        let error = error.get("error").filter(|inner| !inner.is_null()).unwrap_or(error);
        let message = ["message", "detail", "error"]
            .iter()
            .find_map(|field| error.get(field))
            .or(Some(error))
            .map(|found| found.as_str().map_or_else(|| found.to_string(), str::to_owned))
            .unwrap_or_default();
        let mut words = message.to_lowercase();
        for field in ["type", "code", "param"] {
            if let Some(word) = error.get(field).and_then(Value::as_str) {
                words.push(' ');
                words.push_str(&word.to_lowercase());
            }
        }
        // OpenRouter hides the provider's own words here.
        if let Some(raw) = error.pointer("/metadata/raw").and_then(Value::as_str) {
            words.push(' ');
            words.push_str(&raw.to_lowercase());
        }
        let status = ["code", "status"].iter().find_map(|field| match error.get(field)? {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text.parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        });
        let status = status
            .and_then(|code| u16::try_from(code).ok())
            .filter(|code| (400..600).contains(code));
        Self { message, words, status }
    }

    fn has(&self, words: &[&str]) -> bool {
        words.iter().any(|word| self.words.contains(word))
    }

    fn kind(&self, status: Option<u16>) -> Kind {
        let credits = self.has(&[
            "insufficient_quota",
            "insufficient credits",
            "credit balance",
            "billing_error",
        ]);
        match status {
            Some(402) => Kind::InsufficientCredits,
            _ if credits => Kind::InsufficientCredits,
            Some(401 | 403) => Kind::Authentication,
            Some(429) => Kind::RateLimit,
            Some(408 | 504) => Kind::Timeout,
            Some(413) => Kind::ContextWindowExceeded,
            _ if self.has(&CONTEXT_WORDS) => Kind::ContextWindowExceeded,
            Some(500..) => Kind::Server,
            Some(_) => Kind::BadRequest,
            None => self.kind_by_words(),
        }
    }

    /// An error inside a stream has no status of its own.
    fn kind_by_words(&self) -> Kind {
        let table: [(&[&str], Kind); 5] = [
            (&["overloaded", "server_error", "api_error", "internal"], Kind::Server),
            (&["rate_limit", "rate limit", "too many requests"], Kind::RateLimit),
            (
                &["authentication_error", "permission_error", "invalid_api_key"],
                Kind::Authentication,
            ),
            (&["timeout_error", "timed out"], Kind::Timeout),
            (&["request_too_large"], Kind::ContextWindowExceeded),
        ];
        let found = table.iter().find(|(words, _)| self.has(words)).map(|&(_, kind)| kind);
        let refused = self.has(&["invalid_request", "bad_request", "badrequest", "not_found"]);
        found.unwrap_or(if refused { Kind::BadRequest } else { Kind::Server })
    }
}

impl Upstream {
    /// An error of this provider. `what` goes on after its name; `said` is the provider's own text.
    pub(crate) fn failure(&self, kind: Kind, what: &str, said: Option<&str>) -> ModelError {
        let said = said.map(|text| self.redact(text));
        ModelError {
            kind,
            message: format!("{} {what}", self.config.name),
            detail: said.map(|text| clip(&text, limits::DETAIL_BYTES).into()),
            retry_after: None,
        }
    }

    /// The provider answered with a status that is no success.
    pub(crate) fn refused(
        &self,
        status: StatusCode,
        headers: &HeaderMap,
        body: &str,
    ) -> ModelError {
        if status.is_redirection() {
            return self.failure(
                Kind::BadRequest,
                &format!(
                    "redirects ({}), which is not followed: correct its base URL",
                    status.as_u16()
                ),
                headers.get("location").and_then(|to| to.to_str().ok()),
            );
        }
        let said = Said::from_text(body);
        let kind = said.kind(Some(status.as_u16()));
        let mut error = self.explained(kind, Some(status.as_u16()), &said, body);
        error.retry_after = retry_after(headers);
        error
    }

    /// The provider sent an error object inside its stream.
    pub(crate) fn reported(&self, error: &Value) -> ModelError {
        let said = Said::from_json(error);
        self.explained(said.kind(said.status), said.status, &said, &error.to_string())
    }

    /// No answer came in `waited`, while waiting for `what`.
    pub(crate) fn timed_out(&self, what: &str, waited: Duration) -> ModelError {
        let sentence = format!(
            "did not answer in time: {waited:?} without {what}; try again, or allow it longer"
        );
        self.failure(Kind::Timeout, &sentence, None)
    }

    /// The answer makes no sense.
    pub(crate) fn invalid(&self, what: &str, said: Option<&str>) -> ModelError {
        self.failure(
            Kind::InvalidResponse,
            &format!("sent an answer that cannot be used: {what}"),
            said,
        )
    }

    /// The request could not be sent, or the answer broke off.
    pub(crate) fn unreachable(&self, error: reqwest::Error) -> ModelError {
        let error = error.without_url();
        let at = self.config.shown_base();
        let said = chain(&error);
        if error.is_builder() {
            return self.failure(
                Kind::BadRequest,
                &format!("cannot be called: {at} is not a usable URL"),
                Some(&said),
            );
        }
        if error.is_timeout() {
            let sentence = format!(
                "could not be reached in time at {at}; check that it runs and is reachable"
            );
            return self.failure(Kind::Timeout, &sentence, Some(&said));
        }
        let sentence = if error.is_connect() {
            format!(
                "could not be reached at {at}; check that it runs and that its base URL is right"
            )
        } else {
            "broke the connection off in mid-answer; try again".to_owned()
        };
        self.failure(Kind::Connection, &sentence, Some(&said))
    }

    fn explained(&self, kind: Kind, status: Option<u16>, said: &Said, whole: &str) -> ModelError {
        let (did, advice) = match kind {
            Kind::Authentication => ("refused the key", self.key_advice()),
            Kind::InsufficientCredits => {
                ("has no credits left for this key", "top up the account".to_owned())
            }
            Kind::RateLimit => ("limits the rate of requests", "wait, then try again".to_owned()),
            Kind::Timeout => ("timed out", "try again".to_owned()),
            Kind::ContextWindowExceeded => (
                "refused the request: it is larger than the model's context window",
                "compact the conversation or lower the context window of the agent".to_owned(),
            ),
            Kind::BadRequest => {
                ("refused the request", "check the model's name and settings".to_owned())
            }
            Kind::Server => ("failed", "try again".to_owned()),
            Kind::Connection => ("broke the connection off", "try again".to_owned()),
            Kind::InvalidResponse => {
                ("sent an answer that cannot be used", "check its base URL".to_owned())
            }
        };
        let status = status.map(|status| format!(" ({status})")).unwrap_or_default();
        let message = self.redact(&said.message);
        let message = clip(message.trim(), SENTENCE_BYTES);
        let colon = if message.is_empty() { "" } else { ": " };
        self.failure(kind, &format!("{did}{status}{colon}{message}; {advice}"), Some(whole))
    }

    fn key_advice(&self) -> String {
        match (self.config.kind.key_variable(), &self.config.api_key) {
            (Some(variable), None) => format!("set {variable}"),
            (Some(variable), Some(_)) => format!("check {variable}"),
            (None, _) => "check the key configured for it".to_owned(),
        }
    }

    /// A request body as it may be shown: without the key, should somebody have written it into a message.
    pub(crate) fn shown(&self, body: Vec<u8>) -> Option<Box<RawValue>> {
        RawValue::from_string(self.redact(&String::from_utf8(body).ok()?)).ok()
    }

    fn redact(&self, text: &str) -> String {
        self.config.api_key.as_ref().map_or_else(|| text.to_owned(), |key| key.redact(text))
    }
}

/// Seconds or milliseconds to wait. The date form is not read: it needs a clock, and no known provider sends it.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok();
    let seconds =
        number("retry-after-ms").map(|ms| ms / 1000.0).or_else(|| number("retry-after"))?;
    Duration::try_from_secs_f64(seconds).ok().map(|wait| wait.min(LONGEST_RETRY))
}

/// The error and its causes in one line; the outermost alone says "error sending request".
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Text that is no JSON, fit for a sentence: of an HTML page only the title.
fn plain(text: &str) -> String {
    let lower = text.to_ascii_lowercase();
    let title = lower.find("<title>").map(|at| at + "<title>".len()).and_then(|from| {
        let to = from + lower[from..].find("</title>")?;
        Some(&text[from..to])
    });
    let text = match title {
        Some(title) => title,
        None if text.trim_start().starts_with('<') => "an HTML page",
        None => text,
    };
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
