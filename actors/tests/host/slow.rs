//! Readers: the slow pay alone, the late see the same.

use retold_events::{Role, output::Item};
use retold_models::{
    Finish,
    testing::{Say, ScriptedModel},
};

use crate::world::{World, in_time, text_of};

/// Three times what a live run keeps for its readers, in pieces that are written one by one or joined.
fn long_answer() -> Vec<Say> {
    let mut script: Vec<Say> =
        (0..400).map(|number| Say::text(&format!("{number:04}{}", ".".repeat(500)))).collect();
    script.push(Say::end(Finish::Stop));
    script
}

#[tokio::test]
async fn a_reader_that_never_reads_delays_nobody_and_finds_everything_later() {
    let world = World::new(ScriptedModel::new([long_answer(), Say::answer("next")])).await;
    let agent = world.agent().await;
    let run = world.stream(agent, "count").await;
    let mut idle = world.host.follow(run, 0);
    let mut slow = world.host.follow(run, 0);
    let first = in_time(slow.next()).await.unwrap().unwrap();
    let live = in_time(world.items(run, 0)).await;
    in_time(world.host.run_end(run)).await.unwrap();
    // The agent is already at its next run.
    in_time(world.host.run_end(world.send(agent, "and now?").await)).await.unwrap();
    let mut late: Vec<Item> = Vec::new();
    while let Some(items) = in_time(idle.next()).await.unwrap() {
        late.extend(items.iter().cloned());
    }
    assert_eq!(late, live, "who never read sees the same in the end");
    let mut rest = first.to_vec();
    while let Some(items) = in_time(slow.next()).await.unwrap() {
        rest.extend(items.iter().cloned());
    }
    assert_eq!(rest, live, "who stopped reading goes on where it stopped");
    assert_eq!(in_time(world.items(run, 0)).await, live, "who comes late sees the same");
    let history = world.said(agent).await;
    assert_eq!(history[1], (Role::Assistant, text_of(&live)), "and it is what was said");
    assert!(text_of(&live).len() > 3 * (64 << 10), "more than the ring holds");
}

#[tokio::test]
async fn a_cursor_anywhere_gives_what_follows_it_without_gap_or_double() {
    let world = World::new(ScriptedModel::new([long_answer()])).await;
    let agent = world.agent().await;
    let run = world.stream(agent, "count").await;
    let live = in_time(world.items(run, 0)).await;
    for cursor in 0..live.len() {
        let rest = in_time(world.items(run, cursor as u64)).await;
        assert_eq!(rest, live[cursor..], "from item {cursor} on");
    }
}
