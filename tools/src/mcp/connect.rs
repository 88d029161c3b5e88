//! From a configuration to an open session, whatever the transport.

use std::collections::HashMap;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use rmcp::model::{ClientConfig, ErrorCode, ProtocolVersion};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, RoleClient, RunningService,
    serve_client_with_lifecycle,
};
use rmcp::transport::Transport as Wire;
use rmcp::transport::streamable_http_client::{
    StreamableHttpClientTransport, StreamableHttpClientTransportConfig,
};
use tokio::sync::OwnedSemaphorePermit;

use super::error::{McpError, Secrets, Stage};
use super::failure;
use super::legacy::{Legacy, Place};
use super::options::McpOptions;
use super::quiet::{Quiet, Reason};
use super::server::{Server, Transport};
use super::session::{Session, introduction};
use super::stdio::{Piped, Program};
use super::streamable::{Web, refused};
use crate::egress::{Client, EgressError, Redirects};

/// Connections that nobody uses are closed before the other side does it: servers in Python close theirs after five seconds, and a
/// request that meets the closing may or may not have arrived.
const POOLED: Duration = Duration::from_secs(4);
/// Headers that are the protocol's.
const RESERVED: [&str; 6] =
    ["accept", "content-type", "content-length", "host", "mcp-session-id", "last-event-id"];

/// What connects.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) options: McpOptions,
    /// Built at the first use: reading the system's certificates takes milliseconds that a server without MCP need not spend.
    client: OnceLock<Result<Client, EgressError>>,
}

type Running = RunningService<RoleClient, ClientConfig>;

impl Connector {
    pub(super) fn new(options: McpOptions) -> Self {
        Self { options, client: OnceLock::new() }
    }

    /// Opens a session, or fails within the time for it.
    pub(super) async fn connect(
        &self,
        server: &Server,
        place: OwnedSemaphorePermit,
    ) -> Result<Session, McpError> {
        let after = self.options.connect_timeout;
        let late = |_| McpError::TimedOut { stage: Stage::Connecting, after };
        tokio::time::timeout(after, self.open(server, place)).await.map_err(late)?
    }

    async fn open(
        &self,
        server: &Server,
        place: OwnedSemaphorePermit,
    ) -> Result<Session, McpError> {
        let secrets = secrets(&server.transport);
        let handshake = self.handshake(server, &secrets, ClientLifecycleMode::Initialize).await;
        let (running, reason) = match handshake {
            // A server of a version without this handshake says so. The other one comes second because hardly any server in
            // the field knows it, and some end when they are asked what they do not know.
            Err(Refused::Handshake) => {
                let preferred_versions = vec![ProtocolVersion::V_2026_07_28];
                let discover = ClientLifecycleMode::Discover { preferred_versions };
                self.handshake(server, &secrets, discover).await
            }
            done => done,
        }
        .map_err(|refused| match refused {
            Refused::Handshake => {
                McpError::Protocol { why: "it knows none of the handshakes of MCP".into() }
            }
            Refused::For(error) => failure::clean(error, &secrets),
        })?;
        Ok(Session::new(running, &self.options, reason, secrets, place).await)
    }

    async fn handshake(
        &self,
        server: &Server,
        secrets: &Secrets,
        lifecycle: ClientLifecycleMode,
    ) -> Result<(Running, Reason), Refused> {
        let reason = Reason::default();
        let running = match &server.transport {
            Transport::Stdio { command, args, env } => {
                let Some(helper) = &self.options.stdio else {
                    return Err(Refused::For(McpError::StdioOff));
                };
                let program = Program {
                    helper,
                    command,
                    args,
                    env,
                    kept: &self.options.environment,
                    message_bytes: self.options.message_bytes,
                    grace: self.options.stop_grace,
                    patience: self.options.connect_timeout,
                };
                let piped = Piped::start(&program, reason.clone())?;
                self.serve(piped, &reason, secrets, lifecycle).await?
            }
            Transport::StreamableHttp { url, headers } => {
                let wire = self.streamable(url, headers, &reason, secrets)?;
                self.serve(wire, &reason, secrets, lifecycle).await?
            }
            Transport::Sse { url, headers } => {
                let headers = checked(headers)?.into_iter().collect::<HeaderMap>();
                let place = Place {
                    client: self.client()?,
                    url,
                    headers,
                    message_bytes: self.options.message_bytes,
                    patience: self.options.connect_timeout,
                    secrets: secrets.clone(),
                };
                let wire = Legacy::open(place, reason.clone()).await?;
                self.serve(wire, &reason, secrets, lifecycle).await?
            }
        };
        Ok((running, reason))
    }

