//! What the store on disk promises beyond the common suite: what survives, and what is refused.

mod openings;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{FileExt, PermissionsExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::store::{
    Append, KEPT_STATE_EVENTS, MemoryStore, OutputBatch, RowChange,
    conformance::{agent, block, commit, event},
};

fn open(dir: &Path) -> Result<SledStore, StoreError> {
    SledStore::open(dir, SledOptions { cache_bytes: 8 << 20, reserve_bytes: None })
}

/// Keys in their readable form.
fn keys_of(store: &SledStore) -> Vec<Key> {
    let mut keys = Vec::new();
    let everything = (Bound::Unbounded, Bound::Unbounded);
    store
        .tree
        .scan(everything, false, |key, _| {
            keys.extend(Key::decode(key));
            Ok(ControlFlow::Continue(()))
        })
        .unwrap();
    keys
}

/// A directory in which `groups` groups of one event each were written, and the store closed.
fn written(groups: u64) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    write(&store, 0, groups);
    store.close().unwrap();
    dir
}

fn write(store: &SledStore, from: u64, to: u64) {
    for number in from..to {
        let answers = store.append(&[commit(agent(1), number, 1)]).unwrap();
        assert!(answers[0].is_ok(), "{answers:?}");
    }
}

/// Every file below `dir` with its bytes.
fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(contents(&path));
        } else {
            files.insert(path.clone(), fs::read(path).unwrap());
        }
    }
    files
}

/// Puts the log of `from` in place of that of `to`, without a journal that could bring it up to date.
fn copy_log(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to.join("journal"));
    replace_log(from, to);
}

fn replace_log(from: &Path, to: &Path) {
    let _ = fs::remove_dir_all(to.join("log"));
    fs::create_dir(to.join("log")).unwrap();
    copy_files(&from.join("log"), &to.join("log"));
}

/// Without another program: a child would hold our locks for as long as it takes to start.
fn copy_files(from: &Path, to: &Path) {
    for (path, bytes) in contents(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, bytes).unwrap();
    }
}

#[test]
fn everything_survives_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    write(&store, 0, 30);
    let last = Commit {
        appends: vec![Append {
            stream: block(1),
            expected: Seq(0),
            events: vec![event(1, vec![1; 1 << 20])],
        }],
        rows: vec![RowChange {
            table: Table::Runs,
            key: b"r".to_vec(),
            value: Some(Bytes::from(vec![2; 300_000])),
        }],
        outputs: vec![OutputBatch {
            run: RunId::from_uuid(uuid::Uuid::nil()),
            first: 1,
            last: 4,
            items: Bytes::from_static(b"items"),
        }],
        snapshots: vec![SavedState {
            stream: agent(1),
            seq: Seq(30),
            bytes: Bytes::from(vec![3; 2 << 20]),
        }],
    };
    store.append(&[last]).unwrap()[0].unwrap();
    let look = |store: &SledStore| {
        (
            store.read_all(Position(1), 99).unwrap(),
            store.read_stream(agent(1), Seq(7), 5).unwrap(),
            store.row(Table::Runs, b"r").unwrap(),
            store.outputs(RunId::from_uuid(uuid::Uuid::nil()), 2, 1).unwrap(),
            store.snapshot(agent(1), Seq(31)).unwrap(),
            (store.head().position, store.head().chain, store.head().at),
        )
    };
    let before = look(&store);
    assert_eq!(store.head().epoch, 1);
    drop(store);
    for epoch in 2..5 {
        let store = open(dir.path()).unwrap();
        assert!(look(&store) == before);
        assert_eq!(store.head().epoch, epoch);
    }
    let store = open(dir.path()).unwrap();
    write(&store, 30, 32);
    let records = store.read_all(Position(31), 99).unwrap();
    let epochs: Vec<u32> = records.iter().map(|record| record.epoch).collect();
    assert_eq!(epochs, [1, 5, 5]);
    assert!(fs::read_dir(dir.path().join("log/blobs")).unwrap().next().is_none());
}

#[test]
fn the_directory_is_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b");
    drop(open(&path).unwrap());
    assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o700);
}

#[test]
fn a_second_server_is_refused_until_the_first_has_closed() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    write(&first, 0, 1);
    assert!(matches!(open(dir.path()), Err(StoreError::InUse { .. })));
    write(&first, 1, 2);
    first.close().unwrap();
    let second = open(dir.path()).unwrap();
    assert_eq!(second.head().position, Position(2));
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let dir = written(2);
    fs::write(dir.path().join("FORMAT"), "3\n").unwrap();
    let before = contents(dir.path());
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::NewerFormat { found: 3, known: 2, .. }), "{error}");
    fs::write(dir.path().join("FORMAT"), "two").unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::Damaged { .. })));
    fs::write(dir.path().join("FORMAT"), "3\n").unwrap();
    assert!(contents(dir.path()) == before);
}

