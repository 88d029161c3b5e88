//! What a run must have shown, by its events, compared with what it did show.

use std::collections::BTreeMap;

use retold_events::{
    Message, MessageId, Part, Record, Role, RunId, StepId,
    agent::{AgentType, Event},
    output::{Delta, Item, Output},
    run::{Ended, StepEnded, ToolsCalled},
    store::EventStore,
};
use retold_snapshots::{
    agent::State,
    query::{self, QueryError},
};

use super::{
    Divergence, Place, What,
    difference::{self, excerpts},
};
use crate::agent::wire_parts;

/// Collects what one run must have shown.
#[derive(Debug)]
pub(super) struct Outputs {
    run: RunId,
    /// Whole items, in order.
    whole: Vec<Shown<Output>>,
    /// Messages that were shown piece by piece.
    told: Vec<Shown<(MessageId, Told)>>,
}

/// Something that the event at `place` made the run show.
#[derive(Debug)]
struct Shown<T> {
    place: Place,
    step: Option<StepId>,
    what: T,
}

/// What of a message was shown piece by piece: thoughts and text. Calls are not compared, since they are kept without
/// the arguments that only steer the loop, and with those that a rule sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Told {
    thoughts: String,
    /// `None` where it is not compared: an older agent says it in a call.
    text: Option<String>,
}

impl Outputs {
    pub(super) fn new(run: RunId) -> Self {
        Self { run, whole: Vec::new(), told: Vec::new() }
    }

    /// Hears of an event about to be folded into `state`.
    pub(super) fn before(&mut self, state: &State, record: &Record, event: &Event) {
        let place = Place::of(record);
        if let Event::StepEnded(ended) = event
            && ended.run == self.run
        {
            self.step_ended(state, place, ended);
        }
        if let Event::ToolsCalled(called) = event
            && called.run == self.run
        {
            self.tools_called(state, place, called);
        }
        if let Event::CallsResolved(resolved) = event
            && resolved.run == self.run
            && state.open_runs.contains_key(&self.run)
        {
            self.whole_message(place, Some(resolved.step), &resolved.message, false);
        }
        if let Event::ContextCompacted(compacted) = event
            && compacted.summary.run == Some(self.run)
        {
            let what = Output::Compacted {
                summary: compacted.summary.clone(),
                trigger: compacted.trigger.clone(),
                tokens_before: compacted.tokens_before,
                tokens_after: compacted.tokens_after,
                context_window: state.config.model.context_window,
                messages_before: compacted.messages_before,
                messages_after: compacted.messages_after,
            };
            self.whole.push(Shown { place, step: compacted.summary.step, what });
        }
        if let Event::RunEnded(ended) = event
            && ended.run == self.run
        {
            self.run_ended(state, place, ended);
        }
    }

    fn step_ended(&mut self, state: &State, place: Place, ended: &StepEnded) {
        let Some(open) = state.open_runs.get(&self.run) else { return };
        let (step, piecewise) = (Some(ended.step), open.request.stream_tokens);
        let shown_before = open.calls.is_some();
        for message in &ended.messages {
            let whole = match message.role {
                Role::Assistant => !piecewise && !shown_before,
                Role::Tool | Role::Approval => true,
                Role::System | Role::User | Role::Summary => false,
            };
            if whole {
                self.whole_message(place, step, message, piecewise);
            }
            if piecewise && message.role == Role::Assistant {
                let what = (message.id, Told::of(message, state.config.agent_type));
                self.told.push(Shown { place, step, what });
            }
        }
    }

    /// What the model said with calls that have effects is shown before they are made.
    fn tools_called(&mut self, state: &State, place: Place, called: &ToolsCalled) {
        let piecewise =
            state.open_runs.get(&self.run).is_some_and(|open| open.request.stream_tokens);
        if let Some(said) = called.said.as_ref().filter(|_| !piecewise) {
            self.whole_message(place, Some(called.step), &said.message, piecewise);
        }
    }

    fn whole_message(
        &mut self,
        place: Place,
        step: Option<StepId>,
        message: &Message,
        piecewise: bool,
    ) {
        let span = wire_parts(message, piecewise);
        if span > 0 {
            let what = Output::Message { message: message.clone(), span };
            self.whole.push(Shown { place, step, what });
        }
    }

