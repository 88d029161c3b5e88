//! The server as one thing: opened on a data directory, reached at an address, drained and stopped.
//!
//! Only wiring is here: which store, which catalog, which listener. It reads no environment and prints nothing.

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use retold_actors::{Host, OpenError, Options, Runner};
use retold_events::store::{EventStore, SledOptions, SledStore, StoreError};
use retold_models::{Catalog, Timeouts};
use tokio::{net::TcpListener, task::JoinHandle, time::timeout};
use tokio_util::sync::DropGuard;

use crate::{
    caged::Caged,
    config::{Config, ConfigError},
    http::{self, Caller, Limits, Ready, Stop, Watchers},
    mcp::Mcp,
    meters::{Meters, Traffic},
    otel::{Export, ExportMeters, Exporter, Parents},
    vault::{Vault, VaultError},
};

/// Pause between two looks at what models the providers have.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(60);
/// How long connections may take to end after the last run has.
const CLOSING_TIME: Duration = Duration::from_secs(2);
/// How long the collector may take for the last traces.
const EXPORTING_TIME: Duration = Duration::from_secs(2);
/// The file of the data directory that says how far the export of traces has come.
const EXPORTED: &str = "EXPORTED";

/// A running server.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    host: Host,
    stop: Stop,
    serving: JoinHandle<()>,
    discovering: JoinHandle<()>,
    exporter: Option<Exporter>,
}

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// It would be open to the network.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The data directory cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the data directory holds cannot be taken up.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The key of secrets is there and cannot be used.
    #[error(transparent)]
    Vault(#[from] VaultError),
}

impl StartError {
    /// Whether the data directory is what stands in the way.
    #[must_use]
    pub fn is_data_dir(&self) -> bool {
        match self {
            Self::Store(_) | Self::Open(_) | Self::Vault(_) => true,
            Self::Config(_) | Self::Listen { .. } => false,
        }
    }
}

impl Server {
    /// Starts a server on the data directory of `config`. It is ready when this returns: open runs of an earlier process
    /// are closed or resumed. Models are discovered meanwhile. Without `tools`, users' tools are not run.
    ///
    /// # Errors
    /// [`StartError`], before anything was changed.
    pub async fn start(config: &Config, tools: Option<Caged>) -> Result<Self, StartError> {
        config.check_exposure()?;
        // Before the data is touched: a second server by mistake is most often one on the same port.
        let opening = Opening::listen(config).await?;
        let vault = open_vault(config).await?;
        let store = open_store(config).await?;
        let catalog = Arc::new(Catalog::new(config.provider_configs(), timeouts(config)));
        let dir = Some(config.data_dir.value.clone());
        let mcp = Mcp::new(config, vault.clone(), tools.as_ref().map(|it| it.helper().clone()));
        let tools = tools.map(|tools| tools.with_vault(vault.clone()));
        opening.serve(store, catalog, options(config, tools, mcp), config, vault, dir).await
    }

    /// Starts a server on a store and with models of the caller's choice. Unless its configuration has a text for the key,
    /// the secrets that it keeps are lost when it stops.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub async fn start_with(
        store: Arc<dyn EventStore>,
        catalog: Arc<Catalog>,
        config: &Config,
    ) -> Result<Self, StartError> {
        config.check_exposure()?;
        let vault = Vault::in_memory(config);
        let options = options(config, None, Mcp::new(config, vault.clone(), None));
        Opening::listen(config).await?.serve(store, catalog, options, config, vault, None).await
    }

    /// Where it listens, with the port it got.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The models there are.
    #[must_use]
    pub fn catalog(&self) -> &Arc<Catalog> {
        self.host.catalog()
    }

    /// Waits until the storage fails, which it usually never does. Nothing is acknowledged after that, so the process
    /// should end.
    pub async fn failed(&self) -> Arc<StoreError> {
        self.host.log().failed().await
    }

    /// Accepts no new work, and gives runs under way until `deadline` to end; then they end as interrupted. Reading and
    /// cancelling work until [`Server::stop`].
    pub async fn drain(&self, deadline: Duration) {
        self.host.drain(deadline).await;
    }

    /// Ends the connections and closes the store.
    pub async fn stop(self) {
        let Self { host, stop, mut serving, discovering, exporter, .. } = self;
        discovering.abort();
        stop.gently.cancel();
        if timeout(CLOSING_TIME, &mut serving).await.is_err() {
            stop.now.cancel();
            // It can only end well or with a panic that has been reported.
            let _ = serving.await;
        }
        if let Some(exporter) = exporter {
            exporter.finish(EXPORTING_TIME).await;
        }
        host.close().await;
    }
}

