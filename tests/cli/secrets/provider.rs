//! A model provider that calls a tool and then tells what it returned, and a collector of traces; both keep all they hear.

use std::sync::{Arc, Mutex, PoisonError};

use serde_json::{Value, json};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::Result;
use crate::upstream::{asked, chunk};

/// The handle of its model.
pub(super) const MODEL: &str = "openai/silent";

/// The one tool it calls.
pub(super) const TOOL: &str = "use_secret";

pub(super) struct Provider {
    pub(super) url: String,
    heard: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Provider {
    /// It ends with the runtime it was started on.
    pub(super) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let heard = Arc::<Mutex<Vec<Vec<u8>>>>::default();
        let hearing = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let hearing = Arc::clone(&hearing);
                // A peer that is gone breaks its socket, which is no error.
                tokio::spawn(async move { serve(socket, &hearing).await.ok() });
            }
        });
        Ok(Self { url, heard })
    }

    /// Every body that was sent to it.
    pub(super) fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn serve(socket: TcpStream, heard: &Mutex<Vec<Vec<u8>>>) -> Result<()> {
    let mut socket = BufReader::new(socket);
    let (first, body) = asked(&mut socket).await?;
    heard.lock().unwrap_or_else(PoisonError::into_inner).push(body.clone());
    if first.starts_with("POST /v1/chat/completions") {
        return complete(socket, &serde_json::from_slice(&body)?).await;
    }
    let model = json!({ "id": "silent", "object": "model", "created": 1, "owned_by": "test" });
    let body = json!({ "object": "list", "data": [model] }).to_string();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
    let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    socket.write_all(answer.as_bytes()).await?;
    Ok(())
}

async fn complete(mut socket: BufReader<TcpStream>, request: &Value) -> Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    socket.write_all(head.as_bytes()).await?;
    let messages = request["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let finish = match messages.last() {
        Some(last) if last["role"] == "tool" => {
            let told = format!("it said: {}", last["content"]);
            chunk(&mut socket, json!({ "content": told }), None).await?;
            "stop"
        }
        _ => {
            let function = json!({ "name": TOOL, "arguments": "{}" });
            let call =
                json!({ "index": 0, "id": "call_1", "type": "function", "function": function });
            chunk(&mut socket, json!({ "tool_calls": [call] }), None).await?;
            "tool_calls"
        }
    };
    chunk(&mut socket, json!({}), Some(finish)).await?;
    socket.write_all(b"data: [DONE]\n\n").await?;
    Ok(())
}
