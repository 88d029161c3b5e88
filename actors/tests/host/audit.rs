//! What must hold of a store whatever happened to it: checked from the log alone.

use std::collections::{BTreeMap, BTreeSet};

use retold_actors::replay::{Status, replay};
use retold_events::{
    AgentId, Message, Position, Record, Role, RunId, Seq, StreamId,
    agent::Event,
    output::{Item, Output},
    run::{EndStatus, StepOutcome},
    store::{EventStore, Scan, Table},
};
use retold_snapshots::{
    agent::{self, State},
    load,
    query::{self, Order, Page},
    rebuild::{Rows, rebuild},
    row::{RunRow, RunStatus, decode},
};

/// Checks everything, and gives the state of each agent as folded from its first event.
pub(crate) fn audit(store: &dyn EventStore) -> BTreeMap<AgentId, State> {
    let (states, ended) = check(store);
    let open = states.values().flat_map(|state| state.open_runs.keys());
    for run in open.chain(&ended) {
        check_replay(store, *run, ended.contains(run));
    }
    states
}

/// Checks everything but that each run replays as it was, which takes the longest. Gives the runs that ended, too.
pub(crate) fn check(store: &dyn EventStore) -> (BTreeMap<AgentId, State>, BTreeSet<RunId>) {
    let records = records(store);
    check_order(&records);
    check_cancels(&records);
    assert_eq!(rows(store), rebuild(store).expect("the log is sound"), "rows follow from events");
    let (states, ends) = fold(&records);
    for (&id, state) in &states {
        let loaded = load::agent(store, id, None).expect("the log is sound").expect("it is there");
        assert_eq!(*state, loaded.state, "a saved state and its tail are the full replay");
        for thread in state.threads.values() {
            check_calls(&thread.context.iter().map(AsRef::as_ref).collect::<Vec<_>>());
        }
    }
    let open: BTreeSet<RunId> =
        states.values().flat_map(|state| state.open_runs.keys().copied()).collect();
    for run in ends.keys() {
        assert!(!open.contains(run), "{run} ended and is open");
        assert_eq!(ends[run], 1, "{run} ended more than once");
    }
    for run in open.iter().chain(ends.keys()) {
        check_output(store, *run, ends.contains_key(run));
    }
    check_open_rows(store, &open);
    (states, ends.into_keys().collect())
}

/// Every event, in the order of the log.
pub(crate) fn records(store: &dyn EventStore) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let from = Position(records.len() as u64 + 1);
        let more = store.read_all(from, 1000).expect("the log is readable");
        if more.is_empty() {
            return records;
        }
        records.extend(more);
    }
}

/// Positions and places in streams have no gap.
fn check_order(records: &[Record]) {
    let mut seqs: BTreeMap<[u8; StreamId::BYTES], Seq> = BTreeMap::new();
    for (position, record) in (1..).zip(records) {
        assert_eq!(record.position, Position(position));
        let seq = seqs.entry(record.stream.to_bytes()).or_default();
        assert_eq!(record.seq, seq.next(), "{:?}", record.stream);
        *seq = record.seq;
    }
}

/// From its cancel on a run takes no further step, no step of it ends well, and it ends as cancelled.
fn check_cancels(records: &[Record]) {
    let mut cancelled: BTreeSet<RunId> = BTreeSet::new();
    for record in records.iter().filter(|record| matches!(record.stream, StreamId::Agent(_))) {
        let event = record.decode::<Event>().expect("the event is readable").event;
        if let Event::CancelRequested(requested) = &event {
            cancelled.insert(requested.run);
        } else if let Event::StepEnded(ended) = &event
            && cancelled.contains(&ended.run)
        {
            assert_eq!(ended.outcome, StepOutcome::Cancelled, "{} was cancelled", ended.run);
        } else if let Event::RunEnded(ended) = &event
            && cancelled.contains(&ended.run)
        {
            assert_eq!(ended.status, EndStatus::Cancelled, "{} was cancelled", ended.run);
        } else if let Event::StepStarted(started) = &event {
            assert!(!cancelled.contains(&started.run), "{} was cancelled", started.run);
        }
    }
}

fn rows(store: &dyn EventStore) -> Rows {
    let scan = Scan { limit: usize::MAX, ..Scan::default() };
    let of = |table| {
        let rows = store.rows(table, &scan).expect("the rows are readable");
        rows.into_iter().map(move |(key, value)| ((table, key.to_vec()), value))
    };
    Table::ALL.into_iter().flat_map(of).collect()
}

