//! What the tests of this crate have in common.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use serde_json::value::RawValue;

use crate::{
    Chunk, ChunkStream, Message, Model, ModelError, Part, ProviderConfig, ProviderKind, Secret,
    Timeouts, ToolSchema,
    anthropic::MessagesModel,
    http::{Http, Upstream},
    openai::ChatModel,
    testing::{Reply, ScriptedUpstream, prompt},
};

pub(crate) const KEY: &str = "sk-test-0123456789-do-not-print";

/// Waits that a test can sit out.
pub(crate) const SHORT: Timeouts = Timeouts {
    connect: Duration::from_secs(2),
    first_byte: Duration::from_millis(300),
    silence: Duration::from_millis(100),
    total: Duration::from_secs(20),
};

/// Waits that no working test reaches.
pub(crate) const LONG: Timeouts = Timeouts {
    connect: Duration::from_secs(10),
    first_byte: Duration::from_secs(30),
    silence: Duration::from_secs(30),
    total: Duration::from_secs(60),
};

pub(crate) async fn upstream(replies: impl IntoIterator<Item = Reply>) -> ScriptedUpstream {
    ScriptedUpstream::start(replies).await.expect("a loopback port is free")
}

pub(crate) fn model(
    upstream: &ScriptedUpstream,
    kind: ProviderKind,
    timeouts: Timeouts,
) -> Arc<dyn Model> {
    let config = ProviderConfig::new(kind, upstream.base_url(), Some(Secret::new(KEY)));
    let upstream = Arc::new(Upstream::new(config, Http::new(timeouts)));
    match kind {
        ProviderKind::Anthropic => {
            Arc::new(MessagesModel::new(upstream, "claude-sonnet-4-5".to_owned()))
        }
        ProviderKind::OpenAi
        | ProviderKind::OpenRouter
        | ProviderKind::Vllm
        | ProviderKind::Ollama
        | ProviderKind::LmStudio => Arc::new(ChatModel::new(upstream, "test-model".to_owned())),
    }
}

/// All chunks, and the error if there was one. Panics when anything follows the end or the error.
pub(crate) async fn collect(mut stream: ChunkStream) -> (Vec<Chunk>, Option<ModelError>) {
    let mut chunks = Vec::new();
    let mut error = None;
    while let Some(item) = stream.next().await {
        let ended = error.is_some() || matches!(chunks.last(), Some(Chunk::End { .. }));
        assert!(!ended, "{item:?} after the end");
        match item {
            Ok(chunk) => chunks.push(chunk),
            Err(failure) => error = Some(failure),
        }
    }
    assert!(stream.next().await.is_none(), "the end stays the end");
    (chunks, error)
}

/// The chunks of `kind`'s answer to "hi" when it replies with `reply`.
pub(crate) async fn hear(kind: ProviderKind, reply: Reply) -> (Vec<Chunk>, Option<ModelError>) {
    let upstream = upstream([reply]).await;
    collect(model(&upstream, kind, SHORT).stream(&prompt("", vec![user("hi")]))).await
}

pub(crate) async fn hear_well(kind: ProviderKind, reply: Reply) -> Vec<Chunk> {
    let (chunks, error) = hear(kind, reply).await;
    assert!(error.is_none(), "{error:?}");
    chunks
}

pub(crate) async fn hear_error(kind: ProviderKind, reply: Reply) -> ModelError {
    let (_, error) = hear(kind, reply).await;
    let error = error.expect("the call fails");
    let printed = format!("{error} {error:?}");
    assert!(!printed.contains(KEY), "{printed}");
    error
}

pub(crate) fn user(text: &str) -> Message<'_> {
    Message::User(vec![Part::Text(text)])
}

pub(crate) fn schema(name: &str, parameters: &str) -> ToolSchema {
    ToolSchema {
        name: name.to_owned(),
        description: format!("does {name}"),
        parameters: RawValue::from_string(parameters.to_owned()).expect("the test writes JSON"),
    }
}

/// The text of the answer.
pub(crate) fn text(chunks: &[Chunk]) -> String {
    let text_of =
        |chunk: &Chunk| if let Chunk::Text(text) = chunk { Some(text.clone()) } else { None };
    chunks.iter().filter_map(text_of).collect()
}

/// Id, name and arguments of each call of the answer, in order.
pub(crate) fn calls(chunks: &[Chunk]) -> Vec<(String, String, String)> {
    let mut calls: Vec<(String, String, String)> = Vec::new();
    for chunk in chunks {
        if let Chunk::ToolCall { index, id, name } = chunk {
            assert_eq!(*index as usize, calls.len(), "calls are numbered in order");
            assert!(!id.is_empty() && !name.is_empty());
            calls.push((id.clone(), name.clone(), String::new()));
        }
        if let Chunk::ToolArguments { index, fragment } = chunk {
            calls[*index as usize].2.push_str(fragment);
        }
    }
    calls
}

/// The futures and streams of this crate are spawned by others.
#[test]
fn what_others_spawn_is_send() {
    fn send<T: Send>(_: T) {}
    let catalog = crate::Catalog::new(vec![], SHORT);
    send(catalog.refresh());
    send(catalog.resolve_or_refresh("x/y"));
    send(&catalog);
}
