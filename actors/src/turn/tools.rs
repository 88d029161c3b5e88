//! The calling of tools: which of an answer's calls are run, and with what arguments.

use retold_events::{ReturnStatus, ToolCall, ToolReturn};
use serde_json::{Map, Value};

use super::{Answer, StepView, Turn};
use crate::{
    prompt::request::{Offer, solver},
    rules::{Solver, prefill},
    tool::{RETURN_CHAR_LIMIT, output},
    toolbox::{Call, Executed, failed},
};

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
