//! What every store has to do, as a suite: [`check`] runs all of it on stores that `open` makes.
//!
//! `open` gives a new, empty store each time. What survives a restart is beyond this: not every store can be opened twice.

use bytes::Bytes;
use ulid::Ulid;
use uuid::Uuid;

use super::{
    Append, Commit, Conflict, EventStore, OutputBatch, RowChange, SavedState, Scan, Table,
};
use crate::{
    AgentId, BlockId, Encoded, EventType, NewEvent, Position, Record, RunId, Seq, StreamId,
    Timestamp,
};

/// Runs the whole suite.
///
/// # Panics
/// When the store breaks a promise; the message names it.
pub fn check<S: EventStore>(mut open: impl FnMut() -> S) {
    an_empty_store_has_nothing(&open());
    events_come_back_in_both_orders(&open());
    a_conflict_names_both_places_and_leaves_nothing(&open());
    later_commits_of_a_group_see_earlier_ones(&open());
    streams_are_read_from_any_place(&open());
    all_is_read_from_any_position(&open());
    large_values_come_back(&open());
    rows_are_put_and_removed(&open());
    of_several_changes_of_a_row_the_last_counts(&open());
    rows_are_scanned_from_both_ends(&open());
    two_saved_states_are_kept(&open());
    one_saved_state_is_kept_per_stretch_of_history(&open());
    outputs_are_read_from_a_cursor(&open());
    groups_come_back_as_they_were_written(&open());
    appending_nothing_writes_nothing(&open());
    nothing_is_written_after_closing(&open());
}

/// An agent's stream, the same for the same number.
#[must_use]
pub fn agent(number: u128) -> StreamId {
    StreamId::Agent(AgentId::from_uuid(Uuid::from_u128(number)))
}

/// A block's stream, the same for the same number.
#[must_use]
pub fn block(number: u128) -> StreamId {
    StreamId::Block(BlockId::from_uuid(Uuid::from_u128(number)))
}

/// An event whose payload is `bytes`.
#[must_use]
pub fn event(number: u64, bytes: impl Into<Bytes>) -> NewEvent {
    NewEvent {
        id: Ulid::from_parts(number, 7),
        causation: Ulid::nil(),
        run: number.is_multiple_of(2).then(|| RunId::from_uuid(Uuid::from_u128(9))),
        at: Timestamp::from_micros(1000 + i64::try_from(number).unwrap_or_default()),
        encoded: Encoded { event_type: EventType(7), version: 3, payload: bytes.into() },
    }
}

/// A commit of `count` small events after `expected`.
#[must_use]
pub fn commit(stream: StreamId, expected: u64, count: u64) -> Commit {
    Commit { appends: vec![append(stream, expected, count)], ..Commit::default() }
}

fn append(stream: StreamId, expected: u64, count: u64) -> Append {
    let events = (1..=count).map(|n| event(expected + n, format!("{stream:?} {}", expected + n)));
    Append { stream, expected: Seq(expected), events: events.collect() }
}

/// Appends a group in which no commit conflicts, and gives the position of its last event.
fn write<S: EventStore>(store: &S, group: &[Commit]) -> Position {
    let answers = store.append(group).expect("the store writes");
    let last = answers.into_iter().map(|answer| answer.expect("no conflict")).next_back();
    last.expect("a group has a commit").position
}

fn places(records: &[Record]) -> Vec<(StreamId, u64, u64)> {
    records.iter().map(|record| (record.stream, record.seq.0, record.position.0)).collect()
}

fn all<S: EventStore>(store: &S) -> Vec<Record> {
    store.read_all(Position(1), usize::MAX).expect("the store reads")
}

fn an_empty_store_has_nothing<S: EventStore>(store: &S) {
    assert_eq!(store.head().position, Position(0));
    assert_eq!(store.head().chain, [0; 16]);
    assert!(all(store).is_empty());
    assert!(store.read_stream(agent(1), Seq(1), 10).expect("reads").is_empty());
    assert_eq!(store.stream_head(agent(1)).expect("reads"), Seq(0));
    assert_eq!(store.snapshot(agent(1), Seq(9)).expect("reads"), None);
    assert_eq!(store.row(Table::Agents, b"a").expect("reads"), None);
    let scan = Scan { limit: 9, ..Scan::default() };
    assert!(store.rows(Table::Agents, &scan).expect("reads").is_empty());
    let run = RunId::from_uuid(Uuid::nil());
    assert!(store.outputs(run, 0, usize::MAX).expect("reads").is_empty());
}

