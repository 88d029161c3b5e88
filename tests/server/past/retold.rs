//! A history of everything that can happen, with every reading route asked after each act. At the end each of them is
//! asked again as of then, and must answer with the same bytes.

use std::collections::BTreeSet;

use retold_models::testing::Say;
use serde_json::{Value, json};

use super::{Logged, with_as_of};
use crate::support::{Reply, list, message, text};

/// Everything known by an id so far, whether it is still there or not.
#[derive(Default)]
struct Known {
    agents: BTreeSet<String>,
    blocks: BTreeSet<String>,
    runs: BTreeSet<String>,
    steps: BTreeSet<String>,
}

/// An answer as far as it is of its moment: errors carry the id of their request.
#[derive(Debug, PartialEq)]
struct Answer {
    status: u16,
    body: String,
    next: Option<String>,
    prev: Option<String>,
}

impl Answer {
    fn of(reply: &Reply) -> Self {
        let mut body = reply.text.clone();
        if reply.status != 200 {
            let mut error = reply.body.clone();
            error["trace_id"] = Value::Null;
            body = error.to_string();
        }
        let cursor = |name| reply.header(name).map(str::to_owned);
        Self {
            status: reply.status,
            body,
            next: cursor("next-cursor"),
            prev: cursor("prev-cursor"),
        }
    }
}

impl Known {
    /// Notes what lists show now.
    async fn look(&mut self, logged: &Logged) {
        for (path, known) in [
            ("/v1/agents?limit=100", &mut self.agents),
            ("/v1/blocks?limit=100", &mut self.blocks),
            ("/v1/runs?limit=100", &mut self.runs),
            ("/v1/steps?limit=100", &mut self.steps),
        ] {
            let listed = logged.world.get(path).await.ok();
            known.extend(list(&listed).iter().map(|item| text(&item["id"]).to_owned()));
        }
    }

    /// Every way to read any of it.
    fn paths(&self) -> Vec<String> {
        let mut paths: Vec<String> = LISTS.iter().map(|&path| path.to_owned()).collect();
        let mut of =
            |kind: &str, ids: &BTreeSet<String>, below: &[&str]| {
                paths.extend(ids.iter().flat_map(|id| {
                    below.iter().map(move |below| format!("/v1/{kind}/{id}{below}"))
                }));
            };
        of("agents", &self.agents, &OF_AGENTS);
        of("blocks", &self.blocks, &["", "/agents", "/agents?limit=1&order=asc"]);
        of(
            "runs",
            &self.runs,
            &["", "/messages", "/messages?order=desc&limit=1", "/usage", "/metrics", "/steps"],
        );
        of("steps", &self.steps, &["", "/metrics", "/messages"]);
        for agent in &self.agents {
            paths.push(format!("/v1/runs?agent_ids={agent}"));
            paths.push(format!("/v1/steps?agent_id={agent}&order=asc"));
        }
        // Cursors of all kinds, of what is there and of what is gone.
        paths.extend(self.agents.iter().map(|id| format!("/v1/agents?after={id}")));
        paths.extend(self.blocks.iter().map(|id| format!("/v1/blocks?before={id}&limit=1")));
        paths.extend(self.runs.iter().map(|id| format!("/v1/runs?after={id}&limit=2")));
        paths.extend(self.steps.iter().map(|id| format!("/v1/steps?before={id}")));
        paths
    }
}

const LISTS: [&str; 22] = [
    "/v1/agents",
    "/v1/agents?order=asc&limit=2&include=agent.blocks&include=agent.tags",
    "/v1/agents?order_by=updated_at",
    "/v1/agents?order_by=last_run_completion",
    "/v1/agents?tags=blue",
    "/v1/agents?query_text=o&show_hidden_agents=true",
    "/v1/agents?last_stop_reason=end_turn",
    "/v1/agents/count",
    "/v1/agents/count?tags=blue&tags=red&match_all_tags=true",
    "/v1/blocks",
    "/v1/blocks?order=desc&limit=2",
    "/v1/blocks?value_search=tea",
    "/v1/blocks?connected_to_agents_count_gt=1",
    "/v1/blocks/count",
    "/v1/runs",
    "/v1/runs?statuses=completed&order=asc",
    "/v1/runs?statuses=created,running",
    "/v1/runs/active",
    "/v1/steps",
    "/v1/steps?has_feedback=true",
    "/v1/steps?order=asc&limit=2",
    "/v1/tags",
];

