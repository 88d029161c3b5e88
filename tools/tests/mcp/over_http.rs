//! Servers over HTTP that misbehave, and what of a request is known when they do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use retold_tools::mcp::{McpError, Returned, Server, Stage, Transport};
use serde_json::json;

use crate::support::{Failure, SECRET, call, client, keeps_secrets, until};
use crate::web::{Reply, Request, Web, proper};

const SOON: Duration = Duration::from_millis(300);

fn headers() -> Vec<(String, String)> {
    vec![("x-api-key".into(), SECRET.into())]
}

fn streamable(url: String) -> Server {
    Server { key: "web".into(), transport: Transport::StreamableHttp { url, headers: headers() } }
}

fn sse(url: String) -> Server {
    Server { key: "web".into(), transport: Transport::Sse { url, headers: headers() } }
}

/// Answers calls so, and everything else as it should be.
fn on_call(reply: impl Fn(&Request) -> Reply + Send + Sync) -> impl Fn(&Request) -> Reply {
    move |request| if request.method() == "tools/call" { reply(request) } else { proper(request) }
}

/// Calls a server that answers calls so.
async fn called(
    reply: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    timeout: Duration,
) -> Result<(Result<Returned, McpError>, Web), Failure> {
    let web = Web::start(on_call(reply)).await?;
    let client = client(|options| {
        options.message_bytes = 1 << 20;
        options.unasked = 1000;
    });
    client.list(&streamable(web.url("/mcp?key=hidden-query"))).await?;
    let mut call = call("tool", json!({}));
    call.timeout = Some(timeout);
    let called = client.call(&streamable(web.url("/mcp?key=hidden-query")), call).await;
    if let Err(error) = &called {
        assert!(keeps_secrets(error) && !error.to_string().contains("hidden-query"), "{error}");
    }
    Ok((called, web))
}

const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_proper_server_gets_the_configured_headers_and_its_session() -> Result<(), Failure> {
    let (returned, web) = called(proper, LONG).await?;
    assert_eq!(returned?.text, "done");
    assert!(until(|| web.requests().iter().any(|it| it.line.starts_with("DELETE"))).await);
    for request in web.requests() {
        assert_eq!(request.headers["x-api-key"], SECRET);
        assert!(!request.line.starts_with("GET"), "nothing is listened to without need");
        let session = request.headers.get("mcp-session-id").map(String::as_str);
        let wanted = (request.method() != "initialize").then_some("session-1");
        assert_eq!(session, wanted, "{request:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_may_have_arrived_is_unknown_and_never_sent_again() -> Result<(), Failure> {
    let events = |events: &str| Reply::events(events);
    let answers: Vec<(&str, Reply, &str)> = vec![
        ("silence", Reply::silence(), "none within"),
        ("half an answer", Reply::Part("HTTP/1.1 200 OK\r\ncontent-le".into()), "none within"),
        ("silent events", Reply::Part(events(": hello\n\n")), "none within"),
        ("502", Reply::status(502, "bad gateway"), "HTTP 502"),
        ("no JSON", Reply::status(200, "<html>"), "neither JSON nor events"),
        ("other JSON", Reply::json(&json!({"hello": SECRET})), "is not one of MCP"),
        ("accepted only", Reply::status(202, ""), "none within"),
        ("too large", Reply::json(&json!({"x": "x".repeat(2 << 20)})), "more than 1048576 bytes"),
        ("endless line", Reply::Endless(events("data: "), "x".repeat(1000)), "more than 1048576"),
        (
            "endless notifications",
            Reply::Endless(
                events(""),
                "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":1,\"progress\":1}}\n\n".into(),
            ),
            "without end",
        ),
    ];
    for (name, reply, why) in answers {
        let (called, web) = called(move |_| reply.clone(), Duration::from_secs(2)).await?;
        let Err(error) = called else { return Err(format!("{name}: answered").into()) };
        assert!(error.may_have_run() && error.to_string().contains(why), "{name}: {error}");
        assert_eq!(web.count("tools/call"), 1, "{name}");
    }
    Ok(())
}

#[tokio::test]
async fn a_connection_that_closes_before_the_answer_leaves_the_call_unknown() -> Result<(), Failure>
{
    let (called, web) = called(
        |_| Reply::Whole(200, vec![("content-type", "text/event-stream".into())], String::new()),
        LONG,
    )
    .await?;
    let Err(error) = called else { return Err("answered".into()) };
    assert!(error.may_have_run() && error.to_string().contains("ended before"), "{error}");
    assert_eq!(web.count("tools/call"), 1);
    Ok(())
}

#[tokio::test]
async fn a_refusal_is_certain_and_says_what_to_do() -> Result<(), Failure> {
    for (status, why) in [
        (401, "check the token"),
        (403, "check the token"),
        (429, "slower, please"),
        (400, "slower, please"),
    ] {
        let (called, web) = called(
            move |_| Reply::status(status, &format!("slower, please {SECRET} hidden-query")),
            LONG,
        )
        .await?;
        let Err(error) = called else { return Err(format!("{status}: answered").into()) };
        assert!(!error.may_have_run(), "{error}");
        let told = error.to_string();
        assert!(told.contains(why) && told.contains(&status.to_string()), "{told}");
        assert_eq!(web.count("tools/call"), 1);
    }
    let body =
        json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32001, "message": "not now"}});
    let refusal =
        Reply::Whole(400, vec![("content-type", "application/json".into())], body.to_string());
    let (called, _web) = called(move |_| refusal.clone(), LONG).await?;
    assert_eq!(called.err(), Some(McpError::Answered { code: -32001, message: "not now".into() }));
    Ok(())
}

