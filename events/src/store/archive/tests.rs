//! Archives hold what had happened by their moment, whatever happens meanwhile, and nothing damaged is taken for whole.

use std::{fs, path::Path};

use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::{
    AgentId, NewEvent, Position, RunId, Seq, StreamId, Timestamp, agent,
    codec::Event as _,
    run::{EndStatus, Ended, StopReason},
    store::{
        Append, Commit, EventStore, MemoryStore, OutputBatch, RawGroup, Restoring, RowChange,
        SledOptions, SledStore, Table,
        conformance::{self, event},
    },
};

const NOW: Timestamp = Timestamp::from_micros(7);

/// One thing that happens: events to a stream, output of a run, the beginning or the end of a run.
type Act = (u8, u8, u8);

fn run_id(number: u8) -> RunId {
    RunId::from_uuid(uuid::Uuid::from_u128(u128::from(number) + 1))
}

/// A store to which things happen. Runs 0..4 are open from the start.
struct World<S> {
    store: S,
    open: [bool; 4],
}

impl<S: EventStore> World<S> {
    fn new(store: S) -> Self {
        let rows = (0..4).map(|run| open_row(run, true)).collect();
        store.append(&[Commit { rows, ..Commit::default() }]).unwrap();
        Self { store, open: [true; 4] }
    }

    fn act(&mut self, (kind, which, size): Act) {
        let (stream, run) = (conformance::agent(u128::from(which % 3)), which % 4);
        let mut commit = Commit::default();
        let expected = self.store.stream_head(stream).unwrap();
        let bytes = vec![size; usize::from(size) * 300];
        match kind % 4 {
            0 | 1 => {
                let events = (0..=u64::from(size % 4))
                    .map(|n| event(expected.0 + n, Bytes::from(bytes.clone())))
                    .collect();
                commit.appends.push(Append { stream, expected, events });
            }
            2 if self.open[usize::from(run)] => {
                commit.outputs.push(self.output(run, &bytes, u64::from(size % 3)));
            }
            3 if self.open[usize::from(run)] => {
                self.open[usize::from(run)] = false;
                commit.appends.push(Append { stream, expected, events: vec![ended(run)] });
                commit.outputs.push(self.output(run, b"end", 0));
                commit.rows.push(open_row(run, false));
            }
            _ => {}
        }
        self.store.append(&[commit]).unwrap()[0].unwrap();
    }

    fn output(&self, run: u8, items: &[u8], more: u64) -> OutputBatch {
        let first = self.store.last_output(run_id(run)).unwrap() + 1;
        let items = Bytes::copy_from_slice(items);
        OutputBatch { run: run_id(run), first, last: first + more, items }
    }
}

fn open_row(run: u8, is_open: bool) -> RowChange {
    let value = is_open.then(|| Bytes::from(vec![0; 16]));
    RowChange { table: Table::OpenRuns, key: run_id(run).as_bytes().to_vec(), value }
}

fn ended(run: u8) -> NewEvent {
    let ended = agent::Event::RunEnded(Ended {
        run: run_id(run),
        status: EndStatus::Completed,
        stop_reason: StopReason::EndTurn,
        error: None,
        interrupted: false,
        input: Vec::new(),
        ttft_ns: None,
        total_ns: 1,
    });
    NewEvent { encoded: ended.encode(), ..event(1, "") }
}

/// Everything that an archive has to bring back.
fn contents(store: &dyn EventStore) -> (Vec<RawGroup>, Vec<Vec<OutputBatch>>) {
    let outputs = (0..4).map(|run| store.output_batches(run_id(run), 0, usize::MAX).unwrap());
    (store.groups(Position(1), usize::MAX).unwrap(), outputs.collect())
}

fn archiver(store: &dyn EventStore, since: Since) -> Archiver {
    Archiver::new(Moment::now(store).unwrap(), since, NOW, "test")
}

fn back_up(store: &dyn EventStore, dir: &Path) -> Result<Manifest, ArchiveError> {
    let target = Target::open(dir)?;
    let archiver = archiver(store, target.since());
    target.receive(ArchiveReader::new(archiver, store), &mut |_| ())
}

