//! The configuration: one typed struct, read once, passed down.
//!
//! A value comes from a flag, else the environment, else the file, else the table's default, and remembers which. The
//! command line, the environment and the directory to look in are arguments ([`Inputs`]), so that reading them is a
//! function of its inputs and the files they name; nothing else in the server looks at the environment. Letta V1's
//! variables are honoured beside our own, so that a deployment can be pointed here unchanged.
//!
//! This module knows no command line parser and starts nothing.

mod environment;
mod error;
mod file;
mod notes;
mod origin;
mod otlp;
mod password;
mod provider;
mod secret;
mod setting;
mod show;
mod sources;
#[cfg(test)]
mod tests;
mod value;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use retold_models::ProviderConfig;
use retold_tools::{
    egress::{Egress, Policy},
    mcp::kept_environment,
};

pub use self::{
    environment::Environment,
    error::{ConfigError, Hint},
    origin::{Origin, Sourced},
    otlp::{Headers, Otlp, Pairs},
    provider::{KnownProvider, PROVIDERS, ProviderSetting},
    secret::Secret,
    setting::{SETTINGS, Setting, markdown},
    show::{Entry, Shown},
    sources::Flags,
};
use self::{
    file::File,
    otlp::{Capture, Name},
    password::Access,
    sources::Sources,
    value::{Bytes, Count, Handle, List, LogFilter, Origins, Span, Url, Wait},
};

/// The model of agents created without one while no provider is configured.
pub const REHEARSAL_MODEL: &str = "retold/rehearsal";

/// Everything a configuration is made from.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// What the command line said.
    pub flags: Flags,
    /// The environment.
    pub environment: Environment,
    /// The working directory, where `retold.toml` is looked for.
    pub directory: PathBuf,
    /// The password to use if one must be made up; chance is the caller's business.
    pub generated_password: String,
}

