//! Agents that send to agents: answers come back, nobody waits in a circle, and nothing is sent twice.

use std::time::Duration;

use retold_actors::{
    Options,
    agent::{Change, NewAgent, Patch},
    tool,
};
use retold_events::{
    AgentId, Role, RunId,
    agent::{AgentType, Config, ToolRule, ToolRuleKind},
    run::{EndStatus, StopReason},
    store::{EventStore, Failure, Moment},
};
use retold_models::testing::{Say, ScriptedModel, SeenPrompt};
use retold_snapshots::{
    query::{self, Order, Page, RunFilter},
    row::{RunRow, RunStatus},
};
use serde_json::json;

use crate::{
    audit::audit,
    calls::returns,
    world::{Disk, World, in_time, new_agent, settle},
};

const COMPLETED: RunStatus = RunStatus::Ended(EndStatus::Completed);
const CANCELLED: RunStatus = RunStatus::Ended(EndStatus::Cancelled);
const ASK: &str = "send_message_to_agent_and_wait_for_reply";
const ASK_MATCHING: &str = "send_message_to_agents_matching_tags";
const TELL: &str = "send_message_to_agent_async";

/// A model that does as it is told: `ask ID: TEXT`, `tell ID: TEXT` and `hang` are orders, a return is reported, and
/// anything else is agreed with. A text can hold an order for its receiver.
fn obedient() -> ScriptedModel {
    ScriptedModel::from_fn(|prompt: &SeenPrompt| {
        let Some(last) = prompt.messages.last() else { return Say::answer("What?") };
        if last.role == "tool" {
            return Say::answer(&format!("It said: {}", last.text));
        }
        let order = last.text.rsplit_once("] ").map_or(last.text.as_str(), |(_, order)| order);
        for (verb, tool) in [("ask ", ASK), ("tell ", TELL)] {
            if let Some((id, message)) = order.strip_prefix(verb).and_then(|it| it.split_once(": "))
            {
                let arguments = json!({"message": message, "other_agent_id": id}).to_string();
                return Say::call("c", tool, &arguments);
            }
        }
        if let Some(tags) = order.strip_prefix("ask all ") {
            let tags: Vec<&str> = tags.split(' ').collect();
            let arguments = json!({"message": "you?", "match_all": tags, "match_some": []});
            return Say::call("c", ASK_MATCHING, &arguments.to_string());
        }
        if order == "hang" { vec![Say::Hang] } else { Say::answer("Yes.") }
    })
}

fn talkative(agent_type: AgentType, tags: &[&str]) -> NewAgent {
    let agent = new_agent(agent_type);
    let tags = tags.iter().map(|&tag| tag.to_owned()).collect();
    NewAgent {
        tools: agent.tools.iter().copied().chain(tool::multi_agent_tools()).collect(),
        config: Config { tags, ..agent.config },
        ..agent
    }
}

async fn agent(world: &World, tags: &[&str]) -> AgentId {
    let new = talkative(AgentType::LettaV1, tags);
    in_time(world.host.create_agent(new)).await.expect("the agent is sound").state.id
}

fn runs(store: &dyn EventStore, agent: AgentId) -> Vec<RunRow> {
    let filter = RunFilter { agents: vec![agent], ..RunFilter::default() };
    query::runs(store, &filter, &Page::first(100, Order::Asc)).expect("the rows are readable")
}

async fn ended(world: &World, run: RunId) -> RunRow {
    in_time(world.host.run_end(run)).await.expect("the run is there")
}

/// The only run of an agent, once it has one.
async fn only_run(world: &World, agent: AgentId) -> RunRow {
    loop {
        if let [run] = &runs(&*world.store, agent)[..] {
            return run.clone();
        }
        settle().await;
    }
}

