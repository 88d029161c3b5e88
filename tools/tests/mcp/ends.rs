//! How sessions end, and that nothing is left of them.

use std::time::Duration;

use futures_util::future::join_all;
use retold_tools::mcp::{McpClient, McpError, Server};
use serde_json::json;

use crate::support::{Failure, Ledger, attendants, call, client, hostile, lives, until};

/// The processes of a server that does not want to end.
async fn stubborn(client: &McpClient, ledger: &Ledger) -> Result<(Server, Vec<i32>), Failure> {
    let server = hostile("stay", ledger);
    client.list(&server).await?;
    let pids = ledger.pids("pids ");
    assert!(pids.len() == 3 && pids.iter().all(|pid| lives(*pid)), "{pids:?}");
    Ok((server, pids))
}

async fn all_end(ledger: &Ledger, pids: Vec<i32>) -> bool {
    until(|| !pids.iter().any(|pid| lives(*pid)) && attendants(ledger).is_empty()).await
}

#[tokio::test]
async fn a_session_that_is_forgotten_ends_with_everything_its_program_started()
-> Result<(), Failure> {
    let ledger = Ledger::new()?;
    let client = client(|options| options.stop_grace = Duration::from_millis(100));
    let (server, pids) = stubborn(&client, &ledger).await?;
    client.forget("another");
    assert_eq!(client.sessions(), 1);
    client.forget(&server.key);
    assert_eq!(client.sessions(), 0);
    assert!(all_end(&ledger, pids).await);
    Ok(())
}

#[tokio::test]
async fn closing_the_client_waits_until_nothing_is_left() -> Result<(), Failure> {
    let ledger = Ledger::new()?;
    let client = client(|options| options.stop_grace = Duration::from_millis(100));
    let (_, pids) = stubborn(&client, &ledger).await?;
    client.close().await;
    assert!(!pids.iter().any(|pid| lives(*pid)) && attendants(&ledger).is_empty());
    Ok(())
}

#[tokio::test]
async fn a_client_that_is_dropped_leaves_nothing() -> Result<(), Failure> {
    let ledger = Ledger::new()?;
    let client = client(|options| options.stop_grace = Duration::from_millis(100));
    let (_, pids) = stubborn(&client, &ledger).await?;
    drop(client);
    assert!(all_end(&ledger, pids).await);
    Ok(())
}

#[tokio::test]
async fn who_gives_up_while_connecting_leaves_nothing() -> Result<(), Failure> {
    let ledger = Ledger::new()?;
    let client = client(|options| options.stop_grace = Duration::from_millis(100));
    let server = hostile("hang at the handshake", &ledger);
    let other = client.clone();
    let waiting = tokio::spawn(async move { other.list(&server).await });
    assert!(until(|| ledger.count("initialize") == 1).await);
    assert_eq!(attendants(&ledger).len(), 1);
    waiting.abort();
    assert!(until(|| attendants(&ledger).is_empty()).await);
    Ok(())
}

/// What a killed server leaves: started by this test as a process of its own, which starts the program and waits.
#[test]
fn a_server_that_is_killed_leaves_no_program() -> Result<(), Failure> {
    let ledger = Ledger::new()?;
    let mut victim = std::process::Command::new(std::env::current_exe()?)
        .args(["--exact", "ends::keeps_a_program", "--ignored", "--nocapture"])
        .env("KEEPS_LEDGER", ledger.path())
        .stdout(std::process::Stdio::null())
        .spawn()?;
    let runtime = tokio::runtime::Runtime::new()?;
    let started = runtime.block_on(until(|| ledger.count("tools/list") == 1));
    let pids = ledger.pids("pids ");
    victim.kill()?;
    victim.wait()?;
    assert!(started && pids.len() == 3);
    assert!(runtime.block_on(until(|| !pids.iter().any(|pid| lives(*pid)))), "{pids:?} are left");
    Ok(())
}

/// The process that the test above kills.
#[tokio::test]
#[ignore = "started by another test"]
async fn keeps_a_program() -> Result<(), Failure> {
    let Ok(path) = std::env::var("KEEPS_LEDGER") else { return Ok(()) };
    let ledger = Ledger::at(&path);
    let client = client(|options| options.stop_grace = Duration::from_millis(100));
    client.list(&hostile("stay", &ledger)).await?;
    std::future::pending().await
}

#[tokio::test]
async fn a_program_has_time_to_end_by_itself() -> Result<(), Failure> {
    let ledger = Ledger::new()?;
    let client = client(|options| options.stop_grace = Duration::from_secs(60));
    let server = hostile("", &ledger);
    client.list(&server).await?;
    client.forget(&server.key);
    assert!(until(|| ledger.count("closed") == 1 && attendants(&ledger).is_empty()).await);
    Ok(())
}

