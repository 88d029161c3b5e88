//! Sending spans to a collector: OTLP over HTTP, as protobuf.
//!
//! What fails for a reason that may pass is made again, after a pause that grows; what the collector refuses is dropped
//! and counted. Nobody waits for any of it.

use std::{error::Error as _, time::Duration};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    resource::v1::Resource,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use prost::Message as _;
use reqwest::{
    Client, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect,
};

use super::{SCHEMA_URL, meters::ExportMeters, resource, scope};
use crate::config::Otlp;

/// How long a collector may take to answer: the default of the specification.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Pause before a failed request is made again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// A collector that is away for longer is looked for this often.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// Most of an answer that is read: it holds a sentence.
const ANSWER_BYTES: usize = 64 << 10;

/// Sends spans to one collector.
#[derive(Debug)]
pub(super) struct Sender {
    client: Client,
    url: String,
    headers: HeaderMap,
    resource: Resource,
    meters: ExportMeters,
}

/// What came of a request.
enum Sent {
    /// The collector has them, but for so many that it refused.
    Taken { refused: u64 },
    /// It will never take them.
    Refused(String),
    /// It may take them later.
    Failed { why: String, pause: Option<Duration> },
}

impl Sender {
    /// A sender with these settings. Nothing is opened before the first request.
    pub(super) fn new(settings: &Otlp, meters: ExportMeters) -> Result<Self, reqwest::Error> {
        // `Err` means that somebody has installed a provider before, which serves as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .user_agent(concat!("retold/", env!("CARGO_PKG_VERSION")))
            .timeout(TIMEOUT)
            // A redirect would send the headers, which hold keys, to a place nobody named.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .build()?;
        let headers = settings.headers.iter().filter_map(|(name, value)| {
            let mut value = HeaderValue::from_str(value.expose()).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::try_from(name).ok()?, value))
        });
        let headers = headers.collect();
        let (url, resource) = (settings.traces_url.clone(), resource(settings));
        Ok(Self { client, url, headers, resource, meters })
    }

    /// Sends spans, again and again until the collector takes or refuses them. Whoever has no more time drops the future.
    pub(super) async fn send(&self, spans: Vec<Span>) {
        let count = spans.len() as u64;
        let body = self.encode(spans);
        let mut pause = FIRST_PAUSE;
        loop {
            match self.send_once(body.clone()).await {
                Sent::Taken { refused } => {
                    let refused = refused.min(count);
                    self.meters.exported.inc_by(count - refused);
                    self.meters.dropped.inc_by(refused);
                    return;
                }
                Sent::Refused(why) => {
                    tracing::warn!(why, count, "the collector refuses spans");
                    self.meters.dropped.inc_by(count);
                    return;
                }
                Sent::Failed { why, pause: asked } => {
                    self.meters.failed.inc();
                    let pause_now = asked.unwrap_or(pause).min(LONGEST_PAUSE);
                    tracing::warn!(why, again_in = ?pause_now, "the collector takes no spans");
                    tokio::time::sleep(pause_now).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn encode(&self, spans: Vec<Span>) -> bytes::Bytes {
        let scope_spans =
            ScopeSpans { scope: Some(scope()), spans, schema_url: SCHEMA_URL.to_owned() };
        let resource_spans = ResourceSpans {
            resource: Some(self.resource.clone()),
            scope_spans: vec![scope_spans],
            schema_url: SCHEMA_URL.to_owned(),
        };
        ExportTraceServiceRequest { resource_spans: vec![resource_spans] }.encode_to_vec().into()
    }

    async fn send_once(&self, body: bytes::Bytes) -> Sent {
        let request = self.client.post(&self.url).headers(self.headers.clone());
        let request = request.header(CONTENT_TYPE, "application/x-protobuf").body(body);
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) => return Sent::Failed { why: text_of(&error), pause: None },
        };
        let status = response.status();
        match status {
            status if status.is_success() => Sent::Taken { refused: refused(response).await },
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                let pause = retry_after(response.headers());
                Sent::Failed { why: format!("it answered {status}"), pause }
            }
            other => Sent::Refused(format!("it answered {other}")),
        }
    }
}

/// Spans that a collector says it refused although it took the rest. An answer that cannot be read refuses nothing.
async fn refused(mut response: Response) -> u64 {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        if body.len() + chunk.len() > ANSWER_BYTES {
            return 0;
        }
        body.extend_from_slice(&chunk);
    }
    let answer = ExportTraceServiceResponse::decode(body.as_slice()).unwrap_or_default();
    let partial = answer.partial_success.unwrap_or_default();
    u64::try_from(partial.rejected_spans).unwrap_or(0)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// An error with its causes, without the address, which may hold a password.
fn text_of(error: &reqwest::Error) -> String {
    let mut text =
        if error.is_timeout() { "no answer in time" } else { "no connection" }.to_owned();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