fn events_come_back_in_both_orders<S: EventStore>(store: &S) {
    let both = Commit {
        appends: vec![append(agent(1), 0, 2), append(block(1), 0, 1)],
        ..Commit::default()
    };
    assert_eq!(write(store, &[both, commit(agent(1), 2, 1)]), Position(4));
    let (a, b) = (agent(1), block(1));
    let records = all(store);
    assert_eq!(places(&records), [(a, 1, 1), (a, 2, 2), (b, 1, 3), (a, 3, 4)]);
    let own = store.read_stream(a, Seq(1), 10).expect("reads");
    assert_eq!(places(&own), [(a, 1, 1), (a, 2, 2), (a, 3, 4)]);
    for (record, number) in own.iter().zip(1..) {
        let expected = event(number, format!("{a:?} {number}"));
        assert_eq!(record.encoded, expected.encoded);
        assert_eq!((record.id, record.causation), (expected.id, expected.causation));
        assert_eq!((record.run, record.at), (expected.run, expected.at));
        assert_eq!(record.epoch, store.head().epoch);
    }
    assert_eq!(store.stream_head(a).expect("reads"), Seq(3));
    assert_eq!(store.stream_head(b).expect("reads"), Seq(1));
    let head = store.head();
    assert_eq!((head.position, head.at), (Position(4), Timestamp::from_micros(1003)));
    assert_ne!(head.chain, [0; 16], "the head has a hash over everything");
}

fn a_conflict_names_both_places_and_leaves_nothing<S: EventStore>(store: &S) {
    write(store, &[commit(agent(1), 0, 3)]);
    let row = |value: &str| RowChange {
        table: Table::Agents,
        key: b"a".to_vec(),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
    };
    let conflicting = Commit {
        appends: vec![append(block(1), 0, 1), append(agent(1), 2, 1)],
        rows: vec![row("wrong")],
        outputs: vec![output(1, 1, 1, 10)],
        snapshots: vec![saved(1, 2, "wrong")],
    };
    let group = [commit(agent(2), 0, 1), conflicting, commit(agent(3), 0, 1)];
    let answers = store.append(&group).expect("the store writes");
    let conflict = Conflict { stream: agent(1), expected: Seq(2), actual: Seq(3) };
    assert_eq!(answers[1], Err(conflict));
    assert_eq!(answers[0].map(|done| done.position), Ok(Position(4)));
    assert_eq!(answers[2].map(|done| done.position), Ok(Position(5)));
    assert_eq!(store.stream_head(block(1)).expect("reads"), Seq(0));
    assert_eq!(store.row(Table::Agents, b"a").expect("reads"), None);
    assert_eq!(store.snapshot(agent(1), Seq(9)).expect("reads"), None);
    assert!(store.outputs(run(1), 0, 99).expect("reads").is_empty());
    assert_eq!(all(store).len(), 5);
}

fn later_commits_of_a_group_see_earlier_ones<S: EventStore>(store: &S) {
    let group = [commit(agent(1), 0, 2), commit(agent(1), 2, 1), commit(agent(1), 2, 1)];
    let answers = store.append(&group).expect("the store writes");
    assert!(answers[0].is_ok() && answers[1].is_ok());
    let conflict = Conflict { stream: agent(1), expected: Seq(2), actual: Seq(3) };
    assert_eq!(answers[2], Err(conflict));
    assert_eq!(store.stream_head(agent(1)).expect("reads"), Seq(3));
}

fn streams_are_read_from_any_place<S: EventStore>(store: &S) {
    for group in 0..6 {
        write(store, &[commit(agent(1), group * 3, 3), commit(agent(2), group, 1)]);
    }
    for from in 0..20 {
        for limit in [0, 1, 2, 5, 100] {
            let records = store.read_stream(agent(1), Seq(from), limit).expect("reads");
            let seqs: Vec<u64> = records.iter().map(|record| record.seq.0).collect();
            let expected: Vec<u64> = (from.max(1)..=18).take(limit.max(1)).collect();
            assert_eq!(seqs, expected, "from {from}, at most {limit}");
        }
    }
}