#[tokio::test]
async fn a_session_that_has_expired_is_opened_anew_and_the_call_made_once() -> Result<(), Failure> {
    let calls = AtomicUsize::new(0);
    let (called, web) = called(
        move |request| match calls.fetch_add(1, Ordering::SeqCst) {
            0 => Reply::status(404, "session not found"),
            _ => proper(request),
        },
        LONG,
    )
    .await?;
    assert_eq!(called?.text, "done");
    assert_eq!((web.count("initialize"), web.count("tools/call")), (2, 2));
    Ok(())
}

#[tokio::test]
async fn a_server_that_always_says_so_is_asked_twice_at_most() -> Result<(), Failure> {
    let (called, web) = called(|_| Reply::status(404, "session not found"), LONG).await?;
    let Err(error) = called else { return Err("answered".into()) };
    assert!(!error.may_have_run(), "{error}");
    assert_eq!(web.count("tools/call"), 2);
    Ok(())
}

#[tokio::test]
async fn what_hangs_at_the_handshake_is_given_up_in_time_and_its_connection_closed()
-> Result<(), Failure> {
    for reply in [
        Reply::silence(),
        Reply::Part("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{".into()),
        Reply::Part(Reply::events(": slowly\n\n")),
    ] {
        let web = Web::start(move |_| reply.clone()).await?;
        let client = client(|options| options.connect_timeout = SOON);
        for server in [streamable(web.url("/mcp")), sse(web.url("/sse"))] {
            let late = McpError::TimedOut { stage: Stage::Connecting, after: SOON };
            assert_eq!(client.test(&server).await.err(), Some(late));
        }
    }
    Ok(())
}

#[tokio::test]
async fn nobody_there_is_said_to_be_nobody() -> Result<(), Failure> {
    let web = Web::start(proper).await?;
    let (url, client) = (web.url("/mcp"), client(|options| options.failures = 2));
    drop(web);
    for server in [streamable(url.clone()), sse(url.clone())] {
        let Err(McpError::Connect { why }) = client.test(&server).await else {
            return Err("somebody".into());
        };
        assert!(why.contains("refused"), "{why}");
    }
    for _ in 0..2 {
        let called = client.call(&streamable(url.clone()), call("tool", json!({}))).await;
        assert!(matches!(called, Err(McpError::Connect { .. })), "{called:?}");
    }
    let called = client.call(&streamable(url), call("tool", json!({}))).await;
    assert!(matches!(called, Err(McpError::Resting { failures: 2, .. })), "{called:?}");
    Ok(())
}

#[tokio::test]
async fn a_redirect_is_followed_within_its_origin_only() -> Result<(), Failure> {
    let elsewhere = Web::start(proper).await?;
    let target = elsewhere.url("/mcp");
    let web = Web::start(move |request| match request.line.split(' ').nth(1) {
        Some("/mcp") => Reply::Whole(307, vec![("location", "/mcp/".into())], String::new()),
        Some("/away") => Reply::Whole(307, vec![("location", target.clone())], String::new()),
        _ => proper(request),
    })
    .await?;
    let client = client(|_| {});
    assert_eq!(client.test(&streamable(web.url("/mcp"))).await?.len(), 1);
    for server in [streamable(web.url("/away")), sse(web.url("/away"))] {
        let Err(error) = client.test(&server).await else { return Err("it went there".into()) };
        assert!(error.to_string().contains("redirects to another"), "{error}");
    }
    assert!(elsewhere.requests().is_empty(), "nothing of it reached the other");
    Ok(())
}

