//! Servers written with the official SDK, in both generations, over every transport.

use futures_util::future::join_all;
use retold_tools::mcp::{McpError, Server};
use serde_json::json;

use crate::support::{Failure, Real, SECRET, Sdk, Way, client, keeps_secrets, lives, until};

/// What holds of every server, over every transport: starting one takes seconds, so all of it is asked of the same.
async fn every_rule_holds(sdk: Sdk, way: Way) -> Result<(), Failure> {
    let real = Real::start(sdk, way).await?;
    tools_are_listed_as_their_authors_wrote_them(&real).await?;
    what_tools_return_is_text_for_a_model(&real).await?;
    an_unknown_tool_is_an_error_that_says_so(&real).await?;
    the_idempotency_key_of_a_call_reaches_its_tool(&real).await?;
    one_session_carries_many_calls_at_once(&real).await?;
    a_call_that_nobody_waits_for_any_more_is_given_up_by_its_server(&real).await
}

#[tokio::test]
async fn every_rule_holds_for_the_newest_sdk_over_stdio() -> Result<(), Failure> {
    every_rule_holds(Sdk::Newest, Way::Stdio).await
}

#[tokio::test]
async fn every_rule_holds_for_the_newest_sdk_over_streamable_http() -> Result<(), Failure> {
    every_rule_holds(Sdk::Newest, Way::StreamableHttp).await
}

#[tokio::test]
async fn every_rule_holds_for_the_newest_sdk_over_sse() -> Result<(), Failure> {
    every_rule_holds(Sdk::Newest, Way::Sse).await
}

#[tokio::test]
async fn every_rule_holds_for_the_sdk_before_over_stdio() -> Result<(), Failure> {
    every_rule_holds(Sdk::Before, Way::Stdio).await
}

#[tokio::test]
async fn every_rule_holds_for_the_sdk_before_over_streamable_http() -> Result<(), Failure> {
    every_rule_holds(Sdk::Before, Way::StreamableHttp).await
}

#[tokio::test]
async fn every_rule_holds_for_the_sdk_before_over_sse() -> Result<(), Failure> {
    every_rule_holds(Sdk::Before, Way::Sse).await
}

async fn tools_are_listed_as_their_authors_wrote_them(real: &Real) -> Result<(), Failure> {
    let client = client(|_| {});
    let tools = client.list(&real.server).await?;
    let names: Vec<_> = tools.iter().map(|tool| tool.name.as_str()).collect();
    assert_eq!(names, ["add", "fail", "picture", "environment", "key", "wait", "die"]);
    let add = &tools[0];
    assert_eq!(add.title.as_deref(), Some("Addition"));
    assert_eq!(add.description.as_deref(), Some("Adds two numbers."));
    assert_eq!(add.input_schema["required"], json!(["a"]));
    assert_eq!(add.input_schema["properties"]["b"]["default"], 2);
    assert!(add.output_schema.is_some());
    assert_eq!(client.test(&real.server).await?.len(), tools.len());
    assert_eq!(client.sessions(), 1, "a test has a session of its own");
    Ok(())
}

async fn what_tools_return_is_text_for_a_model(real: &Real) -> Result<(), Failure> {
    let client = client(|_| {});
    let sum = real.call(&client, "add", json!({"a": 40})).await?;
    assert_eq!((sum.is_error, sum.text.as_str()), (false, "42"));
    assert_eq!(sum.structured, Some(json!({"result": 42})));
    let picture = real.call(&client, "picture", json!({})).await?;
    assert_eq!(picture.text, "before\n[image: image/png, 100 bytes]\nafter");
    let failed = real.call(&client, "fail", json!({"why": "no luck"})).await?;
    // The newest generation keeps the words of the exception to itself.
    assert!(failed.is_error && failed.text.contains("tool fail"), "{failed:?}");
    let wrong = real.call(&client, "add", json!({"a": "x"})).await?;
    assert!(wrong.is_error && !wrong.text.is_empty(), "{wrong:?}");
    Ok(())
}

async fn an_unknown_tool_is_an_error_that_says_so(real: &Real) -> Result<(), Failure> {
    let client = client(|_| {});
    let said = match real.call(&client, "subtract", json!({})).await {
        Ok(returned) if returned.is_error => returned.text,
        Err(error @ McpError::Answered { .. }) => error.to_string(),
        other => return Err(format!("{other:?}").into()),
    };
    assert!(said.contains("subtract"), "{said}");
    Ok(())
}

async fn the_idempotency_key_of_a_call_reaches_its_tool(real: &Real) -> Result<(), Failure> {
    let client = client(|_| {});
    let mut call = crate::support::call("key", json!({}));
    call.idempotency_key = Some("00ff".into());
    assert_eq!(client.call(&real.server, call).await?.text, "00ff");
    assert_eq!(real.call(&client, "key", json!({})).await?.text, "None");
    Ok(())
}

