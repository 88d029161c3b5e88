//! Streamable HTTP: every message is a POST to one address, answered by JSON or by a stream of events.
//!
//! The sessions, headers and resumptions of the protocol are rmcp's; the requests are made here, so that each goes the one way out,
//! is read within bounds, and so that it is known of each that failed whether it may have arrived. No stream is opened for what a
//! server might want to say without being asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use rmcp::model::{
    ClientJsonRpcMessage, ClientNotification, ClientRequest, JsonRpcMessage, ServerJsonRpcMessage,
};
use rmcp::transport::streamable_http_client::{
    StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
};

use super::error::{McpError, Secrets};
use super::events::{self, Events};
use super::failure::{SendFailure, innermost};
use super::quiet::Reason;
use super::wire;
use crate::egress::{Client, EgressError};

const SESSION: &str = "mcp-session-id";
const LAST_EVENT: &str = "last-event-id";
const EVENT_STREAM: &str = "text/event-stream";
const JSON: &str = "application/json";
/// How much of an answer that says no is read.
const REFUSAL: usize = 16 << 10;
/// Before a stream is resumed, whatever the server proposes: it might propose to come back at once, for ever.
const RESUME: Duration = Duration::from_millis(250);

/// One server over HTTP.
#[derive(Debug, Clone)]
pub(super) struct Web {
    pub(super) client: Client,
    pub(super) message_bytes: usize,
    /// For each request of the handshake, which nobody else gives up.
    pub(super) patience: Duration,
    pub(super) reason: Reason,
    pub(super) secrets: Secrets,
}

type Failed = StreamableHttpError<SendFailure>;
type Headers = HashMap<HeaderName, HeaderValue>;

impl StreamableHttpClient for Web {
    type Error = SendFailure;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _authorization: Option<String>,
        headers: Headers,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let request = self.request(Method::POST, &uri, session.as_deref(), headers)?;
        let request = request.header(ACCEPT, format!("{JSON}, {EVENT_STREAM}")).json(&message);
        if !is_handshake(&message) {
            return self.exchange(request, &message, session.is_some()).await;
        }
        let exchange = self.exchange(request, &message, false);
        let answer = tokio::time::timeout(self.patience, exchange).await;
        let late = || SendFailure::unknown("it did not answer in time", true);
        let answer = answer.map_err(|_| StreamableHttpError::Client(late()))??;
        let StreamableHttpPostResponse::Sse(events, session) = answer else { return Ok(answer) };
        let events = events.take_until(tokio::time::sleep(self.patience));
        Ok(StreamableHttpPostResponse::Sse(events.boxed(), session))
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session: Arc<str>,
        _authorization: Option<String>,
        headers: Headers,
    ) -> Result<(), Failed> {
        let request = self.request(Method::DELETE, &uri, Some(&session), headers)?;
        // A server may keep its sessions; there is nobody left who would mind.
        let _ = request.send().await;
        Ok(())
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event: Option<String>,
        _authorization: Option<String>,
        headers: Headers,
    ) -> Result<Events, Failed> {
        let Some(last_event) = last_event else {
            return Err(StreamableHttpError::ServerDoesNotSupportSse);
        };
        tokio::time::sleep(RESUME).await;
        let request = self.request(Method::GET, &uri, session.as_deref(), headers)?;
        let request = request.header(ACCEPT, EVENT_STREAM).header(LAST_EVENT, last_event);
        let sent = tokio::time::timeout(self.patience, request.send()).await;
        let late = |_| SendFailure::unknown("it did not resume its answer in time", true);
        let response = sent.map_err(late).and_then(|sent| sent.map_err(|error| failed(&error)));
        let response = response.map_err(StreamableHttpError::Client)?;
        if !response.status().is_success() {
            // It has no such stream, so asking again is of no use.
            return Err(StreamableHttpError::ServerDoesNotSupportSse);
        }
        Ok(self.events(response))
    }
}

impl Web {
    fn request(
        &self,
        method: Method,
        uri: &str,
        session: Option<&str>,
        headers: Headers,
    ) -> Result<RequestBuilder, Failed> {
        let request = self.client.request(method, uri).map_err(|error| refused(uri, &error));
        let mut request = request.map_err(StreamableHttpError::Client)?;
        request = request.headers(headers.into_iter().collect());
        if let Some(session) = session {
            request = request.header(SESSION, session);
        }
        Ok(request)
    }