    async fn serve<T: Wire<RoleClient> + 'static>(
        &self,
        wire: T,
        reason: &Reason,
        secrets: &Secrets,
        lifecycle: ClientLifecycleMode,
    ) -> Result<Running, Refused> {
        let first = lifecycle == ClientLifecycleMode::Initialize;
        let quiet = Quiet::new(wire, self.options.unasked, reason.clone());
        serve_client_with_lifecycle(introduction(), quiet, lifecycle).await.map_err(|error| {
            if first && is_unknown_method(&error) {
                return Refused::Handshake;
            }
            Refused::For(failure::of_handshake(&error, reason, secrets))
        })
    }

    fn streamable(
        &self,
        url: &str,
        headers: &[(String, String)],
        reason: &Reason,
        secrets: &Secrets,
    ) -> Result<StreamableHttpClientTransport<Web>, McpError> {
        let client = self.client()?;
        // Judged now, so that the configuration is named as what is at fault.
        drop(client.get(url).map_err(|error| refused(url, &error).error)?);
        let web = Web {
            client,
            message_bytes: self.options.message_bytes,
            patience: self.options.connect_timeout,
            reason: reason.clone(),
            secrets: secrets.clone(),
        };
        let config = StreamableHttpClientTransportConfig::with_uri(url)
            .custom_headers(checked(headers)?)
            .max_concurrent_requests(self.options.calls_per_session)
            // What is made anew after a session has expired is decided here, where it is known what may be sent again.
            .reinit_on_expired_session(false);
        Ok(StreamableHttpClientTransport::with_client(web, config))
    }

    fn client(&self) -> Result<Client, McpError> {
        let built = self.client.get_or_init(|| {
            let connect = self.options.connect_timeout;
            self.options.egress.client(Redirects::SameOrigin, |builder| {
                builder.connect_timeout(connect).pool_idle_timeout(POOLED).tcp_nodelay(true)
            })
        });
        built.clone().map_err(|error| McpError::Connect { why: error.to_string() })
    }
}

/// Why there is no session.
enum Refused {
    /// The server does not know this handshake.
    Handshake,
    For(McpError),
}

impl From<McpError> for Refused {
    fn from(error: McpError) -> Self {
        Self::For(error)
    }
}

fn is_unknown_method(error: &ClientInitializeError) -> bool {
    let ClientInitializeError::JsonRpcError(data) = error else { return false };
    data.code == ErrorCode::METHOD_NOT_FOUND
}

/// The headers as they are sent.
fn checked(headers: &[(String, String)]) -> Result<HashMap<HeaderName, HeaderValue>, McpError> {
    let wrong = |name: &str, why| McpError::Header { name: name.to_owned(), why };
    let mut all = HashMap::new();
    for (name, value) in headers {
        let key = HeaderName::try_from(name.as_str());
        let key = key.map_err(|_| wrong(name, "its name has characters that names cannot have"))?;
        if RESERVED.contains(&key.as_str()) {
            return Err(wrong(name, "the protocol itself sets it; leave it out"));
        }
        let value = HeaderValue::try_from(value.as_str());
        let mut value =
            value.map_err(|_| wrong(name, "its value has characters that cannot be sent"))?;
        value.set_sensitive(true);
        all.insert(key, value);
    }
    Ok(all)
}

fn secrets(transport: &Transport) -> Secrets {
    match transport {
        Transport::Stdio { env, .. } => Secrets::new(env.values()),
        Transport::StreamableHttp { url, headers } | Transport::Sse { url, headers } => {
            // Some have their key in the address.
            let url = reqwest::Url::parse(url);
            let query: Vec<String> = url
                .iter()
                .flat_map(|url| url.query_pairs())
                .map(|(_, value)| value.into_owned())
                .collect();
            Secrets::new(headers.iter().map(|(_, value)| value).chain(&query))
        }
    }
}