#[test]
fn a_directory_of_the_format_before_is_taken_over() {
    let dir = written(2);
    fs::write(dir.path().join("FORMAT"), "1\n").unwrap();
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    let store = open(dir.path()).unwrap();
    assert_eq!(store.head().position, Position(2));
    write(&store, 2, 3);
    assert_eq!(fs::read_to_string(dir.path().join("FORMAT")).unwrap(), "2\n");
}

#[test]
fn what_sled_had_not_synced_at_a_crash_comes_from_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let older = written(4);
    replace_log(older.path(), dir.path());
    fs::copy(older.path().join("HEAD"), dir.path().join("HEAD")).unwrap();
    fs::copy(older.path().join("FORMAT"), dir.path().join("FORMAT")).unwrap();
    let store = open(dir.path()).unwrap();
    write(&store, 4, 9);
    let row = RowChange {
        table: Table::Runs,
        key: b"r".to_vec(),
        value: Some(Bytes::from(vec![2; 100_000])),
    };
    store.append(&[Commit { rows: vec![row], ..Commit::default() }]).unwrap()[0].unwrap();
    let expected = store.read_all(Position(1), 99).unwrap();
    let (head, keys) = (store.head(), keys_of(&store));
    drop(store);
    for _ in 0..2 {
        // As if nothing but the journal and the head file had reached the disk.
        replace_log(older.path(), dir.path());
        let _ = fs::remove_file(dir.path().join("CLEAN"));
        let crashed = tempfile::tempdir().unwrap();
        copy_files(dir.path(), crashed.path());
        let store = open(crashed.path()).unwrap();
        assert_eq!((store.head().position, store.head().chain), (head.position, head.chain));
        assert!(store.read_all(Position(1), 99).unwrap() == expected);
        assert_eq!(store.row(Table::Runs, b"r").unwrap().unwrap().len(), 100_000);
        assert_eq!(keys_of(&store), keys);
        write(&store, 9, 12);
    }
}

#[test]
fn a_journal_with_a_gap_is_refused_and_everything_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let older = written(1);
    let newer = written(6);
    copy_files(newer.path(), dir.path());
    replace_log(older.path(), dir.path());
    let journal = dir.path().join("journal/0");
    let mut bytes = fs::read(&journal).unwrap();
    bytes[4096 + 900] ^= 1;
    fs::write(&journal, bytes).unwrap();
    let before = contents(dir.path());
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::NotTheLog { .. }), "{error}");
    assert!(error.to_string().contains("neither in it nor in the journal"), "{error}");
    assert!(contents(dir.path()) == before);
}

#[test]
fn turns_of_the_journal_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let big = |number: u64| {
        let value = Some(Bytes::from(vec![number as u8; 9 << 20]));
        let row = RowChange { table: Table::Messages, key: vec![number as u8 % 3], value };
        Commit { rows: vec![row], ..commit(agent(1), number, 1) }
    };
    for number in 0..12 {
        store.append(&[big(number)]).unwrap()[0].unwrap();
    }
    drop(store);
    let _ = fs::remove_file(dir.path().join("CLEAN"));
    let store = open(dir.path()).unwrap();
    assert_eq!(store.head().position, Position(12));
    for number in 9..12u8 {
        let row = store.row(Table::Messages, &[number % 3]).unwrap().unwrap();
        assert!(row.len() == 9 << 20 && row.iter().all(|&byte| byte == number));
    }
}

#[test]
fn what_is_not_a_usable_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    for path in [file.clone(), file.join("below")] {
        let error = open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Unusable { .. }), "{error}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"not a directory");

    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("LOCK")).unwrap();
    assert!(matches!(open(dir.path()), Err(StoreError::Unusable { .. })));
}

#[test]
fn what_a_crash_left_of_sleds_snapshot_does_not_keep_it_from_opening() {
    let dir = written(5);
    let leftover = dir.path().join("log/snap.FFFFFFFFFFFFFFFF.generating");
    fs::write(&leftover, b"half").unwrap();
    let store = open(dir.path()).unwrap();
    assert_eq!(store.head().position, Position(5));
    assert!(!leftover.exists());
}