/// A server that listens and is not ready yet. Dropped, it stops listening.
struct Opening {
    address: SocketAddr,
    ready: Ready,
    serving: JoinHandle<()>,
    stop: Stop,
    unless_started: DropGuard,
    traffic: Traffic,
}

impl Opening {
    /// Listens and answers probes; everybody else waits.
    async fn listen(config: &Config) -> Result<Self, StartError> {
        let wanted = config.address();
        let unable = |source| StartError::Listen { address: wanted, source };
        let listener = TcpListener::bind(wanted).await.map_err(unable)?;
        let address = listener.local_addr().map_err(unable)?;
        let (service, ready) = http::starting();
        let (stop, traffic) = (Stop::default(), Traffic::default());
        let limits = Limits { traffic: traffic.clone(), ..limits(config) };
        let serving = tokio::spawn(http::serve(listener, service, limits, stop.clone()));
        let unless_started = stop.now.clone().drop_guard();
        Ok(Self { address, ready, serving, stop, unless_started, traffic })
    }

    /// Takes up what the store holds, and is ready. `dir` is where it is, when it is on a disk.
    async fn serve(
        self,
        store: Arc<dyn EventStore>,
        catalog: Arc<Catalog>,
        options: Options,
        config: &Config,
        vault: Vault,
        dir: Option<PathBuf>,
    ) -> Result<Server, StartError> {
        let Self { address, ready, serving, stop, unless_started, traffic } = self;
        let host = Host::open(store, Arc::clone(&catalog), options).await?;
        let export = config.otlp().map(|settings| Export {
            settings,
            parents: Parents::default(),
            meters: ExportMeters::default(),
            kept_in: dir.as_deref().map(|dir| dir.join(EXPORTED)),
        });
        let meters = Meters::new(&host, &traffic, dir, |registry| {
            if let Some(export) = &export {
                export.meters.register(registry);
            }
        });
        let parents = export.as_ref().map(|export| export.parents.clone());
        let watchers = Watchers { meters, parents };
        let leaving = stop.gently.clone();
        ready.with(http::service(host.clone(), vault, config, address, leaving, watchers));
        let exporter = export.map(|export| Exporter::start(host.clone(), export));
        let discovering = tokio::spawn(discover(catalog, config.providers.is_empty()));
        unless_started.disarm();
        Ok(Server { address, host, stop, serving, discovering, exporter })
    }
}

/// The vault with what there is of keys in memory.
async fn open_vault(config: &Config) -> Result<Vault, VaultError> {
    let vault = Vault::new(config);
    let reading = vault.clone();
    // It can only fail with a panic, which has been reported: then the first use reads again.
    tokio::task::spawn_blocking(move || reading.read()).await.unwrap_or(Ok(()))?;
    Ok(vault)
}

async fn open_store(config: &Config) -> Result<Arc<dyn EventStore>, StartError> {
    let dir = config.data_dir.value.clone();
    let options = SledOptions {
        cache_bytes: config.cache_bytes.value,
        reserve_bytes: config.reserve_bytes.as_ref().map(|bytes| bytes.value),
    };
    let opening = tokio::task::spawn_blocking(move || SledStore::open(&dir, options));
    let store = opening
        .await
        .map_err(|error| StoreError::Closed(format!("opening it failed: {error}")))??;
    Ok(Arc::new(store))
}

fn timeouts(config: &Config) -> Timeouts {
    Timeouts {
        first_byte: config.llm_request_timeout.value,
        silence: config.llm_stream_timeout.value,
        ..Timeouts::default()
    }
}

fn limits(config: &Config) -> Limits {
    Limits {
        header_timeout: config.header_timeout.value,
        idle_timeout: config.idle_timeout.value,
        stall_timeout: config.stall_timeout.value,
        max_connections: config.max_connections.value,
        ..Limits::default()
    }
}

fn options(config: &Config, tools: Option<Caged>, mcp: Mcp) -> Options {
    Options {
        queue_bound: config.agent_queue.value,
        max_open_runs: config.max_open_runs.value,
        awake_bytes: usize::try_from(config.awake_bytes.value).unwrap_or(usize::MAX),
        callbacks: Some(Arc::new(Caller::new(config.egress()))),
        runner: tools.map(|tools| Arc::new(tools) as Arc<dyn Runner>),
        mcp: Some(Arc::new(mcp)),
        mcp_timeout: config.mcp_timeout.value,
        tool_timeout: config.tool_timeout.value,
        approval_timeout: config.approval_timeout.value,
        ..Options::default()
    }
}

/// Looks for models at once and then again and again; not at all where there is nobody to ask.
async fn discover(catalog: Arc<Catalog>, nobody_to_ask: bool) {
    if nobody_to_ask {
        return;
    }
    loop {
        catalog.refresh().await;
        tokio::time::sleep(DISCOVERY_INTERVAL).await;
    }
}
