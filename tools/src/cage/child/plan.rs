//! What the server tells the processes of a call: which walls, which bounds, which command.
//!
//! It is an argument, so anybody on the machine can read it: it holds paths and numbers, never a job.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cage::limits::Limits;

/// What a keeper has to do.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) walls: Walls,
    pub(crate) limits: Limits,
    /// How this same program is started in the form that goes into the cage.
    pub(crate) helper: Vec<PathBuf>,
    /// What runs in the cage.
    pub(crate) command: Vec<String>,
    /// What it may read beside the system's own programs and libraries.
    pub(crate) readable: Vec<PathBuf>,
    /// What it must never see, even where it lies within what is readable.
    pub(crate) hidden: PathBuf,
    /// A folder of the server's, in which the call gets its own.
    pub(crate) scratch: PathBuf,
    pub(crate) network: bool,
    /// What one process may reserve, where that is more than all may use.
    pub(crate) reserve_bytes: u64,
}

/// What keeps a call in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Walls {
    /// Namespaces, made by bubblewrap.
    Namespaces {
        bwrap: PathBuf,
        /// Made with the rights of an administrator, and left for this user; otherwise in a namespace of users.
        user: Option<u32>,
    },
    /// Landlock and seccomp.
    Landlock {
        /// Whether landlock keeps signals in; otherwise the filter does.
        scoped: bool,
    },
    /// None. Limits hold, and everything ends with the call; what the server's user may do, the tool may, too.
    Open,
}

/// What the process in the cage does to itself before it becomes the command.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Inner {
    pub(super) limits: Limits,
    pub(super) network: bool,
    pub(super) user: Option<u32>,
    pub(super) landlock: Option<Paths>,
    /// No walls at all.
    pub(super) open: bool,
    pub(super) home: PathBuf,
    pub(super) command: Vec<String>,
}

/// What landlock leaves open.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Paths {
    pub(super) readable: Vec<PathBuf>,
    pub(super) writable: Vec<PathBuf>,
    pub(super) scoped: bool,
}
