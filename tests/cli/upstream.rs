//! A model provider that stops in the middle of a sentence, over real sockets.
//!
//! It says [`HALF`] and then nothing until [`Upstream::go_on`], after which this and every later
//! answer has [`WHOLE`]. A message with `quick` in it is answered at once.

use std::process::Command;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::Result;
use crate::program::PATIENCE;

pub(crate) const HALF: &str = "half a sentence";
pub(crate) const WHOLE: &str = "half a sentence and the rest";
pub(crate) const QUICK: &str = "at once";

/// The handle of its model.
pub(crate) const MODEL: &str = "openai/silent";

/// Told of it by the key it gets, which must not appear anywhere.
pub(crate) const KEY: &str = "sk-not-to-be-seen";

pub(crate) struct Upstream {
    url: String,
    go_on: watch::Sender<bool>,
    /// Answers that were left in the middle.
    left: watch::Receiver<u32>,
}

impl Upstream {
    /// It ends with the runtime it was started on.
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/v1", listener.local_addr()?);
        let (go_on, _) = watch::channel(false);
        let (leaving, left) = watch::channel(0);
        let going = go_on.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (going, leaving) = (going.subscribe(), leaving.clone());
                // A peer that is gone breaks its socket, which is the point and no error.
                tokio::spawn(async move { serve(socket, going, leaving).await.ok() });
            }
        });
        Ok(Self { url, go_on, left })
    }

    /// Makes it the provider of a server that is about to start.
    pub(crate) fn serves<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.env("OPENAI_API_KEY", KEY).env("OPENAI_BASE_URL", &self.url)
    }

    pub(crate) fn go_on(&self) {
        self.go_on.send_replace(true);
    }

    /// Waits until somebody has closed the socket of an answer before its end.
    pub(crate) async fn was_left(&mut self) -> Result<()> {
        tokio::time::timeout(PATIENCE, self.left.wait_for(|left| *left > 0)).await??;
        Ok(())
    }
}

async fn serve(
    socket: TcpStream,
    going: watch::Receiver<bool>,
    leaving: watch::Sender<u32>,
) -> Result<()> {
    let mut socket = BufReader::new(socket);
    let (first, body) = asked(&mut socket).await?;
    if first.starts_with("POST /v1/chat/completions") {
        return complete(socket, &serde_json::from_slice(&body)?, going, leaving).await;
    }
    let model = json!({ "id": "silent", "object": "model", "created": 1, "owned_by": "test" });
    let body = json!({ "object": "list", "data": [model] }).to_string();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
    let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    socket.write_all(answer.as_bytes()).await?;
    Ok(())
}

/// The first line of a request, and its body.
pub(crate) async fn asked(socket: &mut BufReader<TcpStream>) -> Result<(String, Vec<u8>)> {
    let (mut first, mut length) = (String::new(), 0);
    socket.read_line(&mut first).await?;
    loop {
        let mut line = String::new();
        if socket.read_line(&mut line).await? == 0 {
            return Err("the request has no end".into());
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await?;
    Ok((first, body))
}

async fn complete(
    mut socket: BufReader<TcpStream>,
    request: &Value,
    mut going: watch::Receiver<bool>,
    leaving: watch::Sender<u32>,
) -> Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    socket.write_all(head.as_bytes()).await?;
    let messages = request["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let asked = messages.iter().rfind(|message| message["role"] == "user");
    if asked.is_some_and(|asked| asked["content"].to_string().contains("quick")) {
        chunk(&mut socket, json!({ "content": QUICK }), None).await?;
    } else {
        let (start, end) = HALF.split_at(5);
        chunk(&mut socket, json!({ "content": start }), None).await?;
        chunk(&mut socket, json!({ "content": end }), None).await?;
        let mut nothing = [0; 1];
        tokio::select! {
            told = going.wait_for(|go_on| *go_on) => drop(told?),
            _ = socket.read(&mut nothing) => {
                leaving.send_modify(|left| *left += 1);
                return Ok(());
            }
        }
        chunk(&mut socket, json!({ "content": &WHOLE[HALF.len()..] }), None).await?;
    }
    chunk(&mut socket, json!({}), Some("stop")).await?;
    socket.write_all(b"data: [DONE]\n\n").await?;
    Ok(())
}

pub(crate) async fn chunk(
    socket: &mut BufReader<TcpStream>,
    delta: Value,
    finish: Option<&str>,
) -> Result<()> {
    let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
    let kind = "chat.completion.chunk";
    let chunk = json!({ "id": "c", "object": kind, "model": "silent", "choices": [choice] });
    socket.write_all(format!("data: {chunk}\n\n").as_bytes()).await?;
    Ok(())
}