/// The configuration in force. The table of [`SETTINGS`] says what each value means.
#[derive(Debug, Clone)]
pub struct Config {
    /// Address to listen on.
    pub host: Sourced<IpAddr>,
    /// Port to listen on; 0 for any free one.
    pub port: Sourced<u16>,
    /// Directory of the log.
    pub data_dir: Sourced<PathBuf>,
    /// The file that was read, if one was.
    pub file: Option<Sourced<PathBuf>>,
    /// Server that `retold chat` talks to.
    pub url: Option<Sourced<String>>,
    /// The password every request must carry. `None`: the server is open.
    pub password: Option<Sourced<Secret>>,
    /// Whether a password is demanded even if none was set.
    pub secure: Sourced<bool>,
    /// Whether an open server may listen beyond loopback.
    pub insecure: Sourced<bool>,
    /// The text that the key of secrets is made of. `None`: the key is in a file of the data directory.
    pub encryption_key: Option<Sourced<Secret>>,
    /// Web origins that may call; `*` for all; empty for none.
    pub cors_origins: Sourced<Vec<String>>,
    /// Where the server may call on behalf of clients, beyond what everybody can reach.
    pub egress_allow: Sourced<Policy>,
    /// Model of agents created without one. See [`Config::model_of_new_agents`].
    pub default_model: Option<Sourced<String>>,
    /// Embedding model of agents created without one.
    pub default_embedding: Option<Sourced<String>>,
    /// How long a model may take until its first byte.
    pub llm_request_timeout: Sourced<Duration>,
    /// How long a model may be silent in the middle of an answer.
    pub llm_stream_timeout: Sourced<Duration>,
    /// Largest request body.
    pub max_body_bytes: Sourced<u64>,
    /// Memory for large request bodies that are still arriving.
    pub bodies_bytes: Sourced<u64>,
    /// Connections at a time.
    pub max_connections: Sourced<usize>,
    /// How long a client may take to send its headers.
    pub header_timeout: Sourced<Duration>,
    /// How long a client may be silent in the middle of a request body.
    pub body_timeout: Sourced<Duration>,
    /// How long a connection is kept open between requests.
    pub idle_timeout: Sourced<Duration>,
    /// How long a client may leave a stream unread.
    pub stall_timeout: Sourced<Duration>,
    /// Silence after which a stream carries a ping.
    pub keepalive_interval: Sourced<Duration>,
    /// Messages that may wait behind a busy agent.
    pub agent_queue: Sourced<usize>,
    /// Runs that may be open in the whole server.
    pub max_open_runs: Sourced<usize>,
    /// Memory for agents that are awake.
    pub awake_bytes: Sourced<u64>,
    /// Memory for the log's page cache.
    pub cache_bytes: Sourced<u64>,
    /// Disk space kept free. `None`: the log decides.
    pub reserve_bytes: Option<Sourced<u64>>,
    /// How long running answers may take to end when the server stops.
    pub drain_deadline: Sourced<Duration>,
    /// What is logged: a directive of tracing's filter.
    pub log: Sourced<String>,
    /// How long one call of a user's tool may take.
    pub tool_timeout: Sourced<Duration>,
    /// Calls of users' tools at a time.
    pub tool_concurrency: Sourced<usize>,
    /// Whether all users' tools may use the network.
    pub tool_network: Sourced<bool>,
    /// Whether users' tools run where nothing keeps them in.
    pub tool_uncaged: Sourced<bool>,
    /// Whether MCP servers that are programs are started.
    pub mcp_stdio: Sourced<bool>,
    /// How long an MCP server may take to say what tools it has.
    pub mcp_timeout: Sourced<Duration>,
    /// What such programs find in their environment beside what a client gives them.
    pub mcp_environment: BTreeMap<String, String>,
    /// How long a tool call may wait for approval.
    pub approval_timeout: Sourced<Duration>,
    /// Collector that gets traces; `None` for none. See [`Config::otlp`].
    pub otlp_endpoint: Option<Sourced<String>>,
    /// The same as a whole URL.
    pub otlp_traces_endpoint: Option<Sourced<String>>,
    /// Headers for the collector.
    pub otlp_headers: Option<Sourced<Headers>>,
    /// Whether traces hold what was said.
    pub otlp_content: Sourced<bool>,
    /// What the service is called in traces.
    pub otel_service_name: Sourced<String>,
    /// What else traces say of the service.
    pub otel_resource_attributes: Sourced<Pairs>,
    /// Whether no traces are sent, whatever else is set.
    pub otel_disabled: Sourced<bool>,
    /// The configured providers; the rehearsal model is not among them.
    pub providers: Vec<ProviderSetting>,
    /// Lines the banner should show: variables that are not needed, mistyped, or mean something else here.
    pub notes: Vec<String>,
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// [`ConfigError`] naming the first flag, variable or key that cannot be used.
    pub fn load(inputs: &Inputs) -> Result<Self, ConfigError> {
        let named = inputs.flags.get(&setting::CONFIG);
        let file = File::find(named, &inputs.environment, &inputs.directory)?;
        let sources =
            Sources { flags: &inputs.flags, environment: &inputs.environment, file: file.as_ref() };
        Self::read(&sources, &inputs.generated_password)
    }

    /// The defaults, with the data in `data_dir`: for tests, benchmarks and programs that embed the server.
    #[must_use]
    pub fn with_defaults(data_dir: impl Into<PathBuf>) -> Self {
        let environment = Environment::from_iter([("HOME", "/")]);
        let sources = Sources { flags: &Flags::default(), environment: &environment, file: None };
        let mut config = Self::read(&sources, "")
            .expect("the defaults of the table are valid, which a test holds");
        config.data_dir = Sourced::default_of(data_dir.into());
        config
    }

