//! What a turn reports, made into events: output, and the end of a step.

use std::sync::Arc;

use retold_events::{
    BlockId, Message as Stored, Part, ReturnStatus, Role, RunId, ToolCall, ToolReturn,
    agent::{AgentType, BlockAttached, Event},
    block::{Author, Block},
    defect::Defect,
    log::Permit,
    output::Output,
    run::{StepEnded, StepOutcome, StopReason},
};
use tokio::sync::oneshot;

use super::{
    Live,
    live::Draft,
    verdict::{Verdict, status_of, verdict_older, verdict_v1},
};
use crate::{
    Refusal,
    block::{Entry, Held, NewBlock},
    prompt,
    rules::Solver,
    tool::{Known, memory},
    toolbox::{Executed, failed, returned},
    turn::{Answer, PartDelta, Report, ReportKind, StepDone, StepView},
};

impl Live {
    /// Hears a turn. What a given-up attempt says changes nothing.
    pub(super) async fn hear(&mut self, report: Report) -> Result<(), Refusal> {
        let Report { run, attempt, kind } = report;
        if self.turns.get(&run).is_none_or(|turn| turn.attempt != attempt)
            || !self.state.open_runs.contains_key(&run)
        {
            return Ok(());
        }
        match kind {
            ReportKind::Said(deltas, durable) => self.said(run, deltas, durable).await,
            ReportKind::Called(begun, go_on) => self.calls_begun(run, *begun, go_on).await,
            ReportKind::Returned(step, returned, go_on) => {
                self.call_returned(run, step, *returned, go_on).await;
            }
            ReportKind::Resolved(executed, next) => {
                self.calls_resolved(run, executed, next).await?;
            }
            ReportKind::Done(done, next) => self.step_done(run, *done, next).await?,
            ReportKind::Compacted(compacted, next) => self.compacted(run, *compacted, next).await?,
            ReportKind::Cancelled(said) => {
                let (answer, tail) = *said;
                self.cut_short(run, answer, tail).await;
            }
            ReportKind::Failed(failure) => self.failed(run, *failure).await,
        }
        Ok(())
    }

    async fn said(&mut self, run: RunId, deltas: Vec<PartDelta>, durable: oneshot::Sender<()>) {
        let permit = self.shared.log.reserve().await;
        let mut draft = self.draft();
        self.show_deltas(&mut draft, run, deltas);
        self.queue(permit, draft, None, move |_| {
            // A turn that is gone needs no answer.
            let _ = durable.send(());
        });
    }

    pub(super) fn show_deltas(&mut self, draft: &mut Draft, run: RunId, deltas: Vec<PartDelta>) {
        let Some(step) = self.state.open_runs.get(&run).and_then(|open| open.step.as_ref()) else {
            return;
        };
        let (step, message) = (step.id, step.message);
        for PartDelta { part, delta } in deltas {
            if let Some(turn) = self.turns.get_mut(&run) {
                turn.partial.push(&delta);
            }
            self.show(draft, run, Output::Delta { step, message, part, delta });
        }
    }

    async fn step_done(
        &mut self,
        run: RunId,
        done: StepDone,
        next: oneshot::Sender<Option<StepView>>,
    ) -> Result<(), Refusal> {
        let cancelled = self.state.open_runs.get(&run).is_some_and(|open| open.cancel_requested);
        if cancelled && !Defect::CancelledToolRuns.is_on() {
            // The cancel came first: no tool of this step has had an effect yet, and none will.
            self.cut_short(run, done.answer, done.tail).await;
            return Ok(());
        }
        let entries = self.blocks_to_edit(&done.executed).await?;
        let permit = self.shared.log.reserve().await;
        let held = Held::lock(&entries);
        self.end_step(permit, run, done, held, next);
        Ok(())
    }

    /// The agent's blocks, when a call edits them.
    pub(super) async fn blocks_to_edit(
        &self,
        executed: &[(ToolCall, Executed)],
    ) -> Result<Vec<Arc<Entry>>, Refusal> {
        let edits = executed.iter().any(|(_, executed)| matches!(executed, Executed::Memory(_)));
        let ids = if edits { self.state.blocks.clone() } else { Vec::new() };
        self.shared.blocks.entries(ids).await
    }

