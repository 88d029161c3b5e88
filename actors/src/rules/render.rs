//! Tool rules in sentences, for the system message and for models that broke one.

use retold_events::agent::{ToolRule, ToolRuleKind};

use super::distinct;

/// The `<tool_usage_rules>` section; `None` when no rule has anything to say to a model.
pub(crate) fn render(rules: &[ToolRule]) -> Option<String> {
    let lines: Vec<String> =
        distinct(rules).into_iter().filter_map(line).map(|line| format!("- {line}")).collect();
    (!lines.is_empty()).then(|| {
        format!(
            "<tool_usage_rules>\nThese rules hold within each turn. A call that breaks one is not made.\n\n{}\n\
            </tool_usage_rules>",
            lines.join("\n")
        )
    })
}

/// One rule in a sentence; `None` where the model need not know, because the rule is met for it.
pub(super) fn line(rule: &ToolRule) -> Option<String> {
    let tool = &rule.tool;
    match &rule.kind {
        ToolRuleKind::ConstrainChildren { children, .. } => {
            Some(format!("Right after {tool}, call {}.", one_of(children)))
        }
        ToolRuleKind::ParentLast { children } => {
            Some(format!("Call {} only right after {tool}.", one_of(children)))
        }
        ToolRuleKind::Conditional { default_child, mapping, require_mapping } => {
            Some(conditional(tool, default_child.as_deref(), mapping, *require_mapping))
        }
        ToolRuleKind::ContinueLoop => Some(format!("After {tool}, your turn goes on.")),
        ToolRuleKind::ExitLoop => Some(format!("After {tool}, your turn ends.")),
        ToolRuleKind::MaxCount { limit } => {
            Some(format!("Call {tool} at most {limit} {} per turn.", times(*limit)))
        }
        ToolRuleKind::RunFirst { .. }
        | ToolRuleKind::RequiredBeforeExit
        | ToolRuleKind::RequiresApproval => None,
    }
}

fn conditional(
    tool: &str,
    default_child: Option<&str>,
    mapping: &[(String, String)],
    require_mapping: bool,
) -> String {
    let cases: Vec<String> = mapping
        .iter()
        .map(|(output, child)| format!("{child} if it returned '{output}'"))
        .collect();
    let otherwise = match default_child {
        Some(child) => Some(format!("{child} otherwise")),
        None if require_mapping => Some("nothing otherwise".to_owned()),
        None => None,
    };
    let cases: Vec<String> = cases.into_iter().chain(otherwise).collect();
    format!("Right after {tool}, call {}.", cases.join(", "))
}

const fn times(limit: u32) -> &'static str {
    if limit == 1 { "time" } else { "times" }
}

fn one_of(tools: &[String]) -> String {
    match tools {
        [] => "nothing".to_owned(),
        [one] => one.clone(),
        [several @ .., last] => format!("{} or {last}", several.join(", ")),
    }
}
