//! Tool calls with effects: written down before they are made, and closed whatever happens.

use retold_events::{
    Message as Stored, ReturnStatus, RunId, StepId, ToolCall, ToolReturn,
    agent::Event,
    log::Permit,
    run::{
        CallsResolved, EndStatus, Resolution, Said, StepOutcome, StopReason, ToolReturned,
        ToolsCalled,
    },
};
use retold_models::Finish;
use retold_snapshots::run::OpenCalls;
use tokio::sync::oneshot;

use super::{Live, end::interrupted, live::Draft, step::Effects};
use crate::{
    Refusal,
    block::{Held, NewBlock},
    rules::Solver,
    toolbox::{Executed, failed},
    turn::{Answer, CallsBegun, PartDelta, StepView},
};

impl Live {
    /// Writes down calls that are about to be made, and lets the turn make them once that is durable.
    pub(super) async fn calls_begun(
        &mut self,
        run: RunId,
        begun: CallsBegun,
        go_on: oneshot::Sender<()>,
    ) {
        if self.state.open_runs.get(&run).is_some_and(|open| open.cancel_requested) {
            // The cancel came first: none of them has had an effect, and none will.
            let (answer, tail) = match begun.said {
                Some(said) => (said.answer, said.tail),
                None => (Answer::default(), Vec::new()),
            };
            self.cut_short(run, answer, tail).await;
            return;
        }
        let permit = self.shared.log.reserve().await;
        let mut draft = self.draft();
        let CallsBegun { step, said, intents } = begun;
        let piecewise =
            self.state.open_runs.get(&run).is_some_and(|open| open.request.stream_tokens);
        let mut kept = None;
        if let Some(said) = said {
            let message = self.assistant(&draft, run, &said.answer, said.calls, Some(said.tokens));
            self.show_deltas(&mut draft, run, said.tail);
            kept = message.map(|message| Said {
                message,
                cut_by_length: said.finish == Finish::Length,
                usage: said.usage,
                prompt_hash: said.prompt_hash,
                model_started_at: said.timing.model_started_at,
                model_ns: said.timing.model_ns,
            });
        }
        let shown = kept.as_ref().map(|said| said.message.clone()).filter(|_| !piecewise);
        let called = ToolsCalled { run, step, said: kept, intents };
        self.record(&mut draft, Some(run), Event::ToolsCalled(called));
        if let Some(message) = shown {
            self.show_message(&mut draft, run, message);
        }
        self.queue_and_go_on(permit, draft, go_on);
    }

    /// Writes down what a call returned while others are still to be made.
    pub(super) async fn call_returned(
        &mut self,
        run: RunId,
        step: StepId,
        returned: ToolReturn,
        go_on: oneshot::Sender<()>,
    ) {
        let permit = self.shared.log.reserve().await;
        let mut draft = self.draft();
        let returned = ToolReturned { run, step, returned };
        self.record(&mut draft, Some(run), Event::ToolReturned(returned));
        self.queue_and_go_on(permit, draft, go_on);
    }

    fn queue_and_go_on(&mut self, permit: Permit, draft: Draft, go_on: oneshot::Sender<()>) {
        self.queue(permit, draft, None, move |durable| {
            if durable {
                // A turn that is gone has been cancelled meanwhile.
                let _ = go_on.send(());
            }
        });
    }

    /// The calls that waited for a decision are done: their returns enter the thread, and the loop goes on.
    pub(super) async fn calls_resolved(
        &mut self,
        run: RunId,
        executed: Vec<(ToolCall, Executed)>,
        next: oneshot::Sender<Option<StepView>>,
    ) -> Result<(), Refusal> {
        if self.state.open_runs.get(&run).is_some_and(|open| open.cancel_requested) {
            self.cut_short(run, Answer::default(), Vec::new()).await;
            return Ok(());
        }
        let entries = self.blocks_to_edit(&executed).await?;
        let permit = self.shared.log.reserve().await;
        let mut held = Held::lock(&entries);
        let mut draft = self.draft();
        let mut effects = Effects::default();
        let returns = self.run_calls(&mut draft, run, &executed, &mut held, &mut effects);
        let solver = Solver::new(&self.state.config.tool_rules, Vec::new(), None);
        let terminal = returns.iter().any(|returned| {
            returned.status == ReturnStatus::Success && solver.is_terminal(&returned.name)
        });
        self.resolve_draft(&mut draft, run, returns, Resolution::Client);
        self.recompile_after(&mut draft, run, &held, &effects);
        // To make calls that waited counts as a step of those that a request may take.
        let out_of_steps =
            self.state.open_runs.get(&run).is_some_and(|open| open.request.max_steps <= 1);
        let stop = match (terminal, out_of_steps) {
            (true, _) => Some(StopReason::ToolRule),
            (false, true) => Some(StopReason::MaxSteps),
            (false, false) => None,
        };
        let view = match stop {
            Some(stop_reason) => {
                self.end_run(&mut draft, run, EndStatus::Completed, stop_reason, None);
                None
            }
            None => self.begin_step(&mut draft, run),
        };
        self.queue_step(permit, draft, held, effects, next, view);
        Ok(())
    }

