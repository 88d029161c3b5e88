//! A check names what is damaged, all of it, and changes nothing.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

use super::*;
use crate::store::{
    EventStore, OutputBatch, RowChange, SledOptions, SledStore, Table,
    conformance::{agent, block, commit},
    disk::copy::Copy,
    sled::Changes,
    verify::{AnyMeaning, Finding},
};

fn run() -> RunId {
    RunId::from_uuid(uuid::Uuid::from_u128(5))
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

fn fill(store: &SledStore) {
    for number in 0..10 {
        let mut both = commit(agent(1), number * 2, 2);
        both.appends.extend(commit(block(1), number, 1).appends);
        let items = Bytes::from(vec![number as u8; 30]);
        both.outputs.push(OutputBatch { run: run(), first: number + 1, last: number + 1, items });
        let value = Some(Bytes::from(vec![1; 100_000]));
        both.rows.push(RowChange { table: Table::Runs, key: b"large".to_vec(), value });
        both.snapshots.push(SavedState {
            stream: agent(1),
            seq: Seq(number * 2 + 2),
            bytes: Bytes::from_static(b"state"),
        });
        store.append(&[both]).unwrap()[0].unwrap();
    }
}

/// A directory with some of everything, closed.
fn sample() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path(), SledOptions::default()).unwrap();
    fill(&store);
    store.close().unwrap();
    dir
}

fn verify(dir: &Path) -> Report {
    let copy = Copy::of(dir, None).unwrap();
    copy.examine(&mut AnyMeaning, &mut |_| ()).unwrap()
}

/// Changes the log behind the store's back, with the head file as it was.
fn tamper(dir: &Path, change: impl FnOnce(&Tree)) {
    let tree = Tree::open(&dir.join("log"), 8 << 20).unwrap();
    change(&tree);
    tree.sync().unwrap();
    tree.close().unwrap();
}

fn stored(tree: &Tree, key: &Key) -> Vec<u8> {
    tree.get(&key.encode()).unwrap().unwrap().to_vec()
}

fn flip(tree: &Tree, key: &Key) {
    let mut value = stored(tree, key);
    let middle = value.len() / 2;
    value[middle] ^= 4;
    tree.apply(Changes::from([(key.encode(), Some(value))])).unwrap();
}

fn remove(tree: &Tree, key: &Key) {
    tree.apply(Changes::from([(key.encode(), None)])).unwrap();
}

fn damage(report: &Report) -> Vec<&Finding> {
    report.findings.iter().filter(|finding| finding.is_damage).collect()
}

/// The findings after a change, which are damage.
fn damaged_by(change: impl FnOnce(&Tree)) -> Vec<Finding> {
    let dir = sample();
    tamper(dir.path(), change);
    let report = verify(dir.path());
    assert!(!report.is_whole());
    damage(&report).into_iter().cloned().collect()
}

#[test]
fn a_whole_directory_is_whole_and_stays_as_it_is() {
    let dir = sample();
    let before = contents(dir.path());
    let report = verify(dir.path());
    assert!(contents(dir.path()) == before, "not a byte has changed");
    assert_eq!(report.findings, []);
    let seen = report.seen;
    assert_eq!((seen.events, seen.streams, seen.groups), (30, 2, 10));
    assert_eq!((seen.batches, seen.rows, seen.saved_states), (10, 1, 2));
    let store = SledStore::open(dir.path(), SledOptions::default()).unwrap();
    let head = store.head();
    assert_eq!((report.position, report.chain), (head.position, head.chain));
    store.close().unwrap();
    drop(store);

    let before = contents(dir.path());
    let scratch = tempfile::tempdir().unwrap();
    let copy = Copy::of(dir.path(), Some(scratch.path())).unwrap();
    assert!(copy.examine(&mut AnyMeaning, &mut |_| ()).unwrap().is_whole());
    assert_eq!(copy.store().unwrap().head().position, Position(30));
    drop(copy);
    assert!(contents(dir.path()) == before, "not a byte has changed");
    assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
}

