//! Chat Completions: OpenAI, and everything that speaks its dialect (OpenRouter, vLLM, Ollama, LM Studio).
//!
//! The dialects differ in small ways, so the request knows the kind of provider and the decoder trusts none of them.

mod assembly;
mod decode;
mod request;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use futures_util::stream;
use serde_json::value::RawValue;

use crate::{
    ChunkStream, Model, ModelErrorKind, Prompt,
    http::{Call, Upstream},
};

/// One model of an OpenAI-compatible provider.
#[derive(Debug)]
pub(crate) struct ChatModel {
    upstream: Arc<Upstream>,
    name: String,
}

impl ChatModel {
    pub(crate) fn new(upstream: Arc<Upstream>, name: String) -> Self {
        Self { upstream, name }
    }
}

impl Model for ChatModel {
    fn stream(&self, prompt: &Prompt<'_>) -> ChunkStream {
        let body = match request::encode(&self.upstream.config, &self.name, prompt) {
            Ok(body) => body,
            Err(error) => {
                let what = "cannot be called: the request cannot be written as JSON";
                let error = self.upstream.failure(
                    ModelErrorKind::BadRequest,
                    what,
                    Some(&error.to_string()),
                );
                return Box::pin(stream::iter([Err(error)]));
            }
        };
        let plain = Bytes::from(body.plain);
        let refused = self.upstream.stream_options_refused.load(Ordering::Relaxed);
        let (body, without_stream_options) =
            if refused { (plain, None) } else { (body.with_usage.into(), Some(plain)) };
        let call = Call {
            upstream: Arc::clone(&self.upstream),
            path: "/chat/completions",
            body,
            without_stream_options,
        };
        call.stream(decode::Answer::new(Arc::clone(&self.upstream)))
    }

    fn request(&self, prompt: &Prompt<'_>) -> Option<Box<RawValue>> {
        let body = request::encode(&self.upstream.config, &self.name, prompt).ok()?;
        let refused = self.upstream.stream_options_refused.load(Ordering::Relaxed);
        self.upstream.shown(if refused { body.plain } else { body.with_usage })
    }
}
