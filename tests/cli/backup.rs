//! Backups: made while the server works, restored to a server that answers the same, and never taken
//! for whole when they are not.

mod damaged;
mod killed;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::Result;
use crate::api::{Api, spoken};
use crate::program::{Ended, Home, Server, run};
use crate::upstream::{HALF, MODEL, Upstream, WHOLE};

/// `retold backup` of a server.
fn back_up(home: &Home, server: &Server, dir: &Path) -> Command {
    let mut command = home.retold(&["backup", "--json", "--url", &server.url]);
    command.arg(dir);
    command
}

fn restore(home: &Home, backup: &Path, data: &Path) -> Command {
    let mut command = home.retold(&["restore", "--json"]);
    command.arg(backup).arg("--data-dir").arg(data);
    command
}

fn verify(home: &Home, dir: &Path) -> Command {
    let mut command = home.retold(&["verify", "--json", "--rows"]);
    command.arg(dir);
    command
}

/// What a command that must succeed says of itself.
async fn done(command: &mut Command) -> Result<Value> {
    let Ended { code, stdout, stderr } = run(command).await?;
    assert_eq!(code, Some(0), "{command:?}\n{stdout}\n{stderr}");
    Ok(serde_json::from_str(&stdout)?)
}

/// All answers that tell what a server remembers.
async fn remembered(api: &Api) -> Result<Vec<(String, Value)>> {
    let mut paths: Vec<String> =
        ["agents/?limit=100", "blocks/?limit=100", "runs/?limit=100", "steps/?limit=100", "tags/"]
            .map(str::to_owned)
            .to_vec();
    for agent in ids(&api.get("agents/?limit=100").await?) {
        for part in ["", "/messages?limit=100", "/core-memory/blocks"] {
            paths.push(format!("agents/{agent}{part}"));
        }
    }
    for run in ids(&api.get("runs/?limit=100").await?) {
        for part in ["", "/messages?limit=100", "/usage", "/steps"] {
            paths.push(format!("runs/{run}{part}"));
        }
    }
    let mut answers = Vec::new();
    for path in paths {
        let answer = api.get(&path).await?;
        answers.push((path, answer));
    }
    Ok(answers)
}

/// What a run shows, without the signs of life, which are of now.
async fn shown_of(api: &Api, run: &str) -> Result<Vec<Value>> {
    let mut frames = api.follow(run).await?.rest().await?.heard;
    frames.retain(|frame| frame["message_type"] != "ping");
    Ok(frames)
}

fn ids(list: &Value) -> Vec<String> {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(|it| it["id"].as_str()).map(str::to_owned).collect()
}

#[tokio::test]
async fn what_is_restored_answers_as_the_server_did() -> Result<()> {
    let home = Home::new()?;
    let (backup, data) = (home.path().join("backup"), home.path().join("restored"));
    let server = Server::start(&mut home.serve()).await?;
    let api = Api::of(&server)?;
    let mut runs = Vec::new();
    for name in ["Ada", "Grace", "Edsger"] {
        let agent = api.agent(name, "retold/rehearsal").await?;
        for text in ["hello", "please remember that I like tea", "what do I like?"] {
            runs.push(api.background(&agent, text).await?);
        }
    }
    for run in &runs {
        api.ended(run).await?;
    }
    let first = done(&mut back_up(&home, &server, &backup)).await?;
    let agent = api.agent("Barbara", "retold/rehearsal").await?;
    let (status, _) = api.tell(&agent, "I came later").await?;
    assert_eq!(status, 200);
    let second = done(&mut back_up(&home, &server, &backup)).await?;
    assert_eq!(second["new_events"], json!(number(&second, "events") - number(&first, "events")));
    let (before, mut shown) = (remembered(&api).await?, Vec::new());
    for run in &runs {
        shown.push(shown_of(&api, run).await?);
    }
    server.stop().await?;

    let checked = done(&mut verify(&home, &backup)).await?;
    assert_eq!((&checked["whole"], &checked["events"]), (&json!(true), &second["events"]));
    let restored = done(&mut restore(&home, &backup, &data)).await?;
    assert_eq!(restored["chain"], second["chain"]);
    assert!(number(&restored, "epoch") > number(&second, "epoch"), "another line of history");
    let checked = done(&mut verify(&home, &data)).await?;
    assert_eq!(checked["chain"], second["chain"]);
    let server = Server::start(&mut home.serve_on(&data)).await?;
    let api = Api::of(&server)?;
    for ((path, then), (_, now)) in before.iter().zip(remembered(&api).await?) {
        assert_eq!(*then, now, "{path}");
    }
    for (run, then) in runs.iter().zip(shown) {
        assert_eq!(shown_of(&api, run).await?, then, "the stream of {run}");
    }
    // It goes on, and its backups go on from those of the server before.
    let (status, _) = api.tell(&agent, "and I went on").await?;
    assert_eq!(status, 200);
    let third = done(&mut back_up(&home, &server, &backup)).await?;
    assert!(number(&third, "new_events") > 0);
    server.stop().await?;
    done(&mut verify(&home, &backup)).await?;

    // The server before went another way, which the directory does not take.
    let old = Server::start(&mut home.serve()).await?;
    let (status, _) = Api::of(&old)?.tell(&agent, "somewhere else").await?;
    assert_eq!(status, 200);
    let refused = run(&mut back_up(&home, &old, &backup)).await?;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("went another way"), "{}", refused.stderr);
    old.stop().await?;
    done(&mut verify(&home, &backup)).await.map(drop)
}

