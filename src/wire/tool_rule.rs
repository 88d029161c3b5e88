//! Rules that order tool calls, as clients write them.

use retold_events::agent::{self, ToolRuleKind};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{Problem, json};

/// A rule that orders tool calls. `type` tells which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ToolRule {
    /// Called first.
    RunFirst {
        /// The tool.
        tool_name: String,
        /// Kept for the client.
        #[serde(default)]
        prompt_template: Option<String>,
        /// Arguments that override the model's.
        #[serde(default)]
        #[schema(value_type = Option<Object>)]
        args: Option<Map<String, Value>>,
    },
    /// After it, only its children.
    ConstrainChildTools {
        /// The tool.
        tool_name: String,
        /// Kept for the client.
        #[serde(default)]
        prompt_template: Option<String>,
        /// The tools allowed next.
        children: Vec<String>,
        /// Arguments that override the model's, per child.
        #[serde(default)]
        child_arg_nodes: Option<Vec<ToolCallNode>>,
    },
    /// Its children are allowed only right after it.
    ParentLastTool {
        /// The tool.
        tool_name: String,
        /// Kept for the client.
        #[serde(default)]
        prompt_template: Option<String>,
        /// The tools it opens.
        children: Vec<String>,
    },
    /// After it, the tool its return maps to.
    Conditional {
        /// The tool.
        tool_name: String,
        /// Kept for the client.
        #[serde(default)]
        prompt_template: Option<String>,
        /// Where nothing matches.
        #[serde(default)]
        default_child: Option<String>,
        /// Return text and the tool it leads to.
        #[schema(value_type = Object)]
        child_output_mapping: Map<String, Value>,
        /// Whether no match means no tool.
        #[serde(default)]
        require_output_mapping: bool,
    },
    /// The loop goes on after it.
    ContinueLoop {
        /// The tool.
        tool_name: String,
        /// Kept for the client.
        #[serde(default)]
        prompt_template: Option<String>,
    },
    /// The loop ends after it.
    ExitLoop {
        /// The tool.
        tool_name: String,
        /// Kept for the client.
        #[serde(default)]
        prompt_template: Option<String>,
    },
    /// At most this often per request.
    MaxCountPerStep {
        /// The tool.
        tool_name: String,
        /// Kept for the client.
        #[serde(default)]
        prompt_template: Option<String>,
        /// How often.
        max_count_limit: u32,
    },
    /// The loop may not end before it was called.
    RequiredBeforeExit {
        /// The tool.
        tool_name: String,
        /// Kept for the client.
        #[serde(default)]
        prompt_template: Option<String>,
    },
    /// A person has to agree to each call.
    RequiresApproval {
        /// The tool.
        tool_name: String,
        /// Kept for the client.
        #[serde(default)]
        prompt_template: Option<String>,
    },
}

/// Prefilled arguments of a child.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ToolCallNode {
    /// The child.
    pub name: String,
    /// Arguments that override the model's.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    pub args: Option<Map<String, Value>>,
}

/// Rules to store: each once, all members compared.
///
/// # Errors
/// [`Problem::Invalid`] when one asks for approvals, [`Problem::Unprocessable`] when one maps a return to something that
/// is no tool name.
pub fn stored_rules(rules: Vec<ToolRule>) -> Result<Vec<agent::ToolRule>, Problem> {
    let mut stored = Vec::with_capacity(rules.len());
    for rule in rules {
        add_rule(&mut stored, stored_rule(rule)?);
    }
    Ok(stored)
}

/// Adds a rule unless an equal one is there.
pub(crate) fn add_rule(rules: &mut Vec<agent::ToolRule>, rule: agent::ToolRule) {
    if !rules.contains(&rule) {
        rules.push(rule);
    }
}

