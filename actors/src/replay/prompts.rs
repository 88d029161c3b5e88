//! The prompts of a run's steps, built once more as the turn built them.
//!
//! The turn works on a view that it takes when a step begins, and again when a compaction made room; its tools are chosen
//! when the step begins, and its system message stays that of the step before. The same is done here, at the same events.

use std::sync::Arc;

use retold_events::{
    AgentId, Message, Position, Record, RunId,
    agent::Event,
    run::{Request, StepEnded},
    store::EventStore,
};
use retold_snapshots::{
    agent::State,
    query::{self, QueryError},
};
use ulid::Ulid;

use super::{Divergence, Place, ReplayedStep, What, difference, tools::schema_at};
use crate::prompt::{
    StepView,
    request::{Asked, Offer},
};

/// Follows one run's turn.
#[derive(Debug)]
pub(super) struct Prompts {
    run: RunId,
    attempt: u32,
    under_way: Option<UnderWay>,
    /// What the turn sees that took over the step under way.
    taken_over: Option<StepView>,
    /// The event that compacted the thread, while what follows it may belong to the same commit.
    compacted: Option<Ulid>,
    steps: Vec<ReplayedStep>,
    /// Steps whose prompt is not the one that was sent, as they were asked.
    differing: Vec<(usize, UnderWay)>,
}

/// What the turn has in hand for the step it takes.
#[derive(Debug, Clone)]
pub(super) struct UnderWay {
    view: StepView,
    offer: Arc<Offer>,
    request: Arc<Request>,
}

impl UnderWay {
    /// The step that `run` has begun in `state`.
    fn of(store: &dyn EventStore, state: &State, run: RunId, at: Position) -> Option<Self> {
        let view = StepView::of(state, run)?;
        let offer = Arc::new(Offer::new(&view, |id, older| schema_at(store, at, id, older)));
        let request = Arc::clone(&state.open_runs.get(&run)?.request);
        Some(Self { view, offer, request })
    }

    pub(super) fn asked(&self) -> Asked<'_> {
        Asked::new(&self.view, &self.request, &self.offer)
    }

    pub(super) fn view(&self) -> &StepView {
        &self.view
    }
}

impl Prompts {
    pub(super) fn new(run: RunId) -> Self {
        Self {
            run,
            attempt: 0,
            under_way: None,
            taken_over: None,
            compacted: None,
            steps: Vec::new(),
            differing: Vec::new(),
        }
    }

    /// What the turn has in hand now.
    pub(super) fn under_way(&self) -> Option<&UnderWay> {
        self.under_way.as_ref()
    }

    pub(super) fn into_steps(self) -> Vec<ReplayedStep> {
        self.steps
    }

    /// Hears of an event that was just folded into `state`.
    pub(super) fn after(
        &mut self,
        store: &dyn EventStore,
        state: &State,
        record: &Record,
        event: &Event,
    ) {
        if self.looks_again(record, event)
            && let Some(under_way) = &mut self.under_way
            && let Some(view) = StepView::of(state, self.run)
        {
            under_way.view = view;
        }
        if let Event::RunStarted(started) = event
            && started.run == self.run
        {
            // Another attempt is another turn: it looks at everything anew, also where it takes over a step that an
            // earlier one had sent.
            self.attempt = started.attempt;
            self.taken_over = StepView::of(state, self.run);
            if self.taken_over.is_none() {
                self.under_way = None;
            }
        }
        if let Event::StepStarted(started) = event
            && started.run == self.run
        {
            self.begin(store, state, record.position);
        }
        if let Event::StepEnded(ended) = event
            && ended.run == self.run
        {
            self.end(Place::of(record), ended);
        }
    }

    fn begin(&mut self, store: &dyn EventStore, state: &State, at: Position) {
        let Some(mut begun) = UnderWay::of(store, state, self.run, at) else { return };
        let sent = self.under_way.take().map(|before| before.view);
        if let Some(before) = self.taken_over.take().or(sent) {
            begun.view = before.followed_by(begun.view);
        }
        self.under_way = Some(begun);
    }

