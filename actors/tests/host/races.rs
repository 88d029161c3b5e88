//! Cancel against everything else: one end, one truth, and nothing after the answer.
//!
//! A held append keeps the log busy, so that what an agent is told stands in its mailbox in a chosen order.

use std::{sync::Arc, time::Duration};

use retold_actors::{Options, Refusal, run::CancelOutcome};
use retold_events::{
    AgentId, Role, RunId,
    output::{Item, Output},
    run::EndStatus,
    store::{Faults, Hold, Moment},
};
use retold_models::{
    ModelErrorKind,
    testing::{Say, ScriptedModel},
};
use retold_snapshots::row::RunStatus;
use tokio::{sync::Notify, task::JoinHandle};

use crate::{
    audit::{audit, check_calls},
    watched::Barrier,
    world::{Disk, World, block, in_time, set, settle, text_of},
};

const INSERT: &str = r#"{"label":"human","new_string":"Name: Ada"}"#;

type Cancelled = JoinHandle<Result<Vec<(RunId, CancelOutcome)>, Refusal>>;

struct Race {
    world: Arc<World>,
    disk: Disk,
    faults: Faults,
    agent: AgentId,
    gate: Arc<Notify>,
}

impl Race {
    async fn new(script: impl FnOnce(&Arc<Notify>) -> Vec<Vec<Say>>) -> Self {
        let disk = Disk::default();
        let (store, faults) = disk.open();
        let gate = Arc::new(Notify::new());
        let model = ScriptedModel::new(script(&gate));
        let world = Arc::new(World::over(store, model, Options::default()).await);
        let agent = world.agent().await;
        // It is awake from here on, so that what it is asked is in its mailbox at once.
        world.host.recompile(agent, false, true).await.expect("it is there");
        Self { world, disk, faults, agent, gate }
    }

    /// Keeps the log busy with something that is not this agent's.
    async fn hold(&self) -> Hold {
        let hold = self.faults.hold(Moment::Before);
        let world = Arc::clone(&self.world);
        tokio::spawn(async move { world.host.create_block(block("other", "thing")).await });
        in_time(hold.reached()).await;
        hold
    }

    /// Asks for a cancel, which is in the agent's mailbox when this returns.
    async fn cancel(&self, runs: Option<Vec<RunId>>) -> Cancelled {
        let (world, agent) = (Arc::clone(&self.world), self.agent);
        let asked = tokio::spawn(async move { world.host.cancel(agent, runs).await });
        settle().await;
        asked
    }

    /// Follows a run until it showed `text`.
    async fn shown(&self, run: RunId, text: &str) {
        let mut follow = self.world.host.follow(run, 0);
        let mut seen: Vec<Item> = Vec::new();
        while text_of(&seen) != text {
            let more = in_time(follow.next()).await.expect("the log is readable");
            seen.extend(more.expect("it is not over").iter().cloned());
        }
    }

    async fn human(&self) -> String {
        let view = self.world.host.agent(self.agent).await.expect("it is there");
        view.blocks[0].state.block.value.clone()
    }

    /// The run ended by the cancel, once; from the answer on nothing changes; the next message works.
    async fn ended_by_cancel(&self, run: RunId, answer: Cancelled) {
        let outcome = in_time(answer).await.expect("it does not panic").expect("it is answered");
        assert!(outcome.contains(&(run, CancelOutcome::Cancelled)), "{outcome:?}");
        let row = self.world.host.run(run).await.expect("it is there");
        assert_eq!(row.status, RunStatus::Ended(EndStatus::Cancelled));
        let (items, memory) = (self.world.items(run, 0).await, self.human().await);
        let history = self.world.history(self.agent).await;
        self.gate.notify_one();
        settle().await;
        assert_eq!(self.world.items(run, 0).await, items, "no output after the answer");
        assert_eq!(self.human().await, memory, "no memory edit after the answer");
        assert_eq!(self.world.history(self.agent).await, history);
        check_calls(&history.iter().collect::<Vec<_>>());
        self.next_works().await;
    }

    async fn next_works(&self) {
        self.world.model.push(Say::answer("next"));
        let next = self.world.send(self.agent, "again").await;
        let row = in_time(self.world.host.run_end(next)).await.expect("it ends");
        assert_eq!(row.status, RunStatus::Ended(EndStatus::Completed), "{:?}", row.error);
        audit(self.disk.contents());
    }
}

