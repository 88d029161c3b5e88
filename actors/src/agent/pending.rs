//! Calls that wait in a thread for a person or for the client: who may answer, and what becomes of them when nobody does.

use std::collections::BTreeSet;

use retold_events::{
    ConversationId, Message as Stored, Role, RunId, Timestamp, ToolCall,
    agent::Event,
    defect::Defect,
    run::{CallsResolved, Decision, Input, Resolution, RunError},
};
use retold_snapshots::{Thread, run::OpenRun};

use super::{Live, live::Draft};
use crate::{
    Refusal, prompt,
    run::Prepared,
    tool::caller::Caller,
    turn::{HeldCalls, denied},
};

/// Messages at the end of a thread among which the returns of a repeated answer are looked for.
const REPEATED_WITHIN: usize = 10;
/// Characters that a client's return may have at least, whatever the context window.
const RETURN_CHARACTERS: usize = 5_000;

impl Live {
    /// Checks what a request says of calls that wait, where no other run has to be waited for, and puts its answers into
    /// the form in which they are kept.
    pub(super) fn check_decisions(
        &self,
        send: &mut Prepared,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let conversation = send.request.conversation;
        let Some(thread) = self.state.threads.get(&conversation) else { return Ok(()) };
        let of_thread = |run: &&OpenRun| run.request.conversation == conversation;
        let open: Vec<&OpenRun> = self.state.open_runs.values().filter(of_thread).collect();
        if !open.is_empty() {
            if let Some(pending) = thread.pending() {
                send.decisions = named_by_call(pending, std::mem::take(&mut send.decisions));
            }
            // The answer is kept in case the one before it comes to nothing.
            if send.input.is_empty() && open.iter().any(|run| repeats(&send.decisions, run)) {
                send.input.push(self.go_on(now));
            }
            return Ok(());
        }
        match thread.pending().filter(|pending| !self.has_expired(pending, now)) {
            Some(pending) if send.decisions.is_empty() => {
                Err(Refusal::PendingApproval { request: pending.id })
            }
            Some(pending) => {
                send.decisions = named_by_call(pending, std::mem::take(&mut send.decisions));
                matching(pending, &send.decisions).map_err(Refusal::Invalid)
            }
            None if send.decisions.is_empty() => Ok(()),
            None if were_answered(thread, &send.decisions) => {
                send.decisions.clear();
                if send.input.is_empty() {
                    send.input.push(self.go_on(now));
                }
                Ok(())
            }
            None => Err(Refusal::Invalid(NOTHING_WAITS.to_owned())),
        }
    }

    /// What a repeated answer without a message of its own says to the model.
    fn go_on(&self, now: Timestamp) -> Input {
        let reason = "the tool calls were decided before; go on";
        let text = prompt::note::heartbeat(reason, now, &self.state.config.timezone);
        Input {
            role: Role::User,
            tokens: retold_models::tokens::count(&text),
            content: vec![retold_events::Part::Text { text }],
            name: None,
            otid: self.shared.options.ids.next(now).to_string(),
            sender: None,
        }
    }

    /// Whether a request for calls has waited for too long.
    pub(super) fn has_expired(&self, pending: &Stored, now: Timestamp) -> bool {
        let waited = now.nanos_since(pending.created_at);
        u128::from(waited) >= self.shared.options.approval_timeout.as_nanos()
            && !Defect::WaitsForEver.is_on()
    }

    /// Denies what waits in a thread for too long already.
    pub(super) fn deny_expired(&mut self, draft: &mut Draft, conversation: Option<ConversationId>) {
        let pending = self.state.threads.get(&conversation).and_then(Thread::pending);
        if pending.is_some_and(|pending| self.has_expired(pending, draft.now)) {
            self.deny(draft, conversation, Resolution::Expired);
        }
    }

    /// Denies what waits for too long, in every thread whose next run does not do so itself.
    pub(super) async fn deny_all_expired(&mut self) {
        let permit = self.shared.log.reserve().await;
        let mut draft = self.draft();
        let free = |it: &Option<ConversationId>| self.state.running(*it).is_none();
        let threads: Vec<_> = self.state.threads.keys().copied().filter(free).collect();
        for conversation in threads {
            self.deny_expired(&mut draft, conversation);
        }
        if !draft.is_empty() {
            self.queue(permit, draft, None, |_| ());
        }
    }

    /// Gives calls that nobody decided a return that says so. Nothing of theirs was made.
    pub(super) fn deny(
        &mut self,
        draft: &mut Draft,
        conversation: Option<ConversationId>,
        by: Resolution,
    ) {
        let Some(thread) = self.state.threads.get(&conversation) else { return };
        let Some(pending) = thread.pending() else { return };
        let (Some(run), Some(step)) = (pending.run, pending.step) else { return };
        let reason = match by {
            Resolution::Cancelled => "the request was cancelled",
            Resolution::Expired => "nobody answered in time",
            Resolution::Client => "the client said nothing of it",
        };
        let returns =
            thread.held_calls().into_iter().map(|call| denied(call, Some(reason))).collect();
        let holder = self.state.running(conversation).map(|open| open.id);
        let place = match holder {
            Some(holder) => self.before_what_is_said(draft, holder, conversation),
            None => Stored::new(self.next_message(draft), Role::Tool, draft.now),
        };
        let place = Stored { run: Some(run), step: Some(step), conversation, ..place };
        let message = self.tool_message(place, returns);
        let resolved = CallsResolved { run, step, message, by };
        self.record(draft, Some(run), Event::CallsResolved(resolved));
    }