fn all_is_read_from_any_position<S: EventStore>(store: &S) {
    for group in 0..5 {
        let interleaved = [
            commit(agent(1), group * 2, 1),
            commit(agent(2), group, 1),
            commit(agent(1), group * 2 + 1, 1),
        ];
        write(store, &interleaved);
    }
    for from in 0..17 {
        for limit in [0, 1, 2, 4, 100] {
            let records = store.read_all(Position(from), limit).expect("reads");
            let positions: Vec<u64> = records.iter().map(|record| record.position.0).collect();
            let expected: Vec<u64> = (from.max(1)..=15).take(limit.max(1)).collect();
            assert_eq!(positions, expected, "from {from}, at most {limit}");
        }
    }
}

fn large_values_come_back<S: EventStore>(store: &S) {
    let large =
        |length: usize| Bytes::from((0..length).map(|n| (n % 253) as u8).collect::<Vec<_>>());
    let key = b"row".to_vec();
    let commit = Commit {
        appends: vec![Append {
            stream: agent(1),
            expected: Seq(0),
            events: vec![event(1, large(1 << 20)), event(2, "small"), event(3, large(70_000))],
        }],
        rows: vec![RowChange {
            table: Table::Messages,
            key: key.clone(),
            value: Some(large(300_000)),
        }],
        outputs: vec![OutputBatch { run: run(1), first: 1, last: 2, items: large(200_000) }],
        snapshots: vec![SavedState { stream: agent(1), seq: Seq(3), bytes: large(2 << 20) }],
    };
    write(store, &[commit]);
    let records = store.read_stream(agent(1), Seq(1), 9).expect("reads");
    let lengths: Vec<_> = records.iter().map(|record| record.encoded.payload.clone()).collect();
    assert!(lengths == [large(1 << 20), Bytes::from_static(b"small"), large(70_000)]);
    assert!(all(store) == records);
    assert!(store.row(Table::Messages, &key).expect("reads") == Some(large(300_000)));
    assert!(store.outputs(run(1), 0, 1).expect("reads") == [large(200_000)]);
    let saved = store.snapshot(agent(1), Seq(3)).expect("reads").expect("there is one");
    assert!(saved.bytes == large(2 << 20));

    for value in [Some(large(5)), Some(large(100_000)), None] {
        let change = RowChange { table: Table::Messages, key: key.clone(), value: value.clone() };
        write(store, &[Commit { rows: vec![change], ..Commit::default() }]);
        assert!(store.row(Table::Messages, &key).expect("reads") == value);
    }
}

fn put(table: Table, key: &[u8], value: Option<&str>) -> RowChange {
    let value = value.map(|value| Bytes::copy_from_slice(value.as_bytes()));
    RowChange { table, key: key.to_vec(), value }
}

fn rows_are_put_and_removed<S: EventStore>(store: &S) {
    let row = |key: &[u8]| store.row(Table::Runs, key).expect("reads");
    let put = |key: &[u8], value| put(Table::Runs, key, value);
    let first =
        Commit { rows: vec![put(b"a", Some("1")), put(b"", Some("empty"))], ..Commit::default() };
    // Of several changes of one row the last counts, within a commit and within a group.
    let second =
        Commit { rows: vec![put(b"a", Some("2")), put(b"b", Some("3"))], ..Commit::default() };
    let third = Commit {
        rows: vec![put(b"b", None), put(b"c", None), put(b"c", Some(""))],
        ..Commit::default()
    };
    write(store, &[first, second, third]);
    assert_eq!(row(b"a"), Some(Bytes::from_static(b"2")));
    assert_eq!(row(b""), Some(Bytes::from_static(b"empty")));
    assert_eq!(row(b"b"), None);
    assert_eq!(row(b"c"), Some(Bytes::new()));
    assert_eq!(store.row(Table::Agents, b"a").expect("reads"), None, "tables are apart");
    write(store, &[Commit { rows: vec![put(b"a", None), put(b"zz", None)], ..Commit::default() }]);
    assert_eq!(row(b"a"), None);
    assert_eq!(store.head().position, Position(0), "rows are no events");
}

