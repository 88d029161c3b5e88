//! The calling of tools: which of an answer's calls are made, with what arguments, and in what order.
//!
//! First all calls of an answer are judged, then those with effects outside the server are written down, then they are
//! made. So a turn that is cut anywhere leaves behind what may have happened, and a turn that takes over knows it.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::try_join_all;
use retold_events::{
    ReturnStatus, StepId, ToolCall, ToolId, ToolReturn,
    agent::{Config, ToolRule, ToolRuleKind},
    defect::Defect,
    run::Intent,
};
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::{Cut, ReportKind, StepView, Turn};
use crate::{
    prompt::request::{Attached, Offer, solver},
    rules::{Solver, prefill},
    tool::{caller::Caller, output},
    toolbox::{Call, Effect, Executed, failed},
};

/// Why a call with an effect was not made a second time.
const UNKNOWN_OUTCOME: &str = "the server stopped while this tool was running, so it is not known whether it took effect; \
    check before calling it again";
/// Why a call was not made though the model made it.
const NOT_MADE: &str =
    "the server stopped before this tool was run; call it again if it is still needed";

/// What is to become of a call.
#[derive(Debug)]
pub(super) enum Plan {
    /// It is not made; this is its return.
    Refused(ToolReturn),
    /// It has no effect outside the server.
    Free(ToolId),
    /// It has.
    Effect(ToolId, Effect),
    /// A person or the client decides.
    Waits,
}

/// A call with what is to become of it.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) call: ToolCall,
    pub(super) plan: Plan,
}

/// What is to become of the calls of an answer.
#[derive(Debug, Default)]
pub(super) struct Plans {
    /// The calls that are kept, in their order.
    pub(super) planned: Vec<Planned>,
    /// Names of those that no rule forbids.
    pub(super) called: Vec<String>,
    /// Whether a call was made in a way that ends the run: with arguments that a rule's do not fit.
    pub(super) invalid_call: bool,
}

impl Plans {
    /// Judges calls of an answer. What is not allowed is not made, and the model is told so.
    pub(super) fn of(turn: &Turn, view: &StepView, offer: &Offer, calls: &[ToolCall]) -> Self {
        let mut plans = Self::default();
        let names: Vec<&str> = offer.attached.iter().map(|tool| tool.name.as_str()).collect();
        let mut solver = solver(view);
        for call in calls {
            let schema = offer.parameters(&call.name);
            let mut call = ToolCall { arguments: cleaned(&call.arguments, schema), ..call.clone() };
            let plan = match solver.check(&call.name, &names) {
                Err(error) => Plan::Refused(failed(&call, error)),
                Ok(()) => {
                    let plan = match with_prefilled(&solver, offer, &call) {
                        Err(error) => {
                            plans.invalid_call = true;
                            Plan::Refused(failed(&call, error))
                        }
                        Ok(arguments) => {
                            call.arguments = arguments;
                            turn.plan(&view.config, offer, &call)
                        }
                    };
                    // Rules that look at returns allow one call in a step: none of this answer's can follow it.
                    solver.called(&call.name, "");
                    plans.called.push(call.name.clone());
                    plan
                }
            };
            plans.planned.push(Planned { call, plan });
        }
        plans
    }

    pub(super) fn waits(&self) -> bool {
        self.planned.iter().any(|planned| matches!(planned.plan, Plan::Waits))
    }

    /// None of the calls is made before a person or the client has decided about some.
    pub(super) fn held(self) -> Vec<(ToolCall, Executed)> {
        let held = |Planned { call, plan }| match plan {
            Plan::Waits => (call, Executed::Waits),
            Plan::Refused(_) | Plan::Free(_) | Plan::Effect(..) => (call, Executed::Held),
        };
        self.planned.into_iter().map(held).collect()
    }
}