fn fold(records: &[Record]) -> (BTreeMap<AgentId, State>, BTreeMap<RunId, u32>) {
    let mut states = BTreeMap::new();
    let mut ends = BTreeMap::new();
    for record in records {
        let StreamId::Agent(id) = record.stream else { continue };
        let event = record.decode::<Event>().expect("the event is readable").event;
        if let Event::RunEnded(ended) = &event {
            *ends.entry(ended.run).or_default() += 1;
        }
        match (&event, states.get_mut(&id)) {
            (Event::Created(created), None) => {
                states.insert(id, State::created(id, record.at, created));
            }
            (Event::Forked(forked), None) => {
                // What had happened by then, and nothing else, is what the fork goes on from.
                let until = records.iter().filter(|it| it.position <= forked.position);
                let (parents, _) = fold(&until.cloned().collect::<Vec<_>>());
                let parent = parents.get(&forked.parent).expect("a fork has a parent");
                states.insert(id, State::forked(id, record.at, forked, parent));
            }
            (event, Some(state)) => agent::apply(state, record.at, event),
            (_, None) => {}
        }
    }
    (states, ends)
}

/// Each call has its return right behind its step's messages, and each return its call. What waits for a decision may be
/// the end.
pub(crate) fn check_calls(messages: &[&Message]) {
    let mut rest = messages;
    while let Some((message, behind)) = rest.split_first() {
        rest = behind;
        let of_step = |next: &&&Message| next.role == Role::Approval && next.step == message.step;
        let waiting = rest.first().filter(of_step);
        rest = &rest[usize::from(waiting.is_some())..];
        let calls = waiting.into_iter().flat_map(|next| &next.tool_calls);
        let called: Vec<&str> =
            message.tool_calls.iter().chain(calls).map(|call| call.id.as_str()).collect();
        if called.is_empty() {
            assert_eq!(message.tool_returns, [], "nothing was called before {message:#?}");
            continue;
        }
        let waits = waiting.is_some() || message.role == Role::Approval;
        let Some((returns, behind)) = rest.split_first() else {
            assert!(waits, "{called:?} have no returns in {messages:#?}");
            return;
        };
        rest = behind;
        let returned: Vec<&str> =
            returns.tool_returns.iter().map(|back| back.call_id.as_str()).collect();
        assert_eq!(called, returned, "in {messages:#?}");
    }
}

/// Everything a run showed.
pub(crate) fn output(store: &dyn EventStore, run: RunId) -> Vec<Item> {
    query::outputs(store, run, 0, usize::MAX).expect("the output is readable")
}

/// Numbers without a gap; an end exactly where the run ended.
fn check_output(store: &dyn EventStore, run: RunId, ended: bool) {
    let items = output(store, run);
    let mut last = 0;
    for item in &items {
        assert_eq!(item.seq, last + 1, "{run} has a gap or shows something twice");
        last = retold_actors::hub::last_seq(item);
    }
    let is_end = |item: &Item| matches!(item.output, Output::End { .. });
    assert_eq!(items.iter().filter(|item| is_end(item)).count(), usize::from(ended), "{run}");
    assert_eq!(items.last().is_some_and(is_end), ended, "the end of {run} is its last item");
}

/// Folded once more and compared with all that is stored of it, every prompt's hash included, a run is what it was.
fn check_replay(store: &dyn EventStore, run: RunId, ended: bool) {
    let replayed = replay(store, run).expect("the log is readable");
    // A run that a client removed has no row to be found by.
    let row = store.row(Table::Runs, run.as_bytes()).expect("the rows are readable");
    assert_eq!(replayed.is_some(), row.is_some(), "{run}");
    let Some(replayed) = replayed else { return };
    let expected = if ended { Status::Identical } else { Status::Incomplete };
    assert_eq!(replayed.status, expected, "{replayed:#?}");
    let steps = query::steps_of_run(store, run, &Page::first(usize::MAX, Order::Asc));
    let steps: Vec<_> = steps.expect("the rows are readable");
    assert_eq!(replayed.steps.len(), steps.len(), "{run}");
    for (replayed, (step, _)) in replayed.steps.iter().zip(steps) {
        assert_eq!((replayed.step, replayed.recorded), (step.id, step.prompt_hash));
        assert_ne!(replayed.matches(), Some(false), "{replayed:?}");
    }
}

fn check_open_rows(store: &dyn EventStore, open: &BTreeSet<RunId>) {
    let listed = query::open_runs(store).expect("the rows are readable");
    let listed: BTreeSet<RunId> = listed.into_iter().map(|(run, _)| run).collect();
    assert_eq!(listed, *open, "the list of open runs");
    for run in open {
        let row = store.row(Table::Runs, run.as_bytes()).expect("the rows are readable");
        let row: RunRow = decode(&row.expect("it has a row")).expect("the row is of this version");
        assert!(!matches!(row.status, RunStatus::Ended(_)), "{run}");
    }
}
