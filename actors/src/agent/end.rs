//! How runs end: by themselves, by failure, by request, by the end of the process.

use std::collections::BTreeSet;

use retold_events::{
    Message as Stored, MessageId, ReturnStatus, Role, RunId, ToolReturn,
    agent::Event,
    defect::Defect,
    output::Output,
    run::{
        CallbackSent, CancelRequested, EndStatus, Ended, Resolution, RunError, StepOutcome,
        StopReason,
    },
    store::Table,
};
use retold_snapshots::{
    row::{RunRow, RunStatus, decode},
    run::input_message,
};

use super::{Gated, Live, Message, Reply, live::Draft};
use crate::{
    CallbackResult, Refusal,
    prompt::stock::MESSAGE_SENT,
    run::{CancelOutcome, INTERRUPTED},
    toolbox::returned,
    turn::{Answer, Failure, PartDelta},
};

pub(super) use crate::run::interrupted;

/// Somebody who waits until runs have ended.
#[derive(Debug)]
pub(super) struct CancelWait {
    pending: BTreeSet<RunId>,
    outcomes: Vec<(RunId, CancelOutcome)>,
    reply: Reply<Vec<(RunId, CancelOutcome)>>,
}

impl Live {
    /// Cancels runs; where none is named, all open ones and those that ended with calls which wait. Answers once each has
    /// ended.
    pub(super) async fn cancel(
        &mut self,
        runs: Option<Vec<RunId>>,
        reply: Reply<Vec<(RunId, CancelOutcome)>>,
    ) {
        let named = runs.is_some();
        let targets: BTreeSet<RunId> = match runs {
            Some(runs) => runs.into_iter().collect(),
            None => self.state.open_runs.keys().copied().collect(),
        };
        let mut wait = CancelWait { pending: BTreeSet::new(), outcomes: Vec::new(), reply };
        for &run in targets.iter().filter(|run| !self.state.open_runs.contains_key(run)) {
            match self.ended_outcome(run).await {
                Ok(outcome) => wait.outcomes.push((run, outcome)),
                Err(refusal) => {
                    wait.reply.send(Err(refusal));
                    return;
                }
            }
        }
        let permit = self.shared.log.reserve().await;
        let mut draft = self.draft();
        let mut trip = Vec::new();
        let denied = self.deny_cancelled(&mut draft, named.then_some(&targets));
        wait.outcomes.retain(|(run, _)| !denied.contains(run));
        wait.outcomes.extend(denied.into_iter().map(|run| (run, CancelOutcome::Cancelled)));
        for run in targets {
            let Some(open) = self.state.open_runs.get(&run) else { continue };
            let (requested, waits) = (open.cancel_requested, open.started.is_none());
            if !requested {
                self.record(&mut draft, Some(run), Event::CancelRequested(CancelRequested { run }));
            }
            if waits {
                self.end_waiting(&mut draft, run);
                wait.outcomes.push((run, CancelOutcome::Cancelled));
            } else {
                wait.pending.insert(run);
                trip.push(run);
            }
        }
        self.queue(permit, draft, None, |_| ());
        for run in trip {
            self.trip(run);
        }
        self.cancels.push(wait);
        self.answer_cancels();
    }

    /// What came of a run that is not open.
    async fn ended_outcome(&self, run: RunId) -> Result<CancelOutcome, Refusal> {
        Ok(match self.stored_run(run).await?.map(|row| row.status) {
            Some(RunStatus::Ended(_)) if Defect::CancelClaimed.is_on() => CancelOutcome::Cancelled,
            Some(RunStatus::Ended(status)) => CancelOutcome::AlreadyEnded(status),
            Some(RunStatus::Created | RunStatus::Running) | None => CancelOutcome::Unknown,
        })
    }

    /// The row of a run of this agent, once all that was queued before is in it.
    pub(super) async fn stored_run(&self, run: RunId) -> Result<Option<RunRow>, Refusal> {
        if let Some(ticket) = self.ticket {
            self.shared.log.durable(ticket).await?;
        }
        let bytes =
            self.shared.log.read_inline(|store| store.row(Table::Runs, run.as_bytes())).await?;
        let row = bytes.and_then(|bytes| decode::<RunRow>(&bytes).ok());
        Ok(row.filter(|row| row.agent == self.id()))
    }

    /// Trips a turn's token: the provider's socket is dropped at the next poll, which is now.
    fn trip(&mut self, run: RunId) {
        let Some(turn) = self.turns.get(&run) else { return };
        turn.token.cancel();
        let attempt = turn.attempt;
        self.actor.send_after(self.shared.options.cancel_grace, move || Message::GraceOver {
            run,
            attempt,
        });
    }

