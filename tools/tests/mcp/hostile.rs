//! Servers that are programs and misbehave: none keeps a caller beyond its deadline, and each says what is wrong with it.

use std::time::Duration;

use retold_tools::mcp::{McpError, Stage};
use serde_json::json;

use crate::support::{Failure, Ledger, attendants, call, client, hostile, keeps_secrets, until};

const SOON: Duration = Duration::from_millis(300);

#[tokio::test]
async fn who_hangs_before_there_is_a_session_is_given_up_in_time() -> Result<(), Failure> {
    for way in ["hang at the start", "hang at the handshake"] {
        let ledger = Ledger::new()?;
        let server = hostile(way, &ledger);
        let client = client(|options| options.connect_timeout = SOON);
        let late = McpError::TimedOut { stage: Stage::Connecting, after: SOON };
        assert_eq!(client.list(&server).await.err(), Some(late.clone()), "{way}");
        assert_eq!(client.test(&server).await.err(), Some(late.clone()), "{way}");
        let called = client.call(&server, call("tool", json!({}))).await;
        assert_eq!(called.err(), Some(late), "{way}");
        assert_eq!(client.sessions(), 0, "{way}");
    }
    Ok(())
}

#[tokio::test]
async fn who_hangs_at_the_list_is_given_up_in_time_and_asked_in_a_new_session()
-> Result<(), Failure> {
    let ledger = Ledger::new()?;
    let server = hostile("hang at the list", &ledger);
    let client = client(|options| options.list_timeout = SOON);
    let late = McpError::TimedOut { stage: Stage::Listing, after: SOON };
    for times in 1..3 {
        assert_eq!(client.list(&server).await.err(), Some(late.clone()));
        assert!(until(|| ledger.count("initialize") == times).await, "{:?}", ledger.lines());
    }
    Ok(())
}

#[tokio::test]
async fn a_call_without_an_answer_is_unknown_and_three_of_them_end_the_session()
-> Result<(), Failure> {
    let ledger = Ledger::new()?;
    let server = hostile("hang in the call", &ledger);
    let client = client(|_| {});
    for times in 1..=4 {
        client.list(&server).await?;
        let mut call = call("tool", json!({}));
        call.timeout = Some(SOON);
        let Err(error) = client.call(&server, call).await else { return Err("answered".into()) };
        assert!(error.may_have_run(), "{error}");
        assert!(until(|| ledger.count("tools/call") == times).await, "each is sent once");
        if times == 3 {
            assert!(until(|| ledger.count("closed") == 1).await);
        } else {
            let told = times.min(2) + times / 4;
            assert!(until(|| ledger.count("notifications/cancelled") == told).await, "{times}");
        }
        assert_eq!(ledger.count("initialize"), times.div_ceil(3), "{times}");
    }
    Ok(())
}

#[tokio::test]
async fn who_dies_says_why() -> Result<(), Failure> {
    let ledger = Ledger::new()?;
    let client = client(|_| {});
    let Err(error) = client.list(&hostile("die at the start", &ledger)).await else {
        return Err("it lives".into());
    };
    assert!(matches!(error, McpError::Connect { .. }), "{error:?}");
    let told = error.to_string();
    assert!(told.contains("cannot open ***") && told.contains("exit status: 4"), "{told}");
    assert!(keeps_secrets(&error));

    let dying = hostile("die in the call", &ledger);
    let Err(error) = client.call(&dying, call("tool", json!({}))).await else {
        return Err("it lives".into());
    };
    assert!(error.may_have_run() && keeps_secrets(&error), "{error}");
    let told = error.to_string();
    assert!(told.len() < 5_000, "{}", told.len());
    assert_eq!(ledger.count("tools/call"), 1);
    Ok(())
}

#[tokio::test]
async fn a_program_that_is_not_there_is_named() -> Result<(), Failure> {
    let ledger = Ledger::new()?;
    let mut server = hostile("", &ledger);
    let retold_tools::mcp::Transport::Stdio { command, .. } = &mut server.transport else {
        return Err("no program".into());
    };
    *command = "no-such-program".into();
    let Err(error) = client(|_| {}).list(&server).await else { return Err("it is there".into()) };
    assert!(error.to_string().contains("`no-such-program` cannot be started"), "{error}");
    Ok(())
}

#[tokio::test]
async fn programs_are_not_started_unless_that_is_configured() -> Result<(), Failure> {
    let ledger = Ledger::new()?;
    let client = client(|options| options.stdio = None);
    let server = hostile("", &ledger);
    for _ in 0..7 {
        assert_eq!(client.list(&server).await.err(), Some(McpError::StdioOff));
    }
    assert_eq!(client.test(&server).await.err(), Some(McpError::StdioOff));
    assert!(ledger.lines().is_empty());
    Ok(())
}

