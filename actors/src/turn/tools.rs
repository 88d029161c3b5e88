//! What a step may call, and the calling.

use retold_events::{ReturnStatus, ToolCall, ToolReturn};
use retold_models::ToolSchema;
use serde_json::{Map, Value};

use super::{Answer, StepView, Turn, call::must_call};
use crate::{
    rules::{Solver, disables_parallel, prefill},
    tool::{RETURN_CHAR_LIMIT, output},
    toolbox::{Call, Executed, failed},
};

/// What a step may call.
#[derive(Debug)]
pub(crate) struct Offer {
    /// The tools as the model sees them.
    pub(crate) schemas: Vec<ToolSchema>,
    /// Whether the model has to call one.
    pub(crate) force: bool,
    /// Whether only the first call of an answer counts.
    pub(crate) one_call: bool,
    /// Names of all attached tools, for the rules.
    attached: Vec<String>,
}

impl Offer {
    pub(super) fn new(turn: &Turn, view: &StepView) -> Self {
        let older = must_call(view.config.agent_type);
        let all: Vec<ToolSchema> =
            view.tools.iter().filter_map(|&id| turn.shared.toolbox.schema(id, older)).collect();
        let attached: Vec<String> = all.iter().map(|tool| tool.name.clone()).collect();
        let names: Vec<&str> = attached.iter().map(String::as_str).collect();
        let allowed = solver(view).allowed(&names);
        let schemas: Vec<ToolSchema> =
            all.into_iter().filter(|tool| allowed.tools.contains(&tool.name)).collect();
        let rules = &view.config.tool_rules;
        Self {
            force: (older || allowed.force) && !schemas.is_empty(),
            one_call: older || !view.config.model.parallel_tool_calls || disables_parallel(rules),
            schemas,
            attached,
        }
    }

    /// Tokens that the schemas take in a prompt, at four characters each.
    pub(super) fn tokens(&self) -> u64 {
        let characters = self
            .schemas
            .iter()
            .map(|tool| tool.name.len() + tool.description.len() + tool.parameters.get().len())
            .sum::<usize>();
        (characters / 4) as u64
    }
}

/// What came of the calls of an answer.
#[derive(Debug, Default)]
pub(super) struct Ran {
    /// The calls that were kept, with what came of each.
    pub(super) executed: Vec<(ToolCall, Executed)>,
    /// Names of those that no rule forbade.
    pub(super) called: Vec<String>,
    /// Whether a call was made in a way that ends the run: with arguments that a rule's do not fit.
    pub(super) invalid_call: bool,
}

impl Turn {
    /// Runs the calls of an answer, in their order. What is not allowed is not run, and the model is told so.
    pub(super) async fn execute(&self, view: &StepView, offer: &Offer, answer: &Answer) -> Ran {
        let mut ran = Ran::default();
        let attached: Vec<&str> = offer.attached.iter().map(String::as_str).collect();
        let mut solver = solver(view);
        let kept = if offer.one_call { 1 } else { usize::MAX };
        for call in answer.calls.iter().take(kept) {
            let mut call = ToolCall { arguments: cleaned(&call.arguments), ..call.clone() };
            let checked = solver.check(&call.name, &attached);
            let allowed = checked.is_ok();
            let outcome = match checked {
                Err(error) => Executed::Returned(failed(&call, error)),
                Ok(()) => match self.with_prefilled(&solver, offer, &call) {
                    Err(error) => {
                        ran.invalid_call = true;
                        Executed::Returned(failed(&call, error))
                    }
                    Ok(arguments) => {
                        call.arguments = arguments;
                        let timezone = &view.config.timezone;
                        let run = Call { agent: self.agent, timezone, call: &call };
                        self.shared.toolbox.execute(run).await
                    }
                },
            };
            let outcome = match outcome {
                Executed::Returned(returned) => Executed::Returned(cut(returned)),
                edit @ Executed::Memory(_) => edit,
            };
            if allowed {
                let returned = match &outcome {
                    Executed::Returned(returned) => returned.content.as_str(),
                    Executed::Memory(_) => "",
                };
                solver.called(&call.name, returned);
                ran.called.push(call.name.clone());
            }
            ran.executed.push((call, outcome));
        }
        ran
    }

    /// The arguments of a call with those that a rule sets put over the model's.
    fn with_prefilled(
        &self,
        solver: &Solver<'_>,
        offer: &Offer,
        call: &ToolCall,
    ) -> Result<String, String> {
        let Some(prefilled) = solver.prefilled(&call.name) else {
            return Ok(call.arguments.clone());
        };
        let schema =
            offer.schemas.iter().find(|tool| tool.name == call.name).map(|tool| &tool.parameters);
        prefill(&call.arguments, &prefilled, schema.map_or("{}", |schema| schema.get()))
    }
}

fn solver(view: &StepView) -> Solver<'_> {
    // Not simply the last message: the input of a run that was cancelled while it waited may stand after it.
    let last_return = view
        .context
        .iter()
        .rev()
        .find_map(|message| message.tool_returns.last())
        .filter(|_| !view.tools_called.is_empty())
        .map(|returned| returned.content.clone());
    Solver::new(&view.config.tool_rules, view.tools_called.clone(), last_return)
}

/// Arguments as they are kept: an object without the arguments that only steer the loop. What is no object is empty.
fn cleaned(arguments: &str) -> String {
    let mut object: Map<String, Value> = serde_json::from_str(arguments).unwrap_or_default();
    for steering in ["request_heartbeat", "inner_thoughts", "thinking"] {
        object.remove(steering);
    }
    Value::Object(object).to_string()
}

/// A return no longer than tools may return. Searches bound themselves.
fn cut(returned: ToolReturn) -> ToolReturn {
    if returned.name == "conversation_search" && returned.status == ReturnStatus::Success {
        return returned;
    }
    ToolReturn {
        content: output::cut(&returned.content, RETURN_CHAR_LIMIT).into_owned(),
        ..returned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_only_steer_the_loop_are_not_kept() {
        assert_eq!(cleaned(r#"{"message":"hi","request_heartbeat":true}"#), r#"{"message":"hi"}"#);
        assert_eq!(cleaned("not json"), "{}");
        assert_eq!(cleaned("[1]"), "{}");
    }
}
