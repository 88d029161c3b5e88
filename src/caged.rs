//! Users' tools, run in the cage: what the core asks for, in the cage's words.
//!
//! What keeps tools in is found out by trying, which takes a moment, so it is done beside the start and waited for by the
//! first call only.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::BoxFuture};
use retold_actors::{Job, Ran, Runner};
use retold_events::tool::{Language, Requirement};
use retold_tools::cage::{self, Cage, CageOptions, Helper};
use tokio::sync::OnceCell;

use crate::config::Config;

/// The hidden first argument with which the program is a part of the cage.
pub const HIDDEN_ARGUMENT: &str = "__cage";

/// Runs users' tools in the cage.
#[derive(Debug, Clone)]
pub struct Caged {
    cage: Arc<OnceCell<Cage>>,
    options: Arc<CageOptions>,
    timeout: Duration,
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
        Self { cage: Arc::default(), options: Arc::new(options), timeout }
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
    fn run(&self, job: Job) -> BoxFuture<'static, Ran> {
        let caged = self.clone();
        async move {
            let name = job.name.clone();
            match caged.found().await.run(of(job, caged.timeout)).await {
                Ok(outcome) => {
                    let text = outcome.status.text(&name);
                    Ran {
                        result: if outcome.status.is_success() { Ok(text) } else { Err(text) },
                        stdout: lines(&outcome.stdout),
                        stderr: lines(&outcome.stderr),
                    }
                }
                Err(error) => {
                    Ran { result: Err(error.to_string()), stdout: Vec::new(), stderr: Vec::new() }
                }
            }
        }
        .boxed()
    }
}

fn of(job: Job, timeout: Duration) -> cage::Job {
    let requirement = |it: Requirement| cage::Requirement { name: it.name, version: it.version };
    cage::Job {
        language: match job.language {
            Language::Python => cage::Language::Python,
            Language::TypeScript => cage::Language::TypeScript,
        },
        arguments: serde_json::from_str(&job.arguments).unwrap_or_default(),
        env: job.environment,
        requirements: job.requirements.into_iter().map(requirement).collect(),
        network: job.network,
        timeout,
        agent_id: job.agent.map(|agent| agent.to_string()),
        ..cage::Job::python(job.source, job.name)
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
