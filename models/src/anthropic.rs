//! Anthropic's Messages API.
//!
//! Stricter than Chat Completions about what a conversation looks like, and richer in what comes back: thinking with
//! proofs of origin, and counts of what its cache served and stored.

mod conversation;
mod decode;
mod request;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures_util::stream;
use serde_json::value::RawValue;

use crate::{
    ChunkStream, Model, ModelErrorKind, Prompt,
    http::{Call, Upstream},
};

/// One Claude model.
#[derive(Debug)]
pub(crate) struct MessagesModel {
    upstream: Arc<Upstream>,
    name: String,
}

impl MessagesModel {
    pub(crate) fn new(upstream: Arc<Upstream>, name: String) -> Self {
        Self { upstream, name }
    }
}

impl Model for MessagesModel {
    fn stream(&self, prompt: &Prompt<'_>) -> ChunkStream {
        match request::encode(&self.name, prompt) {
            Ok(body) => {
                let upstream = Arc::clone(&self.upstream);
                let call = Call {
                    upstream,
                    path: "/messages",
                    body: body.into(),
                    without_stream_options: None,
                };
                call.stream(decode::Answer::new(Arc::clone(&self.upstream)))
            }
            Err(error) => {
                let what = "cannot be called: the request cannot be written as JSON";
                let error = self.upstream.failure(
                    ModelErrorKind::BadRequest,
                    what,
                    Some(&error.to_string()),
                );
                Box::pin(stream::iter([Err(error)]))
            }
        }
    }

    fn request(&self, prompt: &Prompt<'_>) -> Option<Box<RawValue>> {
        self.upstream.shown(request::encode(&self.name, prompt).ok()?)
    }
}