    async fn exchange(
        &self,
        request: RequestBuilder,
        message: &ClientJsonRpcMessage,
        in_session: bool,
    ) -> Result<StreamableHttpPostResponse, Failed> {
        let response = request.send().await;
        let response = response.map_err(|error| StreamableHttpError::Client(failed(&error)))?;
        let status = response.status();
        if status == StatusCode::NOT_FOUND && in_session {
            let why = "the server does not know it any more".to_owned();
            return Err(StreamableHttpError::Client(SendFailure::unsent(McpError::Closed { why })));
        }
        if !status.is_success() {
            return refusal(response, message, &self.secrets).await;
        }
        if !matches!(message, JsonRpcMessage::Request(_)) || status == StatusCode::ACCEPTED {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        let session = response.headers().get(SESSION);
        let session = session.and_then(|value| value.to_str().ok()).map(str::to_owned);
        match media_type(&response).as_str() {
            EVENT_STREAM => Ok(StreamableHttpPostResponse::Sse(self.events(response), session)),
            JSON => Ok(StreamableHttpPostResponse::Json(self.json(response).await?, session)),
            other => {
                let why = format!("its answer is of the type `{other}`, neither JSON nor events");
                Err(StreamableHttpError::Client(SendFailure::unknown(why, false)))
            }
        }
    }

    async fn json(&self, response: Response) -> Result<ServerJsonRpcMessage, Failed> {
        let body = events::body(response, self.message_bytes).await.map_err(|error| {
            StreamableHttpError::Client(SendFailure::unknown(error.to_string(), false))
        })?;
        wire::message(&body).ok_or_else(|| {
            let shown = String::from_utf8_lossy(&body[..body.len().min(REFUSAL)]);
            let shown = self.secrets.clean(&shown);
            let why = format!("its answer is not one of MCP: {shown}");
            StreamableHttpError::Client(SendFailure::unknown(why, false))
        })
    }

    fn events(&self, response: Response) -> Events {
        let (reason, ended) = (self.reason.clone(), self.reason.clone());
        let events = events::events(response, self.message_bytes);
        // rmcp tells only that there will be no answer.
        let events = events.inspect(move |event| {
            if let Err(error) = event {
                reason.renew(innermost(error));
            }
        });
        let end = stream::poll_fn(move |_| {
            ended.renew("the stream of its answer ended before the answer");
            Poll::Ready(None)
        });
        events.chain(end).boxed()
    }
}

/// An answer that says no: in the words of the protocol, if it has them.
async fn refusal(
    response: Response,
    message: &ClientJsonRpcMessage,
    secrets: &Secrets,
) -> Result<StreamableHttpPostResponse, Failed> {
    let status = response.status();
    let is_json = media_type(&response) == JSON;
    let said = events::beginning(response, REFUSAL).await;
    if is_json
        && !matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        && let JsonRpcMessage::Request(request) = message
        && let Some(JsonRpcMessage::Error(error)) = wire::message(said.as_bytes())
    {
        // Whatever id it has, it is the answer to this request.
        let error = ServerJsonRpcMessage::error(error.error, Some(request.id.clone()));
        return Ok(StreamableHttpPostResponse::Json(error, None));
    }
    Err(StreamableHttpError::Client(of_status(status, &secrets.clean(&said))))
}

/// What an answer means that says no. What it said goes into logs as it is here.
pub(super) fn of_status(status: StatusCode, said: &str) -> SendFailure {
    let code = status.as_u16();
    match code {
        401 | 403 => SendFailure::refused(McpError::Unauthorized { status: code }),
        500.. => SendFailure::unknown(format!("it answered with HTTP {code}: {said}"), false),
        _ => SendFailure::refused(McpError::Status { status: code, why: said.to_owned() }),
    }
}

/// What a request means that got no answer.
pub(super) fn failed(error: &reqwest::Error) -> SendFailure {
    if let Some(error) = EgressError::within(error) {
        return SendFailure::refused(McpError::Connect { why: error.to_string() });
    }
    let why = innermost(error);
    if error.is_connect() || error.is_builder() {
        return SendFailure::unsent(McpError::Connect { why });
    }
    SendFailure::unknown(why, false)
}

/// An address that is not called.
pub(super) fn refused(uri: &str, error: &EgressError) -> SendFailure {
    let url = super::server::shown(uri);
    SendFailure::refused(McpError::Address { url, why: error.to_string() })
}

fn media_type(response: &Response) -> String {
    let given = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let name = given.and_then(|given| given.split(';').next()).unwrap_or_default();
    name.trim().to_ascii_lowercase()
}

/// Whether a message belongs to the handshake, which nobody waits for once its session was given up.
fn is_handshake(message: &ClientJsonRpcMessage) -> bool {
    match message {
        JsonRpcMessage::Request(request) => matches!(
            request.request,
            ClientRequest::InitializeRequest(_) | ClientRequest::DiscoverRequest(_)
        ),
        JsonRpcMessage::Notification(notification) => {
            matches!(notification.notification, ClientNotification::InitializedNotification(_))
        }
        JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => false,
    }
}
