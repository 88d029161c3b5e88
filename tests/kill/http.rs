//! Requests and event streams, as a client of the wire sees them.

use std::sync::Once;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::Value;

use crate::Result;

/// Nothing the loop asks for takes this long; a longer wait is a hang.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A client with connections of its own, so that none outlives a killed server.
pub(crate) fn client() -> Result<reqwest::Client> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error means that one is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    Ok(reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?)
}

/// An error is a connection that broke; a refusal is an answer like any other.
pub(crate) async fn post(
    client: &reqwest::Client,
    url: String,
    body: Value,
) -> reqwest::Result<(u16, Value)> {
    answer(client.post(url).json(&body).send().await?).await
}

pub(crate) async fn patch(
    client: &reqwest::Client,
    url: String,
    body: Value,
) -> reqwest::Result<(u16, Value)> {
    answer(client.patch(url).json(&body).send().await?).await
}

pub(crate) async fn get(client: &reqwest::Client, url: String) -> Result<Value> {
    let (status, body) = answer(client.get(&url).send().await?).await?;
    assert!(status == 200, "GET {url} answered {status}: {body}");
    Ok(body)
}

async fn answer(response: reqwest::Response) -> reqwest::Result<(u16, Value)> {
    let status = response.status().as_u16();
    let bytes = response.bytes().await?;
    Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
}

/// One frame of an event stream.
#[derive(Debug)]
pub(crate) enum Frame {
    Message(Value),
    Error(Value),
    Done,
}

/// Reads frames until the stream ends or breaks, each given to `seen` as soon as it is complete.
///
/// Answers whether the stream came to its own end, rather than being cut.
pub(crate) async fn frames(response: reqwest::Response, mut seen: impl FnMut(Frame)) -> bool {
    let mut chunks = response.bytes_stream();
    let mut held: Vec<u8> = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let Ok(chunk) = chunk else { return false };
        held.extend_from_slice(&chunk);
        while let Some(end) = held.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = held.drain(..end + 2).collect();
            if let Some(frame) = frame(&String::from_utf8_lossy(&block)) {
                seen(frame);
            }
        }
    }
    assert!(held.is_empty(), "a stream ended inside a frame: {}", String::from_utf8_lossy(&held));
    true
}

fn frame(block: &str) -> Option<Frame> {
    let is_error = block.lines().any(|line| line.starts_with("event: error"));
    let data = block.lines().find_map(|line| line.strip_prefix("data: "))?;
    if data == "[DONE]" {
        return Some(Frame::Done);
    }
    let value = serde_json::from_str(data)
        .unwrap_or_else(|error| panic!("a frame is not JSON ({error}): {data}"));
    Some(if is_error { Frame::Error(value) } else { Frame::Message(value) })
}

/// Every frame of a run after a cursor, and what holds for every finished stream: exactly one
/// terminal marker, at its end, and sequence numbers that rise by one.
pub(crate) async fn replay(
    client: &reqwest::Client,
    url: &str,
    run: &str,
    after: u64,
) -> Result<Vec<Value>> {
    let body = serde_json::json!({ "starting_after": after, "include_pings": false });
    let response = client.post(format!("{url}/v1/runs/{run}/stream")).json(&body).send().await?;
    let status = response.status();
    assert!(status.is_success(), "the stream of {run} answered {status}");
    let (mut found, mut marks) = (Vec::new(), 0);
    let whole = frames(response, |frame| match frame {
        Frame::Message(value) | Frame::Error(value) => {
            assert_eq!(marks, 0, "{run}: a frame after [DONE]: {value}");
            found.push(value);
        }
        Frame::Done => marks += 1,
    })
    .await;
    assert!(whole, "{run}: the replay was cut");
    assert_eq!(marks, 1, "{run}: terminal markers after {after} in {found:?}");
    let numbers: Vec<u64> = found.iter().filter(|frame| is_numbered(frame)).map(number).collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{run}: a gap or a duplicate after {after}: {numbers:?}"
    );
    Ok(found)
}

/// Whether a cursor counts this frame. A ping belongs to one connection.
pub(crate) fn is_numbered(frame: &Value) -> bool {
    frame["message_type"] != "ping" && frame["seq_id"].is_u64()
}

pub(crate) fn number(frame: &Value) -> u64 {
    frame["seq_id"].as_u64().unwrap_or_default()
}
