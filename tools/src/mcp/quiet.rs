//! What every transport has in front: only answers pass.
//!
//! Servers may send requests and notifications of their own. None is needed here, and each would cost a task and a line in the
//! log, so a server that never stops sending could grow both. Requests are answered that there is no such method, `ping` that this
//! side is there; notifications are dropped; and who sends without end what nobody asked for has ended its session.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use rmcp::model::{
    ClientJsonRpcMessage, ClientResult, ErrorCode, ErrorData, JsonRpcMessage, RequestId,
    ServerJsonRpcMessage, ServerRequest,
};
use rmcp::service::{RoleClient, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;

/// How many answers to a server's requests are under way at once. Who sends more before it has taken them gets none.
const REPLIES: usize = 16;

/// Why a session ended, for those who wait: told by whoever notices first.
#[derive(Debug, Clone, Default)]
pub(super) struct Reason(Arc<Mutex<Option<String>>>);

impl Reason {
    pub(super) fn tell(&self, why: impl Into<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| why.into());
    }

    /// The same where what ends is but one answer: the newest counts.
    pub(super) fn renew(&self, why: impl Into<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(why.into());
    }

    pub(super) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A transport through which only answers come.
pub(super) struct Quiet<T> {
    inner: T,
    replies: FuturesUnordered<BoxFuture<'static, ()>>,
    unasked: usize,
    most_unasked: usize,
    reason: Reason,
}

impl<T> Quiet<T> {
    /// `most_unasked` is how many messages in a row may be none that anybody waits for.
    pub(super) fn new(inner: T, most_unasked: usize, reason: Reason) -> Self {
        Self { inner, replies: FuturesUnordered::new(), unasked: 0, most_unasked, reason }
    }
}

impl<T: Transport<RoleClient>> Quiet<T> {
    fn reply(&mut self, request: &ServerRequest, id: RequestId) {
        if self.replies.len() >= REPLIES {
            return;
        }
        let reply = if matches!(request, ServerRequest::PingRequest(_)) {
            ClientJsonRpcMessage::response(ClientResult::empty(()), id)
        } else {
            let why = "this client offers neither sampling nor roots nor elicitation";
            let error = ErrorData::new(ErrorCode::METHOD_NOT_FOUND, why, None);
            ClientJsonRpcMessage::error(error, Some(id))
        };
        let sent = self.inner.send(reply);
        // Whether it arrives is the server's loss.
        self.replies.push(Box::pin(async move { drop(sent.await) }));
    }
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for Quiet<T> {
    type Error = T::Error;

    fn name() -> Cow<'static, str> {
        T::name()
    }

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.inner.send(item)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            let message: ServerJsonRpcMessage = tokio::select! {
                message = self.inner.receive() => message?,
                Some(()) = self.replies.next(), if !self.replies.is_empty() => continue,
            };
            match message {
                JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => {
                    self.unasked = 0;
                    return Some(message);
                }
                JsonRpcMessage::Request(request) => self.reply(&request.request, request.id),
                JsonRpcMessage::Notification(_) => {}
            }
            self.unasked += 1;
            if self.unasked > self.most_unasked {
                self.reason.tell("it sent messages without end that nobody asked for");
                return None;
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.inner.close().await
    }
}