#[test]
fn a_log_older_than_its_head_file_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let older = written(4);
    copy_log(older.path(), dir.path());
    let newer = written(9);
    copy_log(older.path(), newer.path());
    for _ in 0..2 {
        let before = contents(newer.path());
        let error = open(newer.path()).unwrap_err();
        assert!(matches!(error, StoreError::NotTheLog { .. }), "{error}");
        assert!(error.to_string().contains("Position(9)"), "{error}");
        assert!(contents(newer.path()) == before, "nothing was changed");
    }
}

#[test]
fn a_log_without_its_last_output_is_refused() {
    let dir = written(2);
    let older = tempfile::tempdir().unwrap();
    copy_log(dir.path(), older.path());
    let store = open(dir.path()).unwrap();
    let run = RunId::from_uuid(uuid::Uuid::nil());
    let items = Bytes::from_static(b"shown to somebody");
    let outputs = vec![OutputBatch { run, first: 1, last: 1, items }];
    store.append(&[Commit { outputs, ..Commit::default() }]).unwrap()[0].unwrap();
    drop(store);
    assert_eq!(open(dir.path()).unwrap().outputs(run, 0, 1).unwrap().len(), 1);
    copy_log(older.path(), dir.path());
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::NotTheLog { .. }), "{error}");
}

#[test]
fn another_log_of_the_same_length_is_refused() {
    let dir = written(3);
    let other = tempfile::tempdir().unwrap();
    let store = open(other.path()).unwrap();
    for number in 0..3 {
        store.append(&[commit(agent(2), number, 1)]).unwrap()[0].unwrap();
    }
    drop(store);
    copy_log(other.path(), dir.path());
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::NotTheLog { .. }), "{error}");
}

#[test]
fn a_log_without_its_head_file_is_refused() {
    let dir = written(3);
    fs::remove_file(dir.path().join("HEAD")).unwrap();
    let error = open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::NotTheLog { .. }), "{error}");
}

#[test]
fn a_log_longer_than_its_head_file_is_accepted() {
    let dir = written(3);
    let head = fs::read(dir.path().join("HEAD")).unwrap();
    let store = open(dir.path()).unwrap();
    write(&store, 3, 5);
    drop(store);
    fs::write(dir.path().join("HEAD"), head).unwrap();
    let store = open(dir.path()).unwrap();
    assert_eq!(store.head().position, Position(5));
    assert_eq!(store.head().epoch, 3, "the epoch of the last events counts");
    write(&store, 5, 6);
}

#[test]
fn a_truncated_log_is_refused_and_left_alone() {
    let dir = written(50);
    let db = dir.path().join("log/db");
    let length = fs::metadata(&db).unwrap().len();
    let mut seen = 0;
    for cut in [length / 2, length - 100, 4096, 64, 20, 0] {
        fs::OpenOptions::new().write(true).open(&db).unwrap().set_len(cut).unwrap();
        let before = contents(dir.path());
        match open(dir.path()) {
            Ok(store) => {
                assert_eq!(store.read_all(Position(1), 99).unwrap().len(), 50, "cut to {cut}");
                drop(store);
            }
            Err(error) => {
                seen += 1;
                assert!(contents(dir.path()) == before, "cut to {cut}: {error}");
            }
        }
    }
    assert!(seen >= 4);
}

#[test]
fn a_flipped_bit_is_never_silent_and_opening_never_makes_it_worse() {
    let whole = written(60);
    let expected = open(whole.path()).unwrap().read_all(Position(1), 999).unwrap();
    let db = whole.path().join("log/db");
    let bytes = fs::read(&db).unwrap();
    // What the log really takes of its file.
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let (mut refused, mut unharmed) = (0, 0);
    for step in 0..40 {
        let dir = tempfile::tempdir().unwrap();
        for name in ["HEAD", "FORMAT", "LOCK", "BALLAST"] {
            fs::copy(whole.path().join(name), dir.path().join(name)).unwrap();
        }
        copy_log(whole.path(), dir.path());
        let at = used * step / 40 + step % 7;
        let file = fs::OpenOptions::new().write(true).open(dir.path().join("log/db")).unwrap();
        file.write_all_at(&[bytes[at] ^ (1 << (step % 8))], at as u64).unwrap();
        let before = contents(dir.path());
        match open(dir.path()) {
            Ok(store) => match store.read_all(Position(1), 999) {
                Ok(records) => {
                    unharmed += 1;
                    assert!(records == expected, "bit flipped at {at}");
                }
                Err(error) => {
                    refused += 1;
                    assert!(matches!(error, StoreError::Damaged { .. }), "at {at}: {error}");
                }
            },
            Err(error) => {
                refused += 1;
                let named =
                    matches!(error, StoreError::NotTheLog { .. } | StoreError::Damaged { .. });
                assert!(named, "at {at}: {error}");
                assert!(contents(dir.path()) == before, "at {at}: {error}");
            }
        }
    }
    assert!(refused > 5 && unharmed > 0, "{refused} refused, {unharmed} unharmed");
}