    /// The end of a step, its memory edits, and the next step or the end of the run: one commit.
    fn end_step(
        &mut self,
        permit: Permit,
        run: RunId,
        done: StepDone,
        mut held: Held<'_>,
        next: oneshot::Sender<Option<StepView>>,
    ) {
        let mut draft = self.draft();
        let mut effects = Effects::default();
        let returns = self.run_calls(&mut draft, run, &done.executed, &mut held, &mut effects);
        let (messages, stop) = self.judge(&draft, run, &done, returns);
        let stream_tokens =
            self.state.open_runs.get(&run).is_some_and(|open| open.request.stream_tokens);
        self.show_deltas(&mut draft, run, done.tail);
        let shown_before = self.said_before(run).is_some();
        let shown: Vec<Stored> = messages
            .iter()
            .filter(|message| match message.role {
                Role::Assistant => !stream_tokens && !shown_before,
                Role::Tool | Role::Approval => true,
                Role::System | Role::User | Role::Summary => false,
            })
            .cloned()
            .collect();
        self.record_step(&mut draft, run, StepOutcome::Success, messages, |ended| {
            ended.usage = done.usage;
            ended.prompt_hash = Some(done.prompt_hash);
            ended.tools_called = done.called;
            ended.timing = done.timing;
            ended.stop_reason = stop;
        });
        for message in shown {
            self.show_message(&mut draft, run, message);
        }
        self.recompile_after(&mut draft, run, &held, &effects);
        let view = match stop {
            Some(stop_reason) => {
                self.end_run(&mut draft, run, status_of(stop_reason), stop_reason, None);
                None
            }
            None => self.begin_step(&mut draft, run),
        };
        if let Some(turn) = self.turns.get_mut(&run) {
            turn.partial = crate::turn::Partial::default();
        }
        self.queue_step(permit, draft, held, effects, next, view);
    }

    /// Gives each call its return; memory edits take effect here, on the blocks as they stand now.
    pub(super) fn run_calls(
        &mut self,
        draft: &mut Draft,
        run: RunId,
        executed: &[(ToolCall, Executed)],
        held: &mut Held<'_>,
        effects: &mut Effects,
    ) -> Vec<ToolReturn> {
        let mut returns = Vec::with_capacity(executed.len());
        for (call, executed) in executed {
            returns.push(match executed {
                Executed::Waits | Executed::Held => continue,
                Executed::Returned(returned) => returned.clone(),
                Executed::Memory(edit) => {
                    let author = self.author(run, &call.name);
                    match self.edit_memory(draft, run, author, edit, held, effects) {
                        Ok(value) => returned(call, ReturnStatus::Success, value, Vec::new()),
                        Err(error) => failed(call, error),
                    }
                }
            });
        }
        returns
    }

    fn edit_memory(
        &mut self,
        draft: &mut Draft,
        run: RunId,
        author: Author,
        edit: &memory::MemoryEdit,
        held: &mut Held<'_>,
        effects: &mut Effects,
    ) -> Result<String, String> {
        let label = edit.label();
        if let Some(new) =
            effects.new_blocks.iter().find(|new| new.block().label.as_deref() == Some(label))
        {
            return Err(format!(
                "the block {:?} was made in this very step; edit it in the next one",
                new.block().label
            ));
        }
        let Some((id, block)) = held.by_label(label) else {
            if !edit.creates_block() {
                return Err(memory::unknown_label(label, &held.labels()));
            }
            let empty = new_block(label);
            let value = memory::apply(edit, &empty)?;
            let new = self.shared.blocks.create(
                Block { value: value.clone(), ..empty },
                author,
                draft.now,
            );
            new.add_to(&mut draft.commit, draft.now, &self.shared.options);
            self.record(draft, Some(run), Event::BlockAttached(BlockAttached { block: new.id() }));
            effects.new_blocks.push(new);
            return Ok(value);
        };
        let value = memory::apply(edit, block)?;
        let options = self.shared.options.clone();
        held.set_value(id, value.clone(), author, draft.now, &options, &mut draft.commit);
        effects.edited.push(id);
        Ok(value)
    }

