//! Events of runs as version 0.1.0 wrote them: without decisions and client tools. Frozen; only read, never written.

use serde::{Deserialize, Serialize};

use super::{Input, Request, v2};
use crate::RunId;

/// Version 1 of [`super::Accepted`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Accepted {
    run: RunId,
    input: Vec<Input>,
    request: Request,
}

impl From<Accepted> for v2::Accepted {
    fn from(old: Accepted) -> Self {
        let Accepted { run, input, request } = old;
        Self { run, input, request, decisions: Vec::new(), client_tools: Vec::new() }
    }
}