async fn one_session_carries_many_calls_at_once(real: &Real) -> Result<(), Failure> {
    let client = client(|_| {});
    let calls = (0..40).map(|a| real.call(&client, "add", json!({"a": a, "b": 1000})));
    for (a, returned) in join_all(calls).await.into_iter().enumerate() {
        assert_eq!(returned?.text, (a + 1000).to_string());
    }
    assert_eq!(client.sessions(), 1);
    Ok(())
}

async fn a_call_that_nobody_waits_for_any_more_is_given_up_by_its_server(
    real: &Real,
) -> Result<(), Failure> {
    let client = client(|_| {});
    for name in ["dropped", "too long"] {
        let mut call = crate::support::call("wait", json!({"name": name}));
        let (other, server) = (client.clone(), real.server.clone());
        let begun = format!("wait {name}");
        if name == "dropped" {
            let waiting = tokio::spawn(async move { other.call(&server, call).await });
            assert!(until(|| real.ledger.count(&begun) == 1).await);
            waiting.abort();
        } else {
            call.timeout = Some(std::time::Duration::from_secs(1));
            let late = client.call(&real.server, call).await;
            let Err(error @ McpError::Unknown { .. }) = late else {
                return Err(format!("{late:?}").into());
            };
            assert!(error.may_have_run() && error.to_string().contains("none within 1 s"));
        }
        let given_up = format!("given up {name}");
        assert!(until(|| real.ledger.count(&given_up) == 1).await, "{name}");
    }
    assert_eq!(real.call(&client, "add", json!({"a": 1})).await?.text, "3");
    assert_eq!(client.sessions(), 1, "it goes on in the same session");
    Ok(())
}

#[tokio::test]
async fn a_server_that_dies_in_a_call_leaves_it_unknown_and_is_started_anew_for_the_next()
-> Result<(), Failure> {
    for sdk in Sdk::ALL {
        let real = Real::start(sdk, Way::Stdio).await?;
        let client = client(|_| {});
        let died = real.call(&client, "die", json!({})).await;
        let Err(error @ McpError::Unknown { .. }) = &died else {
            return Err(format!("{died:?}").into());
        };
        let told = error.to_string();
        assert!(
            told.contains("no more memory for ***") && told.contains("exit status: 3"),
            "{told}"
        );
        assert!(keeps_secrets(error), "{told}");
        assert_eq!(real.call(&client, "add", json!({"a": 1})).await?.text, "3");
        assert_eq!(real.ledger.count("die"), 1, "it is never sent twice");
        let children = real.ledger.pids("child ");
        assert_eq!(children.len(), 1);
        assert!(until(|| !lives(children[0])).await, "what it started is left");
    }
    Ok(())
}

#[tokio::test]
async fn a_server_over_http_that_was_started_anew_is_called_once_in_a_new_session()
-> Result<(), Failure> {
    for sdk in Sdk::ALL {
        for way in [Way::StreamableHttp, Way::Sse] {
            let mut real = Real::start(sdk, way).await?;
            let client = client(|_| {});
            assert_eq!(real.call(&client, "add", json!({"a": 1})).await?.text, "3");
            real.restart().await?;
            assert_eq!(real.call(&client, "add", json!({"a": 2})).await?.text, "4", "{way:?}");
            assert_eq!(real.ledger.count("add 2 2"), 1, "{way:?}");
            real.restart().await?;
            assert_eq!(client.list(&real.server).await?.len(), 7, "{way:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_wrong_token_is_said_to_be_wrong_and_shown_nowhere() -> Result<(), Failure> {
    for sdk in Sdk::ALL {
        for way in [Way::StreamableHttp, Way::Sse] {
            let real = Real::start(sdk, way).await?;
            let wrong = format!("{SECRET}-but-wrong");
            let server = Server { key: "wrong".into(), transport: real.transport(&wrong) };
            let client = client(|_| {});
            for refused in [
                client.list(&server).await.map(|_| ()),
                client.test(&server).await.map(|_| ()),
                client
                    .call(&server, crate::support::call("add", json!({"a": 1})))
                    .await
                    .map(|_| ()),
            ] {
                let Err(error) = refused else { return Err("it was let in".into()) };
                assert_eq!(error, McpError::Unauthorized { status: 401 }, "{way:?}");
                assert!(keeps_secrets(&error) && !format!("{server:?}").contains(SECRET));
            }
            assert!(real.ledger.lines().is_empty());
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_program_finds_only_what_it_is_given_in_its_environment() -> Result<(), Failure> {
    for sdk in Sdk::ALL {
        let real = Real::start(sdk, Way::Stdio).await?;
        let client = client(|_| {});
        let names = real.call(&client, "environment", json!({})).await?.structured;
        let names = names.and_then(|it| it["result"].as_array().cloned()).ok_or("no names")?;
        let allowed =
            ["HOME", "LANG", "LC_CTYPE", "LEDGER", "PATH", "SECRET", "TMPDIR", "OPENSSL_CONF"];
        for name in &names {
            assert!(name.as_str().is_some_and(|name| allowed.contains(&name)), "{names:?}");
        }
        assert!(names.contains(&json!("PATH")) && names.contains(&json!("SECRET")));
    }
    Ok(())
}
