//! Reading a run as an event stream.

use std::{net::SocketAddr, time::Duration};

use futures_util::StreamExt as _;

use crate::{Result, client, progress::Progress};

/// How much of a stream is read, and how fast.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Appetite {
    /// Events after which the reader leaves.
    pub(crate) events: u64,
    /// Its pause after each.
    pub(crate) pause: Duration,
}

impl Appetite {
    pub(crate) const ALL: Self = Self { events: u64::MAX, pause: Duration::ZERO };
}

/// Reads on where the reader was, by GET or POST, until its appetite or the stream ends.
///
/// # Errors
/// When the server is not there; a stream that breaks is no error.
pub(crate) async fn read(
    server: SocketAddr,
    progress: &mut Progress,
    post: bool,
    appetite: Appetite,
) -> Result<()> {
    progress.connect();
    let (client, after) = (client(), progress.cursor);
    let url = format!("http://{server}/v1/runs/{}/stream", progress.run);
    let asking = if post {
        client.post(url).json(&serde_json::json!({ "starting_after": after }))
    } else {
        client.get(format!("{url}?starting_after={after}&include_pings=false"))
    };
    let answer = asking.send().await?;
    assert!(answer.status().is_success(), "{}: {}", progress.run, answer.status());
    let mut chunks = answer.bytes_stream();
    let (mut held, mut left) = (Vec::new(), appetite.events);
    while let Some(Ok(chunk)) = chunks.next().await {
        held.extend_from_slice(&chunk);
        while let Some(end) = held.windows(2).position(|pair| pair == b"\n\n") {
            let block: Vec<u8> = held.drain(..end + 2).collect();
            let block = String::from_utf8(block)?;
            let data = block.lines().find_map(|line| line.strip_prefix("data: "));
            progress.take_data(data.ok_or("an event has data")?);
            left -= 1;
            if left == 0 {
                return Ok(());
            }
            if !appetite.pause.is_zero() {
                tokio::time::sleep(appetite.pause).await;
            }
        }
    }
    Ok(())
}
