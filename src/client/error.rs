//! What can go wrong between a command and a server. Each message says what to do next where there is something.

/// Why a server gave no answer that can be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nothing answers there.
    #[error("cannot reach the server at {url}: {}", root_cause(source))]
    Unreachable {
        /// The server.
        url: String,
        /// Why.
        #[source]
        source: reqwest::Error,
    },
    /// The server demands a password and got none, or another.
    #[error("the server at {url} demands a password: set RETOLD_PASSWORD, or give --password-file")]
    Unauthorized {
        /// The server.
        url: String,
    },
    /// The server said no.
    #[error("the server refused: {message} (status {status})")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The server's words.
        message: String,
    },
    /// The server said something that is not the V1 API.
    #[error("the server's answer is not what the Letta V1 API says: {detail}")]
    Nonsense {
        /// What was wrong with it.
        detail: String,
    },
}

impl ClientError {
    /// Whether the same may be answered a little later.
    #[must_use]
    pub(crate) const fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } => matches!(*status, 408 | 425 | 429 | 500..=599),
            Self::Unauthorized { .. } | Self::Nonsense { .. } => false,
        }
    }
}

/// The innermost cause, because reqwest's own words leave it out.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
