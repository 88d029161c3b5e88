//! From what a transport or the protocol reports to what is known: the error, whether the session is of any use, and whether the
//! request may have arrived.

use std::error::Error;
use std::fmt;

use rmcp::service::{ClientInitializeError, ServiceError};
use rmcp::transport::DynamicTransportError;
use rmcp::transport::streamable_http_client::StreamableHttpError;

use super::error::{McpError, Secrets};
use super::quiet::Reason;
use super::session::Lost;

/// Why a message was not sent, or why there is no answer to it. The error of every transport here.
#[derive(Debug, Clone)]
pub(super) struct SendFailure {
    pub(super) error: McpError,
    pub(super) certainty: Certainty,
    pub(super) gone: bool,
}

/// What is known of a message that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Certainty {
    /// The server has not acted on it: it never arrived, or was refused.
    NotActedOn,
    /// It may have arrived.
    Unknown,
}

impl SendFailure {
    pub(super) fn refused(error: McpError) -> Self {
        Self { error, certainty: Certainty::NotActedOn, gone: false }
    }

    pub(super) fn unsent(error: McpError) -> Self {
        Self { error, certainty: Certainty::NotActedOn, gone: true }
    }

    pub(super) fn unknown(why: impl Into<String>, gone: bool) -> Self {
        let error = McpError::Protocol { why: why.into() };
        Self { error, certainty: Certainty::Unknown, gone }
    }
}

impl fmt::Display for SendFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for SendFailure {}

/// The last of the causes, which says most; the ones before it repeat the address.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

/// What a request that failed means.
pub(super) fn of_request(
    error: ServiceError,
    is_call: bool,
    open: bool,
    reason: &Reason,
    secrets: &Secrets,
) -> Lost {
    match error {
        ServiceError::McpError(data) => Lost {
            error: McpError::Answered { code: data.code.0, message: secrets.clean(&data.message) },
            gone: !open,
            unsent: false,
        },
        ServiceError::TransportSend(error) => {
            let failure = of_transport(&error);
            let unsent = failure.certainty == Certainty::NotActedOn;
            let error = clean(failure.error, secrets);
            let error = match unsent || !is_call {
                true => error,
                false => McpError::Unknown { why: words(&error) },
            };
            Lost { error, gone: failure.gone || !open, unsent }
        }
        ServiceError::UnexpectedResponse => {
            let why = "its answer is not that of this request".to_owned();
            Lost { error: McpError::Protocol { why }, gone: !open, unsent: false }
        }
        // The others cannot be: nothing is subscribed to, and no time is set and no input awaited by the protocol's own means.
        ServiceError::TransportClosed
        | ServiceError::SubscriptionLagged { .. }
        | ServiceError::Cancelled { .. }
        | ServiceError::Timeout { .. }
        | ServiceError::InputRequiredRoundsExceeded { .. }
        | _ => {
            let why = reason.get().unwrap_or_else(|| "the connection was closed".into());
            let why = secrets.clean(&why);
            let error = match is_call {
                true => McpError::Unknown { why },
                false => McpError::Closed { why },
            };
            Lost { error, gone: true, unsent: false }
        }
    }
}

/// What a handshake that failed means.
pub(super) fn of_handshake(
    error: &ClientInitializeError,
    reason: &Reason,
    secrets: &Secrets,
) -> McpError {
    let told = reason.get();
    let error = match error {
        ClientInitializeError::TransportError { error, .. } => {
            let failure = of_transport(error);
            if let McpError::Closed { why } = failure.error {
                McpError::Connect { why: told.unwrap_or(why) }
            } else {
                failure.error
            }
        }
        ClientInitializeError::ConnectionClosed(_) => McpError::Connect {
            why: told.unwrap_or_else(|| "it closed the connection before it had answered".into()),
        },
        ClientInitializeError::JsonRpcError(data) => McpError::Protocol {
            why: format!("it refused the handshake: {} (code {})", data.message, data.code.0),
        },
        ClientInitializeError::NoCompatibleProtocolVersion { server_supported, .. } => {
            let versions: Vec<_> = server_supported.iter().map(ToString::to_string).collect();
            let versions = versions.join(", ");
            McpError::Protocol { why: format!("it speaks only versions {versions} of MCP") }
        }
        ClientInitializeError::ExpectedInitResponse(_)
        | ClientInitializeError::ExpectedInitResult(_)
        | ClientInitializeError::ConflictInitResponseId(..)
        | ClientInitializeError::UncorrelatedErrorResponse { .. } => {
            McpError::Protocol { why: "its answer to the handshake is not one of MCP".into() }
        }
        ClientInitializeError::NoPreferredProtocolVersion
        | ClientInitializeError::Cancelled
        | ClientInitializeError::LegacyFallbackFailed { .. }
        | _ => McpError::Protocol { why: "the handshake was not completed".into() },
    };
    clean(error, secrets)
}

/// Every transport here fails with the same type; that of HTTP is wrapped by the protocol's own.
fn of_transport(error: &DynamicTransportError) -> SendFailure {
    if let Some(failure) = error.error.downcast_ref::<SendFailure>() {
        return failure.clone();
    }
    match error.error.downcast_ref::<StreamableHttpError<SendFailure>>() {
        Some(StreamableHttpError::Client(failure)) => failure.clone(),
        Some(StreamableHttpError::ReservedHeaderConflict(name)) => {
            let why = "the protocol itself sets it";
            SendFailure::refused(McpError::Header { name: name.clone(), why })
        }
        Some(error) => SendFailure::unknown(error.to_string(), true),
        None => SendFailure::unknown(error.error.to_string(), true),
    }
}

/// What is inside of an error that is told as the reason of another.
fn words(error: &McpError) -> String {
    if let McpError::Protocol { why } | McpError::Connect { why } | McpError::Closed { why } = error
    {
        return why.clone();
    }
    error.to_string()
}

/// The error without what nobody is shown.
pub(super) fn clean(error: McpError, secrets: &Secrets) -> McpError {
    match error {
        McpError::Start { why } => McpError::Start { why: secrets.clean(&why) },
        McpError::Connect { why } => McpError::Connect { why: secrets.clean(&why) },
        McpError::Protocol { why } => McpError::Protocol { why: secrets.clean(&why) },
        McpError::Closed { why } => McpError::Closed { why: secrets.clean(&why) },
        McpError::Unknown { why } => McpError::Unknown { why: secrets.clean(&why) },
        McpError::Status { status, why } => McpError::Status { status, why: secrets.clean(&why) },
        McpError::Answered { code, message } => {
            McpError::Answered { code, message: secrets.clean(&message) }
        }
        McpError::StdioOff
        | McpError::Address { .. }
        | McpError::Header { .. }
        | McpError::Unauthorized { .. }
        | McpError::TimedOut { .. }
        | McpError::Resting { .. }
        | McpError::Crowded { .. }
        | McpError::Busy { .. }
        | McpError::TooLarge { .. } => error,
    }
}
