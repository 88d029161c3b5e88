//! A backup restored: the same events, and everything that follows from them, whatever fits into memory.

use std::collections::BTreeSet;

use proptest::prelude::*;
use retold_events::{
    Position, Seq, Timestamp, block,
    store::{
        Commit, EventStore, KEPT_STATE_EVENTS, RowChange, SledOptions, SledStore,
        archive::{ArchiveReader, Archiver, Backup, Manifest, Moment, Target},
        verify::{Copy, Report},
    },
};
use retold_snapshots::{
    load,
    rebuild::rebuild,
    restore::{Options, restore},
    verify,
};

use crate::{
    facts::{self, Choice},
    folding::{acts, cases},
    rows::stored,
    world::{Outcome, World},
};

fn fails(error: impl std::fmt::Display) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

fn back_up(store: &dyn EventStore, dir: &std::path::Path) -> Outcome<Manifest> {
    let target = Target::open(dir).map_err(fails)?;
    let made_at = Timestamp::from_micros(1);
    let archiver = Archiver::new(Moment::now(store)?, target.since(), made_at, "test");
    target.receive(ArchiveReader::new(archiver, store), &mut |_| ()).map_err(fails)
}

proptest! {
    #![proptest_config(cases(10))]

    #[test]
    fn a_restored_directory_has_the_same_events_rows_and_states(acts in acts(200), saved in any::<bool>()) {
        let mut world = World::after(&acts)?;
        if saved {
            (0..world.agents.len()).try_for_each(|index| world.save(index))?;
        }
        let dir = tempfile::tempdir()?;
        let backup = dir.path().join("backup");
        back_up(&world.store, &backup)?;
        let backup = Backup::open(&backup).map_err(fails)?;
        let report = verify::backup(&backup, &mut |_| ());
        prop_assert_eq!(report.findings, []);
        prop_assert_eq!(report.seen.events, world.facts.len() as u64);
        // Once with all in memory, once with no state kept longer than a group.
        let tight = Options { batch_bytes: 0, state_bytes: 0, ..Options::default() };
        for (name, options) in [("roomy", Options::default()), ("tight", tight)] {
            let data = dir.path().join(name);
            let restored = restore(&backup, &data, options, &mut |_| ()).map_err(fails)?;
            prop_assert_eq!(&restored.unreadable, &[]);
            let head = world.store.head();
            prop_assert_eq!((restored.head.position, restored.head.chain), (head.position, head.chain));
            prop_assert!(restored.head.epoch > head.epoch);

            let copy = Copy::of(&data, None)?;
            let mut report = copy.examine(&mut verify::Understood, &mut |_| ())?;
            verify::rows(&copy.store()?, &mut report).map_err(fails)?;
            prop_assert_eq!(&report.findings, &[], "{}", name);
            drop(copy);

            let store = SledStore::open(&data, SledOptions::default())?;
            let groups = |store: &dyn EventStore| store.groups(Position(1), usize::MAX);
            prop_assert!(groups(&store)? == groups(&world.store)?);
            prop_assert_eq!(stored(&store)?, rebuild(&world.store)?);
            for live in &world.agents {
                let loaded = load::agent(&store, live.id, None)?;
                let state = loaded.map(|loaded| loaded.state);
                prop_assert_eq!(state.as_ref(), Some(live));
            }
            for live in &world.blocks {
                let loaded = load::block(&store, live.id, None)?;
                let state = loaded.map(|loaded| loaded.state);
                prop_assert_eq!(state.as_ref(), Some(live));
            }
        }
    }
}

#[test]
fn rows_that_are_not_what_the_events_give_are_named() -> Outcome {
    let world = World::after(&[(0, 1), (0, 2), (7, 3)])?;
    let mut report = Report::default();
    verify::rows(&world.store, &mut report)?;
    assert_eq!(report.findings, []);
    let mut rows = stored(&world.store)?.into_iter();
    let keys: Vec<_> = rows.by_ref().take(2).map(|(key, _)| key).collect();
    let change = |key: &(_, Vec<u8>), value: Option<&'static [u8]>| {
        let value = value.map(bytes::Bytes::from_static);
        RowChange { table: key.0, key: key.1.clone(), value }
    };
    let extra = (keys[0].0, b"nobody".to_vec());
    let changes =
        vec![change(&keys[0], Some(b"wrong")), change(&keys[1], None), change(&extra, Some(b"x"))];
    let commit = Commit { rows: changes, ..Commit::default() };
    for answer in world.store.append(&[commit])? {
        answer?;
    }
    verify::rows(&world.store, &mut report)?;
    let reasons: BTreeSet<_> = report.findings.iter().map(|it| it.reason.as_str()).collect();
    let expected = ["it is missing", "it is not what its events give", "no event gives it"];
    assert_eq!(reasons, BTreeSet::from(expected));
    assert_eq!(report.damage, 3);
    Ok(())
}

#[test]
fn a_damaged_backup_leaves_no_data_directory() -> Outcome {
    let world = World::after(&[(0, 1), (0, 2), (7, 3)])?;
    let dir = tempfile::tempdir()?;
    let (path, data) = (dir.path().join("backup"), dir.path().join("data"));
    let manifest = back_up(&world.store, &path)?;
    let file = path.join(&manifest.segments[0].name);
    let mut bytes = std::fs::read(&file)?;
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    std::fs::write(&file, &bytes)?;
    let backup = Backup::open(&path).map_err(fails)?;
    let error = restore(&backup, &data, Options::default(), &mut |_| ()).map(drop);
    let error = error.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("00000001.log"), "{error}");
    assert!(!data.join("FORMAT").exists() && !data.join("log").exists());
    let report = verify::backup(&backup, &mut |_| ());
    assert!(!report.is_whole());
    assert!(report.findings[0].place.key.as_ref().is_some_and(|key| key.contains("00000001.log")));
    bytes[last] ^= 1;
    std::fs::write(&file, &bytes)?;
    restore(&backup, &data, Options::default(), &mut |_| ()).map_err(fails)?;
    Ok(())
}

#[test]
fn folding_to_a_past_moment_begins_at_the_saved_state_next_to_it() -> Outcome {
    let mut world = World::after(&[(0, 1)])?;
    let choice = &mut Choice::new(3);
    let before = world.facts.len() as u64;
    world.create_block(choice)?;
    // A block that is edited for long, and saved every 500 events.
    let last = 3 * KEPT_STATE_EVENTS;
    for number in 2..=last {
        let at = world.tick(choice);
        let (block, author) = (facts::block(choice), block::Author::Client);
        let edited = block::Edited { block, author, restored: None };
        world.happen_to_block(0, at, block::Event::Edited(edited))?;
        if number % 500 == 0 {
            let snapshots = vec![load::save(&world.blocks[0], Seq(number))];
            for answer in world.store.append(&[Commit { snapshots, ..Commit::default() }])? {
                answer?;
            }
        }
    }
    let id = world.blocks[0].id;
    let folded_to = |seq| -> Outcome<u64> {
        let loaded = load::block(&world.store, id, Some(Position(before + seq)))?;
        let loaded = loaded.ok_or_else(|| fails("it was there"))?;
        assert_eq!(loaded.seq, Seq(seq));
        Ok(loaded.folded)
    };
    for seq in [1, 499, 8191, 8499, 8500, 9000, 16_000, 20_000, last - 1, last] {
        assert!(folded_to(seq)? <= KEPT_STATE_EVENTS + 500, "{seq}");
    }
    assert_eq!(folded_to(17_000)?, 500, "from the first state at or after 16 384");
    assert!(folded_to(last)? < 500, "from the newest");
    Ok(())
}
