//! The configuration in force, for people and for programs, with secrets left out.

use std::{fmt::Write, time::Duration};

use serde_json::{Value, json};

use super::{Config, Origin, Pairs, Setting, Sourced, provider::ProviderSetting, setting};

/// One setting as it is in force.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Which setting.
    pub key: &'static str,
    /// Its value.
    pub value: Shown,
    /// Who decided it.
    pub origin: Origin,
}

/// A value in a form that may be shown.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    /// Nothing is set.
    Unset,
    /// On or off.
    Switch(bool),
    /// A count or a port.
    Number(u64),
    /// A size.
    Bytes(u64),
    /// A time.
    Time(Duration),
    /// Words.
    Text(String),
    /// Several words.
    List(Vec<String>),
    /// Something is set that is not shown.
    Hidden,
}

impl Shown {
    /// As a person reads it.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Unset => "(unset)".to_owned(),
            Self::Switch(on) => on.to_string(),
            Self::Number(number) => number.to_string(),
            Self::Bytes(bytes) => bytes_text(*bytes),
            Self::Time(time) if time.subsec_nanos() == 0 => format!("{}s", time.as_secs()),
            Self::Time(time) => format!("{}ms", time.as_millis()),
            Self::Text(text) => text.clone(),
            Self::List(items) if items.is_empty() => "(none)".to_owned(),
            Self::List(items) => items.join(","),
            Self::Hidden => "(hidden)".to_owned(),
        }
    }

    /// As a program reads it: bytes and seconds are numbers.
    #[must_use]
    pub fn json(&self) -> Value {
        match self {
            Self::Unset => Value::Null,
            Self::Switch(on) => json!(on),
            Self::Number(number) | Self::Bytes(number) => json!(number),
            Self::Time(time) => json!(time.as_secs_f64()),
            Self::Text(text) => json!(text),
            Self::List(items) => json!(items),
            Self::Hidden => json!("(hidden)"),
        }
    }
}

/// The largest unit that divides it, so that the text means exactly the number.
fn bytes_text(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let fitting = units.iter().find(|(size, _)| bytes >= *size && bytes.is_multiple_of(*size));
    fitting.map_or_else(|| bytes.to_string(), |(size, unit)| format!("{}{unit}", bytes / size))
}

fn entry<T>(setting: &Setting, sourced: &Sourced<T>, shown: impl FnOnce(&T) -> Shown) -> Entry {
    Entry { key: setting.key, value: shown(&sourced.value), origin: sourced.origin.clone() }
}

fn optional<T>(
    setting: &Setting,
    sourced: Option<&Sourced<T>>,
    shown: impl FnOnce(&T) -> Shown,
) -> Entry {
    match sourced {
        Some(sourced) => entry(setting, sourced, shown),
        None => Entry { key: setting.key, value: Shown::Unset, origin: Origin::Default },
    }
}