#[tokio::test]
async fn who_floods_costs_its_callers_their_deadline_at_most() -> Result<(), Failure> {
    for (way, why) in [
        ("notifications", "without end"),
        ("requests", "without end"),
        ("noise", "prints other things"),
        ("one line", "of more than 1048576 bytes"),
        ("large answer", "of more than 1048576 bytes"),
    ] {
        let ledger = Ledger::new()?;
        let client = client(|options| {
            options.message_bytes = 1 << 20;
            options.unasked = 1000;
            options.stop_grace = Duration::from_millis(100);
        });
        let server = hostile(way, &ledger);
        let Err(error) = client.call(&server, call("tool", json!({}))).await else {
            return Err(format!("{way}: it answered").into());
        };
        assert!(error.may_have_run() && error.to_string().contains(why), "{way}: {error}");
        assert_eq!(client.sessions(), 0, "{way}");
        assert_eq!(client.list(&server).await?.len(), 1, "{way}: a new session works");
        client.close().await;
        assert!(until(|| attendants(&ledger).is_empty()).await, "{way}: it is left");
    }
    Ok(())
}

#[tokio::test]
async fn who_only_chatters_is_understood() -> Result<(), Failure> {
    for way in ["chatter", "complaints"] {
        let ledger = Ledger::new()?;
        let client = client(|_| {});
        let returned = client.call(&hostile(way, &ledger), call("tool", json!({}))).await?;
        assert_eq!(returned.text, "done", "{way}");
    }
    Ok(())
}

#[tokio::test]
async fn who_asks_for_something_is_told_that_it_is_not_there() -> Result<(), Failure> {
    let ledger = Ledger::new()?;
    let returned = client(|_| {}).call(&hostile("ask", &ledger), call("tool", json!({}))).await?;
    assert_eq!(returned.text, "-32601 -32601 -32601 {}");
    Ok(())
}

#[tokio::test]
async fn an_answer_that_is_none_is_said_to_be_none() -> Result<(), Failure> {
    let ledger = Ledger::new()?;
    let client = client(|_| {});
    for (way, why) in [
        ("no result", "its answer is not that of this request"),
        ("broken error", "its answer is not one of MCP"),
        ("error", "no such tool (code -32602)"),
    ] {
        let Err(error) = client.call(&hostile(way, &ledger), call("tool", json!({}))).await else {
            return Err(way.into());
        };
        assert!(error.to_string().contains(why) && !error.may_have_run(), "{way}: {error:?}");
    }
    let Err(error) = client.list(&hostile("refuse", &ledger)).await else {
        return Err("not refused".into());
    };
    assert!(error.to_string().contains("no licence"), "{error}");
    Ok(())
}

#[tokio::test]
async fn who_stops_reading_is_noticed_and_holds_nothing_up() -> Result<(), Failure> {
    let ledger = Ledger::new()?;
    let server = hostile("deaf", &ledger);
    let client = client(|options| options.connect_timeout = Duration::from_secs(5));
    client.list(&server).await?;
    let mut large = call("tool", json!({"text": "x".repeat(1 << 20)}));
    large.timeout = Some(SOON);
    let Err(error) = client.call(&server, large).await else { return Err("it read".into()) };
    assert!(error.may_have_run(), "{error}");
    // It waits behind the large one until that is given up.
    match client.call(&server, call("tool", json!({}))).await {
        // It was seen that it was not sent, so it was in a new session.
        Ok(returned) => assert_eq!(returned.text, "done"),
        Err(error) => assert!(error.to_string().contains("not read"), "{error}"),
    }
    assert!(ledger.count("tools/call") <= 1);
    Ok(())
}

#[tokio::test]
async fn who_ended_while_nobody_called_is_started_anew() -> Result<(), Failure> {
    let ledger = Ledger::new()?;
    let server = hostile("die when idle", &ledger);
    let client = client(|_| {});
    client.list(&server).await?;
    let returned = client.call(&server, call("tool", json!({}))).await;
    // Whether its end was seen before the call was sent is chance; that it is not sent twice is not.
    match returned {
        Ok(returned) => assert_eq!(returned.text, "done"),
        Err(error) => assert!(error.may_have_run(), "{error}"),
    }
    assert!(ledger.count("tools/call") <= 1);
    let returned = client.call(&server, call("tool", json!({}))).await?;
    assert_eq!(returned.text, "done");
    Ok(())
}

#[tokio::test]
async fn pages_are_followed_to_their_end_and_no_further_than_the_bounds() -> Result<(), Failure> {
    let ledger = Ledger::new()?;
    let client = client(|options| {
        options.tools = 250;
        options.tools_bytes = 50_000;
    });
    let names = client.list(&hostile("pages", &ledger)).await?;
    let names: Vec<_> = names.into_iter().map(|tool| tool.name).collect();
    assert_eq!(names, ["tool 0", "tool 1", "tool 2", "tool 3", "tool 4", "tool 5"]);
    for (way, limit) in [
        ("endless pages", "250 pages"),
        ("endless tools", "250 tools"),
        ("large tools", "50000 bytes"),
    ] {
        let refused = client.list(&hostile(way, &ledger)).await.err();
        assert_eq!(refused, Some(McpError::TooLarge { limit: limit.into() }), "{way}");
    }
    Ok(())
}

#[tokio::test]
async fn a_server_of_the_version_without_the_first_handshake_is_spoken_to_in_the_other()
-> Result<(), Failure> {
    let ledger = Ledger::new()?;
    let server = hostile("other handshake", &ledger);
    let client = client(|_| {});
    assert_eq!(client.call(&server, call("tool", json!({}))).await?.text, "done");
    assert_eq!(ledger.count("server/discover"), 1);
    Ok(())
}
