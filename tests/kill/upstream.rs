//! A model provider that takes its time, so that most kills hit a run in the middle.
//!
//! `slow` streams its answer a word at a time; asked to note something it first calls
//! `memory_insert`, with arguments that arrive in pieces; asked to be quick it says one word, and
//! asked for `words=300` that many. Asked for `tools=a,b` it calls these, each with a `what` that is
//! the same word of the question behind `what=`.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::Result;

const PAUSE: Duration = Duration::from_millis(4);

/// Answers the address to reach it at. It ends with the runtime that it was started on.
pub(crate) async fn start() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            // A peer that was killed breaks its socket; that is the point, and no error.
            tokio::spawn(async move { serve(socket).await.ok() });
        }
    });
    Ok(url)
}

async fn serve(socket: TcpStream) -> Result<()> {
    let mut socket = BufReader::new(socket);
    let mut head = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        if socket.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
        if line == "\r\n" {
            break;
        }
        head += &line;
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await?;
    if head.starts_with("POST /v1/chat/completions") {
        return complete(&mut socket, &serde_json::from_slice(&body)?).await;
    }
    let model = json!({ "id": "slow", "object": "model", "created": 1, "owned_by": "test" });
    let body = json!({ "object": "list", "data": [model] }).to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    socket.write_all((head + &body).as_bytes()).await?;
    Ok(())
}

async fn complete(socket: &mut BufReader<TcpStream>, request: &Value) -> Result<()> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
    socket.write_all(head.as_bytes()).await?;
    let messages = request["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let answers_a_tool = messages.last().is_some_and(|last| last["role"] == "tool");
    let asked = messages
        .iter()
        .rfind(|message| message["role"] == "user")
        .map(|message| message["content"].to_string())
        .unwrap_or_default();
    let tools = word_behind(&asked, "tools=");
    if let (Some(tools), false) = (&tools, answers_a_tool) {
        call_tools(socket, tools, &word_behind(&asked, "what=").unwrap_or_default()).await?;
        chunk(socket, json!({}), Some("tool_calls")).await?;
    } else if asked.contains("note") && tools.is_none() && !answers_a_tool {
        call_the_tool(socket).await?;
        chunk(socket, json!({}), Some("tool_calls")).await?;
    } else {
        let quick = asked.contains("quick") || tools.is_some();
        let words = if quick { 1 } else { words(&asked).unwrap_or(40) };
        for word in 1..=words {
            chunk(socket, json!({ "content": format!("word{word} ") }), None).await?;
            tokio::time::sleep(PAUSE).await;
        }
        chunk(socket, json!({}), Some("stop")).await?;
    }
    let usage = json!({ "prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10 });
    event(socket, &json!({ "id": "c", "choices": [], "usage": usage }).to_string()).await?;
    event(socket, "[DONE]").await
}

/// How many words are asked for, if that is said.
fn words(asked: &str) -> Option<u32> {
    let (_, number) = asked.split_once("words=")?;
    number.split(|digit: char| !digit.is_ascii_digit()).next()?.parse().ok()
}

/// The word that stands behind `mark`: letters, digits, `-`, `_` and commas.
fn word_behind(asked: &str, mark: &str) -> Option<String> {
    let (_, behind) = asked.split_once(mark)?;
    let is_inside = |char: &char| char.is_ascii_alphanumeric() || "-_,".contains(*char);
    Some(behind.chars().take_while(is_inside).collect())
}

/// Calls with ids that no other call has.
async fn call_tools(socket: &mut BufReader<TcpStream>, tools: &str, what: &str) -> Result<()> {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    for (index, tool) in tools.split(',').enumerate() {
        let id = format!("call_{}", CALLS.fetch_add(1, Ordering::Relaxed));
        let arguments = json!({ "what": what }).to_string();
        let function = json!({ "name": tool, "arguments": arguments });
        let call = json!({ "index": index, "id": id, "type": "function", "function": function });
        chunk(socket, json!({ "tool_calls": [call] }), None).await?;
    }
    Ok(())
}

async fn call_the_tool(socket: &mut BufReader<TcpStream>) -> Result<()> {
    let function = json!({ "name": "memory_insert", "arguments": "" });
    let call = json!({ "index": 0, "id": "call_1", "type": "function", "function": function });
    chunk(socket, json!({ "tool_calls": [call] }), None).await?;
    for piece in ["{\"label\":", " \"human\", \"new_", "string\": \"a ", "note\"}"] {
        tokio::time::sleep(PAUSE * 3).await;
        let call = json!({ "index": 0, "function": { "arguments": piece } });
        chunk(socket, json!({ "tool_calls": [call] }), None).await?;
    }
    Ok(())
}

async fn chunk(
    socket: &mut BufReader<TcpStream>,
    delta: Value,
    finish: Option<&str>,
) -> Result<()> {
    let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
    let kind = "chat.completion.chunk";
    let chunk = json!({ "id": "c", "object": kind, "model": "slow", "choices": [choice] });
    event(socket, &chunk.to_string()).await
}

async fn event(socket: &mut BufReader<TcpStream>, data: &str) -> Result<()> {
    socket.write_all(format!("data: {data}\n\n").as_bytes()).await?;
    Ok(())
}