    /// Denies what waits where a cancel means it: all of the agent, or the run that asked by its name; gives the runs that
    /// asked. A run that answers is cancelled itself, and what it has made is closed with it.
    pub(super) fn deny_cancelled(
        &mut self,
        draft: &mut Draft,
        named: Option<&BTreeSet<RunId>>,
    ) -> BTreeSet<RunId> {
        let meant = |(conversation, thread): (&Option<ConversationId>, &Thread)| {
            let asked = thread.pending()?.run?;
            let is_meant = named.is_none_or(|named| named.contains(&asked));
            let is_answered = self.state.running(*conversation).is_some();
            (is_meant && !is_answered).then_some((*conversation, asked))
        };
        let meant: Vec<_> = self.state.threads.iter().filter_map(meant).collect();
        for (conversation, _) in &meant {
            self.deny(draft, *conversation, Resolution::Cancelled);
        }
        meant.into_iter().map(|(_, asked)| asked).collect()
    }

    /// The calls that a run answers, as its turn begins; `None` when it answers none.
    ///
    /// # Errors
    /// Why the run cannot begin: what it says of waiting calls, or does not say, does not fit what waits.
    pub(super) fn held_for(&self, run: RunId) -> Result<Option<HeldCalls>, RunError> {
        let Some(open) = self.state.open_runs.get(&run) else { return Ok(None) };
        let Some(thread) = self.state.threads.get(&open.request.conversation) else {
            return Ok(None);
        };
        let Some(pending) = thread.pending() else {
            return if open.decisions.is_empty() || were_answered(thread, &open.decisions) {
                Ok(None)
            } else {
                Err(invalid_decision(NOTHING_WAITS.to_owned()))
            };
        };
        if open.decisions.is_empty() {
            return Err(RunError {
                error_type: "pending_approval".to_owned(),
                ..invalid_decision(PENDING.to_owned())
            });
        }
        let decisions = named_by_call(pending, open.decisions.to_vec());
        matching(pending, &decisions).map_err(invalid_decision)?;
        let Some(step) = pending.step else { return Ok(None) };
        let decision = |call: &ToolCall| {
            decisions.iter().find(|decision| decision.call_id() == call.id).cloned()
        };
        let calls = thread.held_calls().into_iter();
        let window = self.state.config.model.context_window as usize;
        Ok(Some(HeldCalls {
            step,
            caller: Caller::of(&self.state),
            calls: calls.map(|call| (call.clone(), decision(call))).collect(),
            tools: self.state.tools.clone(),
            return_limit: RETURN_CHARACTERS.max(window * 4 / 5),
            begun: open.calls.as_ref().map(|calls| (calls.intents.clone(), calls.returned.clone())),
        }))
    }
}

/// What a message meets while calls wait.
pub(crate) const PENDING: &str = "Please approve or deny the pending request before continuing";
const NOTHING_WAITS: &str = "Cannot process approval response: No tool call is currently awaiting approval. Send a regular \
    message instead";

fn invalid_decision(message: String) -> RunError {
    RunError {
        error_type: "invalid_approval".to_owned(),
        message,
        detail: None,
        retry_after_s: None,
    }
}

/// Decisions by the ids of calls: an older client names the message that asks, and means all of its calls.
fn named_by_call(pending: &Stored, decisions: Vec<Decision>) -> Vec<Decision> {
    let asks = pending.id.to_string();
    let named = |decision: Decision| match decision {
        Decision::Approval { call_id, approve, reason } if call_id == asks => pending
            .tool_calls
            .iter()
            .map(|call| Decision::Approval {
                call_id: call.id.clone(),
                approve,
                reason: reason.clone(),
            })
            .collect(),
        decision @ (Decision::Approval { .. } | Decision::Returned(_)) => vec![decision],
    };
    decisions.into_iter().flat_map(named).collect()
}

/// Whether there is one decision about each of the calls that wait, and no other.
fn matching(pending: &Stored, decisions: &[Decision]) -> Result<(), String> {
    let mut expected: Vec<&str> = pending.tool_calls.iter().map(|call| call.id.as_str()).collect();
    let mut received: Vec<&str> = decisions.iter().map(Decision::call_id).collect();
    expected.sort_unstable();
    received.sort_unstable();
    if expected == received {
        return Ok(());
    }
    Err(format!("Invalid tool call IDs. Expected {expected:?}, but received {received:?}"))
}

/// Whether the calls were decided a moment ago: the same answer came twice. An older client names the message that asked:
/// nothing waits in the thread, so what that asked for was decided.
fn were_answered(thread: &Thread, decisions: &[Decision]) -> bool {
    let waits = thread.pending().map(|pending| pending.id);
    let was_decided = |id: &str| {
        let mut last = thread.context.iter().rev().take(REPEATED_WITHIN);
        last.any(|message| {
            let asked = message.role == Role::Approval && message.id.to_string() == id;
            (asked && waits != Some(message.id))
                || message.tool_returns.iter().any(|returned| returned.call_id == id)
        })
    };
    decisions.iter().all(|decision| was_decided(decision.call_id()))
}

/// Whether a run that has not ended brought the same answer.
fn repeats(decisions: &[Decision], run: &OpenRun) -> bool {
    let brought = |id: &str| run.decisions.iter().any(|decision| decision.call_id() == id);
    !decisions.is_empty() && decisions.iter().all(|decision| brought(decision.call_id()))
}
