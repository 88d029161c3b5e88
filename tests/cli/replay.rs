//! `retold events replay` against a running server, and against one that tells of a difference.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use crate::Result;
use crate::api::Api;
use crate::program::{Home, Server, run};
use crate::upstream::{MODEL, Upstream};

const UNKNOWN: &str = "run-123e4567-e89b-42d3-8456-426614174000";

#[tokio::test]
async fn a_run_is_replayed_line_by_line_and_its_provider_hears_nothing() -> Result<()> {
    let home = Home::new()?;
    let upstream = Upstream::start().await?;
    let server = Server::start(upstream.serves(&mut home.serve())).await?;
    let api = Api::of(&server)?;
    let agent = api.agent("Ada", MODEL).await?;
    let (status, answer) = api.tell(&agent, "Be quick.").await?;
    assert_eq!(status, 200, "{answer}");
    let id = answer["messages"][0]["run_id"].as_str().unwrap_or_default().to_owned();
    let replay = ["events", "replay", &id, "--url", &server.url];
    let lines = run(&mut home.retold(&replay)).await?;
    assert_eq!((lines.code, lines.stderr.as_str()), (Some(0), ""), "{lines:?}");
    let (step, summary) = lines.stdout.split_once('\n').unwrap_or_default();
    assert!(step.starts_with("step-") && step.contains("  success    identical  "), "{lines:?}");
    let expected = format!("{id}  identical  5 events  1 steps  2 messages  ");
    assert!(summary.starts_with(&expected), "{lines:?}");
    let whole = run(home.retold(&replay).arg("--json")).await?;
    let whole: Value = serde_json::from_str(&whole.stdout)?;
    assert_eq!((&whole["run_id"], &whole["status"]), (&json!(id), &json!("identical")));

    let unknown = ["events", "replay", UNKNOWN, "--url", &server.url];
    let refused = run(&mut home.retold(&unknown)).await?;
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(1), ""), "{refused:?}");
    assert!(refused.stderr.contains("Run not found"), "{refused:?}");
    let nonsense = run(&mut home.retold(&["events", "replay", "nonsense"])).await?;
    assert_eq!(nonsense.code, Some(2), "{nonsense:?}");
    server.stop().await
}

#[tokio::test]
async fn a_difference_is_named_and_is_the_exit_code() -> Result<()> {
    let home = Home::new()?;
    let replay = json!({
        "run_id": UNKNOWN, "status": "diverged", "events": 5, "steps": [], "messages": 2, "items": 1,
        "divergence": {
            "position": 12, "what": "message", "detail": "it is not stored as its event tells it",
            "expected": "Hello.", "found": "Hello.!",
        },
    });
    let url = answering(replay.to_string()).await?;
    let arguments = ["events", "replay", UNKNOWN, "--url", &url];
    let differs = run(&mut home.retold(&arguments)).await?;
    assert_eq!((differs.code, differs.stderr.as_str()), (Some(1), ""), "{differs:?}");
    let first = "first divergence at position 12: message: it is not stored as its event tells it";
    let expected = format!(
        "{first}\n  recorded  Hello.\n  replayed  Hello.!\n{UNKNOWN}  diverged  5 events  0 steps  2 messages  1 pieces of output\n"
    );
    assert_eq!(differs.stdout, expected);
    let whole = run(home.retold(&arguments).arg("--json")).await?;
    assert_eq!((whole.code, whole.stdout), (Some(1), format!("{replay}\n")));
    Ok(())
}

/// A server that answers everything with this. It ends with the runtime.
async fn answering(body: String) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
            let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            let mut request = [0; 4096];
            // A client that is gone breaks its socket, and its test says so.
            let _ = socket.read(&mut request).await;
            let _ = socket.write_all(answer.as_bytes()).await;
        }
    });
    Ok(url)
}