    /// Gives the calls that wait in the thread of `run` their returns.
    pub(super) fn resolve_draft(
        &mut self,
        draft: &mut Draft,
        run: RunId,
        returns: Vec<ToolReturn>,
        by: Resolution,
    ) {
        let Some(open) = self.state.open_runs.get(&run) else { return };
        let conversation = open.request.conversation;
        let place = self.before_what_is_said(draft, run, conversation);
        let Some(pending) = self.state.threads.get(&conversation).and_then(|it| it.pending())
        else {
            return;
        };
        let Some(step) = pending.step else { return };
        let message = Stored { step: Some(step), ..self.tool_message(place, returns) };
        let resolved = CallsResolved { run, step, message: message.clone(), by };
        self.record(draft, Some(run), Event::CallsResolved(resolved));
        self.show_message(draft, run, message);
    }

    /// Closes calls that were begun, whatever came of them, and ends their run.
    fn close_calls(&mut self, draft: &mut Draft, run: RunId, calls: OpenCalls) {
        let Some(open) = self.state.open_runs.get(&run) else { return };
        let by_request = open.cancel_requested;
        let conversation = open.request.conversation;
        let why = if by_request { Why::Cancelled } else { Why::Stopped };
        let close = |all: &[ToolCall]| {
            all.iter().map(|call| closed(call, &calls, why)).collect::<Vec<ToolReturn>>()
        };
        match &calls.said {
            Some(said) => {
                let returns = close(&said.message.tool_calls);
                let message = self.tool_message(self.of_step(draft, run), returns);
                self.show_message(draft, run, message.clone());
                let messages = vec![said.message.clone(), message];
                let stop_reason =
                    if by_request { StopReason::Cancelled } else { StopReason::Error };
                self.record_step(draft, run, StepOutcome::Cancelled, messages, |ended| {
                    ended.usage = said.usage;
                    ended.prompt_hash = Some(said.prompt_hash);
                    ended.timing.model_started_at = said.model_started_at;
                    ended.timing.model_ns = said.model_ns;
                    ended.stop_reason = Some(stop_reason);
                });
            }
            None => {
                let held: Vec<ToolCall> = self
                    .state
                    .threads
                    .get(&conversation)
                    .map(|thread| thread.held_calls().into_iter().cloned().collect())
                    .unwrap_or_default();
                self.resolve_draft(draft, run, close(&held), Resolution::Cancelled);
            }
        }
        if by_request {
            self.end_run(draft, run, EndStatus::Cancelled, StopReason::Cancelled, None);
        } else {
            self.end_run(draft, run, EndStatus::Failed, StopReason::Error, Some(interrupted()));
        }
    }

    /// What the turn reports of a step's calls, made durable; then the turn goes on.
    pub(super) fn queue_step(
        &mut self,
        permit: Permit,
        draft: Draft,
        held: Held<'_>,
        effects: Effects,
        next: oneshot::Sender<Option<StepView>>,
        view: Option<StepView>,
    ) {
        let Effects { edited, new_blocks } = effects;
        let held = (held.edited()).then_some(held);
        let (shared, agent) = (self.shared.clone(), self.id());
        self.queue(permit, draft, held, move |durable| {
            if durable {
                shared.tell_edited(agent, edited);
                // A turn that is gone has been cancelled meanwhile.
                let _ = next.send(view);
            }
        });
        for new in new_blocks {
            if let Some(ticket) = self.ticket {
                self.shared.blocks.created(new, ticket);
            }
        }
    }

    /// The system message after edits of memory.
    pub(super) fn recompile_after(
        &mut self,
        draft: &mut Draft,
        run: RunId,
        held: &Held<'_>,
        effects: &Effects,
    ) {
        if held.edited() || !effects.new_blocks.is_empty() {
            let mut seen = held.seen(&self.state.blocks);
            seen.extend(effects.new_blocks.iter().map(NewBlock::seen));
            let conversation =
                self.state.open_runs.get(&run).and_then(|open| open.request.conversation);
            self.recompile_draft(draft, conversation, &seen, false);
        }
    }

    /// What the model said in the step under way, where it was written down with its calls.
    pub(super) fn said_before(&self, run: RunId) -> Option<Stored> {
        let calls = self.state.open_runs.get(&run)?.calls.as_ref()?;
        calls.said.as_ref().map(|said| said.message.clone())
    }

    /// Ends a run that is cut short in the calls of a step. `tail` is what was said last and not reported yet.
    pub(super) fn cut_short_in_calls(
        &mut self,
        draft: &mut Draft,
        run: RunId,
        tail: Vec<PartDelta>,
    ) {
        let calls = self.state.open_runs.get(&run).and_then(|open| open.calls.clone());
        if let Some(calls) = calls {
            self.show_deltas(draft, run, tail);
            self.close_calls(draft, run, calls);
        }
    }
}

/// Why calls end without having returned.
#[derive(Debug, Clone, Copy)]
enum Why {
    Cancelled,
    Stopped,
}

/// The return of a call that is over, whatever came of it.
fn closed(call: &ToolCall, calls: &OpenCalls, why: Why) -> ToolReturn {
    if let Some(before) = calls.returned.iter().find(|returned| returned.call_id == call.id) {
        return before.clone();
    }
    let begun = calls.intents.iter().any(|intent| intent.call_id == call.id);
    let error = match (why, begun) {
        (Why::Cancelled, true) => {
            "the run was cancelled while this tool was running; it may have taken effect"
        }
        (Why::Cancelled, false) => "the run was cancelled before this tool was run",
        (Why::Stopped, true) => {
            "the server stopped while this tool was running, so it is not known whether it took effect"
        }
        (Why::Stopped, false) => "the server stopped before this tool was run",
    };
    failed(call, error.to_owned())
}
