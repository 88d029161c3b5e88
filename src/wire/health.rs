//! What a probe is told.

use serde::Serialize;
use utoipa::ToSchema;

/// The answer to a probe that the server passes.
#[derive(Debug, Serialize, ToSchema)]
pub struct Probe {
    /// `ok`.
    pub status: &'static str,
    /// What was looked at, when that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checks: Option<Vec<Check>>,
}

/// One thing that a probe looks at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Check {
    /// `recovery`, `log`, `admission` or `disk`.
    pub name: &'static str,
    /// How it is.
    pub status: CheckStatus,
    /// What is wrong with it, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// Well.
    Ok,
    /// Not well, but the server does what it can: it passes the probe.
    Warning,
    /// So that the server does not pass.
    Failed,
}

impl Check {
    /// Something that is well.
    #[must_use]
    pub const fn ok(name: &'static str) -> Self {
        Self { name, status: CheckStatus::Ok, detail: None }
    }

    /// Something that is not.
    #[must_use]
    pub fn not_ok(name: &'static str, status: CheckStatus, detail: impl Into<String>) -> Self {
        Self { name, status, detail: Some(detail.into()) }
    }
}
