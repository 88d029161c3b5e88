//! Giving tools to an agent: which there are, and which of them wait for a person.

use std::sync::Arc;

use retold_events::{ToolId, agent::Config};

use super::{Live, Patch};
use crate::{
    Refusal,
    tool::{Known, approval},
};

impl Live {
    /// A patch whose tools all exist. What is new among them and was made to wait for a person gets the rule that says so.
    pub(super) fn with_known_tools(&self, mut patch: Patch) -> Result<Patch, Refusal> {
        let Some(tools) = patch.tools.take() else { return Ok(patch) };
        let mut kept = Vec::with_capacity(tools.len());
        let mut new: Vec<Arc<Known>> = Vec::new();
        for id in tools {
            let had = self.state.tools.contains(&id);
            match self.shared.tools.get(id) {
                Some(known) => {
                    kept.push(id);
                    new.extend((!had).then_some(known));
                }
                // It was deleted since: here is the time to let go of it.
                None if had => {}
                None => return Err(missing(id)),
            }
        }
        if new.iter().any(|known| known.requires_approval) {
            let config = patch.config.get_or_insert_with(|| Config::clone(&self.state.config));
            approval::add_defaults(&mut config.tool_rules, new.iter().map(|known| &**known));
        }
        patch.tools = Some(kept);
        Ok(patch)
    }
}

fn missing(id: ToolId) -> Refusal {
    Refusal::NotFound { what: "Tool", id: id.to_string() }
}