#[tokio::test]
async fn an_answer_comes_back_and_the_run_that_gave_it_names_the_call() {
    let world = World::new(obedient()).await;
    let (one, two) = (agent(&world, &[]).await, agent(&world, &[]).await);
    let run = world.send(one, &format!("ask {two}: are you there?")).await;
    assert_eq!(ended(&world, run).await.status, COMPLETED);
    let expected = json!({"agent_id": two.to_string(), "response": ["Yes."]});
    assert_eq!(returns(&world.history(one).await), [format!("{ASK}: {expected}")]);

    let asked = only_run(&world, two).await;
    let by = asked.asked_by.expect("it names who asked");
    assert_eq!((by.agent, by.run, by.waits, by.depth), (one, run, true, 1));
    let history = world.history(two).await;
    let said = &history[1];
    let wanted = format!(
        "[Incoming message from agent with ID '{one}' - your response will be delivered to the sender] are you there?"
    );
    assert_eq!(
        (said.role, said.text(), said.sender.clone()),
        (Role::System, wanted, Some(one.to_string()))
    );
    audit(&*world.store);
}

#[tokio::test]
async fn who_asks_back_is_told_that_both_would_wait_for_ever() {
    let world = World::new(obedient()).await;
    let (one, two) = (agent(&world, &[]).await, agent(&world, &[]).await);
    let run = world.send(one, &format!("ask {two}: ask {one}: and you?")).await;
    assert_eq!(ended(&world, run).await.status, COMPLETED);
    let told = returns(&world.history(two).await).remove(0);
    assert!(told.contains(&format!("{one} waits for your answer")), "{told}");
    assert!(
        returns(&world.history(one).await)[0].contains("It said"),
        "its answer comes all the same"
    );
    assert_eq!(runs(&*world.store, one).len(), 1);
    audit(&*world.store);
}

#[tokio::test]
async fn a_longer_circle_is_refused_with_the_way_it_takes() {
    let world = World::new(obedient()).await;
    let (a, b, c) = (agent(&world, &[]).await, agent(&world, &[]).await, agent(&world, &[]).await);
    let run = world.send(a, &format!("ask {b}: ask {c}: ask {a}: hm?")).await;
    assert_eq!(ended(&world, run).await.status, COMPLETED);
    let told = returns(&world.history(c).await).remove(0);
    assert!(told.contains(&format!("({a} waits for {b} waits for {c})")), "{told}");
    audit(&*world.store);
}

#[tokio::test]
async fn questions_that_cross_do_not_wait_for_one_another() {
    let world = World::new(obedient()).await;
    let (one, two) = (agent(&world, &[]).await, agent(&world, &[]).await);
    let first = world.send(one, &format!("ask {two}: you?")).await;
    let second = world.send(two, &format!("ask {one}: you?")).await;
    for run in [first, second] {
        assert_eq!(ended(&world, run).await.status, COMPLETED);
    }
    audit(&*world.store);
}

#[tokio::test]
async fn an_agent_does_not_send_to_itself() {
    let world = World::new(obedient()).await;
    let one = agent(&world, &[]).await;
    for verb in ["ask", "tell"] {
        let run = world.send(one, &format!("{verb} {one}: me?")).await;
        assert_eq!(ended(&world, run).await.status, COMPLETED);
    }
    for told in returns(&world.history(one).await) {
        assert!(told.contains("your own id"), "{told}");
    }
}

#[tokio::test]
async fn a_cancel_of_who_asks_has_ended_what_was_asked_when_it_answers() {
    let world = World::new(obedient()).await;
    let (a, b, c) = (agent(&world, &[]).await, agent(&world, &[]).await, agent(&world, &[]).await);
    let run = world.send(a, &format!("ask {b}: ask {c}: hang")).await;
    let last = only_run(&world, c).await.id;
    in_time(world.host.cancel(a, Some(vec![run]))).await.unwrap();
    let status = |run| {
        let rows = query::run(&*world.store, run).unwrap();
        rows.unwrap().status
    };
    let middle = only_run(&world, b).await.id;
    assert_eq!([status(run), status(middle), status(last)], [CANCELLED; 3]);
    audit(&*world.store);
}

#[tokio::test]
async fn who_asks_and_is_deleted_takes_along_what_was_asked() {
    let world = World::new(obedient()).await;
    let (one, two) = (agent(&world, &[]).await, agent(&world, &[]).await);
    world.send(one, &format!("ask {two}: hang")).await;
    let asked = only_run(&world, two).await.id;
    in_time(world.host.delete_agent(one)).await.unwrap();
    assert_eq!(ended(&world, asked).await.status, CANCELLED);
}