fn number(object: &Value, name: &str) -> u64 {
    object[name].as_u64().unwrap_or_default()
}

#[tokio::test]
async fn an_answer_under_way_is_kept_as_far_as_it_was_heard() -> Result<()> {
    let home = Home::new()?;
    let upstream = Upstream::start().await?;
    let (backup, data) = (home.path().join("backup"), home.path().join("restored"));
    let server = Server::start(upstream.serves(&mut home.serve())).await?;
    let api = Api::of(&server)?;
    let agent = api.agent("Ada", MODEL).await?;
    let mut stream = api.stream(&agent, "hello").await?;
    stream.until(HALF).await?;
    let run_id = stream.run.clone();
    done(&mut back_up(&home, &server, &backup)).await?;
    upstream.go_on();
    let ending = stream.rest().await?;
    assert!(ending.done && spoken(&ending.heard) == WHOLE, "the backup delayed nobody: {ending:?}");
    server.stop().await?;

    done(&mut restore(&home, &backup, &data)).await?;
    let server = Server::start(upstream.serves(&mut home.serve_on(&data))).await?;
    let api = Api::of(&server)?;
    // As after a crash: what was heard stays, and nothing that came after the backup is there.
    let ended = api.ended(&run_id).await?;
    assert_eq!(ended["status"], "failed", "{ended}");
    assert_eq!(api.spoken(&run_id).await?, [HALF]);
    let ending = api.follow(&run_id).await?.rest().await?;
    assert!(ending.whole && spoken(&ending.heard) == HALF, "{ending:?}");
    let (status, answer) = api.tell(&agent, "go on").await?;
    assert_eq!(status, 200, "{answer}");
    server.stop().await?;
    done(&mut verify(&home, &data)).await.map(drop)
}

#[tokio::test]
async fn backups_while_turns_run_are_whole_each() -> Result<()> {
    let home = Home::new()?;
    let server = Server::start(&mut home.serve()).await?;
    let api = std::sync::Arc::new(Api::of(&server)?);
    let mut talking = Vec::new();
    for name in 0..4 {
        let agent = api.agent(&format!("agent {name}"), "retold/rehearsal").await?;
        let api = std::sync::Arc::clone(&api);
        talking.push(tokio::spawn(async move {
            let mut said = 0_u64;
            loop {
                match api.tell(&agent, &format!("message {said}")).await {
                    Ok((200, _)) => said += 1,
                    Ok((status, answer)) => panic!("{status}: {answer}"),
                    // The test has ended and its server with it.
                    Err(_) => return,
                }
            }
        }));
    }
    let added = home.path().join("added");
    let mut last = 0;
    for number_of in 0..4 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        // One directory that grows, and one of its own for each moment.
        let once = home.path().join(format!("once {number_of}"));
        let told = done(&mut back_up(&home, &server, &added)).await?;
        assert!(number(&told, "position") > last, "turns went on");
        last = number(&told, "position");
        let told = done(&mut back_up(&home, &server, &once)).await?;
        for dir in [&added, &once] {
            done(&mut verify(&home, dir)).await?;
        }
        let data = home.path().join(format!("restored {number_of}"));
        let restored = done(&mut restore(&home, &once, &data)).await?;
        assert_eq!(restored["chain"], told["chain"]);
        done(&mut verify(&home, &data)).await?;
        ended_runs_are_shown_whole(&home, &data).await?;
    }
    for talking in talking {
        assert!(!talking.is_finished(), "a conversation broke off");
        talking.abort();
    }
    server.stop().await?;
    let data = home.path().join("restored at last");
    done(&mut restore(&home, &added, &data)).await?;
    done(&mut verify(&home, &data)).await?;
    ended_runs_are_shown_whole(&home, &data).await
}

/// Every run of a data directory has ended, and its stream tells it to the end.
async fn ended_runs_are_shown_whole(home: &Home, data: &Path) -> Result<()> {
    let server = Server::start(&mut home.serve_on(data)).await?;
    let api = Api::of(&server)?;
    let runs = ids(&api.get("runs/?limit=50").await?);
    assert!(!runs.is_empty());
    for run in runs {
        let ended = api.ended(&run).await?;
        let ending = api.follow(&run).await?.rest().await?;
        assert!(ending.whole && ending.done, "{ended}: {ending:?}");
    }
    server.stop().await
}

#[tokio::test]
async fn a_backup_needs_the_password_and_a_server_or_a_directory() -> Result<()> {
    let home = Home::new()?;
    let dir = home.path().join("backup");
    let mut command = home.serve();
    command.env("RETOLD_PASSWORD", "open sesame");
    let server = Server::start(&mut command).await?;
    let refused = run(&mut back_up(&home, &server, &dir)).await?;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("demands a password"), "{}", refused.stderr);
    let mut command = back_up(&home, &server, &dir);
    done(command.env("RETOLD_PASSWORD", "open sesame")).await?;
    let mut direct = home.retold(&["backup", "--json"]);
    direct.arg(&dir).arg("--data-dir").arg(home.data());
    let refused = run(&mut direct).await?;
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(refused.stderr.contains("--url"), "{}", refused.stderr);
    server.stop().await?;

    let told = done(&mut direct).await?;
    assert_eq!(told["new_events"], 0);
    let nowhere = home.path().join("nowhere");
    let mut direct = home.retold(&["backup"]);
    direct.arg(&dir).arg("--data-dir").arg(&nowhere);
    let refused = run(&mut direct).await?;
    assert_eq!(refused.code, Some(3), "{}", refused.stderr);
    assert!(!nowhere.exists(), "looking for it makes none");
    Ok(())
}
