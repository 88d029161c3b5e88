//! Processes that end while they recover what the one before them left, again and again: at every write of a recovery,
//! and at every await of it. In the end the history is whole, and nothing was done twice.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use retold_actors::Host;
use retold_events::{
    Record, RunId, StepId, StreamId,
    agent::Event,
    run::EndStatus,
    store::{Failure, Moment},
};
use retold_snapshots::{query, row::RunStatus};

use crate::{
    audit::{self, audit, check_calls, records},
    faults::{Told, answering, at_every_append, check_told, quick},
    interleavings::crash_and_relapse,
    stage::Chance,
    world::{Disk, World, in_time, settle},
};

/// Recoveries that are crashed one after the other.
const RELAPSES: u32 = 3;
/// What a model says to who hung in the life before.
const LATE_ANSWER: &str = "the end";

/// What was tried.
#[derive(Debug, Default)]
struct Tried {
    crashed: AtomicU64,
    whole: AtomicU64,
    deepest: AtomicU64,
}

#[tokio::test]
async fn a_recovery_crashed_at_any_write_and_the_next_one_too_leaves_a_whole_history() {
    let tried = Tried::default();
    at_every_append(async |at, world, _faults, disk, told| {
        drop(world);
        // What the one before was about to do is over before anybody looks.
        settle().await;
        let mut futures = vec![(at, disk, 0)];
        while let Some((at, disk, relapses)) = futures.pop() {
            tried.deepest.fetch_max(relapses.into(), Ordering::Relaxed);
            if relapses == RELAPSES {
                recover_well(&at, &disk, &told, &tried).await;
            } else {
                crash_at_every_write(&at, &disk, &told, relapses, &tried, &mut futures).await;
            }
        }
    })
    .await;
    eprintln!("{tried:?}");
    assert_eq!(tried.deepest.into_inner(), u64::from(RELAPSES));
}

/// Recovers a copy of the disk for each write of that, which fails after it is on the disk: one that fails before leaves
/// what the write before it left. What each leaves is one of `futures`.
async fn crash_at_every_write(
    at: &str,
    disk: &Disk,
    told: &Told,
    relapses: u32,
    tried: &Tried,
    futures: &mut Vec<(String, Disk, u32)>,
) {
    for append in 1.. {
        let copy = disk.copy();
        let (store, faults) = copy.open();
        faults.fail_append(append, Moment::After, Failure::Io);
        let world = World::over(store, answering(LATE_ANSWER), quick()).await;
        if all_end(&world.host, &copy).await {
            drop(world);
            check_whole(at, &copy, told, tried).await;
            return;
        }
        drop(world);
        settle().await;
        tried.crashed.fetch_add(1, Ordering::Relaxed);
        audit::check(copy.contents());
        check_once(&records(copy.contents()));
        futures.push((format!("{at}, then {append}"), copy, relapses + 1));
    }
}

async fn recover_well(at: &str, disk: &Disk, told: &Told, tried: &Tried) {
    let (store, _faults) = disk.open();
    let world = World::over(store, answering(LATE_ANSWER), quick()).await;
    assert!(all_end(&world.host, disk).await, "{at}: nothing fails any more");
    drop(world);
    check_whole(at, disk, told, tried).await;
}

/// Waits until every open run has ended, or the disk has failed. Whether it has not.
pub(crate) async fn all_end(host: &Host, disk: &Disk) -> bool {
    for run in open_runs(disk) {
        if in_time(host.run_end(run)).await.is_err() {
            in_time(host.log().failed()).await;
            return false;
        }
    }
    host.log().failure().is_none()
}

fn open_runs(disk: &Disk) -> Vec<RunId> {
    let runs = query::open_runs(disk.contents()).expect("the rows are readable");
    runs.into_iter().map(|(run, _)| run).collect()
}

/// Every run has ended once, nothing was done twice, all that was told is there, and the agent goes on.
async fn check_whole(at: &str, disk: &Disk, told: &Told, tried: &Tried) {
    tried.whole.fetch_add(1, Ordering::Relaxed);
    assert_eq!(open_runs(disk), [], "{at}");
    let (store, _faults) = disk.open();
    let world = World::over(store, answering(LATE_ANSWER), quick()).await;
    check_told(at, &world, disk, told).await;
    for run in &told.runs {
        let row = world.host.run(*run).await.expect("it was told");
        assert!(matches!(row.status, RunStatus::Ended(_)), "{at}: {run} is {:?}", row.status);
    }
    if let Some(agent) = told.agent {
        let history = world.history(agent).await;
        check_calls(&history.iter().collect::<Vec<_>>());
        let view = world.host.agent(agent).await.expect("it is there");
        let noted = view.blocks[0].state.block.value.matches("Ada").count();
        let returns = history.iter().flat_map(|message| &message.tool_returns).count();
        assert!(noted == returns && noted <= 1, "{at}: {noted} edits, {returns} returns");
        let next = world.send(agent, "hello").await;
        let row = in_time(world.host.run_end(next)).await.expect("it ends");
        assert_eq!(row.status, RunStatus::Ended(EndStatus::Completed), "{at}: {:?}", row.error);
    }
    check_once(&records(disk.contents()));
    audit(disk.contents());
}

/// No run begins more than twice, no step begins or ends twice, and none is left open when its run ends.
fn check_once(records: &[Record]) {
    let mut begun: BTreeMap<RunId, u32> = BTreeMap::new();
    let mut steps: BTreeMap<StepId, (RunId, bool)> = BTreeMap::new();
    for record in records.iter().filter(|record| matches!(record.stream, StreamId::Agent(_))) {
        let event = record.decode::<Event>().expect("the event is readable").event;
        if let Event::RunStarted(started) = &event {
            let times = begun.entry(started.run).or_default();
            *times += 1;
            assert!(*times <= 2, "{} began {times} times", started.run);
        } else if let Event::StepStarted(started) = &event {
            let before = steps.insert(started.step, (started.run, true));
            assert_eq!(before, None, "{} began twice", started.step);
        } else if let Event::StepEnded(ended) = &event {
            let before = steps.insert(ended.step, (ended.run, false));
            assert_eq!(before, Some((ended.run, true)), "{} ended twice or unbegun", ended.step);
        } else if let Event::RunEnded(ended) = &event {
            let left = steps.values().any(|step| *step == (ended.run, true));
            assert!(!left, "{} ended with a step under way", ended.run);
        }
    }
}

/// Turns of the test within which a recovery, with what it resumes, comes to its end.
const TURNS: u64 = 48;

#[test]
fn a_recovery_crashed_at_any_await_leaves_nothing_half_done() {
    for (stream, moment) in [(true, Moment::Before), (true, Moment::After), (false, Moment::After)]
    {
        for offset in 0..3 {
            // Each turn of the first life meets another turn of the second, and so on: all turns of each are met.
            crash_and_relapse(stream, 1, moment, |at| {
                let mut chance = Chance::new(at ^ offset << 32);
                vec![(at + offset * TURNS / 3) % TURNS, chance.below(TURNS), chance.below(TURNS)]
            });
        }
    }
}
