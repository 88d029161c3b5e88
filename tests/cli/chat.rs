//! `retold chat` with its standard input not a terminal: one message, one answer.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::Result;
use crate::api::Api;
use crate::program::{Ended, Home, PATIENCE, Running, Server, run_with_input};
use crate::upstream::{HALF, MODEL, QUICK, Upstream};

async fn chat(home: &Home, arguments: &[&str], input: &str) -> Result<Ended> {
    run_with_input(home.retold(&["chat"]).args(arguments), input).await
}

/// The answer to a message that must be answered: all of standard output.
async fn answer(home: &Home, arguments: &[&str], input: &str) -> Result<String> {
    let ended = chat(home, arguments, input).await?;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.ends_with('\n'), "{:?}", ended.stdout);
    Ok(ended.stdout)
}

#[tokio::test]
async fn one_message_gets_its_answer_alone_on_standard_output() -> Result<()> {
    let home = Home::new()?;
    let said = answer(&home, &["--data-dir", "data"], "hello\n").await?;
    assert!(said.starts_with("I am Retold's rehearsal model"), "{said}");
    assert!(said.contains("hello"), "{said}");
    // Neither reasoning nor tool calls nor what the embedded server has to say.
    let said = chat(&home, &["--data-dir", "data"], "My name is Grace.\n").await?;
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    for word in ["memory_insert", "created", "ready on", "stopp"] {
        assert!(!said.stdout.contains(word), "{word} in {}", said.stdout);
    }
    Ok(())
}

#[tokio::test]
async fn a_second_process_remembers_what_the_first_was_told() -> Result<()> {
    let home = Home::new()?;
    let own = ["--data-dir", "data"];
    answer(&home, &own, "My name is Grace.").await?;
    assert!(answer(&home, &own, "What is my name?").await?.contains("Grace"));
    // One agent for each name, and none knows what another was told.
    let other = ["--data-dir", "data", "--agent", "Ada"];
    assert!(!answer(&home, &other, "What is my name?").await?.contains("Grace"));
    let server = Server::start(&mut home.serve()).await?;
    assert_eq!(Api::of(&server)?.names().await?, ["Ada", "default"]);
    server.stop().await
}

#[tokio::test]
async fn it_talks_to_the_server_it_is_told_of() -> Result<()> {
    let home = Home::new()?;
    let server = Server::start(&mut home.serve()).await?;
    let slash = format!("{}/", server.url);
    for url in [server.url.as_str(), &slash] {
        answer(&home, &["--url", url], "My name is Grace.").await?;
    }
    assert!(answer(&home, &["--url", &server.url], "What is my name?").await?.contains("Grace"));
    let api = Api::of(&server)?;
    assert_eq!(api.names().await?, ["default"]);
    // By its id as well, but an id is never made up.
    let id =
        api.get("agents/?name=default").await?[0]["id"].as_str().unwrap_or_default().to_owned();
    let by_id = ["--url", &server.url, "--agent", &id];
    assert!(answer(&home, &by_id, "What is my name?").await?.contains("Grace"));
    let nobody = "agent-123e4567-e89b-42d3-8456-426614174000";
    let refused = chat(&home, &["--url", &server.url, "--agent", nobody], "hello").await?;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
    assert!(refused.stderr.contains(&format!("there is no agent {nobody}")), "{}", refused.stderr);
    server.stop().await
}

#[tokio::test]
async fn it_finds_the_server_on_the_configured_port() -> Result<()> {
    let home = Home::new()?;
    let server = Server::start(&mut home.serve()).await?;
    let port = server.url.rsplit(':').next().unwrap_or_default();
    answer(&home, &["--port", port], "My name is Grace.").await?;
    assert_eq!(Api::of(&server)?.names().await?, ["default"]);
    assert!(!home.path().join(".local").exists(), "it started a server of its own");
    server.stop().await
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_named() -> Result<()> {
    let home = Home::new()?;
    let closed = format!("http://{}", TcpListener::bind("127.0.0.1:0")?.local_addr()?);
    let refused = chat(&home, &["--url", &closed], "hello").await?;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
    let why = format!("cannot reach the server at {closed}: Connection refused");
    assert!(refused.stderr.contains(&why), "{why} in {}", refused.stderr);
    let refused = chat(&home, &["--url", "nonsense"], "hello").await?;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""));
    assert!(refused.stderr.contains("--url"), "{}", refused.stderr);
    assert_eq!(std::fs::read_dir(home.path())?.count(), 0, "no server of its own instead");
    Ok(())
}