fn stored_rule(rule: ToolRule) -> Result<agent::ToolRule, Problem> {
    let (tool, prompt_template, kind) = match rule {
        ToolRule::RunFirst { tool_name, prompt_template, args } => {
            let kind = ToolRuleKind::RunFirst { args: args.as_ref().map(json::to_text) };
            (tool_name, prompt_template, kind)
        }
        ToolRule::ConstrainChildTools { tool_name, prompt_template, children, child_arg_nodes } => {
            let nodes = child_arg_nodes.as_ref().map(json::to_text);
            let kind = ToolRuleKind::ConstrainChildren { children, nodes };
            (tool_name, prompt_template, kind)
        }
        ToolRule::ParentLastTool { tool_name, prompt_template, children } => {
            (tool_name, prompt_template, ToolRuleKind::ParentLast { children })
        }
        ToolRule::Conditional {
            tool_name,
            prompt_template,
            default_child,
            child_output_mapping,
            require_output_mapping: require_mapping,
        } => {
            let mapping = mapping(&tool_name, child_output_mapping)?;
            let kind = ToolRuleKind::Conditional { default_child, mapping, require_mapping };
            (tool_name, prompt_template, kind)
        }
        ToolRule::ContinueLoop { tool_name, prompt_template } => {
            (tool_name, prompt_template, ToolRuleKind::ContinueLoop)
        }
        ToolRule::ExitLoop { tool_name, prompt_template } => {
            (tool_name, prompt_template, ToolRuleKind::ExitLoop)
        }
        ToolRule::MaxCountPerStep { tool_name, prompt_template, max_count_limit: limit } => {
            (tool_name, prompt_template, ToolRuleKind::MaxCount { limit })
        }
        ToolRule::RequiredBeforeExit { tool_name, prompt_template } => {
            (tool_name, prompt_template, ToolRuleKind::RequiredBeforeExit)
        }
        ToolRule::RequiresApproval { tool_name, prompt_template } => {
            (tool_name, prompt_template, ToolRuleKind::RequiresApproval)
        }
    };
    Ok(agent::ToolRule { tool, kind, prompt_template })
}

fn mapping(tool: &str, mapping: Map<String, Value>) -> Result<Vec<(String, String)>, Problem> {
    mapping
        .into_iter()
        .map(|(output, child)| {
            let Value::String(child) = child else {
                return Err(Problem::Unprocessable(format!(
                    "tool rule `conditional` for `{tool}`: child_output_mapping.{output}: Input should be a valid string"
                )));
            };
            Ok((output, child))
        })
        .collect()
}

impl From<&agent::ToolRule> for ToolRule {
    fn from(rule: &agent::ToolRule) -> Self {
        let tool_name = rule.tool.clone();
        let prompt_template = rule.prompt_template.clone();
        match &rule.kind {
            ToolRuleKind::RunFirst { args } => {
                let args = args.as_ref().and_then(json::from_text);
                Self::RunFirst { tool_name, prompt_template, args }
            }
            ToolRuleKind::ConstrainChildren { children, nodes } => Self::ConstrainChildTools {
                tool_name,
                prompt_template,
                children: children.clone(),
                child_arg_nodes: nodes.as_ref().and_then(json::from_text),
            },
            ToolRuleKind::ParentLast { children } => {
                Self::ParentLastTool { tool_name, prompt_template, children: children.clone() }
            }
            ToolRuleKind::Conditional { default_child, mapping, require_mapping } => {
                let pairs = mapping.iter();
                Self::Conditional {
                    tool_name,
                    prompt_template,
                    default_child: default_child.clone(),
                    child_output_mapping: pairs
                        .map(|(output, child)| (output.clone(), child.clone().into()))
                        .collect(),
                    require_output_mapping: *require_mapping,
                }
            }
            ToolRuleKind::ContinueLoop => Self::ContinueLoop { tool_name, prompt_template },
            ToolRuleKind::ExitLoop => Self::ExitLoop { tool_name, prompt_template },
            ToolRuleKind::MaxCount { limit } => {
                Self::MaxCountPerStep { tool_name, prompt_template, max_count_limit: *limit }
            }
            ToolRuleKind::RequiredBeforeExit => {
                Self::RequiredBeforeExit { tool_name, prompt_template }
            }
            ToolRuleKind::RequiresApproval => Self::RequiresApproval { tool_name, prompt_template },
        }
    }
}