#[test]
fn what_only_the_journal_has_counts() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path(), SledOptions::default()).unwrap();
    fill(&store);
    // As a crash would leave it: copied while it is open, without its lock.
    let crashed = tempfile::tempdir().unwrap();
    for name in ["FORMAT", "HEAD"] {
        fs::copy(dir.path().join(name), crashed.path().join(name)).unwrap();
    }
    for name in ["log", "journal"] {
        let (from, to) = (dir.path().join(name), crashed.path().join(name));
        super::super::directory::copy_files(&from, &to).unwrap();
    }
    let before = contents(crashed.path());
    let report = verify(crashed.path());
    assert_eq!(report.findings, []);
    assert_eq!(report.position, Position(30));
    assert!(contents(crashed.path()) == before, "not a byte has changed");
}

#[test]
fn a_directory_in_use_or_none_at_all_is_refused() {
    let dir = sample();
    let store = SledStore::open(dir.path(), SledOptions::default()).unwrap();
    let error = Copy::of(dir.path(), None).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    drop(store);
    let empty = tempfile::tempdir().unwrap();
    let error = Copy::of(empty.path(), None).unwrap_err();
    assert!(matches!(error, StoreError::Unusable { .. }), "{error}");
    assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
    fs::write(dir.path().join("FORMAT"), "999\n").unwrap();
    let error = Copy::of(dir.path(), None).unwrap_err();
    assert!(matches!(error, StoreError::NewerFormat { found: 999, .. }), "{error}");
}

#[test]
fn a_damaged_event_is_named_with_its_stream_and_place() {
    let found = damaged_by(|tree| flip(tree, &Key::Events(agent(1), Seq(7))));
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].place, Place::event(agent(1), Seq(7)));
    assert!(found[0].reason.contains("checksum"), "{found:?}");
}

#[test]
fn a_missing_event_is_named_with_its_stream_place_and_position() {
    let found = damaged_by(|tree| remove(tree, &Key::Events(agent(1), Seq(7))));
    let at = |found: &Finding| (found.place.stream, found.place.seq);
    assert!(found.iter().all(|found| at(found) == (Some(agent(1)), Some(Seq(7)))), "{found:?}");
    assert!(found.iter().any(|found| found.place.position == Some(Position(10))), "{found:?}");
}

#[test]
fn an_event_from_another_history_is_named() {
    let other = sample();
    let replaced = {
        let tree = Tree::open(&other.path().join("log"), 8 << 20).unwrap();
        stored(&tree, &Key::Events(agent(1), Seq(7)))
    };
    // Whole in itself, but written in another epoch: the hashes tell.
    let dir = tempfile::tempdir().unwrap();
    drop(SledStore::open(dir.path(), SledOptions::default()).unwrap());
    let store = SledStore::open(dir.path(), SledOptions::default()).unwrap();
    fill(&store);
    drop(store);
    tamper(dir.path(), |tree| {
        let key = Key::Events(agent(1), Seq(7)).encode();
        tree.apply(Changes::from([(key, Some(replaced))])).unwrap();
    });
    let report = verify(dir.path());
    let reasons: Vec<_> = damage(&report).iter().map(|it| it.reason.clone()).collect();
    assert!(reasons.iter().any(|it| it.contains("does not follow")), "{reasons:?}");
}

#[test]
fn a_missing_or_damaged_group_is_named_with_its_position() {
    for change in [remove, flip] {
        let found = damaged_by(|tree| change(tree, &Key::Feed(Position(10))));
        assert_eq!(found[0].place, Place::position(Position(10)), "{found:?}");
    }
}

#[test]
fn output_and_rows_that_are_damaged_are_named() {
    let found = damaged_by(|tree| {
        flip(tree, &Key::Output(run(), 4));
        remove(tree, &Key::Output(run(), 8));
        flip(tree, &Key::Row(Table::Runs, b"large".to_vec()));
    });
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(found[..2].iter().all(|found| found.place.run == Some(run())), "{found:?}");
    assert!(found[1].reason.contains("item 9"), "{found:?}");
    assert!(found[2].place.key.as_ref().is_some_and(|key| key.contains("Runs")), "{found:?}");
}

