//! The calls that waited for a decision, made or refused as it says.

use retold_events::{
    ReturnStatus, StepId, ToolCall, ToolId, ToolReturn,
    run::{Decision, Intent},
};
use tokio::sync::oneshot;

use super::{
    Cut, ReportKind, StepView, Turn, next_view,
    report::CallsBegun,
    tools::{Plan, Planned, intents, taken_over},
};
use crate::{
    tool::{caller::Caller, output},
    toolbox::{failed, returned},
};

/// Calls that waited in a thread, and what was decided of them.
#[derive(Debug)]
pub(crate) struct HeldCalls {
    /// The step that made them.
    pub(crate) step: StepId,
    /// The agent as it was when the run's turn came.
    pub(crate) caller: Caller,
    /// Each with the decision about it; `None` for one that waited for the others only.
    pub(crate) calls: Vec<(ToolCall, Option<Decision>)>,
    /// The agent's tools.
    pub(crate) tools: Vec<ToolId>,
    /// Characters that a client's return may have.
    pub(crate) return_limit: usize,
    /// Those that an earlier turn had begun, with what came back of them.
    pub(crate) begun: Option<(Vec<Intent>, Vec<ToolReturn>)>,
}

impl Turn {
    /// Makes the calls that may be made, and gives the view of the step that follows.
    pub(super) async fn resolve(&self, held: HeldCalls) -> Result<StepView, Cut> {
        let HeldCalls { step, caller, calls, tools, return_limit, begun } = held;
        let planned = calls
            .into_iter()
            .map(|(call, decision)| {
                let plan = self.plan_decided(&call, decision, &tools, return_limit);
                Planned { call, plan }
            })
            .collect();
        let planned = match &begun {
            Some((intents, returned)) => taken_over(planned, intents, returned),
            None => planned,
        };
        let intents = intents(step, &planned);
        if begun.is_none() && !intents.is_empty() {
            self.begin_calls(CallsBegun { step, said: None, intents }).await?;
        }
        let made = tokio::select! {
            biased;
            () = self.token.cancelled() => return Err(Cut::Cancelled(Box::default())),
            made = self.make(step, &caller, planned) => made?,
        };
        let (reply, next) = oneshot::channel();
        self.report(ReportKind::Resolved(made, reply));
        next_view(next).await
    }

    fn plan_decided(
        &self,
        call: &ToolCall,
        decision: Option<Decision>,
        tools: &[ToolId],
        return_limit: usize,
    ) -> Plan {
        match decision {
            Some(Decision::Returned(of_client)) => Plan::Refused(ToolReturn {
                call_id: call.id.clone(),
                name: call.name.clone(),
                content: output::cut(&of_client.content, return_limit).into_owned(),
                ..of_client
            }),
            Some(Decision::Approval { approve: false, reason, .. }) => {
                Plan::Refused(denied(call, reason.as_deref()))
            }
            Some(Decision::Approval { approve: true, .. }) | None => {
                let named = |id: &&ToolId| {
                    self.shared.toolbox.known(**id).is_some_and(|tool| tool.name == call.name)
                };
                match tools.iter().find(named) {
                    Some(&tool) => self.plan_of(tool),
                    None => Plan::Refused(failed(
                        call,
                        format!(
                            "the server has no tool {:?} for this agent: it is not attached any more, or the client runs \
                             it and sends what it returned",
                            call.name
                        ),
                    )),
                }
            }
        }
    }
}

/// The return of a call that was denied.
pub(crate) fn denied(call: &ToolCall, reason: Option<&str>) -> ToolReturn {
    let reason = reason.unwrap_or("None");
    let content = format!("Error: request to call tool denied. User reason: {reason}");
    returned(call, ReturnStatus::Error, content, Vec::new())
}