    /// Ends the run of a turn that did not hand in what it has: what was shown of it is all there is.
    pub(super) async fn grace_over(&mut self, run: RunId, attempt: u32) {
        let stale = self.turns.get(&run).is_none_or(|turn| turn.attempt != attempt);
        if stale || !self.state.open_runs.contains_key(&run) {
            return;
        }
        let answer = self.shown_so_far(run);
        self.cut_short(run, answer, Vec::new()).await;
    }

    /// Ends a run in mid-step, keeping the input and what the model had said.
    pub(super) async fn cut_short(&mut self, run: RunId, answer: Answer, tail: Vec<PartDelta>) {
        let permit = self.shared.log.reserve().await;
        let mut draft = self.draft();
        self.cut_short_draft(&mut draft, run, answer, tail);
        self.queue(permit, draft, None, |_| ());
        self.answer_cancels();
    }

    pub(super) fn cut_short_draft(
        &mut self,
        draft: &mut Draft,
        run: RunId,
        answer: Answer,
        tail: Vec<PartDelta>,
    ) {
        if self.state.open_runs.get(&run).is_some_and(|open| open.calls.is_some()) {
            return self.cut_short_in_calls(draft, run, tail);
        }
        let Some(open) = self.state.open_runs.get(&run) else { return };
        let stream_tokens = open.request.stream_tokens;
        let (by_request, conversation) = (open.cancel_requested, open.request.conversation);
        let mut spoken = self.spoken(run, &answer);
        if Defect::CallWithoutReturn.is_on() {
            spoken.clone_from(&answer.calls);
        }
        let returns = spoken
            .iter()
            .map(|call| returned(call, ReturnStatus::Success, MESSAGE_SENT.to_owned(), Vec::new()));
        let returns: Vec<ToolReturn> = returns.collect();
        let partial = self.assistant(draft, run, &answer, spoken, None);
        let tokens = partial.as_ref().map_or(0, |partial| u64::from(partial.tokens));
        let mut kept: Vec<Stored> = partial.into_iter().collect();
        if Defect::PartialForgotten.is_on() {
            kept.clear();
        }
        if !returns.is_empty() && !Defect::CallWithoutReturn.is_on() {
            kept.push(self.tool_message(self.of_step(draft, run), returns));
        }
        self.show_deltas(draft, run, tail);
        for message in kept.iter().filter(|message| !stream_tokens || message.role == Role::Tool) {
            self.show_message(draft, run, message.clone());
        }
        let stop_reason = if by_request { StopReason::Cancelled } else { StopReason::Error };
        if by_request && self.state.open_runs.get(&run).is_some_and(|open| open.step.is_none()) {
            // It was to answer calls that wait: with it, they are over.
            self.deny(draft, conversation, Resolution::Cancelled);
        }
        self.record_step(draft, run, StepOutcome::Cancelled, kept, |ended| {
            // The provider never says what a dropped call cost; this is what was seen of it.
            ended.usage.completion_tokens = tokens;
            ended.stop_reason = Some(stop_reason);
        });
        if by_request {
            self.end_run(draft, run, EndStatus::Cancelled, StopReason::Cancelled, None);
        } else {
            self.end_run(draft, run, EndStatus::Failed, StopReason::Error, Some(interrupted()));
        }
    }

    /// Ends a run in this very draft, whatever its turn is doing: what was shown of it is kept.
    pub(super) fn cancel_now(&mut self, draft: &mut Draft, run: RunId) {
        let Some(open) = self.state.open_runs.get(&run) else { return };
        let (requested, waits) = (open.cancel_requested, open.started.is_none());
        if !requested {
            self.record(draft, Some(run), Event::CancelRequested(CancelRequested { run }));
        }
        if waits {
            self.end_waiting(draft, run);
        } else {
            let answer = self.shown_so_far(run);
            self.cut_short_draft(draft, run, answer, Vec::new());
        }
    }

    /// Ends a run whose turn had not come: its input is kept, as everything a person sent is.
    fn end_waiting(&mut self, draft: &mut Draft, run: RunId) {
        let Some(open) = self.state.open_runs.get(&run) else { return };
        let (inputs, request) = (open.input.clone(), open.request.clone());
        let mut last = self.state.last_message;
        let input = inputs
            .iter()
            .map(|input| {
                last = MessageId::from_uuid(
                    self.shared.options.ids.next_after(last.uuid(), draft.now),
                );
                let mut message = input_message(run, &request, input, last, draft.now);
                message.interrupted = true;
                message
            })
            .collect();
        self.end_run_with(draft, run, EndStatus::Cancelled, StopReason::Cancelled, None, input);
    }