#[tokio::test]
async fn before_the_run_is_durable_the_model_is_never_called() {
    let race = Race::new(|_| vec![]).await;
    let hold = race.hold().await;
    let (world, agent) = (Arc::clone(&race.world), race.agent);
    let sending = tokio::spawn(async move { world.send(agent, "Hi").await });
    settle().await;
    let answer = race.cancel(None).await;
    assert!(!sending.is_finished() && !answer.is_finished(), "nothing is durable yet");
    drop(hold);
    let run = in_time(sending).await.unwrap();
    let outcome = in_time(answer).await.unwrap().unwrap();
    assert_eq!(outcome, [(run, CancelOutcome::Cancelled)]);
    assert!(race.world.model.prompts().is_empty());
    assert_eq!(race.world.said(agent).await, [(Role::User, "Hi".to_owned())]);
    race.next_works().await;
}

#[tokio::test]
async fn while_a_piece_of_output_waits_for_the_log_all_that_was_said_is_kept_once() {
    let race = Race::new(|gate| {
        let gate = Say::Until(Arc::clone(gate));
        vec![vec![Say::text("one "), gate, Say::text("two "), Say::text("three "), Say::Hang]]
    })
    .await;
    let run = race.world.stream(race.agent, "count").await;
    race.shown(run, "one ").await;
    let hold = race.faults.hold(Moment::Before);
    race.gate.notify_one();
    in_time(hold.reached()).await;
    settle().await;
    let answer = race.cancel(Some(vec![run])).await;
    assert!(!answer.is_finished(), "no answer before it is durable");
    drop(hold);
    race.ended_by_cancel(run, answer).await;
    let items = race.world.items(run, 0).await;
    assert_eq!(text_of(&items), "one two three ");
    let said = race.world.said(race.agent).await;
    assert_eq!(said[1], (Role::Assistant, "one two three ".to_owned()));
}

#[tokio::test]
async fn between_two_steps_the_first_stays_whole_and_the_second_never_calls_the_model() {
    let race = Race::new(|gate| {
        let mut call = vec![Say::Until(Arc::clone(gate))];
        call.extend(Say::call("c", "memory_insert", INSERT));
        vec![call]
    })
    .await;
    let run = race.world.send(race.agent, "I am Ada").await;
    race.world.model.called(1).await;
    let hold = race.faults.hold(Moment::Before);
    race.gate.notify_one();
    in_time(hold.reached()).await;
    // The end of the first step is being written.
    let answer = race.cancel(None).await;
    drop(hold);
    race.ended_by_cancel(run, answer).await;
    assert!(race.human().await.contains("Name: Ada"), "the step that ended stays");
    let roles: Vec<Role> =
        race.world.said(race.agent).await.into_iter().map(|(role, _)| role).collect();
    assert_eq!(roles[..3], [Role::User, Role::Assistant, Role::Tool]);
    assert_eq!(race.world.model.prompts().len(), 2, "the first step and the next message");
}

#[tokio::test]
async fn a_cancel_before_the_end_of_a_step_leaves_no_trace_of_its_tools() {
    let race = Race::new(|gate| {
        let mut call = vec![Say::text("Let me note that."), Say::Until(Arc::clone(gate))];
        call.extend(Say::call("c", "memory_insert", INSERT));
        vec![call]
    })
    .await;
    let run = race.world.stream(race.agent, "I am Ada").await;
    race.shown(run, "Let me note that.").await;
    let hold = race.hold().await;
    // The agent waits for the log on account of the second id; the model is done meanwhile.
    let ghost = RunId::from_uuid(uuid::Uuid::from_u128(1));
    let answer = race.cancel(Some(vec![run, ghost])).await;
    race.gate.notify_one();
    settle().await;
    drop(hold);
    race.ended_by_cancel(run, answer).await;
    assert!(!race.human().await.contains("Ada"));
    let said = race.world.said(race.agent).await;
    assert_eq!(said[1], (Role::Assistant, "Let me note that.".to_owned()));
}

#[tokio::test]
async fn a_cancel_before_a_failure_keeps_what_was_seen() {
    let race = Race::new(|gate| {
        let mut script = vec![Say::text("half an answer"), Say::Until(Arc::clone(gate))];
        script.extend(Say::failure(ModelErrorKind::Connection, "connection reset"));
        vec![script]
    })
    .await;
    let run = race.world.stream(race.agent, "Hi").await;
    race.shown(run, "half an answer").await;
    let hold = race.hold().await;
    let ghost = RunId::from_uuid(uuid::Uuid::from_u128(1));
    let answer = race.cancel(Some(vec![run, ghost])).await;
    race.gate.notify_one();
    settle().await;
    drop(hold);
    race.ended_by_cancel(run, answer).await;
    let said = race.world.said(race.agent).await;
    assert_eq!(said[1], (Role::Assistant, "half an answer".to_owned()), "what was seen is kept");
}