fn of_several_changes_of_a_row_the_last_counts<S: EventStore>(store: &S) {
    let large = "large".repeat(20_000);
    let values = [None, Some("small"), Some(large.as_str())];
    let change = |value| put(Table::Agents, b"a", value);
    for (old, first, last) in values.into_iter().flat_map(|old| {
        values.into_iter().flat_map(move |first| values.map(|last| (old, first, last)))
    }) {
        let of = |rows| Commit { rows, ..Commit::default() };
        let in_one_commit = vec![of(vec![change(first), change(last)])];
        let in_two_commits = vec![of(vec![change(first)]), of(vec![change(last)])];
        for group in [in_one_commit, in_two_commits] {
            write(store, &[of(vec![change(old)])]);
            write(store, &group);
            let found = store.row(Table::Agents, b"a").expect("reads");
            assert!(found.as_deref() == last.map(str::as_bytes), "the last change counts");
            let scan = Scan { limit: 9, ..Scan::default() };
            let rows = store.rows(Table::Agents, &scan).expect("reads");
            assert_eq!(rows.len(), usize::from(last.is_some()));
        }
    }
}

fn rows_are_scanned_from_both_ends<S: EventStore>(store: &S) {
    let keys: [&[u8]; 9] =
        [b"", b"a", b"a\0", b"aa", b"ab", b"a\xff", b"a\xff\xff", b"b", b"\xff\xff"];
    let put_all = |table| keys.map(|key| put(table, key, Some("v"))).to_vec();
    let rows = [Table::Tags, Table::Agents, Table::Blocks].into_iter().flat_map(put_all).collect();
    write(store, &[Commit { rows, ..Commit::default() }]);

    let bounds = || std::iter::once(None).chain(keys.map(|key| Some(key.to_vec())));
    let prefixes: [&[u8]; 5] = [b"", b"a", b"a\xff", b"\xff", b"c"];
    for prefix in prefixes {
        for (after, before) in bounds().flat_map(|a| bounds().map(move |b| (a.clone(), b))) {
            for (descending, limit) in [(false, 99), (true, 99), (false, 2), (true, 2), (true, 0)] {
                let mut expected: Vec<Vec<u8>> = keys
                    .iter()
                    .filter(|key| key.starts_with(prefix))
                    .filter(|key| after.as_ref().is_none_or(|after| **key > after.as_slice()))
                    .filter(|key| before.as_ref().is_none_or(|before| **key < before.as_slice()))
                    .map(|key| key.to_vec())
                    .collect();
                expected.sort();
                if descending {
                    expected.reverse();
                }
                expected.truncate(limit);
                let (after, before) = (after.clone(), before.clone());
                let scan = Scan { prefix: prefix.to_vec(), after, before, descending, limit };
                let found = store.rows(Table::Tags, &scan).expect("reads");
                let found: Vec<_> = found.into_iter().map(|(key, _)| key.to_vec()).collect();
                assert_eq!(found, expected, "{scan:?}");
            }
        }
    }
}

fn saved(stream: u128, seq: u64, text: &str) -> SavedState {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    SavedState { stream: agent(stream), seq: Seq(seq), bytes }
}

fn two_saved_states_are_kept<S: EventStore>(store: &S) {
    let save = |states: &[SavedState]| {
        write(store, &[Commit { snapshots: states.to_vec(), ..Commit::default() }])
    };
    let newest =
        |until| store.snapshot(agent(1), Seq(until)).expect("reads").map(|saved| saved.seq.0);
    save(&[saved(1, 10, "ten"), saved(2, 5, "other")]);
    assert_eq!((newest(9), newest(10), newest(99)), (None, Some(10), Some(10)));
    save(&[saved(1, 20, "twenty")]);
    assert_eq!((newest(10), newest(19), newest(20)), (Some(10), Some(10), Some(20)));
    save(&[saved(1, 30, "thirty"), saved(1, 40, "forty")]);
    assert_eq!((newest(29), newest(39), newest(99)), (None, Some(30), Some(40)));
    save(&[saved(1, 15, "too old")]);
    assert_eq!((newest(29), newest(99)), (None, Some(40)));
    save(&[saved(1, 40, "again")]);
    let found = store.snapshot(agent(1), Seq(40)).expect("reads");
    assert_eq!(found, Some(saved(1, 40, "again")));
    assert_eq!(newest(39), Some(30));
    let other = store.snapshot(agent(2), Seq(99)).expect("reads");
    assert_eq!(other, Some(saved(2, 5, "other")));
}