/// The bytes of an archive, told page by page with `between` in between.
fn told(store: &dyn EventStore, mut archiver: Archiver, mut between: impl FnMut()) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(page) = archiver.next(store).unwrap() {
        bytes.extend_from_slice(&page);
        between();
    }
    bytes
}

fn restored(backup: &Path, dir: &Path) -> SledStore {
    let backup = Backup::open(backup).unwrap();
    let restoring = Restoring::begin(dir).unwrap();
    let store = restoring.store(SledOptions::default()).unwrap();
    store.go_on_after(backup.manifest().epoch).unwrap();
    let (mut groups, mut derived) = (Vec::new(), Commit::default());
    let take = |part| {
        match part {
            Part::Group(group) => groups.push(group),
            Part::Output(batch) => derived.outputs.push(batch),
        }
        Ok(())
    };
    backup.read::<ArchiveError>(&mut |_| (), take, Err).unwrap();
    let (first, rest) = groups.split_at(groups.len() / 2);
    store.import(first, &Commit::default()).unwrap();
    store.import(rest, &derived).unwrap();
    restoring.finish(store).unwrap();
    SledStore::open(dir, SledOptions::default()).unwrap()
}

fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| {
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

fn acts(count: usize) -> impl Strategy<Value = Vec<Act>> {
    prop::collection::vec(any::<Act>(), 0..count)
}

/// A store with some of everything, and a backup of it.
fn sample() -> (World<MemoryStore>, TempDir) {
    let mut world = World::new(MemoryStore::new());
    for number in 0..40 {
        world.act((number, number / 3, number));
    }
    world.act((3, 1, 0));
    world.act((2, 2, 5));
    let dir = tempfile::tempdir().unwrap();
    back_up(&world.store, dir.path()).unwrap();
    (world, dir)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_had_happened_by_the_moment_comes_back_whatever_happens_meanwhile(
        before in acts(60),
        after in acts(60),
    ) {
        let mut world = World::new(MemoryStore::new());
        before.into_iter().for_each(|act| world.act(act));
        let then = contents(&world.store);
        let head = world.store.head();
        let archiver = archiver(&world.store, Since::default());
        // All of the rest happens before a byte is told: nothing of it may be in the archive.
        after.into_iter().for_each(|act| world.act(act));
        let bytes = told(&world.store, archiver, || ());
        let dir = tempfile::tempdir().unwrap();
        let (backup, data) = (dir.path().join("backup"), dir.path().join("data"));
        let manifest = Target::open(&backup).unwrap().receive(&bytes[..], &mut |_| ()).unwrap();
        prop_assert_eq!((manifest.position, manifest.chain), (head.position, head.chain));
        let store = restored(&backup, &data);
        prop_assert_eq!(contents(&store), then);
        let now = store.head();
        prop_assert_eq!((now.position, now.chain, now.at), (head.position, head.chain, head.at));
        prop_assert!(now.epoch > head.epoch);
    }

    #[test]
    fn a_backup_that_was_added_to_is_a_backup_of_the_whole(parts in prop::collection::vec(acts(25), 1..5)) {
        let mut world = World::new(MemoryStore::new());
        let dir = tempfile::tempdir().unwrap();
        let (backup, once) = (dir.path().join("backup"), dir.path().join("once"));
        for part in parts {
            part.into_iter().for_each(|act| world.act(act));
            back_up(&world.store, &backup).unwrap();
        }
        let whole = back_up(&world.store, &once).unwrap();
        let added = Backup::open(&backup).unwrap().manifest().clone();
        prop_assert_eq!(added.counts, whole.counts);
        let store = restored(&backup, &dir.path().join("data"));
        prop_assert_eq!(contents(&store), contents(&world.store));
    }
}

#[test]
fn long_output_and_large_events_come_back() {
    let mut world = World::new(MemoryStore::new());
    let large = vec![7; 3 << 20];
    for _ in 0..3 {
        let outputs = vec![world.output(0, &large, 0), world.output(1, &large, 5)];
        world.store.append(&[Commit { outputs, ..Commit::default() }]).unwrap();
    }
    let stream = StreamId::Agent(AgentId::from_uuid(uuid::Uuid::from_u128(1)));
    let events = vec![event(1, Bytes::from(vec![9; 9 << 20]))];
    let append = Append { stream, expected: Seq(0), events };
    world.store.append(&[Commit { appends: vec![append], ..Commit::default() }]).unwrap();
    world.act((3, 0, 0));
    let dir = tempfile::tempdir().unwrap();
    back_up(&world.store, &dir.path().join("backup")).unwrap();
    let store = restored(&dir.path().join("backup"), &dir.path().join("data"));
    assert!(contents(&store) == contents(&world.store));
}

#[test]
fn an_archive_cut_off_anywhere_is_refused_and_leaves_what_was_there() {
    let (mut world, dir) = sample();
    let before = files(dir.path());
    let since = Backup::open(dir.path()).unwrap().manifest().since();
    (0..10).for_each(|number| world.act((number, number, number)));
    let bytes = told(&world.store, archiver(&world.store, since), || ());
    for length in (0..bytes.len()).step_by(97).chain(bytes.len() - 90..bytes.len()) {
        let target = Target::open(dir.path()).unwrap();
        let result = target.receive(&bytes[..length], &mut |_| ());
        assert!(matches!(result, Err(ArchiveError::BrokenOff(_))), "{length}: {result:?}");
        let backup = Backup::open(dir.path()).unwrap();
        backup.read::<ArchiveError>(&mut |_| (), |_| Ok(()), Err).unwrap();
    }
    // What the last one left is gone as soon as the next begins.
    drop(Target::open(dir.path()).unwrap());
    assert_eq!(files(dir.path()), before);

    let fresh = tempfile::tempdir().unwrap();
    let first = told(&world.store, archiver(&world.store, Since::default()), || ());
    for length in [1, 200, first.len() / 2, first.len() - 1] {
        let target = Target::open(fresh.path()).unwrap();
        target.receive(&first[..length], &mut |_| ()).unwrap_err();
        assert_eq!(fs::read_dir(fresh.path()).unwrap().count(), 0, "nothing is left of it");
    }
    Target::open(fresh.path()).unwrap().receive(&first[..], &mut |_| ()).unwrap();
    Backup::open(fresh.path()).unwrap();
}

#[test]
fn a_flipped_bit_of_an_archive_on_its_way_is_noticed() {
    let (world, _dir) = sample();
    let bytes = told(&world.store, archiver(&world.store, Since::default()), || ());
    for byte in (0..bytes.len()).step_by(131) {
        let mut flipped = bytes.clone();
        flipped[byte] ^= 16;
        let dir = tempfile::tempdir().unwrap();
        let result = Target::open(dir.path()).unwrap().receive(&flipped[..], &mut |_| ());
        assert!(result.is_err(), "{byte}");
    }
}

#[test]
fn a_flipped_bit_of_any_file_is_named_with_its_file() {
    let (_, dir) = sample();
    for (name, bytes) in files(dir.path()) {
        for byte in (0..bytes.len()).step_by(173) {
            let mut flipped = bytes.clone();
            flipped[byte] ^= 8;
            let path = dir.path().join(&name);
            fs::write(&path, flipped).unwrap();
            let result = Backup::open(dir.path())
                .and_then(|backup| backup.read(&mut |_| (), |_| Ok(()), Err));
            let error = result.unwrap_err();
            assert!(error.file().ends_with(&name), "{name} {byte}: {error}");
            fs::write(path, &bytes).unwrap();
        }
    }
}

#[test]
fn every_damaged_file_is_named_in_one_look() {
    let (mut world, dir) = sample();
    (0..20).for_each(|number| world.act((number, number, number)));
    back_up(&world.store, dir.path()).unwrap();
    let manifest = Backup::open(dir.path()).unwrap().manifest().clone();
    let logs = manifest.segments.iter().filter(|segment| segment.name.ends_with(".log"));
    let names: Vec<String> = logs.map(|segment| segment.name.clone()).collect();
    assert!(names.len() >= 2, "{names:?}");
    for name in &names {
        let path = dir.path().join(name);
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).unwrap();
    }
    let mut found = Vec::new();
    let backup = Backup::open(dir.path()).unwrap();
    let note = |error: ArchiveError| {
        found.push(error.file());
        Ok::<(), ()>(())
    };
    backup.read(&mut |_| (), |_| Ok(()), note).unwrap();
    assert_eq!(found.len(), names.len(), "{found:?}");
    assert!(found.iter().zip(&names).all(|(found, name)| found.ends_with(name)), "{found:?}");
}