#[tokio::test]
async fn whoever_asks_for_a_session_shares_the_attempt_to_open_it() -> Result<(), Failure> {
    let ledger = Ledger::new()?;
    let client = client(|_| {});
    let server = hostile("", &ledger);
    let calls = (0..20).map(|_| client.call(&server, call("tool", json!({}))));
    for returned in join_all(calls).await {
        assert_eq!(returned?.text, "done");
    }
    assert_eq!(ledger.count("initialize"), 1);
    assert_eq!(ledger.count("tools/call"), 20);
    Ok(())
}

#[tokio::test]
async fn a_session_that_nobody_uses_is_closed_and_opened_when_it_is_needed() -> Result<(), Failure>
{
    let ledger = Ledger::new()?;
    let client = client(|options| options.idle = Duration::from_millis(100));
    let server = hostile("", &ledger);
    client.list(&server).await?;
    assert!(until(|| client.sessions() == 0 && attendants(&ledger).is_empty()).await);
    client.list(&server).await?;
    assert_eq!(ledger.count("initialize"), 2);
    Ok(())
}

#[tokio::test]
async fn a_session_in_use_is_not_idle_however_long_its_call_takes() -> Result<(), Failure> {
    let ledger = Ledger::new()?;
    let client = client(|options| options.idle = Duration::from_millis(50));
    let server = hostile("hang in the call", &ledger);
    let mut long = call("tool", json!({}));
    long.timeout = Some(Duration::from_secs(1));
    let Err(error) = client.call(&server, long).await else { return Err("answered".into()) };
    assert!(error.to_string().contains("none within 1 s"), "{error}");
    Ok(())
}

#[tokio::test]
async fn past_the_bound_of_sessions_the_idle_ones_make_room_and_the_used_ones_do_not()
-> Result<(), Failure> {
    let ledger = Ledger::new()?;
    let client = client(|options| options.sessions = 2);
    let busy = hostile("hang in the call", &ledger);
    let (other, server) = (client.clone(), busy.clone());
    let call_under_way =
        tokio::spawn(async move { other.call(&server, call("tool", json!({}))).await });
    assert!(until(|| ledger.count("tools/call") == 1).await);
    for way in ["pages", "error", "pages"] {
        client.list(&hostile(way, &ledger)).await?;
        assert_eq!(client.sessions(), 2);
    }
    let second = hostile("hang at the list", &ledger);
    let lists = ledger.count("tools/list");
    let (other, server) = (client.clone(), second.clone());
    let list_under_way = tokio::spawn(async move { other.list(&server).await });
    assert!(until(|| ledger.count("tools/list") == lists + 1).await);
    let refused = client.list(&hostile("pages", &ledger)).await.err();
    assert_eq!(refused, Some(McpError::Busy { sessions: 2 }));
    assert!(!call_under_way.is_finished());
    list_under_way.abort();
    call_under_way.abort();
    assert!(list_under_way.await.is_err() && call_under_way.await.is_err());
    assert_eq!(client.list(&hostile("pages", &ledger)).await?.len(), 6);
    Ok(())
}

#[tokio::test]
async fn who_cannot_be_connected_to_is_left_alone_for_a_while() -> Result<(), Failure> {
    let ledger = Ledger::new()?;
    let client = client(|options| {
        options.failures = 3;
        options.rest = Duration::from_millis(300);
    });
    let server = hostile("refuse", &ledger);
    for _ in 0..3 {
        let failed = client.list(&server).await.err();
        assert!(matches!(failed, Some(McpError::Protocol { .. })), "{failed:?}");
    }
    let Some(McpError::Resting { failures: 3, retry_after, why }) =
        client.list(&server).await.err()
    else {
        return Err("it is tried at once".into());
    };
    assert!(retry_after <= Duration::from_millis(300) && why.contains("no licence"), "{why}");
    assert_eq!(ledger.count("initialize"), 3);
    // Then one attempt, and it rests again.
    let tried = async {
        while matches!(client.list(&server).await, Err(McpError::Resting { .. })) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tried.await;
    assert_eq!(ledger.count("initialize"), 4);
    assert!(matches!(client.list(&server).await, Err(McpError::Resting { failures: 4, .. })));
    // A test is what somebody does who has changed something.
    assert!(matches!(client.test(&server).await, Err(McpError::Protocol { .. })));
    Ok(())
}