fn one_saved_state_is_kept_per_stretch_of_history<S: EventStore>(store: &S) {
    // As an agent saves: every 500 events, over and over, and one stretch without any.
    let seqs = (1..=100).map(|n| n * 500).filter(|seq| !(16_384..24_576).contains(seq));
    for seq in seqs {
        let states = vec![saved(1, seq, &format!("{seq}")), saved(2, seq % 700, "other")];
        write(store, &[Commit { snapshots: states, ..Commit::default() }]);
    }
    let newest =
        |until| store.snapshot(agent(1), Seq(until)).expect("reads").map(|saved| saved.seq.0);
    let mut kept = Vec::new();
    let mut until = u64::MAX;
    while let Some(seq) = newest(until) {
        kept.push(seq);
        until = seq - 1;
    }
    let expected = [50_000, 49_500, 41_000, 33_000, 25_000, 8500];
    assert_eq!(kept, expected, "the newest two, and the first at or after each multiple");
    let found = store.snapshot(agent(1), Seq(32_999)).expect("reads");
    assert_eq!(found, Some(saved(1, 25_000, "25000")), "found whole from any place");

    write(store, &[Commit { snapshots: vec![saved(1, 24_600, "late")], ..Commit::default() }]);
    assert_eq!((newest(30_000), newest(24_999)), (Some(24_600), Some(24_600)));
    let far = [saved(1, 60_000, "a"), saved(1, 60_001, "b"), saved(1, 60_002, "c")];
    write(store, &[Commit { snapshots: far.to_vec(), ..Commit::default() }]);
    assert_eq!((newest(60_000), newest(59_999)), (Some(60_000), Some(49_500)));
}

fn run(number: u128) -> RunId {
    RunId::from_uuid(Uuid::from_u128(number))
}

fn output(number: u128, first: u64, last: u64, bytes: usize) -> OutputBatch {
    let items = Bytes::from(vec![u8::try_from(first).unwrap_or(u8::MAX); bytes]);
    OutputBatch { run: run(number), first, last, items }
}

fn outputs_are_read_from_a_cursor<S: EventStore>(store: &S) {
    let outputs = vec![output(1, 1, 3, 10), output(1, 4, 4, 10), output(2, 1, 9, 10)];
    write(store, &[Commit { outputs, ..Commit::default() }]);
    let outputs = vec![output(1, 5, 20, 10), output(1, 21, 21, 10)];
    write(store, &[Commit { outputs, ..Commit::default() }]);
    let firsts = |after, max_bytes| -> Vec<u8> {
        let found = store.outputs(run(1), after, max_bytes).expect("reads");
        found.iter().map(|items| items[0]).collect()
    };
    assert_eq!(firsts(0, usize::MAX), [1, 4, 5, 21]);
    assert_eq!(firsts(1, usize::MAX), [1, 4, 5, 21], "item 2 is in the first batch");
    assert_eq!(firsts(2, usize::MAX), [1, 4, 5, 21]);
    assert_eq!(firsts(3, usize::MAX), [4, 5, 21]);
    assert_eq!(firsts(4, usize::MAX), [5, 21]);
    assert_eq!(firsts(19, usize::MAX), [5, 21]);
    assert_eq!(firsts(20, usize::MAX), [21]);
    assert_eq!(firsts(21, usize::MAX), [0; 0]);
    assert_eq!(firsts(u64::MAX, usize::MAX), [0; 0]);
    assert_eq!(firsts(0, 0), [1], "at least one");
    assert_eq!(firsts(0, 10), [1, 4], "until the bytes are passed");
    assert_eq!(firsts(0, 19), [1, 4]);
    let numbers = |after, max_bytes| -> Vec<(u64, u64)> {
        let found = store.output_batches(run(1), after, max_bytes).expect("reads");
        found.iter().map(|batch| (batch.first, batch.last)).collect()
    };
    assert_eq!(numbers(0, usize::MAX), [(1, 3), (4, 4), (5, 20), (21, 21)]);
    assert_eq!(numbers(4, 0), [(5, 20)], "at least one");
    let lasts = [1, 2, 3].map(|number| store.last_output(run(number)).expect("reads"));
    assert_eq!(lasts, [21, 9, 0]);
}