    fn run_ended(&mut self, state: &State, place: Place, ended: &Ended) {
        let Some(open) = state.open_runs.get(&self.run) else { return };
        let what = Output::End {
            status: ended.status,
            stop_reason: ended.stop_reason,
            error: ended.error.clone(),
            usage: open.usage,
            steps: open.steps,
            context_tokens: open.context_tokens,
        };
        self.whole.push(Shown { place, step: None, what });
    }

    /// Compares with what the run showed. Gives how many pieces were compared. Of a run that is open, or whose events
    /// could not all be read, more may have been shown than is known here.
    pub(super) fn compare(
        &self,
        store: &dyn EventStore,
        all: bool,
        divergences: &mut Vec<Divergence>,
    ) -> Result<u64, QueryError> {
        let items = query::outputs(store, self.run, 0, usize::MAX)?;
        let is_piece = |item: &&Item| matches!(item.output, Output::Delta { .. });
        let mut shown = items.iter().filter(|item| !is_piece(item));
        for expected in &self.whole {
            let item = shown.next();
            if item.is_none_or(|item| item.output != expected.what) {
                divergences.push(expected.is_not(item));
                return Ok(items.len() as u64);
            }
        }
        if let Some(more) = shown.next().filter(|_| all) {
            divergences.push(Divergence {
                place: None,
                step: None,
                what: What::Output,
                detail: "the run showed something that none of its events tells".to_owned(),
                expected: excerpts(&format!("{:?}", more.output), "").0,
                found: "nothing".to_owned(),
            });
        }
        self.compare_pieces(&items, divergences);
        Ok(items.len() as u64)
    }

    fn compare_pieces(&self, items: &[Item], divergences: &mut Vec<Divergence>) {
        let mut heard: BTreeMap<MessageId, Told> = BTreeMap::new();
        for item in items {
            if let Output::Delta { message, delta, .. } = &item.output {
                heard.entry(*message).or_default().hear(delta);
            }
        }
        for Shown { place, step, what: (message, told) } in &self.told {
            let mut heard = heard.remove(message).unwrap_or_default();
            heard.text = told.text.as_ref().map(|_| heard.text.unwrap_or_default());
            if heard != *told {
                let (expected, found) = excerpts(&format!("{heard:?}"), &format!("{told:?}"));
                divergences.push(Divergence {
                    place: Some(*place),
                    step: *step,
                    what: What::Output,
                    detail: format!("what was streamed of {message} is not what was kept of it"),
                    expected,
                    found,
                });
            }
        }
    }
}

impl Shown<Output> {
    /// The divergence when `item` was shown in its place.
    fn is_not(&self, item: Option<&Item>) -> Divergence {
        let detail = "what the run showed is not what its events tell";
        if let (Output::Message { message, .. }, Some(item)) = (&self.what, item)
            && let Output::Message { message: recorded, .. } = &item.output
            && let Some(difference) = difference::of_messages(recorded, message)
        {
            return difference.at(Some(self.place), self.step, What::Output, detail);
        }
        let recorded =
            item.map_or_else(|| "nothing".to_owned(), |item| format!("{:?}", item.output));
        let (expected, found) = excerpts(&recorded, &format!("{:?}", self.what));
        Divergence {
            place: Some(self.place),
            step: self.step,
            what: What::Output,
            detail: detail.to_owned(),
            expected,
            found,
        }
    }
}

impl Told {
    /// What of a stored message was shown: an older agent thinks in text, and speaks in calls.
    fn of(message: &Message, agent_type: AgentType) -> Self {
        let (mut thoughts, mut said) = (String::new(), String::new());
        let thinks_in_text = agent_type != AgentType::LettaV1;
        for part in &message.content {
            match part {
                Part::Text { text } if !thinks_in_text => said.push_str(text),
                Part::Text { text } | Part::Reasoning { text, .. } => thoughts.push_str(text),
                Part::Image(_) | Part::RedactedReasoning { .. } => {}
            }
        }
        Self { thoughts, text: (!thinks_in_text).then_some(said) }
    }

    fn hear(&mut self, delta: &Delta) {
        match delta {
            Delta::Reasoning(text) => self.thoughts.push_str(text),
            Delta::Text(text) => self.text.get_or_insert_default().push_str(text),
            Delta::ToolCall { .. } => {}
        }
    }
}
