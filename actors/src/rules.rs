//! Tool rules: which tools a model may call next, and whether its turn may end.
//!
//! Everything here follows from the rules and from the calls made so far in one request. The server this API comes from
//! counts each call twice, which halves every maximum; here a call counts once.

mod prefill;
mod render;

use retold_events::{
    ToolId,
    agent::{AgentType, ToolRule, ToolRuleKind},
};
use serde_json::{Map, Value};

use crate::tool::by_id;

pub(crate) use prefill::prefill;
pub(crate) use render::render;

/// What the rules say after the calls of one request.
#[derive(Debug, Clone)]
pub(crate) struct Solver<'a> {
    rules: Vec<&'a ToolRule>,
    calls: Vec<String>,
    last_return: Option<String>,
}

/// The tools a model may call next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Allowed {
    /// Their names, in the order they are attached. Empty only when nothing is attached.
    pub(crate) tools: Vec<String>,
    /// Whether it has to call one of them.
    pub(crate) force: bool,
}

impl<'a> Solver<'a> {
    /// A solver for the rules of an agent. `calls` are the tools called so far in this request, in order, and
    /// `last_return` is what the last of them returned.
    pub(crate) fn new(
        rules: &'a [ToolRule],
        calls: Vec<String>,
        last_return: Option<String>,
    ) -> Self {
        Self { rules: distinct(rules), calls, last_return }
    }

    /// Takes note of a further call and what it returned.
    pub(crate) fn called(&mut self, name: &str, returned: &str) {
        self.calls.push(name.to_owned());
        self.last_return = Some(returned.to_owned());
    }

    /// What may be called next, of the tools that are attached. Rules that together forbid everything forbid nothing.
    pub(crate) fn allowed(&self, attached: &[&str]) -> Allowed {
        let first: Vec<&str> =
            if self.calls.is_empty() { self.run_first(attached) } else { vec![] };
        let forced_first = !first.is_empty();
        let mut tools: Vec<&str> = if forced_first {
            first
        } else {
            attached.iter().copied().filter(|name| self.allows(name)).collect()
        };
        if tools.is_empty() {
            tools = attached.to_vec();
        }
        Allowed {
            force: !tools.is_empty() && (forced_first || self.last_leads_on()),
            tools: tools.into_iter().map(str::to_owned).collect(),
        }
    }

    /// Whether `name` may be called next, of the tools that are attached.
    ///
    /// # Errors
    /// What the model is told instead of the tool's return.
    pub(crate) fn check(&self, name: &str, attached: &[&str]) -> Result<(), String> {
        let Allowed { tools, .. } = self.allowed(attached);
        if tools.iter().any(|tool| tool == name) {
            return Ok(());
        }
        let quoted: Vec<String> = tools.iter().map(|tool| format!("'{tool}'")).collect();
        let mut error = format!(
            "[ToolConstraintError] Cannot call {name}, valid tools include: [{}]",
            quoted.join(", ")
        );
        for hint in self.hints(name, attached) {
            error.push('\n');
            error.push_str(&hint);
        }
        Err(error)
    }

    /// Whether the turn ends after a call of `name`.
    pub(crate) fn is_terminal(&self, name: &str) -> bool {
        self.rules_of(name).any(|kind| *kind == ToolRuleKind::ExitLoop)
    }

    /// Whether the turn goes on after a call of `name`, asked for or not.
    pub(crate) fn continues(&self, name: &str) -> bool {
        self.rules_of(name).any(|kind| {
            matches!(
                kind,
                ToolRuleKind::ContinueLoop
                    | ToolRuleKind::ConstrainChildren { .. }
                    | ToolRuleKind::Conditional { .. }
            )
        })
    }

    /// The attached tools that have to be called before the turn may end, and were not. A tool that is not attached is
    /// none of them: it would keep the turn from ever ending.
    pub(crate) fn uncalled_required(&self, attached: &[&str]) -> Vec<String> {
        let required =
            self.rules.iter().filter(|rule| rule.kind == ToolRuleKind::RequiredBeforeExit);
        required
            .map(|rule| &rule.tool)
            .filter(|tool| attached.contains(&tool.as_str()) && !self.calls.contains(tool))
            .cloned()
            .collect()
    }

    /// Arguments that override the model's in a call of `name` made now; `None` when there are none.
    pub(crate) fn prefilled(&self, name: &str) -> Option<Map<String, Value>> {
        let mut prefilled = Map::new();
        for rule in &self.rules {
            match &rule.kind {
                ToolRuleKind::RunFirst { args: Some(args) } => {
                    if self.calls.is_empty() && rule.tool == name {
                        prefilled.extend(prefill::arguments(args));
                    }
                }
                ToolRuleKind::ConstrainChildren { children, nodes: Some(nodes) } => {
                    if self.last() == Some(&rule.tool) && children.iter().any(|child| child == name)
                    {
                        prefilled.extend(prefill::node_arguments(nodes, name));
                    }
                }
                ToolRuleKind::RunFirst { args: None }
                | ToolRuleKind::ConstrainChildren { nodes: None, .. }
                | ToolRuleKind::ParentLast { .. }
                | ToolRuleKind::Conditional { .. }
                | ToolRuleKind::ContinueLoop
                | ToolRuleKind::ExitLoop
                | ToolRuleKind::MaxCount { .. }
                | ToolRuleKind::RequiredBeforeExit
                | ToolRuleKind::RequiresApproval => {}
            }
        }
        (!prefilled.is_empty()).then_some(prefilled)
    }