fn groups_come_back_as_they_were_written<S: EventStore>(store: &S) {
    assert_eq!(store.groups(Position(1), usize::MAX).expect("reads"), []);
    let mut heads = vec![store.head()];
    for group in 0..4 {
        let both = Commit {
            appends: vec![append(agent(1), group, 1), append(block(1), group * 2, 2)],
            ..Commit::default()
        };
        write(store, &[both, commit(agent(2), group, 1)]);
        // No group of the log: it has no event.
        write(store, &[Commit { rows: vec![put(Table::Runs, b"r", None)], ..Commit::default() }]);
        heads.push(store.head());
    }
    let all = store.groups(Position(1), usize::MAX).expect("reads");
    assert_eq!(all.len(), 4);
    for ((group, before), after) in all.iter().zip(&heads).zip(&heads[1..]) {
        assert_eq!((group.first.0, group.last()), (before.position.0 + 1, after.position));
        assert_eq!(group.chain, after.chain);
        let proven = group.prove(before.chain).expect("it follows from what was before");
        let records: Vec<_> = proven.into_iter().map(|envelope| envelope.record).collect();
        assert_eq!(store.read_all(group.first, 4).expect("reads"), records);
    }
    let firsts = |from, max_bytes| -> Vec<u64> {
        let found = store.groups(Position(from), max_bytes).expect("reads");
        found.iter().map(|group| group.first.0).collect()
    };
    assert_eq!(firsts(4, usize::MAX), [1, 5, 9, 13], "the group that holds the position");
    assert_eq!(firsts(5, 0), [5], "at least one");
    assert_eq!(firsts(5, all[1].bytes()), [5, 9], "until the bytes are passed");
    assert_eq!(firsts(17, usize::MAX), [0; 0]);
}

fn appending_nothing_writes_nothing<S: EventStore>(store: &S) {
    let before = write(store, &[commit(agent(1), 0, 1)]);
    let head = store.head();
    assert_eq!(store.append(&[]).expect("the store writes"), []);
    assert_eq!(write(store, &[Commit::default()]), before);
    assert_eq!(write(store, &[commit(agent(1), 1, 0)]), before);
    let answers = store.append(&[commit(agent(1), 0, 0)]).expect("the store writes");
    let conflict = Conflict { stream: agent(1), expected: Seq(0), actual: Seq(1) };
    assert_eq!(answers, [Err(conflict)], "a place can be asked for without an event");
    assert_eq!(store.head(), head);
}

fn nothing_is_written_after_closing<S: EventStore>(store: &S) {
    write(store, &[commit(agent(1), 0, 1)]);
    store.close().expect("the store closes");
    store.close().expect("closing twice is closing once");
    assert!(store.append(&[commit(agent(1), 1, 1)]).is_err());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Faults, FaultyStore, MemoryStore, SledOptions, SledStore};

    #[test]
    fn the_store_in_memory_conforms() {
        check(MemoryStore::new);
    }

    #[test]
    fn the_store_on_disk_conforms() {
        let dir = tempfile::tempdir().unwrap();
        let mut number = 0;
        check(|| {
            number += 1;
            let path = dir.path().join(number.to_string());
            SledStore::open(&path, SledOptions::default()).unwrap()
        });
        for number in 1..=number {
            let mut blobs =
                std::fs::read_dir(dir.path().join(format!("{number}/log/blobs"))).unwrap();
            assert!(blobs.next().is_none(), "sled never syncs what is there");
        }
    }

    #[test]
    fn a_store_without_faults_conforms() {
        check(|| FaultyStore::new(std::sync::Arc::new(MemoryStore::new()), Faults::new()));
    }
}