    fn read(sources: &Sources<'_>, generated_password: &str) -> Result<Self, ConfigError> {
        let secure = sources.required(&setting::SECURE)?;
        let Access { password, note } = password::access(sources, &secure, generated_password)?;
        let otlp_endpoint = url(sources, &setting::OTLP_ENDPOINT)?;
        let otlp_notes = otlp::notes(sources.environment, otlp_endpoint.as_ref())?;
        Ok(Self {
            host: sources.required(&setting::HOST)?,
            port: sources.required(&setting::PORT)?,
            data_dir: data_dir(sources)?,
            file: sources.file.map(|file| config_file(sources, file)),
            url: url(sources, &setting::URL)?,
            password,
            secure,
            insecure: sources.required(&setting::INSECURE)?,
            encryption_key: sources.optional(&setting::ENCRYPTION_KEY)?,
            cors_origins: sources
                .required::<Origins>(&setting::CORS_ORIGINS)?
                .map(|origins| origins.0),
            egress_allow: egress_allow(sources)?,
            default_model: handle(sources, &setting::DEFAULT_MODEL)?,
            default_embedding: handle(sources, &setting::DEFAULT_EMBEDDING)?,
            llm_request_timeout: wait(sources, &setting::LLM_REQUEST_TIMEOUT)?,
            llm_stream_timeout: wait(sources, &setting::LLM_STREAM_TIMEOUT)?,
            max_body_bytes: bytes(sources, &setting::MAX_BODY_BYTES)?,
            bodies_bytes: bytes(sources, &setting::BODIES_BYTES)?,
            max_connections: count(sources, &setting::MAX_CONNECTIONS)?,
            header_timeout: wait(sources, &setting::HEADER_TIMEOUT)?,
            body_timeout: wait(sources, &setting::BODY_TIMEOUT)?,
            idle_timeout: wait(sources, &setting::IDLE_TIMEOUT)?,
            stall_timeout: wait(sources, &setting::STALL_TIMEOUT)?,
            keepalive_interval: wait(sources, &setting::KEEPALIVE_INTERVAL)?,
            agent_queue: count(sources, &setting::AGENT_QUEUE)?,
            max_open_runs: count(sources, &setting::MAX_OPEN_RUNS)?,
            awake_bytes: bytes(sources, &setting::AWAKE_BYTES)?,
            cache_bytes: bytes(sources, &setting::CACHE_BYTES)?,
            reserve_bytes: sources
                .optional::<Bytes>(&setting::RESERVE_BYTES)?
                .map(|it| it.map(|bytes| bytes.0)),
            drain_deadline: sources.required::<Span>(&setting::DRAIN_DEADLINE)?.map(|span| span.0),
            log: sources.required::<LogFilter>(&setting::LOG)?.map(|log| log.0),
            tool_timeout: wait(sources, &setting::TOOL_TIMEOUT)?,
            tool_concurrency: count(sources, &setting::TOOL_CONCURRENCY)?,
            tool_network: sources.required(&setting::TOOL_NETWORK)?,
            tool_uncaged: sources.required(&setting::TOOL_UNCAGED)?,
            mcp_stdio: mcp_stdio(sources)?,
            mcp_timeout: wait(sources, &setting::MCP_TIMEOUT)?,
            mcp_environment: mcp_environment(sources),
            approval_timeout: wait(sources, &setting::APPROVAL_TIMEOUT)?,
            otlp_endpoint,
            otlp_traces_endpoint: url(sources, &setting::OTLP_TRACES_ENDPOINT)?,
            otlp_headers: sources.optional(&setting::OTLP_HEADERS)?,
            otlp_content: sources.required::<Capture>(&setting::OTLP_CONTENT)?.map(|it| it.0),
            otel_service_name: sources
                .required::<Name>(&setting::OTEL_SERVICE_NAME)?
                .map(|it| it.0),
            otel_resource_attributes: sources.required(&setting::OTEL_RESOURCE_ATTRIBUTES)?,
            otel_disabled: sources.required(&setting::OTEL_DISABLED)?,
            providers: provider::providers(sources)?,
            notes: notes::notes(sources.environment)
                .into_iter()
                .chain(note)
                .chain(otlp_notes)
                .collect(),
        })
    }

    /// The way out to addresses that clients name.
    #[must_use]
    pub fn egress(&self) -> Egress {
        Egress::new(self.egress_allow.value.clone())
    }

    /// Where the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host.value, self.port.value)
    }

    /// Whether others than this machine's users can reach the server.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        !self.host.value.is_loopback()
    }

    /// Refuses an open server that others can reach.
    ///
    /// # Errors
    /// [`ConfigError::Exposed`], which says the three ways out.
    pub fn check_exposure(&self) -> Result<(), ConfigError> {
        if self.is_exposed() && self.password.is_none() && !self.insecure.value {
            return Err(ConfigError::Exposed { address: self.address() });
        }
        Ok(())
    }

    /// The model of agents that are created without one. With a provider configured and no default set there is none:
    /// which of its models to pay for is not ours to choose.
    #[must_use]
    pub fn model_of_new_agents(&self) -> Option<&str> {
        match &self.default_model {
            Some(handle) => Some(&handle.value),
            None if self.providers.is_empty() => Some(REHEARSAL_MODEL),
            None => None,
        }
    }

    /// The providers in the words of the `models` crate.
    #[must_use]
    pub fn provider_configs(&self) -> Vec<ProviderConfig> {
        self.providers.iter().map(ProviderSetting::to_models).collect()
    }

    /// The same configuration for a server inside another program: on loopback, any free port, and closed to the other
    /// users of the machine by `password`.
    #[must_use]
    pub fn embedded(mut self, password: Secret) -> Self {
        self.host = Sourced::default_of(IpAddr::V4(Ipv4Addr::LOCALHOST));
        self.port = Sourced::default_of(0);
        self.password = Some(Sourced { value: password, origin: Origin::Generated });
        self
    }
}

