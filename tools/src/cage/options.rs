//! How a server's cage is set up.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::layer::Layer;
use super::limits::Limits;

/// The program that keeps calls: the server's own executable, with the hidden argument after which it calls
/// [`child_main`](super::child_main).
#[derive(Debug, Clone)]
pub struct Helper {
    /// An absolute path.
    pub program: PathBuf,
    /// What comes before the arguments of the cage.
    pub arguments: Vec<String>,
}

impl Helper {
    pub(super) fn words(&self) -> Vec<PathBuf> {
        std::iter::once(self.program.clone())
            .chain(self.arguments.iter().map(PathBuf::from))
            .collect()
    }
}

/// What a cage is made of.
#[derive(Debug, Clone)]
pub struct CageOptions {
    /// The server's data directory, absolute: no tool sees it. Environments and, without namespaces, working folders of calls are
    /// below its `tools/`.
    pub data_dir: PathBuf,
    /// How the server is started as a part of the cage.
    pub helper: Helper,
    /// The Python to use; otherwise the first that is found.
    pub python: Option<PathBuf>,
    /// The Node or Bun to use; otherwise the first that is found.
    pub typescript: Option<PathBuf>,
    /// The bubblewrap to use; otherwise the system's.
    pub bubblewrap: Option<PathBuf>,
    /// Only these layers are tried; otherwise all.
    pub layers: Option<Vec<Layer>>,
    /// Leave signals to landlock where it can hold them. Off, the filter of older kernels does.
    pub scope_signals: bool,
    /// Run tools where nothing keeps them in, too.
    pub uncaged: bool,
    /// Every call may reach the network, not only those granted it.
    pub network: bool,
    /// What one call may use up.
    pub limits: Limits,
    /// How many calls run at once; others wait.
    pub concurrency: usize,
    /// How many interpreters of a kind wait for calls.
    pub warm: usize,
    /// How long they wait when nobody calls.
    pub idle: Duration,
    /// What pip finds in its environment: proxies, an index of one's own.
    pub pip_env: BTreeMap<String, String>,
    /// How long the installation of one set of requirements may take.
    pub pip_deadline: Duration,
}

impl CageOptions {
    /// The usual cage.
    #[must_use]
    pub fn new(data_dir: PathBuf, helper: Helper) -> Self {
        Self {
            data_dir,
            helper,
            python: None,
            typescript: None,
            bubblewrap: None,
            layers: None,
            scope_signals: true,
            uncaged: false,
            network: false,
            limits: Limits::default(),
            concurrency: 8,
            warm: 2,
            idle: Duration::from_secs(300),
            pip_env: BTreeMap::new(),
            pip_deadline: Duration::from_secs(180),
        }
    }
}