#[test]
fn after_a_failure_nothing_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    write(&store, 0, 1);
    let too_long = vec![0; crate::store::MAX_PAYLOAD_BYTES + 1];
    let append = Append { stream: agent(1), expected: Seq(1), events: vec![event(2, too_long)] };
    let group = [Commit { appends: vec![append], ..Commit::default() }];
    assert!(matches!(store.append(&group), Err(StoreError::Io(_))));
    let error = store.append(&[commit(agent(1), 1, 1)]).unwrap_err();
    assert!(matches!(error, StoreError::Closed(_)), "{error}");
    drop(store);
    let store = open(dir.path()).unwrap();
    write(&store, 1, 2);
}

#[test]
fn a_group_takes_one_key_per_stream_and_one_for_itself() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let group = [commit(agent(1), 0, 5), commit(agent(2), 0, 5), commit(agent(1), 5, 5)];
    assert!(store.append(&group).unwrap().iter().all(Result::is_ok));
    let expected =
        [Key::Events(agent(1), Seq(1)), Key::Events(agent(2), Seq(1)), Key::Feed(Position(1))];
    assert_eq!(keys_of(&store), expected);
}

/// Sizes a value goes through, `None` when it is removed, and the pieces it then has.
const SIZES: [(Option<usize>, usize); 8] = [
    (Some(300_000), 5),
    (Some(70_000), 2),
    (Some(10), 0),
    (Some(70_000), 2),
    (None, 0),
    (Some(10), 0),
    (Some(300_000), 5),
    (None, 0),
];

#[test]
fn a_replaced_row_leaves_no_piece_behind() {
    for reopens in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path()).unwrap();
        for (length, pieces) in SIZES {
            let value = length.map(|length| Bytes::from(vec![7; length]));
            let change = RowChange { table: Table::Messages, key: b"m".to_vec(), value };
            store.append(&[Commit { rows: vec![change], ..Commit::default() }]).unwrap();
            let expected = usize::from(length.is_some()) + pieces;
            assert_eq!(keys_of(&store).len(), 1 + expected, "the tail, the row and its pieces");
            if reopens {
                drop(store);
                store = open(dir.path()).unwrap();
            }
        }
    }
}

#[test]
fn a_replaced_or_outdated_saved_state_leaves_no_piece_behind() {
    for reopens in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path()).unwrap();
        let mut seq = 1;
        for (length, pieces) in SIZES {
            // One place is written again and again, until two newer ones put an end to it.
            let states = match length {
                Some(length) => vec![(seq, length)],
                None => vec![(seq + 1, 10), (seq + 2, 10)],
            };
            let snapshots = states.iter().map(|&(seq, length)| SavedState {
                stream: agent(1),
                seq: Seq(seq),
                bytes: Bytes::from(vec![3; length]),
            });
            let commit = Commit { snapshots: snapshots.collect(), ..Commit::default() };
            store.append(&[commit]).unwrap();
            let chunks = keys_of(&store).iter().filter(|key| matches!(key, Key::Chunk(..))).count();
            assert_eq!(chunks, pieces);
            if length.is_none() {
                seq += 3;
            }
            if reopens {
                drop(store);
                store = open(dir.path()).unwrap();
            }
        }
    }
}

#[test]
fn old_rows_are_read_only_in_tables_that_hold_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path()).unwrap();
    let put = |store: &SledStore, table, length| {
        let value = Some(Bytes::from(vec![7; length]));
        let change = RowChange { table, key: b"\xff\xff".to_vec(), value };
        store.append(&[Commit { rows: vec![change], ..Commit::default() }]).unwrap();
    };
    let cut = |store: &SledStore| Vec::from_iter(store.lock_writer().cut_tables.clone());
    for table in Table::ALL {
        put(&store, table, 10);
    }
    assert_eq!(cut(&store), []);
    put(&store, Table::Tags, 70_000);
    put(&store, Table::Feedback, 70_000);
    assert_eq!(cut(&store), [Table::Tags, Table::Feedback]);
    drop(store);
    let store = open(dir.path()).unwrap();
    assert_eq!(cut(&store), [Table::Tags, Table::Feedback]);
    put(&store, Table::Tags, 10);
    drop(store);
    assert_eq!(cut(&open(dir.path()).unwrap()), [Table::Feedback]);
}