/// The calls with effects, as they are written down before they are made.
pub(super) fn intents(step: StepId, planned: &[Planned]) -> Vec<Intent> {
    let intent = |planned: &Planned| match &planned.plan {
        Plan::Effect(tool, effect) => Some(Intent {
            call_id: planned.call.id.clone(),
            tool: *tool,
            is_idempotent: effect.is_idempotent,
            key: key(step, &planned.call.id),
        }),
        Plan::Refused(_) | Plan::Free(_) | Plan::Waits => None,
    };
    planned.iter().filter_map(intent).collect()
}

/// Lets a turn take over calls that an earlier one had begun: what came back is kept, what may have happened is made
/// again only where that does no harm.
pub(super) fn taken_over(
    planned: Vec<Planned>,
    intents: &[Intent],
    returned: &[ToolReturn],
) -> Vec<Planned> {
    let take_over = |Planned { call, plan }: Planned| {
        let intent = intents.iter().find(|intent| intent.call_id == call.id);
        let before = returned.iter().find(|returned| returned.call_id == call.id);
        let plan = match (before, intent, plan) {
            (Some(before), ..) => Plan::Refused(before.clone()),
            (None, Some(intent), plan @ Plan::Effect(..))
                if intent.is_idempotent || Defect::CallMadeAgain.is_on() =>
            {
                plan
            }
            (None, Some(_), _) => Plan::Refused(failed(&call, UNKNOWN_OUTCOME.to_owned())),
            (None, None, Plan::Effect(..) | Plan::Waits) => {
                Plan::Refused(failed(&call, NOT_MADE.to_owned()))
            }
            (None, None, plan @ (Plan::Free(_) | Plan::Refused(_))) => plan,
        };
        Planned { call, plan }
    };
    planned.into_iter().map(take_over).collect()
}

/// The same for every attempt of a call, and no other call's.
fn key(step: StepId, call_id: &str) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(step.as_bytes());
    hasher.update(call_id.as_bytes());
    let mut key = [0; 16];
    hasher.finalize_xof().fill(&mut key);
    key
}

impl Turn {
    fn plan(&self, config: &Config, offer: &Offer, call: &ToolCall) -> Plan {
        let attached = offer.attached.iter().find(|tool| tool.name == call.name);
        match attached {
            Some(attached) if must_ask(config, attached) => Plan::Waits,
            Some(Attached { tool: Some(tool), .. }) => self.plan_of(*tool),
            Some(Attached { tool: None, .. }) | None => {
                Plan::Refused(failed(call, format!("there is no tool named {:?}", call.name)))
            }
        }
    }

    /// What is to become of a call that nobody has to decide about.
    pub(super) fn plan_of(&self, tool: ToolId) -> Plan {
        self.shared
            .toolbox
            .effect(tool)
            .map_or(Plan::Free(tool), |effect| Plan::Effect(tool, effect))
    }

    /// Makes the calls, in their order; neighbours that may be made side by side are. What came of a call with an effect
    /// is written down before the next one is made.
    pub(super) async fn make(
        &self,
        step: StepId,
        caller: &Caller,
        planned: Vec<Planned>,
    ) -> Result<Vec<(ToolCall, Executed)>, Cut> {
        let effects = planned.iter().filter(|it| matches!(it.plan, Plan::Effect(..))).count();
        let left = &AtomicUsize::new(effects);
        let mut made = Vec::with_capacity(planned.len());
        for group in planned.chunk_by(|one, next| is_parallel(one) && is_parallel(next)) {
            let calls = group.iter().map(|planned| async move {
                let executed = self.make_one(step, caller, planned).await;
                if matches!(planned.plan, Plan::Effect(..)) {
                    // The end of the step says what the last one returned.
                    let is_last = left.fetch_sub(1, Ordering::Relaxed) == 1;
                    // Not once all of its neighbours are back: one of them may never be.
                    if let (Executed::Returned(returned), false) = (&executed, is_last) {
                        self.returned(step, returned.clone()).await?;
                    }
                }
                Ok::<_, Cut>((planned.call.clone(), executed))
            });
            made.extend(try_join_all(calls).await?);
        }
        Ok(made)
    }