#[test]
fn another_history_is_refused_and_nothing_is_touched() {
    let (_, dir) = sample();
    let before = files(dir.path());
    let mut other = World::new(MemoryStore::new());
    (0..200).for_each(|number| other.act((0, number, 3)));
    let since = Backup::open(dir.path()).unwrap().manifest().since();
    assert!(other.store.head().position > since.position);
    assert!(matches!(since.check(&other.store), Err(ArchiveError::OtherHistory { .. })));
    let error = back_up(&other.store, dir.path()).unwrap_err();
    assert!(matches!(error, ArchiveError::Store(_) | ArchiveError::BrokenOff(_)), "{error}");
    let full = told(&other.store, archiver(&other.store, Since::default()), || ());
    let error = Target::open(dir.path()).unwrap().receive(&full[..], &mut |_| ()).unwrap_err();
    assert!(matches!(error, ArchiveError::OtherHistory { .. }), "{error}");
    drop(Target::open(dir.path()).unwrap());
    assert_eq!(files(dir.path()), before);
}

#[test]
fn a_directory_with_other_files_or_in_use_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("letter.txt"), "dear").unwrap();
    let error = Target::open(dir.path()).unwrap_err();
    assert!(matches!(error, ArchiveError::NotEmpty(_)), "{error}");
    assert!(matches!(Backup::open(dir.path()), Err(ArchiveError::NotABackup(_))));
    assert_eq!(files(dir.path()).len(), 1);
    let (_, backup) = sample();
    let first = Target::open(backup.path()).unwrap();
    assert!(matches!(Target::open(backup.path()), Err(ArchiveError::InUse(_))));
    drop(first);
    Target::open(backup.path()).unwrap();
}

