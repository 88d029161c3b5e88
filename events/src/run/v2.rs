//! Events of runs before agents could send to agents. Frozen; only read, never written.

use serde::{Deserialize, Serialize};

use super::{ClientTool, Decision, Input, Request};
use crate::RunId;

/// Version 2 of [`super::Accepted`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Accepted {
    pub(super) run: RunId,
    pub(super) input: Vec<Input>,
    pub(super) request: Request,
    pub(super) decisions: Vec<Decision>,
    pub(super) client_tools: Vec<ClientTool>,
}

impl From<Accepted> for super::Accepted {
    fn from(old: Accepted) -> Self {
        let Accepted { run, input, request, decisions, client_tools } = old;
        Self { run, input, request, decisions, client_tools, asked_by: None }
    }
}
