//! What keeps tools in on this machine: found once, by trying, because no list of kernel settings says whether it works.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::child::{self, Plan, Walls};
use super::limits::Limits;
use super::worker::{Worker, scratch};
use super::{CageOptions, Helper};

/// How strong the cage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layer {
    /// Namespaces made by bubblewrap with the rights of an administrator, and left for a user of each call's own.
    Namespaces,
    /// Namespaces made by bubblewrap without any rights.
    UserNamespaces,
    /// Landlock and seccomp: the files of the system can be named but not read, the user is the server's own.
    Landlock,
    /// Nothing: limits and a process of its own only.
    None,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Namespaces => "bubblewrap, a user of each call's own, seccomp, limits",
            Self::UserNamespaces => "bubblewrap with user namespaces, seccomp, limits",
            Self::Landlock => "landlock, seccomp, limits",
            Self::None => "none",
        })
    }
}

/// Which layer is in force, and why not a stronger one.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) layer: Layer,
    pub(super) bwrap: Option<PathBuf>,
    /// Whether landlock keeps signals in.
    pub(super) scoped: bool,
    /// Whether tools run where nothing keeps them in.
    pub(super) uncaged: bool,
    /// One line for each layer that was tried in vain.
    pub(super) missing: Vec<String>,
}

impl Found {
    /// The walls of one call. `chance` gives each its own user where that is possible.
    pub(super) fn walls(&self, chance: u16) -> Option<Walls> {
        match (self.layer, &self.bwrap) {
            (Layer::Namespaces, Some(bwrap)) => {
                Some(Walls::Namespaces { bwrap: bwrap.clone(), user: Some(user_of(chance)) })
            }
            (Layer::UserNamespaces, Some(bwrap)) => {
                Some(Walls::Namespaces { bwrap: bwrap.clone(), user: None })
            }
            (Layer::Landlock, _) => Some(Walls::Landlock { scoped: self.scoped }),
            (Layer::None, _) => self.uncaged.then_some(Walls::Open),
            (Layer::Namespaces | Layer::UserNamespaces, None) => None,
        }
    }
}

/// Users nobody has: above what distributions give out and below what container engines hand to their namespaces' ends.
fn user_of(chance: u16) -> u32 {
    1_700_000_000 + u32::from(chance)
}

/// How long one try may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Tries the layers from the strongest down and gives the first that holds.
pub(super) async fn find(options: &CageOptions) -> Found {
    let bwrap = find_bubblewrap(options.bubblewrap.as_deref());
    let scoped = options.scope_signals && child::signals_can_be_scoped();
    let uncaged = options.uncaged;
    let mut found = Found { layer: Layer::None, bwrap, scoped, uncaged, missing: Vec::new() };
    let administrator = rustix::process::geteuid().is_root();
    for layer in [Layer::Namespaces, Layer::UserNamespaces, Layer::Landlock] {
        if options.layers.as_ref().is_some_and(|only| !only.contains(&layer))
            || (layer == Layer::Namespaces && !administrator)
        {
            continue;
        }
        found.layer = layer;
        let Some(walls) = found.walls(0) else {
            found.missing.push(format!("{layer}: bubblewrap (bwrap) is not installed"));
            continue;
        };
        match probe(options, walls).await {
            Ok(()) => return found,
            Err(why) => found.missing.push(format!("{layer}: {why}")),
        }
    }
    found.layer = Layer::None;
    found
}

fn find_bubblewrap(given: Option<&Path>) -> Option<PathBuf> {
    if let Some(given) = given {
        return given.exists().then(|| given.to_path_buf());
    }
    ["/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap"]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.exists())
}

async fn probe(options: &CageOptions, walls: Walls) -> Result<(), String> {
    let Helper { program, arguments } = &options.helper;
    // The probe is the helper itself, which lies elsewhere for those who are inside namespaces.
    let inside = match &walls {
        Walls::Namespaces { .. } => "/cage/helper".to_owned(),
        Walls::Landlock { .. } | Walls::Open => program.display().to_string(),
    };
    let mut command = vec![inside];
    command.extend(arguments.iter().cloned());
    command.push(child::PROBE.into());
    command.push(options.data_dir.display().to_string());
    let plan = Plan {
        readable: if matches!(walls, Walls::Landlock { .. }) {
            vec![program.clone()]
        } else {
            Vec::new()
        },
        walls,
        limits: Limits::default(),
        helper: options.helper.words(),
        command,
        hidden: options.data_dir.clone(),
        scratch: scratch(&options.data_dir),
        network: false,
        reserve_bytes: 0,
    };
    Worker::start(&plan, PATIENCE).await.map(drop)
}