#[tokio::test]
async fn a_cancel_after_the_end_tells_the_end_also_while_that_is_being_written() {
    for queued in [false, true] {
        let race = Race::new(|gate| {
            let mut script = vec![Say::Until(Arc::clone(gate))];
            script.extend(Say::answer("done"));
            vec![script]
        })
        .await;
        let run = race.world.send(race.agent, "Hi").await;
        race.world.model.called(1).await;
        // The end is in the hands of the disk, or behind something that is.
        let hold = if queued {
            let hold = race.hold().await;
            race.gate.notify_one();
            settle().await;
            hold
        } else {
            let hold = race.faults.hold(Moment::Before);
            race.gate.notify_one();
            in_time(hold.reached()).await;
            hold
        };
        let answer = race.cancel(Some(vec![run])).await;
        assert!(!answer.is_finished(), "no answer before it is durable");
        drop(hold);
        let outcome = in_time(answer).await.unwrap().unwrap();
        assert_eq!(outcome, [(run, CancelOutcome::AlreadyEnded(EndStatus::Completed))]);
        let row = race.world.host.run(run).await.unwrap();
        assert_eq!(row.status, RunStatus::Ended(EndStatus::Completed));
        race.next_works().await;
    }
}

#[tokio::test]
async fn a_run_can_be_deleted_as_soon_as_its_end_is_known() {
    let race = Race::new(|gate| {
        let mut script = vec![Say::Until(Arc::clone(gate))];
        script.extend(Say::answer("done"));
        vec![script]
    })
    .await;
    let run = race.world.send(race.agent, "Hi").await;
    race.world.model.called(1).await;
    race.gate.notify_one();
    in_time(race.world.host.run_end(run)).await.unwrap();
    race.world.host.delete_run(run).await.unwrap();
    let again = race.world.host.delete_run(run).await.unwrap_err();
    assert!(matches!(again, Refusal::NotFound { .. }), "{again:?}");
    race.next_works().await;
}

#[tokio::test]
async fn three_cancels_at_once_are_one_and_the_queue_behind_moves_up_once() {
    let race = Race::new(|_| vec![vec![Say::text("half"), Say::Hang], Say::answer("second")]).await;
    let first = race.world.stream(race.agent, "one").await;
    let second = race.world.send(race.agent, "two").await;
    race.shown(first, "half").await;
    let hold = race.hold().await;
    let mut answers = Vec::new();
    for _ in 0..3 {
        answers.push(race.cancel(Some(vec![first])).await);
    }
    drop(hold);
    for answer in answers {
        let outcome = in_time(answer).await.unwrap().unwrap();
        let again = CancelOutcome::AlreadyEnded(EndStatus::Cancelled);
        assert!(matches!(outcome[..], [(run, how)] if run == first
            && (how == CancelOutcome::Cancelled || how == again)));
    }
    let row = in_time(race.world.host.run_end(second)).await.unwrap();
    assert_eq!(row.status, RunStatus::Ended(EndStatus::Completed));
    assert_eq!(race.world.model.prompts().len(), 2);
    race.next_works().await;
}

#[tokio::test]
async fn a_cancel_and_a_drain_at_once_give_one_end() {
    let race = Race::new(|_| vec![vec![Say::text("half"), Say::Hang]]).await;
    let run = race.world.stream(race.agent, "one").await;
    race.shown(run, "half").await;
    let (cancelled, ()) = in_time(async {
        tokio::join!(
            race.world.host.cancel(race.agent, None),
            race.world.host.drain(Duration::ZERO)
        )
    })
    .await;
    let row = race.world.host.run(run).await.unwrap();
    match cancelled.unwrap()[..] {
        [(of, CancelOutcome::Cancelled)] if of == run => {
            assert_eq!(row.status, RunStatus::Ended(EndStatus::Cancelled));
        }
        [(of, CancelOutcome::AlreadyEnded(status))] if of == run => {
            assert_eq!(row.status, RunStatus::Ended(status));
        }
        [] => assert!(row.interrupted, "the drain came first"),
        ref other => panic!("{other:?}"),
    }
    audit(race.disk.contents());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_turn_that_hears_nothing_is_given_up_after_its_grace() {
    let (barrier, opener) = Barrier::closed();
    let stuck = barrier.clone();
    let model = ScriptedModel::from_fn(move |prompt| {
        if prompt.last_text() == "hang" {
            stuck.pass();
        }
        Say::answer("too late")
    });
    let options = Options { cancel_grace: Duration::from_millis(10), ..Options::default() };
    let disk = Disk::default();
    let (store, _faults) = disk.open();
    let world = World::over(store, model, options).await;
    let agent = world.agent().await;
    let run = world.stream(agent, "hang").await;
    in_time(barrier.reached()).await;
    let outcome = in_time(world.host.cancel(agent, None)).await.unwrap();
    assert_eq!(outcome, [(run, CancelOutcome::Cancelled)]);
    let items = world.items(run, 0).await;
    drop(opener);
    let next = world.send(agent, "again").await;
    in_time(world.host.run_end(next)).await.unwrap();
    settle().await;
    assert_eq!(world.items(run, 0).await, items, "what it says later is not heard");
    let texts: Vec<String> = world.said(agent).await.into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["hang", "again", "too late"]);
    audit(disk.contents());
}

