//! Which tools of an agent wait for a person: one of its rules says so, so that is all that is ever asked.

use retold_events::agent::{Config, ToolRule, ToolRuleKind};
use retold_snapshots::agent::State;

use super::Known;
use crate::agent::Patch;

/// Says whether calls of a tool wait for a person.
#[must_use]
pub fn approval_patch(state: &State, tool: &str, required: bool) -> Patch {
    let mut config = Config::clone(&state.config);
    let is_of_tool =
        |rule: &ToolRule| rule.tool == tool && rule.kind == ToolRuleKind::RequiresApproval;
    if required {
        require(&mut config.tool_rules, tool);
    } else {
        config.tool_rules.retain(|rule| !is_of_tool(rule));
    }
    Patch { config: Some(config), ..Patch::default() }
}

/// Adds the rules of tools that were made so that their calls wait for a person.
pub(crate) fn add_defaults<'a>(
    rules: &mut Vec<ToolRule>,
    tools: impl IntoIterator<Item = &'a Known>,
) {
    for tool in tools.into_iter().filter(|tool| tool.requires_approval) {
        require(rules, &tool.name);
    }
}

fn require(rules: &mut Vec<ToolRule>, tool: &str) {
    let is_there =
        |rule: &ToolRule| rule.tool == tool && rule.kind == ToolRuleKind::RequiresApproval;
    if !rules.iter().any(is_there) {
        let kind = ToolRuleKind::RequiresApproval;
        rules.push(ToolRule { tool: tool.to_owned(), kind, prompt_template: None });
    }
}
