//! Traces of runs for OpenTelemetry, made from the log.
//!
//! A run's spans are derived from its events once it has ended: they carry the times that were recorded. So nothing is
//! measured on the way of a message, exporting off costs nothing, a crash loses no trace, and the log is the queue: a
//! collector that is slow or gone holds back a cursor and nothing else. Ids of spans follow from the ids of runs and
//! steps, so what is sent twice is the same twice.
//!
//! Names and attributes are those of the semantic conventions for generative AI, version 1.41. What people and models
//! said is left out unless it is asked for.

mod content;
mod follow;
mod meters;
mod parent;
mod send;
mod trace;
mod value;

use std::{path::PathBuf, time::Duration};

use opentelemetry_proto::tonic::{
    common::v1::{InstrumentationScope, KeyValue},
    resource::v1::Resource,
};
use retold_actors::Host;
use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use self::{follow::Follower, send::Sender};
pub(crate) use self::{
    meters::ExportMeters,
    parent::{Parent, Parents},
};
use crate::config::Otlp;

/// The version of the conventions that names are taken from.
const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.41.0";

/// An export under way.
#[derive(Debug)]
pub(crate) struct Exporter {
    stop: CancellationToken,
    task: AbortOnDropHandle<()>,
}

/// What an export is made of.
#[derive(Debug)]
pub(crate) struct Export {
    /// Where to, and what.
    pub(crate) settings: Otlp,
    /// What callers said of the traces that runs belong to.
    pub(crate) parents: Parents,
    /// What is counted.
    pub(crate) meters: ExportMeters,
    /// Where to keep how far the export has come; `None`: it begins with each start of the server.
    pub(crate) kept_in: Option<PathBuf>,
}

impl Exporter {
    /// Exports the runs of `host` as they end, from where the last export came to.
    pub(crate) fn start(host: Host, export: Export) -> Self {
        let stop = CancellationToken::new();
        let until = stop.clone();
        let task = tokio::spawn(async move {
            let sender = match Sender::new(&export.settings, export.meters.clone()) {
                Ok(sender) => sender,
                Err(error) => {
                    tracing::error!(%error, "nothing is exported: there is no client for it");
                    return;
                }
            };
            Follower::new(host, export, sender).run(&until).await;
        });
        Self { stop, task: AbortOnDropHandle::new(task) }
    }

    /// Exports what has ended by now, for at most `limit`, then stops.
    pub(crate) async fn finish(self, limit: Duration) {
        self.stop.cancel();
        if timeout(limit, self.task).await.is_err() {
            tracing::warn!("the collector did not take the last traces in time");
        }
    }
}

/// What the traces are of.
fn resource(settings: &Otlp) -> Resource {
    let own = [
        ("service.name", settings.service_name.as_str()),
        ("service.version", env!("CARGO_PKG_VERSION")),
        ("telemetry.sdk.language", "rust"),
        ("telemetry.sdk.name", "retold"),
        ("telemetry.sdk.version", env!("CARGO_PKG_VERSION")),
    ];
    let given = settings.resource_attributes.iter().map(|(key, value)| (&**key, &**value));
    let mut attributes: Vec<KeyValue> = Vec::new();
    // What was configured first, and each key once; the name of the service has its own setting.
    for (key, value) in own[..1].iter().copied().chain(given).chain(own[1..].iter().copied()) {
        if !attributes.iter().any(|known| known.key == key) {
            attributes.push(value::text(key, value));
        }
    }
    Resource { attributes, ..Resource::default() }
}

fn scope() -> InstrumentationScope {
    InstrumentationScope {
        name: "retold".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..InstrumentationScope::default()
    }
}