#[test]
fn a_restore_that_is_cut_off_leaves_no_data_directory_and_can_be_begun_again() {
    let (world, backup) = sample();
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let restoring = Restoring::begin(&data).unwrap();
    let store = restoring.store(SledOptions::default()).unwrap();
    let busy = SledStore::open(&data, SledOptions::default()).unwrap_err();
    assert!(matches!(busy, StoreError::InUse { .. }), "{busy}");
    drop((store, restoring));
    let refused = SledStore::open(&data, SledOptions::default()).unwrap_err();
    assert!(refused.to_string().contains("restore"), "{refused}");
    let store = restored(backup.path(), &data);
    assert_eq!(contents(&store), contents(&world.store));
    drop(store);
    let error = Restoring::begin(&data).unwrap_err();
    assert!(error.to_string().contains("not empty"), "{error}");
    SledStore::open(&data, SledOptions::default()).unwrap();
}

#[test]
fn what_does_not_follow_is_not_imported() {
    let (world, _backup) = sample();
    let groups = world.store.groups(Position(1), usize::MAX).unwrap();
    let open = || {
        let dir = tempfile::tempdir().unwrap();
        (SledStore::open(dir.path(), SledOptions::default()).unwrap(), dir)
    };
    let mut chained = groups.clone();
    chained[1].chain[3] ^= 1;
    let mut swapped = groups.clone();
    swapped.swap(0, 1);
    for wrong in [&groups[1..], &chained, &swapped] {
        let (store, _dir) = open();
        let error = store.import(wrong, &Commit::default()).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        assert_eq!(store.head().position, Position(0));
        assert_eq!(store.read_all(Position(1), 9).unwrap(), []);
    }
    let (store, _dir) = open();
    store.import(&groups, &Commit::default()).unwrap();
    assert_eq!(store.head().chain, world.store.head().chain);
}