    /// What enters the thread, and why the loop ends here, if it does.
    fn judge(
        &self,
        draft: &Draft,
        run: RunId,
        done: &StepDone,
        returns: Vec<ToolReturn>,
    ) -> (Vec<Stored>, Option<StopReason>) {
        let Some(open) = self.state.open_runs.get(&run) else {
            return (Vec::new(), Some(StopReason::Error));
        };
        if done.executed.iter().any(|(_, executed)| matches!(executed, Executed::Waits)) {
            return (self.asking(draft, run, done), Some(StopReason::RequiresApproval));
        }
        let config = &self.state.config;
        let resumed = u32::from(!open.decisions.is_empty());
        let out_of_steps = open.steps.saturating_add(resumed) >= open.request.max_steps;
        let mut messages = Vec::new();
        let calls: Vec<ToolCall> = done.executed.iter().map(|(call, _)| call.clone()).collect();
        let mut called = open.tools_called.clone();
        called.extend(done.called.iter().cloned());
        let last_return = returns.last().map(|returned| returned.content.clone());
        let solver = Solver::new(&config.tool_rules, called, last_return);
        let tools = self.known_tools();
        let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
        let uncalled = solver.uncalled_required(&names);
        let assistant = self
            .said_before(run)
            .or_else(|| self.assistant(draft, run, &done.answer, calls, Some(done.tokens)));
        let failed = returns.iter().any(|returned| returned.status == ReturnStatus::Error);
        let terminal = returns.iter().any(|returned| {
            returned.status == ReturnStatus::Success && solver.is_terminal(&returned.name)
        });
        let has_calls = !returns.is_empty();
        if let Some(assistant) = assistant {
            messages.push(assistant);
        }
        if has_calls {
            messages.push(self.tool_message(self.of_step(draft, run), returns));
        }
        let verdict = if done.invalid_call {
            Verdict::Stop(StopReason::InvalidToolCall)
        } else if config.agent_type == AgentType::LettaV1 {
            verdict_v1(done.finish, has_calls, terminal, &uncalled)
        } else {
            verdict_older(done, has_calls, failed, terminal, &solver, &uncalled)
        };
        match verdict {
            Verdict::Stop(reason) => (messages, Some(reason)),
            Verdict::Continue(_) if out_of_steps => (messages, Some(StopReason::MaxSteps)),
            Verdict::Continue(None) => (messages, None),
            Verdict::Continue(Some(reason)) => {
                messages.push(self.heartbeat(draft, run, &reason));
                (messages, None)
            }
        }
    }

    /// The tools the agent may call.
    fn known_tools(&self) -> Vec<Arc<Known>> {
        self.state.tools.iter().filter_map(|&id| self.shared.toolbox.known(id)).collect()
    }

    /// What the model said, as a stored message; `None` when it said nothing. Without `tokens` it was cut short, and they
    /// are estimated: a recovery at the start must not wait for the tokenizer.
    pub(super) fn assistant(
        &self,
        draft: &Draft,
        run: RunId,
        answer: &Answer,
        calls: Vec<ToolCall>,
        tokens: Option<u32>,
    ) -> Option<Stored> {
        let open = self.state.open_runs.get(&run)?;
        let step = open.step.as_ref()?;
        let kept = Answer { parts: answer.parts.clone(), calls };
        (!kept.is_empty()).then(|| Stored {
            tokens: tokens.unwrap_or_else(|| estimated_tokens(&kept)),
            content: kept.parts,
            model: Some(step.model.clone()),
            tool_calls: kept.calls,
            step: Some(step.id),
            run: Some(run),
            conversation: open.request.conversation,
            interrupted: tokens.is_none(),
            ..Stored::new(step.message, Role::Assistant, draft.now)
        })
    }

    /// What enters the thread where calls wait for a decision: what was said with the calls that need none, then those
    /// that do.
    fn asking(&self, draft: &Draft, run: RunId, done: &StepDone) -> Vec<Stored> {
        let of = |waits: bool| {
            let calls = done
                .executed
                .iter()
                .filter(move |(_, executed)| matches!(executed, Executed::Waits) == waits);
            calls.map(|(call, _)| call.clone()).collect::<Vec<ToolCall>>()
        };
        let said = self.assistant(draft, run, &done.answer, of(false), Some(done.tokens));
        let mut messages: Vec<Stored> = said.into_iter().collect();
        messages.push(Stored {
            role: Role::Approval,
            tool_calls: of(true),
            ..self.of_step(draft, run)
        });
        messages
    }

    /// The returns of tools, as the message at `place`.
    pub(super) fn tool_message(&self, place: Stored, returns: Vec<ToolReturn>) -> Stored {
        let is_err = returns.iter().any(|returned| returned.status == ReturnStatus::Error);
        let tokens = returns.iter().fold(0, |sum: u32, returned| {
            sum.saturating_add(retold_models::tokens::count(&returned.content))
        });
        Stored { role: Role::Tool, tokens, tool_returns: returns, is_err, ..place }
    }

