//! The rows that follow from a run's events, compared with the stored ones.

use std::collections::BTreeMap;

use bytes::Bytes;
use retold_events::{
    Message, MessageId, Record, RunId, StepId,
    agent::Event,
    run::Ended,
    store::{EventStore, RowChange, StoreError, Table},
};
use retold_snapshots::{
    agent::{State, project},
    row::{RunRow, StepRow, decode},
    run::{OpenRun, input_message},
};

use super::{
    Divergence, Place, What,
    difference::{self, Difference, excerpts},
};

/// Members of a run's row that its acceptance says; all others its end says.
const OF_ACCEPTANCE: [&str; 4] = ["id", "agent", "request", "created_at"];
/// Members of a step's row that its beginning says; all others its end says.
const OF_BEGINNING: [&str; 5] = ["id", "model", "provider", "endpoint_type", "context_window"];

/// Collects the rows of one run.
#[derive(Debug)]
pub(super) struct Rows {
    run: RunId,
    rows: BTreeMap<(Table, Vec<u8>), Row>,
    /// The event that brought the content of an input message: not the one with which it entered the thread.
    input: BTreeMap<MessageId, Place>,
    accepted: Option<Place>,
    begun: BTreeMap<StepId, Place>,
}

/// A row as the event at `place` leaves it.
#[derive(Debug)]
struct Row {
    value: Bytes,
    place: Place,
    step: Option<StepId>,
}

impl Rows {
    pub(super) fn new(run: RunId) -> Self {
        Self {
            run,
            rows: BTreeMap::new(),
            input: BTreeMap::new(),
            accepted: None,
            begun: BTreeMap::new(),
        }
    }

    /// Hears of an event about to be folded into `state`.
    pub(super) fn before(
        &mut self,
        state: &State,
        record: &Record,
        event: &Event,
        divergences: &mut Vec<Divergence>,
    ) {
        let place = Place::of(record);
        let Some(step) = self.step_of(event) else { return };
        self.note_places(place, event);
        if let Event::RunEnded(ended) = event
            && let Some(open) = state.open_runs.get(&self.run)
        {
            self.check_input(open, ended, divergences);
        }
        for RowChange { table, key, value } in project(state, record.at, event) {
            // The other tables speak of more than this run, or only of runs that are open.
            if !matches!(table, Table::Runs | Table::RunSteps | Table::Steps | Table::Messages) {
                continue;
            }
            match value {
                Some(value) => self.rows.insert((table, key), Row { value, place, step }),
                None => self.rows.remove(&(table, key)),
            };
        }
    }

    /// The step of an event that brings rows of the run; `None` for every other event.
    fn step_of(&self, event: &Event) -> Option<Option<StepId>> {
        let (run, step) = match event {
            Event::RunAccepted(accepted) => (accepted.run, None),
            Event::RunStarted(started) => (started.run, None),
            Event::StepStarted(started) => (started.run, Some(started.step)),
            Event::StepEnded(ended) => (ended.run, Some(ended.step)),
            Event::RunEnded(ended) => (ended.run, None),
            Event::CallbackSent(sent) => (sent.run, None),
            Event::CallsResolved(resolved) => (resolved.run, Some(resolved.step)),
            Event::ContextCompacted(compacted) => (compacted.summary.run?, compacted.summary.step),
            Event::Created(_)
            | Event::Configured(_)
            | Event::BlockAttached(_)
            | Event::BlockDetached(_)
            | Event::ToolAttached(_)
            | Event::ToolDetached(_)
            | Event::SecretsSet(_)
            | Event::SystemCompiled(_)
            | Event::ContextReplaced(_)
            | Event::Deleted(_)
            | Event::CancelRequested(_)
            | Event::RunDeleted(_)
            | Event::FeedbackGiven(_)
            | Event::Forked(_)
            | Event::ToolsCalled(_)
            | Event::ToolReturned(_) => return None,
        };
        (run == self.run).then_some(step)
    }

    fn note_places(&mut self, place: Place, event: &Event) {
        if let Event::RunAccepted(_) = event {
            self.accepted = Some(place);
        }
        if let (Event::RunStarted(started), Some(accepted)) = (event, self.accepted) {
            self.input.extend(started.input_ids.iter().map(|&id| (id, accepted)));
        }
        if let Event::StepStarted(started) = event {
            self.begun.insert(started.step, place);
        }
    }