#[test]
fn what_can_be_made_anew_is_noted_and_no_damage() {
    let dir = sample();
    tamper(dir.path(), |tree| {
        flip(tree, &Key::Snapshot(agent(1), Seq(20)));
        let piece = Key::Chunk(Key::Row(Table::Runs, b"gone".to_vec()).encode(), 0).encode();
        tree.apply(Changes::from([(piece, Some(vec![1; 9]))])).unwrap();
    });
    let report = verify(dir.path());
    assert!(report.is_whole());
    assert_eq!(report.notes, 2, "{:?}", report.findings);
    assert_eq!(report.findings[0].place, Place::event(agent(1), Seq(20)));
    assert!(report.findings[1].reason.contains("left over"), "{:?}", report.findings);
}

#[test]
fn a_log_that_ends_before_its_head_file_is_named() {
    let dir = sample();
    tamper(dir.path(), |tree| {
        remove(tree, &Key::Feed(Position(28)));
        remove(tree, &Key::Events(agent(1), Seq(19)));
        remove(tree, &Key::Events(block(1), Seq(10)));
    });
    assert!(verify(dir.path()).is_whole(), "the journal has it");
    fs::remove_dir_all(dir.path().join("journal")).unwrap();
    let report = verify(dir.path());
    assert_eq!(damage(&report)[0].place, Place::key("HEAD"));
    let dir = sample();
    fs::remove_file(dir.path().join("HEAD")).unwrap();
    let report = verify(dir.path());
    assert_eq!(damage(&report)[0].place, Place::key("HEAD"));
    let dir = sample();
    fs::remove_dir_all(dir.path().join("log")).unwrap();
    let report = verify(dir.path());
    assert_eq!(damage(&report)[0].place, Place::key("log"));
}

#[test]
fn events_in_no_group_and_unknown_keys_are_named() {
    let found = damaged_by(|tree| {
        let value = stored(tree, &Key::Events(block(1), Seq(1)));
        // The same bytes under a key of their own: the checksum knows the key.
        tree.apply(Changes::from([(Key::Events(block(7), Seq(1)).encode(), Some(value))])).unwrap();
        tree.apply(Changes::from([(vec![99, 1], Some(vec![0; 9]))])).unwrap();
    });
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(found[0].place, Place::event(block(7), Seq(1)));
    assert!(found[1].place.key.as_ref().is_some_and(|key| key.contains("63")), "{found:?}");
}

#[test]
fn one_look_names_all_damage_up_to_a_bound() {
    let dir = tempfile::tempdir().unwrap();
    let store = SledStore::open(dir.path(), SledOptions::default()).unwrap();
    for number in 0..150 {
        store.append(&[commit(agent(number), 0, 1)]).unwrap()[0].unwrap();
    }
    store.close().unwrap();
    drop(store);
    tamper(dir.path(), |tree| {
        (0..130).for_each(|number| flip(tree, &Key::Events(agent(number), Seq(1))));
    });
    let report = verify(dir.path());
    assert_eq!(report.damage, 130);
    assert_eq!(report.findings.len(), crate::store::verify::MAX_FINDINGS);
    assert_eq!(report.seen.events, 20);
}

#[test]
fn a_flipped_bit_of_the_file_is_found_or_changes_nothing_that_is_read() {
    let dir = sample();
    let whole = {
        let store = SledStore::open(dir.path(), SledOptions::default()).unwrap();
        let groups = store.groups(Position(1), usize::MAX).unwrap();
        (groups, store.output_batches(run(), 0, usize::MAX).unwrap())
    };
    let db = dir.path().join("log/db");
    let bytes = fs::read(&db).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let mut found = 0;
    for byte in (0..used).step_by(used / 40) {
        let mut flipped = bytes.clone();
        flipped[byte] ^= 32;
        fs::write(&db, flipped).unwrap();
        let before = contents(dir.path());
        let copy = Copy::of(dir.path(), None).unwrap();
        let report = copy.examine(&mut AnyMeaning, &mut |_| ()).unwrap();
        if report.is_whole() {
            let store = copy.store().unwrap();
            let now = store.groups(Position(1), usize::MAX).unwrap();
            let outputs = store.output_batches(run(), 0, usize::MAX).unwrap();
            assert!((now, outputs) == whole, "{byte}: lost in silence");
        } else {
            found += 1;
        }
        drop(copy);
        assert!(contents(dir.path()) == before, "{byte}: not a byte has changed");
    }
    assert!(found > 3, "only {found} flips were noticed");
}
