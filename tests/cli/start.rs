//! The start: the ready line, the banner, and how soon there are answers.

use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::api::Api;
use crate::program::{Home, PATIENCE, READY, Running, Server, run};
use crate::upstream::{KEY, Upstream};
use crate::{Result, http, say};

/// Far above what it takes, because the machine may be busy with other tests; the figure is printed.
const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn the_banner_says_where_what_which_models_and_who_set_it() -> Result<()> {
    let home = Home::new()?;
    let upstream = Upstream::start().await?;
    let file = home.write("settings.toml", "agent_queue = 7\n")?;
    let mut command = home.serve();
    upstream.serves(&mut command);
    command.arg("--config").arg(&file);
    command.envs([
        ("RETOLD_DRAIN_DEADLINE", "3s"),
        ("LETTA_PG_URI", "postgresql://letta:hidden@db/letta"),
        ("LETTA_REDIS_HOST", "redis"),
    ]);
    let server = Server::start(&mut command).await?;
    let banner = server.said();
    let first = banner.lines().next().unwrap_or_default();
    assert_eq!(first, format!("{READY}{}", server.url), "{banner}");
    let port = server.url.strip_prefix("http://127.0.0.1:").and_then(|port| port.parse().ok());
    assert!(port.is_some_and(|port: u16| port > 0), "{first}");
    let file = file.display();
    for line in [
        format!("{} (--data-dir)", home.data().display()),
        "retold/rehearsal (built in, no language model)".to_owned(),
        "port = 0 (--port)".to_owned(),
        format!("config = {file} (--config)"),
        format!("agent_queue = 7 ({file})"),
        "drain_deadline = 3s (RETOLD_DRAIN_DEADLINE)".to_owned(),
        "provider openai (OPENAI_API_KEY)".to_owned(),
    ] {
        assert!(banner.contains(&line), "{line} in {banner}");
    }
    let notes: Vec<&str> = banner.lines().filter(|line| line.contains("not needed")).collect();
    assert_eq!(notes.len(), 1, "{banner}");
    assert!(notes[0].contains("LETTA_PG_URI") && notes[0].contains("LETTA_REDIS_HOST"), "{banner}");
    for hidden in [KEY, "postgresql://"] {
        assert!(!banner.contains(hidden), "{hidden} in {banner}");
    }
    // In the banner if the provider was quick, else as a line after it.
    server.says("openai: 1 model (openai/silent)").await;
    server.stop().await
}

#[tokio::test]
async fn a_default_is_not_among_the_settings() -> Result<()> {
    let home = Home::new()?;
    let server = Server::start(&mut home.serve()).await?;
    let banner = server.said();
    assert_eq!(banner.matches(" = ").count(), 1, "only the port was set: {banner}");
    assert!(!banner.contains("note"), "{banner}");
    server.stop().await
}

#[tokio::test]
async fn health_and_work_are_answered_as_soon_as_the_ready_line_is_there() -> Result<()> {
    let home = Home::new()?;
    for start in ["an empty store", "a used one"] {
        let server = Server::start(&mut home.serve()).await?;
        let asked = Instant::now();
        let health = http::get(&http::client()?, format!("{}/v1/health/", server.url)).await?;
        let answered = asked.elapsed();
        assert_eq!(health["status"], "ok", "{health}");
        assert_eq!(health["version"], env!("CARGO_PKG_VERSION"), "{health}");
        let banner = server.said();
        let own = banner.split("started   in ").nth(1).and_then(|rest| rest.lines().next());
        let own = own.unwrap_or_default();
        say(&format!(
            "ready on {start} after {} ms from the spawn (it says {own}); health took {} ms",
            server.ready_after.as_millis(),
            answered.as_millis(),
        ));
        assert!(server.ready_after + answered < SOON, "{:?}", server.ready_after);
        let api = Api::of(&server)?;
        let agent = api.agent("Ada", "retold/rehearsal").await?;
        let (status, answer) = api.tell(&agent, "hello").await?;
        assert_eq!(status, 200, "{answer}");
        server.stop().await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_provider_that_does_not_answer_delays_nothing() -> Result<()> {
    let home = Home::new()?;
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("http://{}/v1", silent.local_addr()?);
    let mut command = home.serve();
    command.env("OPENAI_API_KEY", KEY).env("OPENAI_BASE_URL", &url);
    let server = Server::start(&mut command).await?;
    assert!(server.ready_after < SOON, "{:?}", server.ready_after);
    assert!(server.said().contains(&format!("openai: asking {url}")), "{}", server.said());
    let agent = Api::of(&server)?.agent("Ada", "retold/rehearsal").await?;
    assert!(agent.starts_with("agent-"));
    server.stop().await
}

#[tokio::test]
async fn a_port_in_use_is_named_and_the_data_left_alone() -> Result<()> {
    let home = Home::new()?;
    let taken = TcpListener::bind("127.0.0.1:0")?;
    let address = taken.local_addr()?;
    let mut command = home.retold(&["serve", "--port", &address.port().to_string()]);
    let refused = run(command.arg("--data-dir").arg(home.data())).await?;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{}", refused.stderr);
    let why = format!("cannot listen on {address}");
    assert!(refused.stderr.contains(&why), "{why} in {}", refused.stderr);
    assert!(!home.data().exists());
    Ok(())
}

#[tokio::test]
async fn nobody_reading_what_it_says_is_no_reason_not_to_serve() -> Result<()> {
    let home = Home::new()?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let mut command = home.retold(&["serve", "--log", "debug", "--port", &port.to_string()]);
    command.arg("--data-dir").arg(home.data()).stdin(Stdio::null());
    let mut server = Running::spawn(command.stdout(Stdio::null()).stderr(Stdio::piped()))?;
    drop(server.child().stderr.take());
    let api = Api { http: http::client()?, url: format!("http://127.0.0.1:{port}") };
    let begun = Instant::now();
    while api.status("health/").await.ok() != Some(200) {
        assert!(server.child().try_wait()?.is_none(), "it ended");
        assert!(begun.elapsed() < PATIENCE, "it does not answer");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    api.agent("Ada", "retold/rehearsal").await?;
    server.signal("TERM")?;
    let ended = server.end(PATIENCE).await?;
    assert_eq!(ended.and_then(|status| status.code()), Some(0));
    Ok(())
}