/// Every piece belongs to a value that is there and has so many.
fn assert_no_piece_is_left_over(store: &SledStore) {
    for key in keys_of(store) {
        if let Key::Chunk(owner, index) = key {
            let stored = store.tree.get(&owner).unwrap();
            let pieces = stored.as_deref().map_or(0, values::pieces_of);
            assert!(
                index < pieces,
                "piece {index} of {:?}, which has {pieces}",
                Key::decode(&owner)
            );
        }
    }
}

/// A random commit in numbers, which stay readable when a case fails.
type Draft = (
    Vec<(u128, u64, u64)>,
    Vec<(bool, u8, Option<usize>)>,
    Option<(u128, u64, u64)>,
    Option<(u128, u64)>,
);

/// One step of a random history: a group, or a restart when it is empty.
type Step = Vec<Draft>;

fn drafts() -> impl Strategy<Value = Draft> {
    let appends = prop::collection::vec((0u128..4, 0u64..6, 0u64..4), 0..3);
    let lengths = prop::option::of(prop_oneof![0usize..9, 60_000usize..140_000]);
    let rows = prop::collection::vec((any::<bool>(), 0u8..4, lengths), 0..4);
    let outputs = prop::option::of((0u128..2, 1u64..20, 0u64..4));
    let stretches = (0u64..5, 0u64..3).prop_map(|(stretch, n)| stretch * KEPT_STATE_EVENTS + n);
    let snapshots = prop::option::of((0u128..4, prop_oneof![0u64..9, stretches]));
    (appends, rows, outputs, snapshots)
}

fn commit_of((appends, rows, outputs, snapshots): &Draft) -> Commit {
    let mut made = Commit::default();
    for &(stream, expected, count) in appends {
        if made.appends.iter().all(|append| append.stream != agent(stream)) {
            made.appends.extend(commit(agent(stream), expected, count).appends);
        }
    }
    for &(is_run, key, value) in rows {
        let table = if is_run { Table::Runs } else { Table::Agents };
        let value = value.map(|length| Bytes::from(vec![key; length]));
        made.rows.push(RowChange { table, key: vec![key], value });
    }
    made.outputs.extend(outputs.map(|(run, first, more)| OutputBatch {
        run: RunId::from_uuid(uuid::Uuid::from_u128(run)),
        first,
        last: first + more,
        items: Bytes::from(vec![1; 10]),
    }));
    made.snapshots.extend(snapshots.map(|(stream, seq)| SavedState {
        stream: agent(stream),
        seq: Seq(seq),
        bytes: Bytes::from(vec![2; if seq % 2 == 0 { 20 } else { 70_000 }]),
    }));
    made
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(prop::collection::vec(drafts(), 0..5), 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_happens_it_answers_as_the_store_in_memory_does(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let model = MemoryStore::new();
        let mut store = open(dir.path()).unwrap();
        for step in steps {
            if step.is_empty() {
                drop(store);
                store = open(dir.path()).unwrap();
                model.close().unwrap();
                model.reopen();
            }
            let group: Vec<Commit> = step.iter().map(commit_of).collect();
            prop_assert_eq!(store.append(&group).unwrap(), model.append(&group).unwrap());
            prop_assert_eq!(store.head(), model.head());
        }
        prop_assert!(store.read_all(Position(3), 7).unwrap() == model.read_all(Position(3), 7).unwrap());
        for number in 0..4 {
            let stream = agent(number);
            let read = |store: &dyn EventStore| store.read_stream(stream, Seq(2), 9).unwrap();
            prop_assert!(read(&store) == read(&model));
            prop_assert_eq!(store.stream_head(stream).unwrap(), model.stream_head(stream).unwrap());
            for until in (0..9).chain((9..60_000).step_by(KEPT_STATE_EVENTS as usize / 3)) {
                let until = Seq(until);
                prop_assert_eq!(store.snapshot(stream, until).unwrap(), model.snapshot(stream, until).unwrap());
            }
        }
        assert_no_piece_is_left_over(&store);
        for table in [Table::Runs, Table::Agents] {
            let scan = Scan { limit: 99, ..Scan::default() };
            prop_assert!(store.rows(table, &scan).unwrap() == model.rows(table, &scan).unwrap());
        }
    }
}