    fn last(&self) -> Option<&String> {
        self.calls.last()
    }

    fn rules_of(&self, name: &str) -> impl Iterator<Item = &'a ToolRuleKind> {
        self.rules.iter().filter(move |rule| rule.tool == name).map(|rule| &rule.kind)
    }

    fn run_first<'b>(&self, attached: &[&'b str]) -> Vec<&'b str> {
        let is_first = |name: &str| {
            self.rules_of(name).any(|kind| matches!(kind, ToolRuleKind::RunFirst { .. }))
        };
        attached.iter().copied().filter(|name| is_first(name)).collect()
    }

    /// Whether the last call has a rule about what comes after it.
    fn last_leads_on(&self) -> bool {
        self.last().is_some_and(|last| {
            self.rules_of(last).any(|kind| {
                matches!(
                    kind,
                    ToolRuleKind::ConstrainChildren { .. }
                        | ToolRuleKind::Conditional { .. }
                        | ToolRuleKind::ParentLast { .. }
                )
            })
        })
    }

    fn allows(&self, name: &str) -> bool {
        self.rules.iter().all(|rule| self.rule_allows(rule, name))
    }

    fn rule_allows(&self, rule: &ToolRule, name: &str) -> bool {
        let is_last = self.last() == Some(&rule.tool);
        let among = |children: &[String]| children.iter().any(|child| child == name);
        match &rule.kind {
            ToolRuleKind::ConstrainChildren { children, .. } => !is_last || among(children),
            ToolRuleKind::ParentLast { children } => is_last == among(children),
            ToolRuleKind::Conditional { default_child, mapping, require_mapping } => {
                let mapped = mapped(mapping, self.last_return.as_deref().unwrap_or_default());
                match mapped.or(default_child.as_deref()) {
                    _ if !is_last => true,
                    Some(child) => child == name,
                    None => !require_mapping,
                }
            }
            ToolRuleKind::MaxCount { limit } => {
                rule.tool != name || self.count(name) < *limit as usize
            }
            ToolRuleKind::RunFirst { .. }
            | ToolRuleKind::ContinueLoop
            | ToolRuleKind::ExitLoop
            | ToolRuleKind::RequiredBeforeExit
            | ToolRuleKind::RequiresApproval => true,
        }
    }

    fn count(&self, name: &str) -> usize {
        self.calls.iter().filter(|call| *call == name).count()
    }

    /// Why `name` may not be called, rule by rule.
    fn hints(&self, name: &str, attached: &[&str]) -> Vec<String> {
        if !attached.contains(&name) {
            return vec![format!("There is no tool named {name} here.")];
        }
        if self.calls.is_empty() && !self.run_first(attached).is_empty() {
            return vec!["The first call must be one of these.".to_owned()];
        }
        let broken = self.rules.iter().filter(|rule| !self.rule_allows(rule, name));
        broken.filter_map(|rule| render::line(rule)).map(|line| format!("Rule: {line}")).collect()
    }
}

/// The rules without those that are equal in everything to one before them.
fn distinct(rules: &[ToolRule]) -> Vec<&ToolRule> {
    let mut distinct: Vec<&ToolRule> = Vec::with_capacity(rules.len());
    for rule in rules {
        if !distinct.contains(&rule) {
            distinct.push(rule);
        }
    }
    distinct
}

/// The tool that a return leads to: its text is the key, or both are the same truth value or number.
fn mapped<'a>(mapping: &'a [(String, String)], returned: &str) -> Option<&'a str> {
    let number = |text: &str| text.trim().parse::<f64>().ok().filter(|number| !number.is_nan());
    let truth = |text: &str| text.trim().to_ascii_lowercase().parse::<bool>().ok();
    let same = |key: &str| {
        key == returned
            || truth(key).is_some_and(|key| truth(returned) == Some(key))
            || number(key).is_some_and(|key| number(returned) == Some(key))
    };
    // An exact match counts before one that only means the same.
    let exact = mapping.iter().find(|(key, _)| key == returned);
    exact.or_else(|| mapping.iter().find(|(key, _)| same(key))).map(|(_, tool)| tool.as_str())
}

/// Whether a model must be kept from calling several tools at once: rules speak of one call after another, but for those
/// that ask a person.
pub(crate) fn disables_parallel(rules: &[ToolRule]) -> bool {
    rules.iter().any(|rule| rule.kind != ToolRuleKind::RequiresApproval)
}

/// The rules an agent of this type gets on top of its client's, unless the client says otherwise: none for the current
/// type, [`base_rules_of`] its tools for the older ones.
#[must_use]
pub fn base_rules(agent_type: AgentType, tools: &[ToolId]) -> Vec<ToolRule> {
    match agent_type {
        AgentType::LettaV1 => Vec::new(),
        AgentType::MemgptV2 | AgentType::Memgpt => base_rules_of(tools),
    }
}

/// The rules that come with built-in tools: what speaks without waiting for an answer ends the turn, everything else goes
/// on.
#[must_use]
pub fn base_rules_of(tools: &[ToolId]) -> Vec<ToolRule> {
    let rule = |name: &str| ToolRule {
        tool: name.to_owned(),
        kind: match name {
            "send_message" | "send_message_to_agent_async" => ToolRuleKind::ExitLoop,
            _ => ToolRuleKind::ContinueLoop,
        },
        prompt_template: None,
    };
    tools.iter().filter_map(|&id| by_id(id)).map(|tool| rule(tool.name)).collect()
}

#[cfg(test)]
mod tests;
