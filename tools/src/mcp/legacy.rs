//! The older form over HTTP (protocol version 2024-11-05): one stream of events brings everything that the server says, and names
//! first the address to which messages are posted.
//!
//! Every message carries the headers of the configuration, so an address of another origin is refused: a server that was taken over
//! could have them sent anywhere.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use reqwest::header::{ACCEPT, HeaderMap};
use reqwest::{Method, StatusCode, Url};
use rmcp::service::{RoleClient, RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;

use super::error::{McpError, Secrets};
use super::events::{self, Events};
use super::failure::{SendFailure, innermost};
use super::quiet::Reason;
use super::streamable::{failed, of_status, refused};
use super::wire;
use crate::egress::Client;

/// How much of an answer to a POST is read: it says nothing but that the message was taken.
const TAKEN: usize = 16 << 10;

/// A server that is listened to.
pub(super) struct Legacy {
    events: Events,
    post: Post,
    reason: Reason,
}

/// Which server, and what it is allowed.
pub(super) struct Place<'a> {
    pub(super) client: Client,
    pub(super) url: &'a str,
    pub(super) headers: HeaderMap,
    pub(super) message_bytes: usize,
    /// For one message to be taken.
    pub(super) patience: Duration,
    pub(super) secrets: Secrets,
}

/// How messages reach it.
#[derive(Debug, Clone)]
struct Post {
    client: Client,
    address: Arc<str>,
    headers: HeaderMap,
    patience: Duration,
    secrets: Secrets,
}

impl Legacy {
    /// Opens the stream and waits for the address to post to. The caller bounds the time.
    pub(super) async fn open(place: Place<'_>, reason: Reason) -> Result<Self, McpError> {
        let Place { client, url, headers, message_bytes, patience, secrets } = place;
        let request = client.get(url).map_err(|error| refused(url, &error).error)?;
        let request = request.headers(headers.clone()).header(ACCEPT, "text/event-stream");
        let response = request.send().await.map_err(|error| failed(&error).error)?;
        let status = response.status();
        if !status.is_success() {
            let said = events::beginning(response, TAKEN).await;
            return Err(of_status(status, &secrets.clean(&said)).error);
        }
        // After redirects, which stay within the origin.
        let base = response.url().clone();
        let mut events = events::events(response, message_bytes);
        let address = endpoint(&mut events, &base).await?;
        // Judged now, so that the configuration is at fault at once and not the first call.
        drop(client.get(&address).map_err(|error| refused(&address, &error).error)?);
        let post = Post { client, address: address.into(), headers, patience, secrets };
        Ok(Self { events, post, reason })
    }
}

/// The address that the first event of this kind names.
async fn endpoint(events: &mut Events, base: &Url) -> Result<String, McpError> {
    let protocol = |why: &str| McpError::Protocol { why: why.to_owned() };
    while let Some(event) = events.next().await {
        let event = event.map_err(|error| protocol(&innermost(&error)))?;
        if event.event.as_deref() != Some("endpoint") {
            continue;
        }
        let named = event.data.unwrap_or_default();
        let address = base.join(named.trim());
        let address = address.map_err(|_| protocol("it names no address to post to"))?;
        if address.origin() != base.origin() {
            return Err(protocol(
                "it names an address of another origin to post to, which is refused because requests carry credentials",
            ));
        }
        return Ok(address.into());
    }
    Err(protocol("its event stream ended before it named the address to post to"))
}

impl Transport<RoleClient> for Legacy {
    type Error = SendFailure;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), SendFailure>> + Send + 'static {
        let post = self.post.clone();
        async move {
            let late = || SendFailure::unknown("it did not take the message in time", true);
            tokio::time::timeout(post.patience, post.post(item)).await.map_err(|_| late())?
        }
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        loop {
            let event = match self.events.next().await {
                Some(Ok(event)) => event,
                Some(Err(error)) => {
                    self.reason.tell(innermost(&error));
                    return None;
                }
                None => {
                    self.reason.tell("its event stream ended");
                    return None;
                }
            };
            let is_message = matches!(event.event.as_deref(), None | Some("" | "message"));
            let text = event.data.filter(|_| is_message).unwrap_or_default();
            if let Some(message) = wire::message(text.as_bytes()) {
                return Some(message);
            }
        }
    }

    async fn close(&mut self) -> Result<(), SendFailure> {
        // Dropping the stream closes its connection, which ends the session on the other side.
        self.events = futures_util::stream::empty().boxed();
        Ok(())
    }
}

impl Post {
    async fn post(self, message: TxJsonRpcMessage<RoleClient>) -> Result<(), SendFailure> {
        let request = self.client.request(Method::POST, &*self.address);
        let request = request.map_err(|error| refused(&self.address, &error))?;
        let sent = request.headers(self.headers).json(&message).send().await;
        let response = sent.map_err(|error| failed(&error))?;
        let status = response.status();
        if status.is_success() {
            // Read, so that the connection can be used again.
            let _ = events::body(response, TAKEN).await;
            return Ok(());
        }
        if matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE) {
            let why = "the server does not know it any more".to_owned();
            return Err(SendFailure::unsent(McpError::Closed { why }));
        }
        let said = events::beginning(response, TAKEN).await;
        Err(of_status(status, &self.secrets.clean(&said)))
    }
}