    async fn make_one(&self, step: StepId, caller: &Caller, planned: &Planned) -> Executed {
        let call = &planned.call;
        let tool = match &planned.plan {
            Plan::Refused(returned) => return Executed::Returned(returned.clone()),
            Plan::Waits => return Executed::Waits,
            Plan::Free(tool) | Plan::Effect(tool, _) => *tool,
        };
        let (agent, run, depth) = (self.agent, self.run, self.depth);
        let (conversation, key) = (self.request.conversation, key(step, &call.id));
        let timezone = &caller.config.timezone;
        let call = Call { agent, run, conversation, depth, caller, timezone, tool, call, key };
        match self.shared.toolbox.execute(call).await {
            Executed::Returned(returned) => Executed::Returned(self.cut(tool, returned)),
            executed @ (Executed::Memory(_) | Executed::Waits | Executed::Held) => executed,
        }
    }

    /// A return no longer than its tool may return. Searches bound themselves.
    fn cut(&self, tool: ToolId, returned: ToolReturn) -> ToolReturn {
        match self.shared.toolbox.return_limit(tool) {
            Some(limit) => ToolReturn {
                content: output::cut(&returned.content, limit).into_owned(),
                ..returned
            },
            None if returned.status == ReturnStatus::Success => returned,
            None => ToolReturn {
                content: output::cut(&returned.content, crate::tool::RETURN_CHAR_LIMIT)
                    .into_owned(),
                ..returned
            },
        }
    }

    async fn returned(&self, step: StepId, returned: ToolReturn) -> Result<(), Cut> {
        let (reply, recorded) = oneshot::channel();
        self.report(ReportKind::Returned(step, Box::new(returned), reply));
        recorded.await.map_err(|_| Cut::Abandoned)
    }
}

/// Whether a person or the client decides about calls of a tool.
pub(super) fn must_ask(config: &Config, tool: &Attached) -> bool {
    let asks =
        |rule: &ToolRule| rule.tool == tool.name && rule.kind == ToolRuleKind::RequiresApproval;
    tool.tool.is_none() || config.tool_rules.iter().any(asks)
}

fn is_parallel(planned: &Planned) -> bool {
    matches!(planned.plan, Plan::Effect(_, Effect { is_parallel: true, .. }))
}

/// The arguments of a call with those that a rule sets put over the model's.
fn with_prefilled(solver: &Solver<'_>, offer: &Offer, call: &ToolCall) -> Result<String, String> {
    let Some(prefilled) = solver.prefilled(&call.name) else {
        return Ok(call.arguments.clone());
    };
    prefill(&call.arguments, &prefilled, offer.parameters(&call.name))
}

/// Arguments as they are kept: an object without the arguments that only steer the loop, unless the tool itself has one of
/// that name. What is no object is empty.
fn cleaned(arguments: &str, schema: &str) -> String {
    let mut object: Map<String, Value> = serde_json::from_str(arguments).unwrap_or_default();
    object.remove("request_heartbeat");
    if ["inner_thoughts", "thinking"].iter().any(|&thought| object.contains_key(thought)) {
        let schema: Value = serde_json::from_str(schema).unwrap_or_default();
        object.retain(|name, _| {
            !matches!(name.as_str(), "inner_thoughts" | "thinking")
                || schema["properties"].get(name).is_some()
        });
    }
    Value::Object(object).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_that_only_steer_the_loop_are_not_kept() {
        let cleaned = |arguments| cleaned(arguments, r#"{"properties":{"thinking":{}}}"#);
        assert_eq!(cleaned(r#"{"message":"hi","request_heartbeat":true}"#), r#"{"message":"hi"}"#);
        assert_eq!(cleaned(r#"{"inner_thoughts":"hm","message":"hi"}"#), r#"{"message":"hi"}"#);
        assert_eq!(cleaned(r#"{"thinking":"its own"}"#), r#"{"thinking":"its own"}"#);
        assert_eq!(cleaned("not json"), "{}");
        assert_eq!(cleaned("[1]"), "{}");
    }
}