#[tokio::test]
async fn an_address_that_is_not_open_is_refused_as_the_configuration_it_is() -> Result<(), Failure>
{
    let web = Web::start(proper).await?;
    let client = client(|options| options.egress = retold_tools::egress::Egress::default());
    for url in [web.url("/mcp?key=hidden-query"), "ftp://example.com".into(), "nonsense".into()] {
        for server in [streamable(url.clone()), sse(url.clone())] {
            let Err(error) = client.list(&server).await else { return Err("it was called".into()) };
            assert!(error.is_of_configuration(), "{error:?}");
            assert!(!error.to_string().contains("hidden-query"), "{error}");
        }
    }
    assert!(web.requests().is_empty());
    Ok(())
}

#[tokio::test]
async fn a_header_that_cannot_be_sent_is_named_without_its_value() -> Result<(), Failure> {
    for (name, value) in
        [("a b", SECRET), ("x-key", "hidden-from-everybody\n"), ("Mcp-Session-Id", SECRET)]
    {
        let headers = vec![(name.to_owned(), value.to_owned())];
        let url = "http://127.0.0.1:9/mcp".to_owned();
        let server =
            Server { key: "k".into(), transport: Transport::StreamableHttp { url, headers } };
        let Err(error) = client(|_| {}).list(&server).await else { return Err("sent".into()) };
        assert!(matches!(&error, McpError::Header { name: named, .. } if named == name), "{error}");
        assert!(keeps_secrets(&error));
    }
    Ok(())
}

#[tokio::test]
async fn the_older_form_posts_only_where_it_was_configured() -> Result<(), Failure> {
    let elsewhere = Web::start(proper).await?;
    for (events, why) in [
        (format!("event: endpoint\ndata: {}\n\n", elsewhere.url("/messages")), "another origin"),
        ("event: endpoint\ndata: //example.com/messages\n\n".into(), "another origin"),
        ("event: endpoint\ndata: http://[\n\n".into(), "no address to post to"),
    ] {
        let web = Web::start(move |_| Reply::Part(Reply::events(&events))).await?;
        let Err(error) = client(|_| {}).test(&sse(web.url("/sse"))).await else {
            return Err("it posted".into());
        };
        assert!(error.to_string().contains(why), "{error}");
        assert_eq!(web.requests().len(), 1);
    }
    assert!(elsewhere.requests().is_empty());
    let web = Web::start(|_| {
        let headers = vec![("content-type", "text/event-stream".into())];
        Reply::Whole(200, headers, "data: x\n\n".into())
    })
    .await?;
    let Err(error) = client(|_| {}).test(&sse(web.url("/sse"))).await else {
        return Err("it posted".into());
    };
    assert!(error.to_string().contains("ended before it named"), "{error}");
    Ok(())
}

#[tokio::test]
async fn the_older_form_leaves_a_call_unknown_when_its_stream_breaks() -> Result<(), Failure> {
    // The stream is this, whole; the handshake is answered in it before it is asked for.
    let handshake = json!({"jsonrpc": "2.0", "id": 0, "result": {
        "protocolVersion": "2024-11-05", "capabilities": {}, "serverInfo": {"name": "x", "version": "1"}}});
    let events = format!("event: endpoint\ndata: /m\n\nevent: message\ndata: {handshake}\n\n");
    let web = Web::start(move |request| match request.line.starts_with("GET") {
        true => Reply::Part(Reply::events(&events)),
        false => Reply::status(202, "Accepted"),
    })
    .await?;
    let client = client(|_| {});
    let mut call = call("tool", json!({}));
    call.timeout = Some(SOON);
    let Err(error) = client.call(&sse(web.url("/sse")), call).await else {
        return Err("answered".into());
    };
    assert!(error.may_have_run(), "{error}");
    assert_eq!(web.count("tools/call"), 1);
    assert!(until(|| web.count("notifications/cancelled") == 1).await);
    Ok(())
}