    /// A user message that keeps the loop of an older agent, or of one with tools still to call, going.
    fn heartbeat(&self, draft: &Draft, run: RunId, reason: &str) -> Stored {
        let text = prompt::note::heartbeat(reason, draft.now, &self.state.config.timezone);
        Stored {
            role: Role::User,
            tokens: retold_models::tokens::count(&text),
            content: vec![Part::Text { text }],
            ..self.of_step(draft, run)
        }
    }

    /// An empty message of the step under way, with an id of its own.
    pub(super) fn of_step(&self, draft: &Draft, run: RunId) -> Stored {
        let open = self.state.open_runs.get(&run);
        Stored {
            step: open.and_then(|open| open.step.as_ref()).map(|step| step.id),
            run: Some(run),
            conversation: open.and_then(|open| open.request.conversation),
            ..Stored::new(self.next_message(draft), Role::User, draft.now)
        }
    }

    /// Records the end of the step under way.
    pub(super) fn record_step(
        &mut self,
        draft: &mut Draft,
        run: RunId,
        outcome: StepOutcome,
        messages: Vec<Stored>,
        fill: impl FnOnce(&mut StepEnded),
    ) {
        let Some(open) = self.state.open_runs.get(&run) else { return };
        let Some(step) = &open.step else { return };
        let mut ended = StepEnded {
            run,
            step: step.id,
            input_enters: !open.input_entered
                && (!matches!(outcome, StepOutcome::Failed { .. })
                    || Defect::FailedInputStays.is_on()),
            outcome,
            messages,
            tools_called: Vec::new(),
            usage: retold_events::run::Usage::default(),
            prompt_hash: None,
            stop_reason: None,
            timing: retold_events::run::StepTiming {
                started_at: step.at,
                model_started_at: step.at,
                total_ns: draft.now.nanos_since(step.at),
                ..Default::default()
            },
        };
        fill(&mut ended);
        self.record(draft, Some(run), Event::StepEnded(ended));
    }

    pub(super) fn show_message(&mut self, draft: &mut Draft, run: RunId, message: Stored) {
        let piecewise =
            self.state.open_runs.get(&run).is_some_and(|open| open.request.stream_tokens);
        let span = wire_parts(&message, piecewise);
        if span > 0 {
            self.show(draft, run, Output::Message { message, span });
        }
    }
}

/// What the calls of a step did besides returning something.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) edited: Vec<BlockId>,
    pub(super) new_blocks: Vec<NewBlock>,
}

/// Messages on the wire that a stored one takes: each reasoning part, the text, the calls. In a stream of tokens, calls that
/// are asked for take one each, since a piece of such a stream is about one call.
pub(crate) fn wire_parts(message: &Stored, piecewise: bool) -> u32 {
    if message.role == Role::Approval && piecewise {
        return u32::try_from(message.tool_calls.len()).unwrap_or(u32::MAX).max(1);
    }
    if message.role != Role::Assistant {
        return 1;
    }
    let reasoning = message
        .content
        .iter()
        .filter(|part| matches!(part, Part::Reasoning { .. } | Part::RedactedReasoning { .. }))
        .count();
    let text =
        message.content.iter().any(|part| matches!(part, Part::Text { text } if !text.is_empty()));
    u32::try_from(reasoning).unwrap_or(u32::MAX - 2)
        + u32::from(text)
        + u32::from(!message.tool_calls.is_empty())
}

/// Tokens of text that was cut short, at four bytes each.
fn estimated_tokens(answer: &Answer) -> u32 {
    answer.parts.iter().fold(0, |sum: u32, part| {
        sum.saturating_add(match part {
            Part::Text { text } | Part::Reasoning { text, .. } => {
                retold_models::tokens::estimate(text)
            }
            Part::Image(_) | Part::RedactedReasoning { .. } => 0,
        })
    })
}

/// A block that an agent makes by writing to a label it does not have.
fn new_block(label: &str) -> Block {
    Block {
        value: String::new(),
        // V1's default.
        limit: 100_000,
        label: Some(label.to_owned()),
        description: None,
        read_only: false,
        hidden: None,
        metadata: retold_events::JsonText::empty_object(),
        tags: Vec::new(),
        template_name: None,
        is_template: false,
        project_id: None,
        template_id: None,
        base_template_id: None,
        deployment_id: None,
        entity_id: None,
        preserve_on_migration: None,
    }
}
