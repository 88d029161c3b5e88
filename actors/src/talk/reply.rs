//! What an agent answered: what its run said to whoever sent the message.

use retold_events::{
    AgentId, Message, Part, Role, RunId,
    agent::AgentType,
    run::{EndStatus, StopReason},
};
use retold_snapshots::{
    query::{self, Order, Page},
    row::{RunRow, RunStatus},
};
use serde_json::Value;

use crate::{Host, Refusal};

/// What stands for an answer where nothing was said.
const NOTHING: &str = "<no response>";

/// What an ended run answered.
///
/// # Errors
/// A sentence for the model: the run did not end well, or is gone.
pub(super) async fn of(host: &Host, run: RunId) -> Result<Vec<String>, String> {
    let text = |refusal: Refusal| refusal.to_string();
    let row = host.run(run).await.map_err(text)?;
    check(&row)?;
    let agent_type = host.agent(row.agent).await.map_err(text)?.state.config.agent_type;
    let read = host.read(move |store| {
        Ok(query::run_messages(store, &row, &Page::first(usize::MAX, Order::Asc)))
    });
    let messages = read.await.map_err(text)?.map_err(|error| error.to_string())?;
    let said: Vec<String> = messages.iter().flat_map(|message| said(message, agent_type)).collect();
    Ok(if said.is_empty() { vec![NOTHING.to_owned()] } else { said })
}

fn check(row: &RunRow) -> Result<(), String> {
    let who: AgentId = row.agent;
    match (row.status, row.stop_reason) {
        (_, Some(StopReason::RequiresApproval)) => Err(format!(
            "{who} has not answered: it waits for a person to agree to a tool call of its own"
        )),
        (RunStatus::Ended(EndStatus::Completed), _) => Ok(()),
        (RunStatus::Ended(EndStatus::Cancelled), _) => {
            Err(format!("{who} has not answered: its run was cancelled"))
        }
        (RunStatus::Ended(EndStatus::Failed), _) => {
            let why = row.error.as_ref().map_or("its run failed", |error| &error.message);
            Err(format!("{who} has not answered: {why}"))
        }
        (RunStatus::Created | RunStatus::Running, _) => Err(format!("{who} has not answered yet")),
    }
}

/// The texts that a message says to whoever sent to the agent.
fn said(message: &Message, agent_type: AgentType) -> Vec<String> {
    if message.role != Role::Assistant {
        return Vec::new();
    }
    match agent_type {
        AgentType::LettaV1 => {
            let text = |part: &Part| match part {
                Part::Text { text } if !text.is_empty() => Some(text.clone()),
                Part::Text { .. }
                | Part::Reasoning { .. }
                | Part::RedactedReasoning { .. }
                | Part::Image(_) => None,
            };
            message.content.iter().filter_map(text).collect()
        }
        // These speak by a tool; what else they write is their own thought.
        AgentType::Memgpt | AgentType::MemgptV2 => {
            let calls = message.tool_calls.iter().filter(|call| call.name == "send_message");
            let text = |arguments: &str| {
                let arguments: Value = serde_json::from_str(arguments).ok()?;
                Some(arguments.get("message")?.as_str()?.to_owned())
            };
            calls.filter_map(|call| text(&call.arguments)).collect()
        }
    }
}
