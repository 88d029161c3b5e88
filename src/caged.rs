//! Users' tools, run in the cage: what the core asks for, in the cage's words.
//!
//! What keeps tools in is found out by trying, which takes a moment, so it is done beside the start and waited for by the
//! first call only. Secrets are opened here, right before the call, and are taken out of what comes back: nothing that
//! leaves this module holds one.

pub(crate) mod redact;

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use retold_actors::{Job, Ran, Runner};
use retold_events::{
    Secret,
    tool::{Language, Requirement},
};
use retold_tools::cage::{self, Cage, CageOptions, Helper};
use tokio::sync::OnceCell;

use self::redact::Redactor;
use crate::{
    config::Config,
    vault::{Vault, VaultError},
    wire::ToolAgentState,
};

/// The hidden first argument with which the program is a part of the cage.
pub const HIDDEN_ARGUMENT: &str = "__cage";
/// Where a tool finds the key of its call: the same for every attempt of it, and no other call's. A tool that hands it to
/// whatever it changes may be marked as one that can be called again after a crash.
const CALL_KEY: &str = "RETOLD_CALL_KEY";

/// Runs users' tools in the cage.
#[derive(Debug, Clone)]
pub struct Caged {
    cage: Arc<OnceCell<Cage>>,
    options: Arc<CageOptions>,
    timeout: Duration,
    vault: Vault,
}

impl Caged {
    /// A cage for tools, as configured. `program` is this program's own file.
    #[must_use]
    pub fn new(config: &Config, program: PathBuf) -> Self {
        let dir = std::path::absolute(&config.data_dir.value)
            .unwrap_or_else(|_| config.data_dir.value.clone());
        let helper = Helper { program, arguments: vec![HIDDEN_ARGUMENT.to_owned()] };
        let options = CageOptions {
            network: config.tool_network.value,
            uncaged: config.tool_uncaged.value,
            concurrency: config.tool_concurrency.value,
            ..CageOptions::new(dir, helper)
        };
        let timeout = config.tool_timeout.value;
        let vault = Vault::new(config);
        Self { cage: Arc::default(), options: Arc::new(options), timeout, vault }
    }

    /// The same with another vault: that of the server which the calls are of.
    #[must_use]
    pub fn with_vault(self, vault: Vault) -> Self {
        Self { vault, ..self }
    }

    /// What this program is started as to be a part of the cage.
    pub(crate) fn helper(&self) -> &Helper {
        &self.options.helper
    }

    /// The cage, once it is known what keeps tools in. Who asks first says it in the log.
    pub async fn found(&self) -> &Cage {
        self.cage
            .get_or_init(|| async {
                let cage = Cage::start(CageOptions::clone(&self.options)).await;
                tell(&cage);
                cage
            })
            .await
    }
}

fn tell(cage: &Cage) {
    match (cage.is_open(), cage.layer()) {
        (true, cage::Layer::None) => {
            tracing::warn!("users' tools run UNCAGED: they can do all that the server can");
        }
        (true, layer) => tracing::info!(%layer, "users' tools are kept in"),
        (false, _) => tracing::warn!(
            tried = cage.missing().join("; "),
            "users' tools are off: nothing on this machine keeps them in"
        ),
    }
}

impl Runner for Caged {
    fn run(&self, mut job: Job) -> BoxFuture<'static, Ran> {
        let caged = self.clone();
        async move {
            let name = job.name.clone();
            let opened = match caged.open(std::mem::take(&mut job.secrets)).await {
                Ok(opened) => opened,
                Err(error) => {
                    tracing::warn!(tool = name, %error, "a tool could not be called");
                    return not_run(&error);
                }
            };
            let job = of(job, &opened, caged.timeout);
            match caged.found().await.run(job).await {
                Ok(outcome) => told(&name, outcome, opened).await,
                Err(error) => not_run(&error),
            }
        }
        .boxed()
    }
}

impl Caged {
    /// The names and values of secrets. Opening them is work, so not on a thread of the runtime.
    async fn open(&self, secrets: Vec<Secret>) -> Result<Vec<(String, String)>, VaultError> {
        if secrets.is_empty() {
            return Ok(Vec::new());
        }
        let vault = self.vault.clone();
        let open = move |secret: Secret| vault.open(&secret).map(|value| (secret.name, value));
        let opened = move || secrets.into_iter().map(open).collect();
        // It can only fail with a panic, which has been reported.
        tokio::task::spawn_blocking(opened).await.unwrap_or(Err(VaultError::NoChance))
    }
}

fn not_run(why: &dyn std::error::Error) -> Ran {
    Ran { result: Err(why.to_string()), stdout: Vec::new(), stderr: Vec::new() }
}

/// What came of a call, without the secrets it was given.
async fn told(name: &str, outcome: cage::Outcome, opened: Vec<(String, String)>) -> Ran {
    let (is_success, text) = (outcome.status.is_success(), outcome.status.text(name));
    let cage::Outcome { stdout, stderr, .. } = outcome;
    let tell = move |clean: &dyn Fn(String) -> String| {
        let text = clean(text);
        Ran {
            result: if is_success { Ok(text) } else { Err(text) },
            stdout: lines(&clean(stdout)),
            stderr: lines(&clean(stderr)),
        }
    };
    if opened.is_empty() {
        return tell(&|text| text);
    }
    // A megabyte of output and two hundred secrets take a while.
    let cleaned = tokio::task::spawn_blocking(move || {
        let pairs = opened.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let redactor = Redactor::of(pairs);
        tell(&|text| redactor.clean(text))
    });
    cleaned.await.unwrap_or_else(|error| not_run(&error))
}

fn of(job: Job, opened: &[(String, String)], timeout: Duration) -> cage::Job {
    let mut env: BTreeMap<String, String> = opened.iter().cloned().collect();
    env.extend(job.environment);
    env.insert(CALL_KEY.to_owned(), hex(&job.key));
    let agent_state = job.agent_state.as_ref().map(ToolAgentState::from);
    let requirement = |it: Requirement| cage::Requirement { name: it.name, version: it.version };
    cage::Job {
        language: match job.language {
            Language::Python => cage::Language::Python,
            Language::TypeScript => cage::Language::TypeScript,
        },
        arguments: serde_json::from_str(&job.arguments).unwrap_or_default(),
        env,
        requirements: job.requirements.into_iter().map(requirement).collect(),
        network: job.network,
        timeout,
        agent_id: job.agent.map(|agent| agent.to_string()),
        project_id: job.project,
        agent_state: agent_state.and_then(|state| serde_json::to_value(state).ok()),
        ..cage::Job::python(job.source, job.name)
    }
}

fn hex(key: &[u8]) -> String {
    use std::fmt::Write as _;

    key.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
