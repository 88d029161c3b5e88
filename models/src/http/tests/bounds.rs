//! Waits, floods, cancels and connections, over real sockets.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::{Instant, timeout};

use crate::{
    Chunk, ModelErrorKind, ProviderKind, Timeouts,
    harness::{LONG, SHORT, collect, hear_error, model, upstream, user},
    limits,
    testing::{Reply, prompt},
};

const HELLO: &str = r#"{"choices":[{"index":0,"delta":{"content":"hello"}}]}"#;
const STOP: &str = r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}"#;

/// Generous: what is tested takes milliseconds, a busy machine may not.
const SOON: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_provider_that_sends_no_head_times_out() {
    let begun = Instant::now();
    let error = hear_error(ProviderKind::Vllm, Reply::default().hang()).await;
    assert_eq!(error.kind, ModelErrorKind::Timeout);
    assert!(begun.elapsed() >= SHORT.first_byte);
}

#[tokio::test]
async fn a_provider_that_falls_silent_times_out_and_is_hung_up_on() {
    let upstream = upstream([Reply::events().data(HELLO).hang()]).await;
    let (chunks, error) =
        collect(model(&upstream, ProviderKind::Vllm, SHORT).stream(&prompt("", vec![user("hi")])))
            .await;
    assert_eq!(chunks.len(), 1);
    assert_eq!(error.map(|error| error.kind), Some(ModelErrorKind::Timeout));
    timeout(SOON, upstream.closed(0)).await.unwrap();
}

#[tokio::test]
async fn a_lively_answer_without_an_end_meets_the_total() {
    let timeouts = Timeouts { total: Duration::from_millis(250), ..LONG };
    let mut reply = Reply::events();
    for _ in 0..50 {
        reply = reply.chunk(": still here\n\n").wait(Duration::from_millis(20));
    }
    let upstream = upstream([reply]).await;
    let (_, error) = collect(
        model(&upstream, ProviderKind::Vllm, timeouts).stream(&prompt("", vec![user("hi")])),
    )
    .await;
    assert_eq!(error.map(|error| error.kind), Some(ModelErrorKind::Timeout));
}

#[tokio::test]
async fn nobody_listening_is_a_connection_error_that_names_the_address() {
    let upstream = upstream([]).await;
    let model = model(&upstream, ProviderKind::Ollama, SHORT);
    let base = upstream.base_url();
    drop(upstream);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let (_, error) = collect(model.stream(&prompt("", vec![user("hi")]))).await;
    let error = error.unwrap();
    assert_eq!(error.kind, ModelErrorKind::Connection);
    assert!(error.message.contains(&base) && error.message.starts_with("ollama"), "{error}");
}

#[tokio::test]
async fn nothing_is_sent_before_the_stream_is_polled() {
    let upstream = upstream([Reply::stream(&[HELLO, STOP, "[DONE]"])]).await;
    let stream = model(&upstream, ProviderKind::Vllm, SHORT).stream(&prompt("", vec![user("hi")]));
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert_eq!(upstream.connections(), 0);
    drop(stream);
}

#[tokio::test]
async fn dropping_the_stream_of_a_silent_provider_closes_its_socket_at_once() {
    let upstream = upstream([Reply::events().data(HELLO).hang()]).await;
    let mut stream =
        model(&upstream, ProviderKind::Vllm, LONG).stream(&prompt("", vec![user("hi")]));
    assert!(matches!(stream.next().await, Some(Ok(Chunk::Text(_)))));
    let dropped = Instant::now();
    drop(stream);
    let closed = timeout(SOON, upstream.closed(0)).await.unwrap();
    assert!(closed - dropped < Duration::from_millis(500), "{:?}", closed - dropped);
}

#[tokio::test]
async fn dropping_the_stream_before_the_first_byte_closes_the_socket_at_once() {
    let upstream = upstream([Reply::default().hang()]).await;
    let mut stream =
        model(&upstream, ProviderKind::Vllm, LONG).stream(&prompt("", vec![user("hi")]));
    tokio::select! {
        item = stream.next() => panic!("{item:?}"),
        () = upstream.received(1) => {}
    }
    let dropped = Instant::now();
    drop(stream);
    let closed = timeout(SOON, upstream.closed(0)).await.unwrap();
    assert!(closed - dropped < Duration::from_millis(500), "{:?}", closed - dropped);
}