const OF_AGENTS: [&str; 11] = [
    "",
    "?include=agent.blocks&include=agent.tools",
    "/core-memory",
    "/core-memory/variables",
    "/core-memory/blocks",
    "/core-memory/blocks/human",
    "/tools",
    "/messages",
    "/messages?limit=2",
    "/messages?limit=3&order=asc&use_assistant_message=false",
    "/messages?limit=2&order=asc&conversation_id=default",
];

/// What was answered at a moment.
struct Recorded {
    position: u64,
    what: &'static str,
    answers: Vec<(String, Answer)>,
}

/// A history while it is made.
struct History {
    logged: Logged,
    known: Known,
    recorded: Vec<Recorded>,
}

impl History {
    /// Asks everything there is to ask.
    async fn record(&mut self, what: &'static str) {
        self.known.look(&self.logged).await;
        let position = self.logged.now();
        let mut answers = Vec::new();
        for path in self.known.paths() {
            let answer = Answer::of(&self.logged.world.get(&path).await);
            if let Some(next) = answer.next.as_ref().filter(|_| path.contains("limit=2")) {
                let path = format!("{path}&after={next}");
                let following = Answer::of(&self.logged.world.get(&path).await);
                answers.push((path, following));
            }
            answers.push((path, answer));
        }
        assert_eq!(self.logged.now(), position, "nothing happens by itself: {what}");
        self.recorded.push(Recorded { position, what, answers });
    }

    async fn post(&mut self, what: &'static str, path: &str, body: Value) -> Value {
        let answer = self.logged.world.post(path, body).await.ok();
        self.record(what).await;
        answer
    }

    async fn patch(&mut self, what: &'static str, path: &str, body: Value) -> Value {
        let answer = self.logged.world.patch(path, body).await.ok();
        self.record(what).await;
        answer
    }

    async fn delete(&mut self, what: &'static str, path: &str) {
        self.logged.world.delete(path).await.ok();
        self.record(what).await;
    }
}

#[tokio::test]
async fn every_answer_of_the_past_is_given_again_byte_for_byte() {
    let logged = Logged::new().await;
    let mut history = History { logged, known: Known::default(), recorded: Vec::new() };
    live(&mut history).await;
    let History { logged, recorded, .. } = history;
    assert!(recorded.len() > 20, "{} moments", recorded.len());
    check_variety(&recorded);
    for Recorded { position, what, answers } in &recorded {
        for (path, wanted) in answers {
            let reply = logged.world.get(&with_as_of(path, &position.to_string())).await;
            assert_eq!(Answer::of(&reply), *wanted, "{path} as of {position}, after {what}");
            assert_eq!(reply.header("retold-as-of"), Some(position.to_string().as_str()));
        }
    }
}

/// What always answers the same would prove nothing.
fn check_variety(recorded: &[Recorded]) {
    for (path, at_least) in
        [("/v1/agents", 8), ("/v1/blocks", 6), ("/v1/runs", 8), ("/v1/steps", 6), ("/v1/tags", 3)]
    {
        let of_path = |recorded: &Recorded| {
            let found = recorded.answers.iter().find(|(asked, _)| asked == path);
            found.map(|(_, answer)| answer.body.clone())
        };
        let bodies: BTreeSet<String> = recorded.iter().filter_map(of_path).collect();
        assert!(bodies.len() >= at_least, "{path} had {} answers", bodies.len());
    }
}