#[tokio::test]
async fn a_data_directory_in_use_suggests_to_talk_to_its_server() -> Result<()> {
    let home = Home::new()?;
    let server = Server::start(&mut home.serve()).await?;
    let refused = chat(&home, &["--data-dir", "data"], "hello").await?;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(3), ""));
    for part in ["in use by another server", "--url"] {
        assert!(refused.stderr.contains(part), "{part} in {}", refused.stderr);
    }
    assert!(server.is_healthy().await?);
    server.stop().await
}

#[tokio::test]
async fn a_password_is_taken_from_where_the_server_takes_it() -> Result<()> {
    let home = Home::new()?;
    let server = Server::start(home.serve().env("RETOLD_PASSWORD", "swordfish")).await?;
    let url = ["--url", server.url.as_str()];
    let refused = chat(&home, &url, "hello").await?;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
    for part in ["demands a password", "RETOLD_PASSWORD"] {
        assert!(refused.stderr.contains(part), "{part} in {}", refused.stderr);
    }
    let mut command = home.retold(&["chat"]);
    command.args(url).env("LETTA_SERVER_PASSWORD", "swordfish");
    let said = run_with_input(&mut command, "hello").await?;
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    server.stop().await
}

#[tokio::test]
async fn nothing_to_say_is_an_error_and_starts_no_conversation() -> Result<()> {
    let home = Home::new()?;
    for input in ["", " \n\t\n"] {
        let refused = chat(&home, &["--data-dir", "data"], input).await?;
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
        assert!(refused.stderr.contains("nothing to say"), "{}", refused.stderr);
    }
    let server = Server::start(&mut home.serve()).await?;
    assert_eq!(Api::of(&server)?.names().await?, Vec::<String>::new());
    server.stop().await
}

#[tokio::test]
async fn an_agent_gets_the_model_that_is_named_and_one_must_be_where_there_is_no_default()
-> Result<()> {
    let home = Home::new()?;
    let upstream = Upstream::start().await?;
    let server = Server::start(upstream.serves(&mut home.serve())).await?;
    server.says(MODEL).await;
    let url = ["--url", server.url.as_str()];
    let refused = chat(&home, &url, "Be quick.").await?;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""));
    for part in ["--model", MODEL, "retold/rehearsal"] {
        assert!(refused.stderr.contains(part), "{part} in {}", refused.stderr);
    }
    let named = [&url[..], &["--model", MODEL]].concat();
    assert_eq!(answer(&home, &named, "Be quick.").await?, format!("{QUICK}\n"));
    // The agent keeps it.
    assert_eq!(answer(&home, &url, "Be quick.").await?, format!("{QUICK}\n"));
    server.stop().await
}

#[tokio::test]
async fn an_interrupt_cancels_the_run_and_keeps_what_was_said() -> Result<()> {
    let home = Home::new()?;
    let mut upstream = Upstream::start().await?;
    let server = Server::start(upstream.serves(&mut home.serve())).await?;
    let api = Api::of(&server)?;
    let agent = api.agent("Ada", MODEL).await?;
    let input = home.write("input", "Tell me something.")?;
    let mut command = home.retold(&["chat", "--url", &server.url, "--agent", "Ada"]);
    command.stdin(std::fs::File::open(input)?).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut talking = Running::spawn(&mut command)?;
    let begun = Instant::now();
    let run = loop {
        let runs = api.get(&format!("runs/?agent_id={agent}")).await?;
        let run = runs[0]["id"].as_str().unwrap_or_default();
        if !run.is_empty() {
            break run.to_owned();
        }
        assert!(begun.elapsed() < PATIENCE, "it says nothing: {runs}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    let mut stream = api.follow(&run).await?;
    stream.until(HALF).await?;
    talking.signal("INT")?;
    let ended = talking.end(PATIENCE).await?;
    assert_eq!(ended.and_then(|status| status.code()), Some(130));
    upstream.was_left().await?;
    let ended = api.ended(&run).await?;
    assert_eq!(ended["status"], "cancelled", "{ended}");
    assert_eq!(api.spoken(&run).await?, [HALF]);
    let ending = stream.rest().await?;
    assert!(ending.whole && ending.done, "{ending:?}");
    server.stop().await
}