#[tokio::test]
async fn a_cancel_of_who_is_asked_is_told_to_who_asks() {
    let world = World::new(obedient()).await;
    let (one, two) = (agent(&world, &[]).await, agent(&world, &[]).await);
    let run = world.send(one, &format!("ask {two}: hang")).await;
    only_run(&world, two).await;
    in_time(world.host.cancel(two, None)).await.unwrap();
    assert_eq!(ended(&world, run).await.status, COMPLETED);
    let told = returns(&world.history(one).await).remove(0);
    assert!(told.contains("its run was cancelled"), "{told}");
}

#[tokio::test]
async fn a_one_way_message_is_not_waited_for() {
    let world = World::new(obedient()).await;
    let (one, two) = (agent(&world, &[]).await, agent(&world, &[]).await);
    let run = world.send(one, &format!("tell {two}: hang")).await;
    assert_eq!(ended(&world, run).await.status, COMPLETED);
    assert_eq!(returns(&world.history(one).await), [format!("{TELL}: Successfully sent message")]);
    let told = only_run(&world, two).await;
    assert_eq!(told.status, RunStatus::Running);
    assert!(!told.asked_by.unwrap().waits);
    in_time(world.host.cancel(one, None)).await.unwrap();
    assert_eq!(only_run(&world, two).await.status, RunStatus::Running, "it is on its own");
    in_time(world.host.cancel(two, None)).await.unwrap();
}

#[tokio::test]
async fn all_that_carry_the_tags_are_asked_but_the_sender() {
    let world = World::new(obedient()).await;
    let one = agent(&world, &["team", "red"]).await;
    let two = agent(&world, &["team", "red"]).await;
    let _blue = agent(&world, &["team", "blue"]).await;
    let three = agent(&world, &["red", "team"]).await;
    let run = world.send(one, "ask all team red").await;
    assert_eq!(ended(&world, run).await.status, COMPLETED);
    let answer = |id: AgentId| json!({"agent_id": id.to_string(), "response": ["Yes."]});
    let expected = json!([answer(two), answer(three)]).to_string();
    assert_eq!(returns(&world.history(one).await), [format!("{ASK_MATCHING}: {expected}")]);
    let run = world.send(one, "ask all nobody").await;
    assert_eq!(ended(&world, run).await.status, COMPLETED);
    assert_eq!(returns(&world.history(one).await)[1], format!("{ASK_MATCHING}: []"));
    audit(&*world.store);
}

#[tokio::test]
async fn messages_that_lead_to_messages_come_to_an_end() {
    let world = World::new(obedient()).await;
    let agents = [agent(&world, &[]).await, agent(&world, &[]).await];
    // Each is told to tell the other, 20 times over.
    let order = (0..20)
        .fold("stop".to_owned(), |order, step| format!("tell {}: {order}", agents[step % 2]));
    world.send(agents[0], &order).await;
    let told = |agent| runs(&*world.store, agent).len();
    loop {
        let open = query::open_runs(&*world.store).unwrap();
        if open.is_empty() {
            break;
        }
        settle().await;
    }
    assert_eq!(told(agents[0]) + told(agents[1]), 17, "what a client sent and 16 more");
    audit(&*world.store);
}

