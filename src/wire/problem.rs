//! Why a request makes no sense, found before anything is asked of an agent.

use retold_actors::Refusal;

/// Why a request is refused. The sentence is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// It asks for something that cannot be, or that this server does not do. Status 400.
    #[error("{0}")]
    Invalid(String),
    /// A value is out of its bounds. Status 422.
    #[error("{0}")]
    Unprocessable(String),
}

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        match problem {
            Problem::Invalid(message) => Self::Invalid(message),
            Problem::Unprocessable(message) => Self::Unprocessable(message),
        }
    }
}

/// A refusal of something that V1 has and this server does not.
pub(crate) fn not_supported(what: &str, instead: &str) -> Problem {
    Problem::Invalid(format!("{what} is not supported by this server; {instead}"))
}