    /// The input of a run that was cancelled while it waited is said twice: when it was accepted and when it ended.
    fn check_input(&self, open: &OpenRun, ended: &Ended, divergences: &mut Vec<Divergence>) {
        for (recorded, input) in ended.input.iter().zip(open.input.iter()) {
            let accepted =
                input_message(self.run, &open.request, input, recorded.id, recorded.created_at);
            let accepted = Message { interrupted: recorded.interrupted, ..accepted };
            if let Some(difference) = difference::of_messages(recorded, &accepted) {
                let detail = "what the run was accepted with is not what entered the history";
                divergences.push(difference.at(self.accepted, None, What::Input, detail));
            }
        }
    }

    /// Compares the row of an ended run. That of an open one moves while it is looked at.
    pub(super) fn compare_run(&self, stored: Option<&RunRow>, divergences: &mut Vec<Divergence>) {
        let Some(stored) = stored else { return };
        let key = (Table::Runs, self.run.as_bytes().to_vec());
        let Some(row) = self.rows.get(&key) else { return };
        let Ok(replayed) = decode::<RunRow>(&row.value) else { return };
        let Some(difference) = difference::of_runs(stored, &replayed) else { return };
        let place = match self.accepted {
            Some(accepted) if OF_ACCEPTANCE.contains(&difference.member) => accepted,
            Some(_) | None => row.place,
        };
        let detail = "the run's row is not what its events amount to";
        divergences.push(difference.at(Some(place), None, What::Run, detail));
    }

    /// Compares everything but the run's own row. Gives how many messages were compared.
    pub(super) fn compare(
        &self,
        store: &dyn EventStore,
        divergences: &mut Vec<Divergence>,
    ) -> Result<u64, StoreError> {
        let mut messages = 0;
        for ((table, key), row) in &self.rows {
            if *table == Table::Runs {
                continue;
            }
            let stored = store.row(*table, key)?;
            let stored = stored.as_deref().unwrap_or_default();
            if *table == Table::Messages {
                let replayed: Vec<Message> = decode(&row.value).unwrap_or_default();
                messages += replayed.len() as u64;
                if stored != row.value {
                    let recorded = decode(stored).unwrap_or_default();
                    divergences.push(self.messages(row, recorded, &replayed));
                }
            } else if stored != row.value {
                divergences.push(self.step(row, stored));
            }
        }
        Ok(messages)
    }

    /// The first difference between the messages of a row.
    fn messages(&self, row: &Row, recorded: Vec<Message>, replayed: &[Message]) -> Divergence {
        for (recorded, replayed) in recorded.iter().zip(replayed) {
            if let Some(difference) = difference::of_messages(recorded, replayed) {
                let input = self.input.get(&replayed.id).copied();
                let what = if input.is_some() { What::Input } else { What::Message };
                let detail = format!("{} is not stored as its event tells it", replayed.id);
                return difference.at(input.or(Some(row.place)), row.step, what, &detail);
            }
        }
        let ids = |messages: &[Message]| {
            let ids: Vec<String> = messages.iter().map(|message| message.id.to_string()).collect();
            if ids.is_empty() { "nothing".to_owned() } else { ids.join(", ") }
        };
        Divergence {
            place: Some(row.place),
            step: row.step,
            what: What::Message,
            detail: "the messages that entered the history are not those that are stored"
                .to_owned(),
            expected: ids(&recorded),
            found: ids(replayed),
        }
    }

    fn step(&self, row: &Row, stored: &[u8]) -> Divergence {
        let detail = "the step's row is not what its events amount to";
        let both = decode::<StepRow>(stored).ok().zip(decode::<StepRow>(&row.value).ok());
        let difference =
            both.and_then(|(stored, replayed)| difference::of_steps(&stored, &replayed));
        if let Some(difference) = difference {
            let begun = row.step.and_then(|step| self.begun.get(&step).copied());
            let begun = begun.filter(|_| OF_BEGINNING.contains(&difference.member));
            return difference.at(begun.or(Some(row.place)), row.step, What::Step, detail);
        }
        let (expected, found) = excerpts(&format!("{stored:?}"), &format!("{:?}", row.value));
        Divergence {
            place: Some(row.place),
            step: row.step,
            what: What::Step,
            detail: detail.to_owned(),
            expected: if stored.is_empty() { "nothing".to_owned() } else { expected },
            found,
        }
    }
}

impl Difference {
    /// The divergence it is, of an event at `place`.
    pub(super) fn at(
        self,
        place: Option<Place>,
        step: Option<StepId>,
        what: What,
        detail: &str,
    ) -> Divergence {
        let Self { member, expected, found } = self;
        Divergence { place, step, what, detail: format!("{detail}: {member}"), expected, found }
    }
}
