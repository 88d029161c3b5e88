//! A start finds calls that were begun: each keeps what came of it, and none loses its return, whatever changed meanwhile.

use std::sync::Arc;

use retold_events::{
    AgentId, RunId,
    agent::ToolRuleKind,
    run::EndStatus,
    store::{Failure, Faults, Moment},
};
use retold_models::testing::{Say, ScriptedModel};
use retold_snapshots::row::RunStatus;

use crate::{
    approvals::add_rule,
    audit::audit,
    calls::{Bench, agent_with, ended, happened, returns, with},
    world::{Disk, World, settle},
};

/// A run in the middle of its calls: the first one hangs, the second one has been made.
async fn hanging(disk: &Disk, bench: &Arc<Bench>) -> (World, AgentId, RunId, Faults) {
    let (store, faults) = disk.open();
    let calls = Say::calls(&[("a", "hang_beside", "{}"), ("b", "two_beside", "{}")]);
    let world = World::over(store, ScriptedModel::new([calls]), with(bench)).await;
    let agent = agent_with(&world, &["hang_beside", "two_beside"]).await;
    let run = world.send(agent, "go").await;
    while bench.names().len() < 2 {
        settle().await;
    }
    (world, agent, run, faults)
}

/// The next start, after a crash.
async fn after_a_crash(world: World, faults: Faults, disk: &Disk, bench: &Arc<Bench>) -> World {
    // Nothing of the life before is written any more.
    faults.fail_append(1, Moment::Before, Failure::Io);
    std::mem::forget(world);
    let (store, _) = disk.open();
    World::over(store, ScriptedModel::new([Say::answer("I see.")]), with(bench)).await
}

#[tokio::test]
async fn a_call_that_returned_keeps_its_return_though_its_neighbour_never_did() {
    let (disk, bench) = (Disk::default(), Arc::new(Bench::default()));
    let (world, agent, run, faults) = hanging(&disk, &bench).await;
    while !happened(&world).contains(&"tool returned") {
        settle().await;
    }
    let world = after_a_crash(world, faults, &disk, &bench).await;
    assert_eq!(ended(&world, run).await, RunStatus::Ended(EndStatus::Completed));
    let texts = returns(&world.history(agent).await);
    assert!(texts[0].contains("it is not known whether it took effect"), "{texts:?}");
    assert_eq!(texts[1], "two_beside: two_beside done");
    assert_eq!(bench.names().len(), 2, "neither is made again");
    audit(disk.contents());
}

#[tokio::test]
async fn a_cancel_keeps_what_a_call_returned_beside_one_that_hangs() {
    let (disk, bench) = (Disk::default(), Arc::new(Bench::default()));
    let (world, agent, run, _) = hanging(&disk, &bench).await;
    while !happened(&world).contains(&"tool returned") {
        settle().await;
    }
    world.host.cancel(agent, Some(vec![run])).await.unwrap();
    let texts = returns(&world.history(agent).await);
    assert!(texts[0].contains("the run was cancelled while this tool was running"), "{texts:?}");
    assert_eq!(texts[1], "two_beside: two_beside done");
    audit(disk.contents());
}

#[tokio::test]
async fn every_call_keeps_its_return_though_rules_meanwhile_allow_one_call_only() {
    let (disk, bench) = (Disk::default(), Arc::new(Bench::default()));
    let (world, agent, run, faults) = hanging(&disk, &bench).await;
    add_rule(&world, agent, "two_beside", ToolRuleKind::MaxCount { limit: 9 }).await;
    let world = after_a_crash(world, faults, &disk, &bench).await;
    assert_eq!(ended(&world, run).await, RunStatus::Ended(EndStatus::Completed));
    assert_eq!(returns(&world.history(agent).await).len(), 2);
    assert_eq!(bench.names().len(), 2, "neither is made again");
    audit(disk.contents());
}

#[tokio::test]
async fn every_call_keeps_its_return_though_its_tool_is_gone_meanwhile() {
    let (disk, bench) = (Disk::default(), Arc::new(Bench::default()));
    let (world, agent, run, faults) = hanging(&disk, &bench).await;
    for name in ["hang_beside", "two_beside"] {
        let id = world.host.known_tool(name).unwrap().id;
        world.host.delete_tool(id).await.unwrap();
    }
    let world = after_a_crash(world, faults, &disk, &bench).await;
    assert_eq!(ended(&world, run).await, RunStatus::Ended(EndStatus::Completed));
    assert_eq!(returns(&world.history(agent).await).len(), 2);
    audit(disk.contents());
}