/// Lets everything happen that can.
async fn live(history: &mut History) {
    let model = history.logged.world.model(
        "tea",
        [
            Say::answer("hello there"),
            Say::call("c1", "memory_insert", r#"{"label": "human", "new_string": "likes tea"}"#),
            Say::answer("noted"),
            Say::answer("one more"),
            vec![Say::text("half a "), Say::Hang],
            Say::answer("from the fork"),
        ],
    );
    let shared = history
        .post(
            "a block",
            "/v1/blocks",
            json!({ "label": "team", "value": "be kind", "tags": ["blue"] }),
        )
        .await;
    let shared = text(&shared["id"]).to_owned();
    let human = json!([{ "label": "human", "value": "unknown" }]);
    let first = json!({ "model": "test/tea", "name": "one", "tags": ["red", "blue"],
        "memory_blocks": human, "block_ids": [shared] });
    let first = history.post("an agent", "/v1/agents", first).await;
    let second = json!({ "model": "test/echo", "name": "two", "memory_blocks": human,
        "block_ids": [shared], "hidden": true });
    let second = history.post("another agent", "/v1/agents", second).await;
    let one = format!("/v1/agents/{}", text(&first["id"]));
    let two = format!("/v1/agents/{}", text(&second["id"]));
    talk(history, &one, &two).await;
    change(history, &one, &two, &shared).await;
    interrupt(history, &model, &one).await;
    end(history, &one, &two, &shared).await;
}

async fn talk(history: &mut History, one: &str, two: &str) {
    history.post("a message", &format!("{one}/messages"), message("hi")).await;
    history.post("a memory edit", &format!("{one}/messages"), message("I like tea")).await;
    history.post("a message to another", &format!("{two}/messages"), message("hello")).await;
    let steps = history.logged.world.get("/v1/steps?order=asc").await.ok();
    let feedback = format!("/v1/steps/{}/feedback", text(&steps[0]["id"]));
    history.patch("feedback", &feedback, json!({ "feedback": "positive", "tags": ["good"] })).await;
    let blocking = history.logged.world.get("/v1/runs?order=asc").await.ok();
    history.delete("a deleted run", &format!("/v1/runs/{}", text(&blocking[0]["id"]))).await;
}

async fn change(history: &mut History, one: &str, two: &str, shared: &str) {
    history.patch("a new name", two, json!({ "name": "zwei", "tags": ["blue"] })).await;
    history
        .patch("a shared edit", &format!("/v1/blocks/{shared}"), json!({ "value": "be quick" }))
        .await;
    let notes =
        history.post("a loose block", "/v1/blocks", json!({ "label": "notes", "value": "" })).await;
    let notes = text(&notes["id"]).to_owned();
    history
        .patch(
            "an attached block",
            &format!("{one}/core-memory/blocks/attach/{notes}"),
            json!(null),
        )
        .await;
    history
        .patch(
            "a detached block",
            &format!("{two}/core-memory/blocks/detach/{shared}"),
            json!(null),
        )
        .await;
    history
        .patch(
            "an edit by label",
            &format!("{one}/core-memory/blocks/human"),
            json!({ "value": "Ada" }),
        )
        .await;
    history
        .patch("a new prompt", one, json!({ "system": "Be brief.", "tags": ["red", "green"] }))
        .await;
    history.delete("a deleted block", &format!("/v1/blocks/{notes}")).await;
    history
        .patch(
            "an emptied context",
            &format!("{two}/reset-messages"),
            json!({ "add_default_initial_messages": true }),
        )
        .await;
}

async fn interrupt(
    history: &mut History,
    model: &retold_models::testing::ScriptedModel,
    one: &str,
) {
    let sent = format!("{one}/messages/async");
    let finished = history.logged.world.post(&sent, message("quick")).await.ok();
    history.logged.world.ended(text(&finished["id"])).await;
    history.record("an answer nobody waited for").await;
    history.logged.world.post(&sent, message("slow")).await.ok();
    model.called(5).await;
    history.logged.world.post(&sent, message("waiting")).await.ok();
    history.record("a run under way and one that waits").await;
    history.post("a cancel", &format!("{one}/messages/cancel"), json!(null)).await;
}

async fn end(history: &mut History, one: &str, two: &str, shared: &str) {
    let fork = history.post("a fork", &format!("{one}/fork"), json!({ "name": "branch" })).await;
    let fork = format!("/v1/agents/{}", text(&fork["id"]));
    history.post("a message to a fork", &format!("{fork}/messages"), message("who are you")).await;
    history.patch("a parent that goes on", one, json!({ "system": "Be long." })).await;
    history.post("a parent that speaks", &format!("{two}/messages"), message("still here")).await;
    history.delete("a deleted agent", two).await;
    history.delete("a deleted parent", one).await;
    history.delete("a deleted shared block", &format!("/v1/blocks/{shared}")).await;
    history.delete("a deleted fork", &fork).await;
}