impl Config {
    /// Every setting in force, in the order of the table.
    #[must_use]
    pub fn entries(&self) -> Vec<Entry> {
        let text = |text: &String| Shown::Text(text.clone());
        let url = |url: &String| Shown::Text(without_login(url));
        let time = |time: &Duration| Shown::Time(*time);
        let bytes = |bytes: &u64| Shown::Bytes(*bytes);
        let count = |count: &usize| Shown::Number(*count as u64);
        vec![
            entry(&setting::HOST, &self.host, |host| Shown::Text(host.to_string())),
            entry(&setting::PORT, &self.port, |port| Shown::Number(u64::from(*port))),
            entry(&setting::DATA_DIR, &self.data_dir, |dir| Shown::Text(dir.display().to_string())),
            optional(&setting::CONFIG, self.file.as_ref(), |file| {
                Shown::Text(file.display().to_string())
            }),
            optional(&setting::URL, self.url.as_ref(), url),
            optional(&setting::PASSWORD, self.password.as_ref(), |_| Shown::Hidden),
            entry(&setting::SECURE, &self.secure, |on| Shown::Switch(*on)),
            entry(&setting::INSECURE, &self.insecure, |on| Shown::Switch(*on)),
            optional(&setting::ENCRYPTION_KEY, self.encryption_key.as_ref(), |_| Shown::Hidden),
            entry(&setting::CORS_ORIGINS, &self.cors_origins, |origins| {
                Shown::List(origins.clone())
            }),
            entry(&setting::EGRESS_ALLOW, &self.egress_allow, |policy| {
                Shown::List(policy.entries().collect())
            }),
            optional(&setting::DEFAULT_MODEL, self.default_model.as_ref(), text),
            optional(&setting::DEFAULT_EMBEDDING, self.default_embedding.as_ref(), text),
            entry(&setting::LLM_REQUEST_TIMEOUT, &self.llm_request_timeout, time),
            entry(&setting::LLM_STREAM_TIMEOUT, &self.llm_stream_timeout, time),
            entry(&setting::MAX_BODY_BYTES, &self.max_body_bytes, bytes),
            entry(&setting::BODIES_BYTES, &self.bodies_bytes, bytes),
            entry(&setting::MAX_CONNECTIONS, &self.max_connections, count),
            entry(&setting::HEADER_TIMEOUT, &self.header_timeout, time),
            entry(&setting::BODY_TIMEOUT, &self.body_timeout, time),
            entry(&setting::IDLE_TIMEOUT, &self.idle_timeout, time),
            entry(&setting::STALL_TIMEOUT, &self.stall_timeout, time),
            entry(&setting::KEEPALIVE_INTERVAL, &self.keepalive_interval, time),
            entry(&setting::AGENT_QUEUE, &self.agent_queue, count),
            entry(&setting::MAX_OPEN_RUNS, &self.max_open_runs, count),
            entry(&setting::AWAKE_BYTES, &self.awake_bytes, bytes),
            entry(&setting::CACHE_BYTES, &self.cache_bytes, bytes),
            optional(&setting::RESERVE_BYTES, self.reserve_bytes.as_ref(), bytes),
            entry(&setting::DRAIN_DEADLINE, &self.drain_deadline, time),
            entry(&setting::LOG, &self.log, text),
            entry(&setting::TOOL_TIMEOUT, &self.tool_timeout, time),
            entry(&setting::TOOL_CONCURRENCY, &self.tool_concurrency, count),
            entry(&setting::TOOL_NETWORK, &self.tool_network, |on| Shown::Switch(*on)),
            entry(&setting::TOOL_UNCAGED, &self.tool_uncaged, |on| Shown::Switch(*on)),
            entry(&setting::MCP_STDIO, &self.mcp_stdio, |on| Shown::Switch(*on)),
            entry(&setting::MCP_TIMEOUT, &self.mcp_timeout, time),
            entry(&setting::APPROVAL_TIMEOUT, &self.approval_timeout, time),
            optional(&setting::OTLP_ENDPOINT, self.otlp_endpoint.as_ref(), url),
            optional(&setting::OTLP_TRACES_ENDPOINT, self.otlp_traces_endpoint.as_ref(), url),
            optional(&setting::OTLP_HEADERS, self.otlp_headers.as_ref(), |_| Shown::Hidden),
            entry(&setting::OTLP_CONTENT, &self.otlp_content, |on| Shown::Switch(*on)),
            entry(&setting::OTEL_SERVICE_NAME, &self.otel_service_name, text),
            entry(
                &setting::OTEL_RESOURCE_ATTRIBUTES,
                &self.otel_resource_attributes,
                |Pairs(pairs)| {
                    Shown::List(pairs.iter().map(|(key, value)| format!("{key}={value}")).collect())
                },
            ),
            entry(&setting::OTEL_DISABLED, &self.otel_disabled, |on| Shown::Switch(*on)),
        ]
    }

    /// The configuration as aligned lines of key, value and origin, then the providers, then the notes.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut lines = String::new();
        for Entry { key, value, origin } in self.entries() {
            line(&mut lines, key, &value.text(), &origin);
        }
        for provider in &self.providers {
            let section = format!("providers.{}", provider.name);
            line(
                &mut lines,
                &format!("{section}.base_url"),
                &without_login(&provider.base_url.value),
                &provider.base_url.origin,
            );
            if let Some(key) = &provider.api_key {
                line(&mut lines, &format!("{section}.api_key"), "(hidden)", &key.origin);
            }
        }
        lines.extend(self.notes.iter().map(|note| format!("# {note}\n")));
        lines
    }

    /// The configuration as one JSON object: `settings`, `providers`, `notes`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let settings: serde_json::Map<_, _> = self
            .entries()
            .into_iter()
            .map(|Entry { key, value, origin }| {
                (key.to_owned(), json!({ "value": value.json(), "origin": origin.to_string() }))
            })
            .collect();
        let providers: Vec<_> = self.providers.iter().map(provider_json).collect();
        json!({ "settings": settings, "providers": providers, "notes": self.notes })
    }
}

fn line(lines: &mut String, key: &str, value: &str, origin: &Origin) {
    // Writing to a string cannot fail.
    let _ = writeln!(lines, "{key:<24} {value:<32} {origin}");
}

fn provider_json(provider: &ProviderSetting) -> Value {
    json!({
        "name": provider.name,
        "kind": provider.kind.provider_type(),
        "base_url": { "value": without_login(&provider.base_url.value), "origin": provider.base_url.origin.to_string() },
        "api_key": provider.api_key.as_ref().map(|key| json!({ "value": "(hidden)", "origin": key.origin.to_string() })),
    })
}

/// A URL without its user name and password.
pub(crate) fn without_login(url: &str) -> String {
    let Ok(mut parsed) = reqwest::Url::parse(url) else { return "(not a URL)".to_owned() };
    if parsed.username().is_empty() && parsed.password().is_none() {
        return url.to_owned();
    }
    // Both fail only for URLs without a host, which no setting accepts.
    let _ = parsed.set_username("");
    let _ = parsed.set_password(None);
    parsed.to_string()
}
