//! What a server shows of itself to whoever watches it: numbers, in the text form of Prometheus.
//!
//! Every server has a registry of its own, which collects what its log, its host and its HTTP side measure, so several
//! servers in one process do not mix theirs. What there is at a moment (open runs, free space, memory) is looked up when
//! somebody asks. No number is labelled with an id of an agent, a run, or a client.

mod now;
mod plain;
mod process;

use std::{path::PathBuf, sync::Arc};

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use retold_actors::Host;
use tokio::time::Instant;

use self::now::Gauges;

/// Upper bounds for answers, in seconds: from a row to a run that a client waits for.
const ANSWER_SECONDS: [f64; 14] =
    [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0, 120.0];

/// All numbers of a server. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Meters(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    host: Host,
    gauges: Gauges,
    requests: Family<Request, Counter>,
    request_seconds: Family<Route, Histogram, fn() -> Histogram>,
    followers: Family<Transport, Gauge>,
}

/// What connections count. Cheap to clone; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Traffic {
    /// Connections that are open.
    pub(crate) connections: Gauge,
    /// Connections cut because the client stopped reading.
    pub(crate) stalled: Counter,
}

/// In which text the numbers are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Prometheus's own, which everything reads.
    Plain,
    /// OpenMetrics, for those who ask for it.
    OpenMetrics,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: &'static str,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Transport {
    transport: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
}

impl Meters {
    /// The numbers of the server around `host`. `dir` is where its store is, when it is on a disk; `more` adds what else
    /// there is to show.
    pub(crate) fn new(
        host: &Host,
        traffic: &Traffic,
        dir: Option<PathBuf>,
        more: impl FnOnce(&mut Registry),
    ) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(ANSWER_SECONDS);
        let mut registry = Registry::default();
        let inner = Inner {
            host: host.clone(),
            gauges: Gauges::new(dir),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(histogram),
            followers: Family::default(),
            registry: Registry::default(),
        };
        host.log().metrics().register(&mut registry);
        host.metrics().register(&mut registry);
        inner.gauges.register(&mut registry);
        inner.register(&mut registry, traffic);
        more(&mut registry);
        Self(Arc::new(Inner { registry, ..inner }))
    }

    /// A request was answered whose answering began at `began`. `route` is the template of its path; `None` for none.
    pub(crate) fn answered(&self, method: &str, route: Option<&str>, status: u16, began: Instant) {
        let (method, route) = (known_method(method), route.unwrap_or("none").to_owned());
        let request = Request { method, route: route.clone(), status };
        self.0.requests.get_or_create_owned(&request).inc();
        let seconds = self.0.request_seconds.get_or_create_owned(&Route { method, route });
        seconds.observe(began.elapsed().as_secs_f64());
    }

    /// Somebody follows something live, until the guard is dropped. `transport` is one of a few.
    pub(crate) fn follower(&self, transport: &'static str) -> Following {
        let gauge = self.0.followers.get_or_create_owned(&Transport { transport });
        gauge.inc();
        Following(gauge)
    }

    /// The numbers as text. Blocking: it looks at the file system and at every awake agent.
    pub(crate) fn text(&self, form: Form) -> String {
        self.0.gauges.refresh(&self.0.host);
        let mut text = String::with_capacity(16 << 10);
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.0.registry);
        match form {
            Form::Plain => plain::from_open_metrics(&text),
            Form::OpenMetrics => text,
        }
    }
}

impl Inner {
    fn register(&self, registry: &mut Registry, traffic: &Traffic) {
        registry.register(
            "retold_http_requests",
            "Requests that were answered, by the template of their path",
            self.requests.clone(),
        );
        registry.register(
            "retold_http_request_seconds",
            "From the head of a request to the head of its answer: a stream counts up to its beginning",
            self.request_seconds.clone(),
        );
        registry.register(
            "retold_stream_followers",
            "Clients that follow something live",
            self.followers.clone(),
        );
        registry.register(
            "retold_http_connections",
            "Connections that are open",
            traffic.connections.clone(),
        );
        registry.register(
            "retold_http_stalled_clients",
            "Connections that were cut because the client stopped reading",
            traffic.stalled.clone(),
        );
        let build = Family::<Build, Gauge>::default();
        build.get_or_create_owned(&Build { version: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("retold_build_info", "The version of this program", build);
    }
}

/// Held while somebody follows something live.
#[derive(Debug)]
pub(crate) struct Following(Gauge);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Traffic {
    /// Counts a connection until the guard is dropped.
    pub(crate) fn connected(&self) -> Following {
        self.connections.inc();
        Following(self.connections.clone())
    }
}

/// Methods that there are; a client may send any other word.
fn known_method(method: &str) -> &'static str {
    let known = ["GET", "POST", "PATCH", "PUT", "DELETE", "HEAD", "OPTIONS"];
    known.into_iter().find(|known| *known == method).unwrap_or("other")
}