fn config_file(sources: &Sources<'_>, file: &File) -> Sourced<PathBuf> {
    let named_by = setting::CONFIG.env.iter().find(|name| sources.environment.has(name));
    let origin = match (sources.flags.get(&setting::CONFIG), named_by) {
        (Some(_), _) => Origin::Flag("config"),
        (None, Some(name)) => Origin::Env((*name).to_owned()),
        (None, None) => Origin::Default,
    };
    Sourced { value: file.path.clone(), origin }
}

/// The data directory: as set, else beside Letta's own directory, else where the XDG rules put a user's data.
fn data_dir(sources: &Sources<'_>) -> Result<Sourced<PathBuf>, ConfigError> {
    if let Some(found) = sources.optional::<PathBuf>(&setting::DATA_DIR)? {
        let from_file = matches!(found.origin, Origin::File(_)).then_some(sources.file).flatten();
        return Ok(found.map(|path| match from_file {
            Some(file) => file.anchored(path),
            None => path,
        }));
    }
    if let Some(letta) = sources.variable::<PathBuf>("LETTA_DIR")? {
        return Ok(letta.map(|path| path.join("retold")));
    }
    let xdg = sources
        .environment
        .get("XDG_DATA_HOME")?
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let home = sources.environment.get("HOME")?.map(|home| Path::new(home).join(".local/share"));
    xdg.or(home).map(|base| Sourced::default_of(base.join("retold"))).ok_or(ConfigError::NoDataDir)
}

fn egress_allow(sources: &Sources<'_>) -> Result<Sourced<Policy>, ConfigError> {
    let setting = &setting::EGRESS_ALLOW;
    let Sourced { value: List(entries), origin } = sources.required(setting)?;
    match Policy::opening(entries.iter().map(String::as_str)) {
        Ok(value) => Ok(Sourced { value, origin }),
        Err(problem) => Err(ConfigError::Egress { place: origin.place_of(setting.key), problem }),
    }
}

/// Letta's variable says the opposite, and is on where nobody sets it.
fn mcp_stdio(sources: &Sources<'_>) -> Result<Sourced<bool>, ConfigError> {
    let found = sources.required::<bool>(&setting::MCP_STDIO)?;
    let disabled = sources.variable::<bool>("MCP_DISABLE_STDIO")?;
    Ok(match (&found.origin, disabled) {
        (Origin::File(_) | Origin::Default, Some(disabled)) => disabled.map(|disabled| !disabled),
        (Origin::Flag(_) | Origin::Env(_) | Origin::Generated, Some(_)) | (_, None) => found,
    })
}

fn mcp_environment(sources: &Sources<'_>) -> BTreeMap<String, String> {
    let all = sources.environment.names().filter_map(|name| {
        let value = sources.environment.get(name).ok().flatten()?;
        Some((name.to_owned(), value.to_owned()))
    });
    kept_environment(all)
}

fn handle(
    sources: &Sources<'_>,
    setting: &Setting,
) -> Result<Option<Sourced<String>>, ConfigError> {
    Ok(sources.optional::<Handle>(setting)?.map(|handle| handle.map(|handle| handle.0)))
}

fn url(sources: &Sources<'_>, setting: &Setting) -> Result<Option<Sourced<String>>, ConfigError> {
    Ok(sources.optional::<Url>(setting)?.map(|url| url.map(|url| url.0)))
}

fn wait(sources: &Sources<'_>, setting: &Setting) -> Result<Sourced<Duration>, ConfigError> {
    Ok(sources.required::<Wait>(setting)?.map(|wait| wait.0))
}

fn bytes(sources: &Sources<'_>, setting: &Setting) -> Result<Sourced<u64>, ConfigError> {
    Ok(sources.required::<Bytes>(setting)?.map(|bytes| bytes.0))
}

fn count(sources: &Sources<'_>, setting: &Setting) -> Result<Sourced<usize>, ConfigError> {
    Ok(sources.required::<Count>(setting)?.map(|count| count.0))
}
