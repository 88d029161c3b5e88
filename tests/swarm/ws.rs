//! Reading runs over a WebSocket, several on one.

use std::net::SocketAddr;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{client_async, tungstenite::Message};

use crate::{
    Result,
    figures::Figures,
    progress::{Form, Progress},
    sse::Appetite,
};

/// Reads on where the reader was, all of its runs at once, until its appetite or the socket or the last run ends.
///
/// # Errors
/// When the server is not there; a socket that breaks is no error.
pub(crate) async fn read(
    server: SocketAddr,
    runs: &mut [Progress],
    appetite: Appetite,
    figures: &Figures,
) -> Result<()> {
    let stream = TcpStream::connect(server).await?;
    let (mut socket, _) = client_async(format!("ws://{server}/ws"), stream).await?;
    for progress in runs.iter_mut().filter(|progress| !progress.is_done()) {
        progress.connect();
        let format = match progress.form {
            Form::V1 => "v1",
            Form::Simple => "simple",
        };
        let resume = json!({"type": "resume", "run_id": progress.run, "after_seq": progress.cursor,
                            "format": format});
        socket.send(Message::text(resume.to_string())).await?;
    }
    let mut left = appetite.events;
    while left > 0 && runs.iter().any(|progress| !progress.is_done()) {
        let text = match socket.next().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Close(Some(frame)))) => {
                closed(u16::from(frame.code), &frame.reason, runs);
                return Ok(());
            }
            Some(Ok(_)) => continue,
            Some(Err(_)) | None => return Ok(()),
        };
        take(&text, runs, figures);
        left -= 1;
        if !appetite.pause.is_zero() {
            tokio::time::sleep(appetite.pause).await;
        }
    }
    Ok(())
}

fn take(text: &str, runs: &mut [Progress], figures: &Figures) {
    let frame: Value = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let run = frame["run_id"].as_str().unwrap_or_else(|| panic!("of no run: {text}"));
    let progress = runs.iter_mut().find(|progress| progress.run == run);
    let progress = progress.unwrap_or_else(|| panic!("of a run that was not asked for: {text}"));
    match frame["type"].as_str() {
        Some("run_start" | "agent_response_start") => {
            assert_eq!(frame["seq_id"], progress.cursor, "{run}: begins elsewhere");
            progress.begun = true;
        }
        Some("run_event") => {
            let (_, data) = text.split_once(r#""data":"#).expect("a run_event has data");
            progress.take_data(data.strip_suffix('}').expect("a frame is an object"));
            assert_eq!(frame["seq_id"], progress.cursor, "{run}: a wrong number to go on after");
        }
        Some("run_end") => progress.take_data("[DONE]"),
        Some("going_away") => {
            assert_eq!(frame["after_seq"], progress.cursor, "{run}: a wrong place to go on");
            progress.sent_on = true;
            figures.sent_on();
        }
        _ => progress.take_simple(&frame, text),
    }
}

/// A server that stops has told of all runs that go on; its reason names the first of them.
fn closed(code: u16, reason: &str, runs: &[Progress]) {
    assert_eq!(code, 1001, "closed for another reason than the end of the server: {reason}");
    for progress in runs.iter().filter(|progress| progress.begun && !progress.is_done()) {
        assert!(progress.sent_on, "{}: closed without a word", progress.run);
    }
    if let Some(first) = reason.strip_prefix("run=") {
        let (run, rest) = first.split_once(";after_seq=").expect("a run has a number");
        let after: String = rest.chars().take_while(char::is_ascii_digit).collect();
        let progress = runs.iter().find(|progress| progress.run == run).expect("it was asked for");
        assert_eq!(after, progress.cursor.to_string(), "{run}: a wrong place to go on");
    }
}
