//! A session with one server, from its handshake to its end.
//!
//! What counts is what is known of a request that got no answer. One that was surely not sent may be sent in another session; one
//! that may have arrived never is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, ClientCapabilities, ClientConfig, Implementation,
    PaginatedRequestParams, RequestMetaObject,
};
use rmcp::service::{ClientCacheConfig, RoleClient, RunningService, ServiceError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::error::{McpError, Secrets, Stage, seconds};
use super::failure;
use super::options::McpOptions;
use super::quiet::Reason;
use super::tool::{RemoteTool, Returned, ToolCall};

/// The key of the idempotency key in a call's `_meta`.
const IDEMPOTENCY_KEY: &str = "retold/idempotencyKey";

/// After so many calls in a row without an answer in time, a server is taken for stuck and its session for gone.
const UNANSWERED: u32 = 3;

/// What a session says about this side: who it is, and that it offers nothing.
pub(super) fn introduction() -> ClientConfig {
    let version = env!("CARGO_PKG_VERSION");
    ClientConfig::new(ClientCapabilities::default(), Implementation::new("retold", version))
}

/// An open session.
#[derive(Debug)]
pub(super) struct Session {
    service: RunningService<RoleClient, ClientConfig>,
    calls: Semaphore,
    /// Calls in a row that got no answer in time.
    unanswered: AtomicU32,
    reason: Reason,
    secrets: Secrets,
    tools: usize,
    tools_bytes: usize,
    _place: OwnedSemaphorePermit,
}

/// Why a request has no answer, and what that means for its session.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) error: McpError,
    /// The session is of no use any more.
    pub(super) gone: bool,
    /// The request surely never arrived.
    pub(super) unsent: bool,
}

impl Lost {
    fn of_request(error: McpError) -> Self {
        Self { error, gone: false, unsent: false }
    }
}

impl Session {
    pub(super) async fn new(
        service: RunningService<RoleClient, ClientConfig>,
        options: &McpOptions,
        reason: Reason,
        secrets: Secrets,
        place: OwnedSemaphorePermit,
    ) -> Self {
        // Who asks for the tools wants those of now, and an error is not to be covered by an older answer.
        service.peer().set_response_cache_config(ClientCacheConfig::disabled()).await;
        Self {
            service,
            calls: Semaphore::new(options.calls_per_session.clamp(1, Semaphore::MAX_PERMITS)),
            unanswered: AtomicU32::new(0),
            reason,
            secrets,
            tools: options.tools,
            tools_bytes: options.tools_bytes,
            _place: place,
        }
    }

    /// Whether requests can still be sent.
    pub(super) fn is_open(&self) -> bool {
        !self.service.peer().is_transport_closed()
    }

    /// All tools of the server.
    pub(super) async fn list(&self, timeout: Duration) -> Result<Vec<RemoteTool>, Lost> {
        match tokio::time::timeout(timeout, self.pages()).await {
            Ok(listed) => listed,
            Err(_) => Err(Lost {
                error: McpError::TimedOut { stage: Stage::Listing, after: timeout },
                // The next one who asks is not to wait for a server that has stopped answering.
                gone: true,
                unsent: false,
            }),
        }
    }

    async fn pages(&self) -> Result<Vec<RemoteTool>, Lost> {
        let (mut tools, mut bytes, mut cursor) = (Vec::new(), 0, None);
        // A page may be empty, so pages are counted too.
        for _ in 0..=self.tools {
            let params = PaginatedRequestParams::default().with_cursor(cursor);
            let asked = self.service.list_tools(Some(params)).await;
            let page = asked.map_err(|error| self.lost(error, false))?;
            for tool in page.tools {
                bytes += serde_json::to_string(&tool).map_or(0, |text| text.len());
                tools.push(RemoteTool::of(tool));
                if tools.len() > self.tools {
                    return Err(self.too_large(format!("{} tools", self.tools)));
                }
                if bytes > self.tools_bytes {
                    return Err(self.too_large(format!("{} bytes", self.tools_bytes)));
                }
            }
            cursor = page.next_cursor;
            if cursor.is_none() {
                return Ok(tools);
            }
        }
        Err(self.too_large(format!("{} pages", self.tools)))
    }

    fn too_large(&self, limit: String) -> Lost {
        Lost::of_request(McpError::TooLarge { limit })
    }

    /// Makes a call. Dropping the future tells the server that nobody waits any more.
    pub(super) async fn call(
        &self,
        call: &ToolCall,
        deadline: Instant,
        timeout: Duration,
    ) -> Result<Returned, Lost> {
        let Ok(Ok(_turn)) = tokio::time::timeout_at(deadline, self.calls.acquire()).await else {
            return Err(Lost::of_request(McpError::Crowded { after: timeout }));
        };
        let asked = self.service.call_tool_once(request(call));
        match tokio::time::timeout_at(deadline, asked).await {
            Ok(Ok(response)) => {
                self.unanswered.store(0, Ordering::Relaxed);
                self.returned(response)
            }
            Ok(Err(error)) => Err(self.lost(error, true)),
            Err(_) => {
                let unanswered = self.unanswered.fetch_add(1, Ordering::Relaxed) + 1;
                let error = McpError::Unknown { why: format!("none within {}", seconds(timeout)) };
                Err(Lost { error, gone: unanswered >= UNANSWERED, unsent: false })
            }
        }
    }

    fn returned(&self, response: CallToolResponse) -> Result<Returned, Lost> {
        let CallToolResponse::Complete(result) = response else {
            let why = "it asked for more input instead of returning, which is not supported";
            return Err(Lost::of_request(McpError::Protocol { why: why.into() }));
        };
        Ok(Returned::of(result))
    }

    fn lost(&self, error: ServiceError, is_call: bool) -> Lost {
        let open = self.is_open();
        failure::of_request(error, is_call, open, &self.reason, &self.secrets)
    }

    /// Closes it and waits, but not for ever, until nothing of it is left.
    pub(super) async fn close(mut self, patience: Duration) {
        // What it says is how the session ended, which nobody asks here.
        let _ = self.service.close_with_timeout(patience).await;
    }
}

fn request(call: &ToolCall) -> CallToolRequestParams {
    let mut params = CallToolRequestParams::new(call.tool.clone());
    params.arguments = Some(call.arguments.clone());
    if let Some(key) = &call.idempotency_key {
        let mut meta = RequestMetaObject::new();
        meta.insert(IDEMPOTENCY_KEY.to_owned(), key.as_str().into());
        params.meta = Some(meta);
    }
    params
}

/// What closes a session that may still be in use elsewhere.
pub(super) async fn close(session: Arc<Session>, patience: Duration) {
    // Others who hold it end their calls first; the last of them closes it.
    if let Some(session) = Arc::into_inner(session) {
        session.close(patience).await;
    }
}
