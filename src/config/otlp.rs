//! Where traces are sent. The standard variables of OpenTelemetry are honoured beside our own.

use super::{Config, ConfigError, Environment, Secret, Sourced, value::Value};

/// How traces are exported.
#[derive(Debug, Clone)]
pub struct Otlp {
    /// The whole URL that spans are posted to.
    pub traces_url: String,
    /// Headers of every request: names and values.
    pub headers: Vec<(String, Secret)>,
    /// What the service is called.
    pub service_name: String,
    /// What else is said of the service.
    pub resource_attributes: Vec<(String, String)>,
    /// Whether what people and models said is exported too.
    pub content: bool,
}

impl Config {
    /// How traces are exported; `None` when they are not.
    #[must_use]
    pub fn otlp(&self) -> Option<Otlp> {
        let of_traces = self.otlp_traces_endpoint.as_ref().map(|url| url.value.clone());
        let of_all = || self.otlp_endpoint.as_ref().map(|url| format!("{}/v1/traces", url.value));
        let traces_url = of_traces.or_else(of_all).filter(|_| !self.otel_disabled.value)?;
        Some(Otlp {
            traces_url,
            headers: self.otlp_headers.as_ref().map_or_else(Vec::new, |it| it.value.0.clone()),
            service_name: self.otel_service_name.value.clone(),
            resource_attributes: self.otel_resource_attributes.value.0.clone(),
            content: self.otlp_content.value,
        })
    }
}

/// Names and values with commas between, as HTTP's baggage has them: values may be percent-encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pairs(pub Vec<(String, String)>);

impl Value for Pairs {
    const EXPECTED: &'static str = "pairs such as `team=search,deployment.environment.name=prod`";

    fn parse(text: &str) -> Option<Self> {
        let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
        pairs.map(pair).collect::<Option<Vec<_>>>().map(Self)
    }
}

fn pair(text: &str) -> Option<(String, String)> {
    let (name, value) = text.split_once('=')?;
    let name = name.trim();
    (!name.is_empty()).then_some((name.to_owned(), decoded(value.trim())?))
}

/// Headers, whose values are keys more often than not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Headers(pub Vec<(String, Secret)>);

impl Value for Headers {
    const EXPECTED: &'static str = "headers such as `authorization=Bearer%20key,x-team=search`";
    const SHOWN: bool = false;

    fn parse(text: &str) -> Option<Self> {
        let Pairs(pairs) = Pairs::parse(text)?;
        let is_name = |name: &str| reqwest::header::HeaderName::try_from(name).is_ok();
        let is_value = |value: &str| reqwest::header::HeaderValue::from_str(value).is_ok();
        pairs.iter().all(|(name, value)| is_name(name) && is_value(value)).then(|| {
            Self(pairs.into_iter().map(|(name, value)| (name, Secret::new(value))).collect())
        })
    }
}

/// A text with its percent-encoded bytes as they are meant; `None` for what is no such text.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let (digits, after) = after.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

/// Whether content is exported: on or off, or one of the words that the conventions have for where it goes.
pub(super) struct Capture(pub(super) bool);

impl Value for Capture {
    const EXPECTED: &'static str = "true or false";
    const TYPES: &'static [&'static str] = &["boolean"];

    fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "span_only" | "span_and_event" => Some(Self(true)),
            // There are no events to put it in.
            "no_content" | "event_only" => Some(Self(false)),
            other => bool::parse(other).map(Self),
        }
    }
}

/// A name that is not empty.
pub(super) struct Name(pub(super) String);

impl Value for Name {
    const EXPECTED: &'static str = "a name that is not empty";

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }
}

/// What the standard variables say that this program does otherwise.
pub(super) fn notes(
    environment: &Environment,
    endpoint: Option<&Sourced<String>>,
) -> Result<Vec<String>, ConfigError> {
    let mut notes = Vec::new();
    for name in ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"] {
        if let Some(other) = environment.get(name)?.filter(|it| *it != "http/protobuf") {
            notes.push(format!("{name} is {other}, but traces are sent as http/protobuf"));
        }
    }
    let is_grpc = |url: &str| reqwest::Url::parse(url).is_ok_and(|url| url.port() == Some(4317));
    if endpoint.is_some_and(|url| is_grpc(&url.value)) {
        notes.push(
            "the collector's port is 4317, which is gRPC as a rule; traces are sent over HTTP, for which it is 4318"
                .to_owned(),
        );
    }
    Ok(notes)
}