/// Every number of polls between the message and its cancel, until the run is over by itself.
#[tokio::test]
async fn at_every_instant_of_a_turn_there_is_one_end_and_the_answer_tells_it() {
    let model = ScriptedModel::from_fn(|prompt| match prompt.messages.last() {
        Some(last) if last.role == "tool" => Say::answer("I noted it all right"),
        Some(last) if last.text == "again" => Say::answer("fine"),
        _ => [vec![Say::text("Well, ")], Say::call("c", "memory_insert", INSERT)].concat(),
    });
    let disk = Disk::default();
    let (store, _faults) = disk.open();
    let world = World::over(store, model, Options::default()).await;
    for stream in [false, true] {
        let mut completed = 0;
        for polls in 0.. {
            assert!(polls < 5000, "it ends by itself some time");
            if completed == 3 {
                break;
            }
            let agent = world.agent().await;
            let run = if stream {
                world.stream(agent, "Hi").await
            } else {
                world.send(agent, "Hi").await
            };
            // Every instant at first, then coarser: the log is another thread, so late instants vary anyway.
            for _ in 0..if polls < 40 { polls } else { polls * polls / 40 } {
                tokio::task::yield_now().await;
            }
            let outcome = in_time(world.host.cancel(agent, Some(vec![run]))).await.unwrap();
            let row = world.host.run(run).await.unwrap();
            let items = world.items(run, 0).await;
            let told = match outcome[..] {
                [(of, CancelOutcome::Cancelled)] if of == run => EndStatus::Cancelled,
                [(of, CancelOutcome::AlreadyEnded(status))] if of == run => status,
                ref other => panic!("after {polls} polls: {other:?}"),
            };
            completed += usize::from(told == EndStatus::Completed);
            assert_eq!(row.status, RunStatus::Ended(told), "after {polls} polls");
            assert!(
                matches!(&items.last().unwrap().output, Output::End { status, .. } if *status == told)
            );
            let said = world.said(agent).await;
            assert_eq!(said[0], (Role::User, "Hi".to_owned()), "what was sent is kept");
            let memory = world.host.agent(agent).await.unwrap().blocks[0].state.block.value.clone();
            let returned = said.iter().any(|(role, _)| *role == Role::Tool);
            assert_eq!(memory.contains("Ada"), returned, "an edit and its return are one");
            let next = world.send(agent, "again").await;
            in_time(world.host.run_end(next)).await.unwrap();
            assert_eq!(world.items(run, 0).await, items, "no output after the answer");
            assert_eq!(world.said(agent).await.len(), said.len() + 2);
        }
    }
    audit(disk.contents());
}

#[tokio::test]
async fn a_block_edited_by_a_client_while_a_step_is_written_keeps_both_edits() {
    let race = Race::new(|gate| {
        let mut call = vec![Say::Until(Arc::clone(gate))];
        call.extend(Say::call("c", "memory_insert", INSERT));
        vec![call, Say::answer("Noted.")]
    })
    .await;
    let run = race.world.send(race.agent, "I am Ada").await;
    race.world.model.called(1).await;
    let id = race.world.host.agent(race.agent).await.unwrap().blocks[0].id;
    let hold = race.faults.hold(Moment::Before);
    race.gate.notify_one();
    in_time(hold.reached()).await;
    let world = Arc::clone(&race.world);
    let edit = tokio::spawn(async move { world.host.edit_block(id, set("Anew.")).await });
    settle().await;
    assert!(!edit.is_finished(), "it waits for the log");
    drop(hold);
    in_time(edit).await.unwrap().unwrap();
    in_time(race.world.host.run_end(run)).await.unwrap();
    assert_eq!(race.human().await, "Anew.", "the later edit is the later one");
    race.next_works().await;
}