    pub(super) async fn failed(&mut self, run: RunId, failure: Failure) {
        let permit = self.shared.log.reserve().await;
        let mut draft = self.draft();
        let Failure { error, stop_reason } = failure;
        let cancelled = self.state.open_runs.get(&run).is_some_and(|open| open.cancel_requested);
        if cancelled && !Defect::FailureBeatsCancel.is_on() {
            // The cancel came first, and dropping the socket is what failed.
            let answer = self.shown_so_far(run);
            self.cut_short_draft(&mut draft, run, answer, Vec::new());
        } else {
            let outcome = StepOutcome::Failed { error: error.clone() };
            self.record_step(&mut draft, run, outcome, Vec::new(), |ended| {
                ended.stop_reason = Some(stop_reason)
            });
            self.end_run(&mut draft, run, EndStatus::Failed, stop_reason, Some(error));
        }
        self.queue(permit, draft, None, |_| ());
        self.answer_cancels();
    }

    /// Records the end of a run, shows it, and starts the run that waits next.
    pub(super) fn end_run(
        &mut self,
        draft: &mut Draft,
        run: RunId,
        status: EndStatus,
        stop_reason: StopReason,
        error: Option<RunError>,
    ) {
        self.end_run_with(draft, run, status, stop_reason, error, Vec::new());
    }

    fn end_run_with(
        &mut self,
        draft: &mut Draft,
        run: RunId,
        status: EndStatus,
        stop_reason: StopReason,
        error: Option<RunError>,
        input: Vec<Stored>,
    ) {
        let Some(open) = self.state.open_runs.get(&run) else { return };
        let conversation = open.request.conversation;
        let first_at = self.outputs.get(&run).and_then(|cursor| cursor.first_at);
        let accepted_at = open.accepted_at;
        let end = Output::End {
            status,
            stop_reason,
            error: error.clone(),
            usage: open.usage,
            steps: open.steps,
            context_tokens: open.context_tokens,
        };
        let interrupted = error.as_ref().is_some_and(|error| error.error_type == INTERRUPTED);
        let ended = Ended {
            run,
            status,
            stop_reason,
            error,
            interrupted,
            input,
            ttft_ns: first_at.map(|at| at.nanos_since(accepted_at)),
            total_ns: draft.now.nanos_since(accepted_at),
        };
        if Defect::TwoEnds.is_on() {
            self.record(draft, Some(run), Event::RunEnded(ended.clone()));
        }
        self.record(draft, Some(run), Event::RunEnded(ended));
        self.show(draft, run, end);
        self.outputs.remove(&run);
        self.turns.remove(&run);
        self.permits.remove(&run);
        self.note_ended(run, status);
        if let Some(row) = self.state.callbacks.get(&run) {
            draft.callbacks.push(row.clone());
        }
        self.start_next(draft, conversation);
    }

    fn note_ended(&mut self, run: RunId, status: EndStatus) {
        let outcome = match status {
            EndStatus::Cancelled => CancelOutcome::Cancelled,
            EndStatus::Completed | EndStatus::Failed => CancelOutcome::AlreadyEnded(status),
        };
        for wait in &mut self.cancels {
            if wait.pending.remove(&run) {
                wait.outcomes.push((run, outcome));
            }
        }
    }

    /// Answers those who wait for nothing any more. Called after the draft that ended their runs was queued.
    pub(super) fn answer_cancels(&mut self) {
        let ticket = self.ticket;
        for wait in self.cancels.extract_if(.., |wait| wait.pending.is_empty()) {
            let CancelWait { mut outcomes, reply, .. } = wait;
            outcomes.sort_by_key(|(run, _)| *run);
            reply.send(Ok(Gated { value: outcomes, ticket }));
        }
    }

    /// Cuts every turn short because the process is about to end.
    pub(super) fn interrupt(&mut self) {
        let runs: Vec<RunId> = self.turns.keys().copied().collect();
        for run in runs {
            self.trip(run);
        }
    }

    pub(super) async fn callback_sent(&mut self, run: RunId, result: CallbackResult) {
        if !self.state.callbacks.contains_key(&run) {
            return;
        }
        let permit = self.shared.log.reserve().await;
        let mut draft = self.draft();
        let sent = CallbackSent { run, status_code: result.status_code, error: result.error };
        self.record(&mut draft, Some(run), Event::CallbackSent(sent));
        self.queue(permit, draft, None, |_| ());
    }
}
