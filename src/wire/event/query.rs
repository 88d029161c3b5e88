//! Which events are wanted.

use utoipa::IntoParams;

use super::EventName;
use crate::wire::{
    MAX_PAGE,
    query::{Pairs, QueryProblem},
};

/// Events of a page when the client does not say.
const USUAL_PAGE: usize = 100;

/// Which events are wanted.
#[derive(Debug, Clone, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Only events after this position; `latest` is the last one there is. 0 is before the first.
    #[param(value_type = Option<String>)]
    pub after: Option<Cursor>,
    /// Only events before this position, the ones nearest to it; `latest` is after the last one there is. Not for streams.
    #[param(value_type = Option<String>)]
    pub before: Option<Cursor>,
    /// Events at most, up to 1,000; a page may be shorter when its events are large. Streams have no end.
    #[param(required = false)]
    pub limit: usize,
    /// Only events of these types; may be repeated.
    #[param(value_type = Vec<EventName>, rename = "type", required = false, inline)]
    pub names: Vec<EventName>,
}

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// A position.
    At(u64),
    /// The end of the log as it is now.
    Latest,
}

impl Cursor {
    /// Reads a position or `latest`.
    ///
    /// # Errors
    /// [`QueryProblem`] for any other text.
    pub fn parse(name: &str, text: &str) -> Result<Self, QueryProblem> {
        if text == "latest" {
            return Ok(Self::Latest);
        }
        text.parse().map(Self::At).map_err(|_| {
            QueryProblem::new(
                name,
                "Input should be a position, a whole number from 0 on, or 'latest'",
            )
        })
    }

    /// The position, when the last one there is is `last`.
    #[must_use]
    pub fn or_last(self, last: u64) -> u64 {
        match self {
            Self::At(position) => position,
            Self::Latest => last,
        }
    }
}

impl EventsQuery {
    /// Reads the query of `GET /v1/events` and its kin.
    ///
    /// # Errors
    /// [`QueryProblem`] naming the parameter that is malformed.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, QueryProblem> {
        let pairs = Pairs(pairs);
        let cursor = |name| pairs.text(name).map(|text| Cursor::parse(name, &text)).transpose();
        let limit = pairs.int("limit")?;
        if limit.is_some_and(|limit| limit < 1) {
            return Err(QueryProblem::new("limit", "Input should be greater than or equal to 1"));
        }
        let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(MAX_PAGE));
        Ok(Self {
            after: cursor("after")?,
            before: cursor("before")?,
            limit: limit.unwrap_or(USUAL_PAGE).min(MAX_PAGE),
            names: pairs
                .comma_list("type")
                .iter()
                .map(|word| name(word))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Whether events of this name are wanted.
    #[must_use]
    pub fn wants(&self, name: EventName) -> bool {
        self.names.is_empty() || self.names.contains(&name)
    }
}

fn name(word: &str) -> Result<EventName, QueryProblem> {
    EventName::of_word(word).ok_or_else(|| {
        let words: Vec<&str> = EventName::ALL.iter().map(|name| name.word()).collect();
        QueryProblem::new("type", format!("{word:?} is not one of {}", words.join(", ")))
    })
}