#[tokio::test]
async fn an_older_agent_answers_by_its_tool() {
    let world = World::new(ScriptedModel::from_fn(|prompt| {
        let last = prompt.messages.last().expect("somebody spoke");
        match (last.role, last.text.strip_prefix("ask ")) {
            ("tool", _) => Say::answer("Thanks."),
            (_, Some(id)) => {
                let arguments = json!({"message": "you?", "other_agent_id": id});
                Say::call("c", ASK, &arguments.to_string())
            }
            _ => {
                let mut said = vec![Say::text("I think to myself.")];
                said.extend(Say::call("s", "send_message", r#"{"message":"Aloud."}"#));
                said
            }
        }
    }))
    .await;
    let one = agent(&world, &[]).await;
    let two = world.agent_of(AgentType::MemgptV2).await.state.id;
    let run = world.send(one, &format!("ask {two}")).await;
    assert_eq!(ended(&world, run).await.status, COMPLETED);
    let expected = json!({"agent_id": two.to_string(), "response": ["Aloud."]});
    assert_eq!(returns(&world.history(one).await), [format!("{ASK}: {expected}")]);
}

#[tokio::test]
async fn who_waits_for_a_person_has_not_answered() {
    let world = World::new(obedient()).await;
    let (one, two) = (agent(&world, &[]).await, agent(&world, &[]).await);
    let change = Change::Configure(Box::new(|state| {
        let mut config = Config::clone(&state.config);
        let kind = ToolRuleKind::RequiresApproval;
        config.tool_rules.push(ToolRule { tool: TELL.to_owned(), kind, prompt_template: None });
        Ok(Patch { config: Some(config), ..Patch::default() })
    }));
    in_time(world.host.change_agent(two, change)).await.unwrap();
    let run = world.send(one, &format!("ask {two}: tell {one}: hi")).await;
    assert_eq!(ended(&world, run).await.status, COMPLETED);
    assert_eq!(only_run(&world, two).await.stop_reason, Some(StopReason::RequiresApproval));
    let told = returns(&world.history(one).await).remove(0);
    assert!(told.contains("it waits for a person"), "{told}");
}

#[tokio::test]
async fn an_agent_that_is_not_there_is_named() {
    let world = World::new(obedient()).await;
    let one = agent(&world, &[]).await;
    let nobody = "agent-00000000-0000-4000-8000-00000000dead";
    let run = world.send(one, &format!("ask {nobody}: hi")).await;
    assert_eq!(ended(&world, run).await.status, COMPLETED);
    let told = returns(&world.history(one).await).remove(0);
    assert!(told.contains(&format!("Agent not found: {nobody}")), "{told}");
}

#[tokio::test]
async fn after_a_crash_at_any_write_of_a_question_it_was_sent_once() {
    let (mut crashes, mut found) = (0, 0);
    for (moment, verb) in
        [Moment::Before, Moment::After].into_iter().flat_map(|it| [(it, "ask"), (it, "tell")])
    {
        for nth in 1.. {
            let disk = Disk::default();
            let quick = Options { cancel_grace: Duration::from_millis(10), ..Options::default() };
            let (store, faults) = disk.open();
            let world = World::over(store, obedient(), quick.clone()).await;
            let (one, two) = (agent(&world, &[]).await, agent(&world, &[]).await);
            faults.fail_append(nth, moment, Failure::Io);
            let sent = world.try_send(one, &format!("{verb} {two}: hi"), false).await;
            let mut whole = false;
            if let Ok(sent) = &sent {
                whole = in_time(world.host.run_end(sent.run.id)).await.is_ok();
                // What was told goes on by itself.
                while whole && !query::open_runs(disk.contents()).unwrap().is_empty() {
                    whole = world.host.log().failure().is_none();
                    settle().await;
                }
            }
            drop(world);
            settle().await;
            let was_answered = runs(disk.contents(), two).iter().any(|it| it.status == COMPLETED);
            let (store, _) = disk.open();
            let world = World::over(store, obedient(), quick).await;
            while !query::open_runs(disk.contents()).expect("the rows are readable").is_empty() {
                settle().await;
            }
            let asked = runs(disk.contents(), two).len();
            assert!(asked <= 1, "{asked} sent, after a crash at {nth} {moment:?}");
            let texts = returns(&world.history(one).await);
            if texts.iter().any(|text| text.contains("Yes.") || text.contains("Successfully")) {
                assert_eq!(asked, 1, "{texts:?}, crash at {nth} {moment:?}");
            }
            audit(disk.contents());
            if whole {
                break;
            }
            crashes += 1;
            let is_answer = |text: &String| text.contains("Yes.");
            found += usize::from(was_answered && texts.iter().any(is_answer));
        }
    }
    assert!(found > 0, "an answer that came before a crash is found after it");
    assert!(crashes >= 16, "{crashes} crashes swept the step");
}