#[tokio::test]
async fn a_flood_is_cut_at_its_bound() {
    let event = format!("data: {}\n\n", HELLO.replace("hello", &"hello ".repeat(5000)));
    let total = limits::RESPONSE_BYTES * 3;
    let upstream = upstream([Reply::events().flood(&event, total)]).await;
    let mut stream =
        model(&upstream, ProviderKind::Vllm, LONG).stream(&prompt("", vec![user("hi")]));
    let error = loop {
        match stream.next().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => break error,
            None => panic!("a flood without an error"),
        }
    };
    assert_eq!(error.kind, ModelErrorKind::InvalidResponse);
    timeout(SOON, upstream.closed(0)).await.unwrap();
    assert!(upstream.sent() < total, "the rest was never taken");
}

#[tokio::test]
async fn a_line_of_a_hundred_megabytes_is_cut_without_being_read() {
    let upstream = upstream([Reply::events().flood([b'x'; 64 * 1024], 100 << 20)]).await;
    let (_, error) =
        collect(model(&upstream, ProviderKind::Vllm, LONG).stream(&prompt("", vec![user("hi")])))
            .await;
    let error = error.unwrap();
    assert_eq!(error.kind, ModelErrorKind::InvalidResponse);
    assert!(error.message.contains("longer than 1048576 bytes"), "{error}");
    timeout(SOON, upstream.closed(0)).await.unwrap();
    // One event is read, and what the sockets hold is sent; the rest never is.
    assert!(upstream.sent() < 32 << 20, "{} bytes were taken", upstream.sent());
}

#[tokio::test]
async fn a_flood_of_white_space_or_json_is_cut() {
    for flood in [
        Reply::events().flood([b' '; 64 * 1024], 100 << 20),
        Reply::events().chunk("{").flood([b' '; 65536], 100 << 20),
    ] {
        let upstream = upstream([flood]).await;
        let (_, error) = collect(
            model(&upstream, ProviderKind::Vllm, LONG).stream(&prompt("", vec![user("hi")])),
        )
        .await;
        assert_eq!(error.map(|error| error.kind), Some(ModelErrorKind::InvalidResponse));
    }
}

#[tokio::test]
async fn an_error_body_that_never_ends_is_not_waited_for() {
    let body = "x".repeat(200 * 1024);
    let head = "HTTP/1.1 500 Oops\r\ntransfer-encoding: chunked\r\n\r\n";
    let error = hear_error(ProviderKind::Vllm, Reply::raw(head).chunk(body).hang()).await;
    assert_eq!(error.kind, ModelErrorKind::Server);
    assert!(error.detail.unwrap().len() <= limits::DETAIL_BYTES);
    assert!(error.message.len() < 600);
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_the_provider_back() {
    let event = format!("data: {HELLO}\n\n").repeat(200);
    let upstream = upstream([Reply::events().flood(&event, limits::RESPONSE_BYTES)]).await;
    let mut stream =
        model(&upstream, ProviderKind::Vllm, LONG).stream(&prompt("", vec![user("hi")]));
    stream.next().await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(
        upstream.sent() < limits::RESPONSE_BYTES / 2,
        "{} bytes are held somewhere",
        upstream.sent()
    );
}

#[tokio::test]
async fn two_calls_use_one_connection() {
    let upstream = upstream([
        Reply::stream(&[HELLO, STOP, "[DONE]"]),
        Reply::stream(&[HELLO, STOP, "[DONE]"]),
    ])
    .await;
    let model = model(&upstream, ProviderKind::Vllm, LONG);
    for _ in 0..2 {
        let (_, error) = collect(model.stream(&prompt("", vec![user("hi")]))).await;
        assert!(error.is_none(), "{error:?}");
    }
    assert_eq!((upstream.requests().len(), upstream.connections()), (2, 1));
}

#[tokio::test]
async fn the_connection_is_used_again_by_a_caller_that_stops_at_the_end() {
    let upstream = upstream([
        Reply::stream(&[HELLO, STOP, "[DONE]"]),
        Reply::stream(&[HELLO, STOP, "[DONE]"]),
    ])
    .await;
    let model = model(&upstream, ProviderKind::Vllm, LONG);
    for _ in 0..2 {
        let mut stream = model.stream(&prompt("", vec![user("hi")]));
        while !matches!(stream.next().await, Some(Ok(Chunk::End { .. }))) {}
    }
    assert_eq!(upstream.connections(), 1);
}