    /// Whether the turn takes a new view after this event: its compaction, or the system message that goes with it in the
    /// same commit, or the note that a compaction came too late.
    fn looks_again(&mut self, record: &Record, event: &Event) -> bool {
        let compacted = self.compacted.take();
        match event {
            Event::ContextCompacted(compacted) => {
                let is_own = compacted.summary.run == Some(self.run);
                self.compacted = is_own.then_some(record.id);
                is_own
            }
            Event::SystemCompiled(_) => {
                record.run == Some(self.run) || compacted == Some(record.causation)
            }
            Event::Created(_)
            | Event::Configured(_)
            | Event::BlockAttached(_)
            | Event::BlockDetached(_)
            | Event::ToolAttached(_)
            | Event::ToolDetached(_)
            | Event::SecretsSet(_)
            | Event::ContextReplaced(_)
            | Event::Deleted(_)
            | Event::RunAccepted(_)
            | Event::RunStarted(_)
            | Event::StepStarted(_)
            | Event::StepEnded(_)
            | Event::CancelRequested(_)
            | Event::RunEnded(_)
            | Event::CallbackSent(_)
            | Event::RunDeleted(_)
            | Event::FeedbackGiven(_)
            | Event::Forked(_)
            | Event::ToolsCalled(_)
            | Event::ToolReturned(_)
            | Event::CallsResolved(_) => false,
        }
    }

    fn end(&mut self, place: Place, ended: &StepEnded) {
        let Some(under_way) = &self.under_way else { return };
        let step = ReplayedStep {
            step: ended.step,
            place,
            attempt: self.attempt,
            model: under_way.view.model.clone(),
            outcome: ended.outcome.clone(),
            stop_reason: ended.stop_reason,
            recorded: ended.prompt_hash,
            replayed: under_way.asked().hash(),
            messages: under_way.view.messages().count() as u64,
            tools: under_way.offer.schemas.len() as u64,
            tokens: under_way.view.counted_tokens()
                + under_way.view.input_tokens()
                + under_way.offer.tokens(),
        };
        if step.matches() == Some(false) {
            self.differing.push((self.steps.len(), under_way.clone()));
        }
        self.steps.push(step);
    }

    /// Names the prompts that differ, and in them the message that does, if it can be found.
    pub(super) fn compare(
        &self,
        store: &dyn EventStore,
        agent: AgentId,
        divergences: &mut Vec<Divergence>,
    ) -> Result<(), QueryError> {
        for (index, under_way) in &self.differing {
            let Some(step) = self.steps.get(*index) else { continue };
            for message in under_way.view.messages() {
                if let Some(stored) = query::message(store, agent, message.id)?
                    && let Some(divergence) = in_prompt(step, &stored, message)
                {
                    divergences.push(divergence);
                }
            }
            let (what, detail) = if under_way.offer.schemas.is_empty() {
                (What::Prompt, "the prompt is not the one that was sent")
            } else {
                let detail = "the prompt is not the one that was sent; the schemas of tools are not in the log, so if the \
                    run was recorded by another version of the program they may be what differs";
                (What::Tools, detail)
            };
            divergences.push(Divergence {
                place: Some(step.place),
                step: Some(step.step),
                what,
                detail: detail.to_owned(),
                expected: step.recorded.map_or_else(String::new, hex),
                found: hex(step.replayed),
            });
        }
        Ok(())
    }
}

/// A message of a prompt that is not stored as it was folded. Its own run names the event that brought it.
fn in_prompt(step: &ReplayedStep, stored: &Message, folded: &Message) -> Option<Divergence> {
    let difference = difference::of_messages(stored, folded)?;
    let whose = match folded.run {
        Some(run) => format!("of {run}, whose replay names the event that brought it"),
        None => "which was there before any run".to_owned(),
    };
    let detail = format!("the prompt holds {}, {whose}; it is stored otherwise", folded.id);
    Some(difference.at(Some(step.place), Some(step.step), What::Message, &detail))
}

/// A hash as it is shown.
fn hex(hash: [u8; 16]) -> String {
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}
