//! Sending in all its ways, and the history it leaves.

use std::{sync::Arc, time::Duration};

use retold_models::testing::Say;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use crate::support::{PATIENCE, World, config, kinds, list, message, text};

#[tokio::test]
async fn a_blocking_answer_holds_what_was_said_why_it_ended_and_what_it_cost() {
    let world = World::new().await;
    let agent = world.agent("echo").await;
    let answer = world.say(&agent, "hello").await.ok();
    assert_eq!(kinds(&answer["messages"]), ["assistant_message"]);
    let said = &answer["messages"][0];
    assert_eq!(said["content"], "echo: hello");
    assert_eq!(
        answer["stop_reason"],
        json!({ "message_type": "stop_reason", "stop_reason": "end_turn" })
    );
    assert_eq!(
        (&answer["usage"]["total_tokens"], &answer["usage"]["step_count"]),
        (&json!(15), &json!(1))
    );
    let run = world.get(&format!("/v1/runs/{}", text(&said["run_id"]))).await.ok();
    assert_eq!((&run["status"], &run["stop_reason"]), (&json!("completed"), &json!("end_turn")));
    assert_eq!(run["metadata"]["run_type"], "send_message");
}

#[tokio::test]
async fn tools_are_called_and_shown_in_order() {
    let world = World::new().await;
    world.model(
        "tools",
        [
            Say::call("c1", "memory_insert", r#"{"label": "human", "new_string": "likes tea"}"#),
            Say::answer("Noted."),
        ],
    );
    let agent = world
        .agent_with(
            json!({ "model": "test/tools", "memory_blocks": [{"label": "human", "value": ""}] }),
        )
        .await;
    let answer = world.say(&agent, "I like tea").await.ok();
    assert_eq!(
        kinds(&answer["messages"]),
        ["tool_call_message", "tool_return_message", "assistant_message"]
    );
    assert_eq!(answer["messages"][1]["status"], "success", "{answer}");
    let block = world.get(&format!("/v1/agents/{agent}/core-memory/blocks/human")).await.ok();
    assert!(text(&block["value"]).contains("likes tea"), "{block}");
}

#[tokio::test]
async fn the_history_is_always_oldest_first_and_cursors_are_chronological() {
    let world = World::new().await;
    let agent = world.agent("echo").await;
    for word in ["one", "two", "three"] {
        world.say(&agent, word).await.ok();
    }
    let path = format!("/v1/agents/{agent}/messages");
    let all = world.get(&path).await.ok();
    let said: Vec<&str> = list(&all)[1..].iter().map(|message| text(&message["content"])).collect();
    assert_eq!(said, ["one", "echo: one", "two", "echo: two", "three", "echo: three"]);
    let newest = world.get(&format!("{path}?limit=2")).await.ok();
    assert_eq!(list(&newest), &list(&all)[5..]);
    let oldest = world.get(&format!("{path}?limit=2&order=asc")).await.ok();
    assert_eq!(list(&oldest), &list(&all)[..2]);
    let after = world.get(&format!("{path}?after={}", text(&all[4]["id"]))).await.ok();
    assert_eq!(list(&after), &list(&all)[5..]);
    let before = world.get(&format!("{path}?before={}&limit=1", text(&all[4]["id"]))).await.ok();
    assert_eq!(list(&before), &list(&all)[3..4]);
    let spoken = world
        .get(&format!("{path}?include_return_message_types=assistant_message&limit=4"))
        .await
        .ok();
    assert_eq!(kinds(&spoken), ["assistant_message"; 2], "the filter comes after the limit");
}

#[tokio::test]
async fn several_messages_at_once_are_answered_one_after_another_and_none_is_lost() {
    let world = World::new().await;
    let agent = world.agent("echo").await;
    let words: Vec<String> = (0..8).map(|number| format!("word {number}")).collect();
    let answers =
        futures_util::future::join_all(words.iter().map(|word| world.say(&agent, word))).await;
    for (word, answer) in words.iter().zip(answers) {
        assert_eq!(answer.ok()["messages"][0]["content"], format!("echo: {word}"));
    }
    let history = world.get(&format!("/v1/agents/{agent}/messages")).await.ok();
    assert_eq!(list(&history).len(), 17);
    for pair in list(&history)[1..].chunks(2) {
        assert_eq!(text(&pair[1]["content"]), format!("echo: {}", text(&pair[0]["content"])));
    }
}

#[tokio::test]
async fn a_full_queue_is_refused_with_the_time_to_wait() {
    let mut config = config();
    config.agent_queue.value = 2;
    let world = World::with(config).await;
    let gate = Arc::new(Notify::new());
    let slow = || {
        vec![
            Say::Until(Arc::clone(&gate)),
            Say::text("done"),
            Say::end(retold_models::Finish::Stop),
        ]
    };
    world.model("slow", [slow(), slow(), slow()]);
    let agent = world.agent("slow").await;
    let path = format!("/v1/agents/{agent}/messages/async");
    let first = world.post(&path, message("1")).await.ok();
    let second = world.post(&path, message("2")).await.ok();
    let refused = world.post(&path, message("3")).await;
    assert_eq!((refused.status, &refused.body["code"]), (429, &json!("agent_queue_full")));
    assert!(
        refused
            .header("retry-after")
            .and_then(|seconds| seconds.parse::<u32>().ok())
            .is_some_and(|seconds| seconds > 0)
    );
    for run in [first, second] {
        gate.notify_one();
        assert_eq!(world.ended(text(&run["id"])).await["status"], "completed");
    }
}

#[tokio::test]
async fn too_many_open_runs_are_refused_for_the_whole_server() {
    let mut config = config();
    config.max_open_runs.value = 1;
    let world = World::with(config).await;
    world.model("silent", [vec![Say::Hang]]);
    let (busy, idle) = (world.agent("silent").await, world.agent("echo").await);
    world.post(&format!("/v1/agents/{busy}/messages/async"), message("1")).await.ok();
    let refused = world.say(&idle, "2").await;
    assert_eq!((refused.status, &refused.body["code"]), (503, &json!("server_overloaded")));
    assert!(refused.header("retry-after").is_some());
}

#[tokio::test]
async fn a_client_that_leaves_does_not_end_its_run() {
    let world = World::new().await;
    let gate = Arc::new(Notify::new());
    let model =
        world.model("slow", [[vec![Say::Until(Arc::clone(&gate))], Say::answer("done")].concat()]);
    let agent = world.agent("slow").await;
    let body = message("hi").to_string();
    let mut socket = TcpStream::connect(world.server.address()).await.unwrap();
    let head = format!(
        "POST /v1/agents/{agent}/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    model.called(1).await;
    drop(socket);
    tokio::time::sleep(Duration::from_millis(50)).await;
    gate.notify_one();
    let runs = world.get(&format!("/v1/runs/?agent_id={agent}")).await.ok();
    assert_eq!(world.ended(text(&runs[0]["id"])).await["status"], "completed");
    let history = world.get(&format!("/v1/agents/{agent}/messages")).await.ok();
    assert_eq!(list(&history).last().map(|message| text(&message["content"])), Some("done"));
}

#[tokio::test]
async fn a_repeated_request_attaches_to_its_run_while_it_is_under_way() {
    let world = World::new().await;
    let gate = Arc::new(Notify::new());
    let model = world.model(
        "slow",
        [
            [vec![Say::Until(Arc::clone(&gate))], Say::answer("first")].concat(),
            Say::answer("second"),
        ],
    );
    let agent = world.agent("slow").await;
    let body = json!({ "messages": [{ "role": "user", "content": "hi", "otid": "o-1" }] });
    let path = format!("/v1/agents/{agent}/messages");
    let both = async {
        let (one, two) = tokio::join!(world.post(&path, body.clone()), async {
            model.called(1).await;
            let repeated = world.post(&path, body.clone());
            let open = async {
                tokio::time::sleep(Duration::from_millis(50)).await;
                gate.notify_one();
            };
            tokio::join!(repeated, open).0
        });
        (one.ok(), two.ok())
    };
    let (one, two) = both.await;
    assert_eq!(one, two);
    assert_eq!(model.prompts().len(), 1);
    let later = world.post(&path, body).await.ok();
    assert_eq!(later["messages"][0]["content"], "second", "a finished run is never replayed");
}

#[tokio::test]
async fn an_asynchronous_run_is_answered_at_once_and_calls_back_at_its_end() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/done", listener.local_addr().unwrap());
    let mut config = config();
    config.egress_allow.value = "127.0.0.1".parse().unwrap();
    let world = World::with(config).await;
    let agent = world.agent("echo").await;
    let mut body = message("hi");
    body["callback_url"] = url.clone().into();
    let run = world.post(&format!("/v1/agents/{agent}/messages/async"), body).await.ok();
    assert!(["created", "running"].contains(&text(&run["status"])), "{run}");
    assert_eq!(run["background"], true);
    let called = tokio::time::timeout(PATIENCE, receive(listener)).await.unwrap();
    assert_eq!((&called["run_id"], &called["status"]), (&run["id"], &json!("completed")));
    assert_eq!(called["metadata"]["result"]["messages"][0]["content"], "echo: hi");
    let ended = called_back(&world, text(&run["id"])).await;
    assert_eq!(
        (&ended["callback_status_code"], &ended["callback_error"]),
        (&json!(202), &Value::Null)
    );
    assert_eq!(ended["metadata"]["result"]["messages"][0]["content"], "echo: hi");
}

#[tokio::test]
async fn an_address_of_a_callback_that_is_not_open_is_refused_when_it_is_given() {
    let world = World::new().await;
    let agent = world.agent("echo").await;
    let path = format!("/v1/agents/{agent}/messages/async");
    for (url, says) in [
        ("http://127.0.0.1:1/hidden?key=hidden", "`127.0.0.1` is a loopback address"),
        ("http://0xa9fea9fe/latest/hidden", "`169.254.169.254` is a link-local address"),
        ("http://[::ffff:10.0.0.1]/", "is a private address"),
        ("http://localhost/", "is the server's own machine"),
        ("https://ada:hidden@example.com/", "user name or a password"),
        ("file:///etc/hidden", "http or https, not `file`"),
        ("hidden", "not a URL"),
        ("", "not a URL"),
    ] {
        let mut body = message("hi");
        body["callback_url"] = url.into();
        let refused = world.post(&path, body).await;
        assert_eq!(refused.status, 422, "{url}: {}", refused.text);
        let detail = text(&refused.body["detail"]);
        assert!(detail.starts_with("callback_url: ") && detail.contains(says), "{url}: {detail}");
        assert!(!refused.text.contains("hidden"), "{}", refused.text);
        assert_eq!(detail.contains("`egress_allow`"), detail.contains("does not call"), "{detail}");
    }
    assert_eq!(world.get("/v1/runs/").await.ok(), json!([]), "nothing was run");
    // Where nobody is called back, an address means nothing, and is not looked at.
    let mut body = message("hi");
    body["callback_url"] = "http://127.0.0.1/".into();
    world.post(&format!("/v1/agents/{agent}/messages"), body).await.ok();
}

#[tokio::test]
async fn a_callback_that_could_not_be_made_says_why_in_its_run() {
    let world = World::new().await;
    let agent = world.agent("echo").await;
    // No part of a name is longer than 63 bytes, so no resolver needs to ask anybody about this one.
    let name = format!("{}.example", "a".repeat(64));
    let mut body = message("hi");
    body["callback_url"] = format!("http://{name}/hidden?key=hidden").into();
    let run = world.post(&format!("/v1/agents/{agent}/messages/async"), body).await.ok();
    let ended = called_back(&world, text(&run["id"])).await;
    assert_eq!(ended["status"], "completed", "a callback is no part of what its run comes to");
    assert_eq!(ended["callback_status_code"], Value::Null);
    assert_eq!(ended["callback_error"], format!("the name `{name}` cannot be resolved"));
}

/// The run once its callback has been tried.
async fn called_back(world: &World, run: &str) -> Value {
    let path = format!("/v1/runs/{run}");
    loop {
        let ended = world.get(&path).await.ok();
        if !ended["callback_sent_at"].is_null() {
            return ended;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Takes one request, answers 202, and gives its body.
async fn receive(listener: TcpListener) -> Value {
    let (mut socket, _) = listener.accept().await.expect("somebody calls");
    let mut request = Vec::new();
    loop {
        let mut chunk = [0; 4096];
        let read = socket.read(&mut chunk).await.expect("it sends");
        request.extend_from_slice(&chunk[..read]);
        let received = String::from_utf8_lossy(&request);
        let body = received.split_once("\r\n\r\n").map(|(_, body)| serde_json::from_str(body));
        if let Some(Ok(body)) = body {
            socket
                .write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")
                .await
                .expect("it listens");
            return body;
        }
    }
}

#[tokio::test]
async fn messages_cannot_be_edited() {
    let world = World::new().await;
    let agent = world.agent("echo").await;
    let path = format!("/v1/agents/{agent}/messages/message-123e4567-e89b-42d3-8456-426614174000");
    let refused = world.patch(&path, json!({ "content": "x" })).await;
    assert_eq!((refused.status, refused.body["detail"].is_string()), (405, true));
}
