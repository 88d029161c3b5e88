//! Reading query strings: the members of a query as pairs, and what is wrong with one.
//!
//! Written by hand because V1 repeats keys for lists (`tags=a&tags=b`), which no form decoder of ours takes, and because
//! its clients write booleans and lists in more than one way.

use super::Time;

/// A query parameter that is not what it should be. Status 422.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("query.{loc}: {msg}")]
pub struct QueryProblem {
    /// The parameter.
    pub loc: String,
    /// What is wrong with it.
    pub msg: String,
}

impl QueryProblem {
    pub(crate) fn new(loc: &str, msg: impl Into<String>) -> Self {
        Self { loc: loc.to_owned(), msg: msg.into() }
    }
}

/// The decoded pairs of a query string. Of a repeated single-valued parameter the last one counts; an empty one is none.
#[derive(Debug, Clone, Copy)]
pub struct Pairs<'a>(pub &'a [(String, String)]);

impl<'a> Pairs<'a> {
    fn last(self, key: &str) -> Option<&'a str> {
        let found = self.0.iter().rev().find(|(name, _)| name == key);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A text.
    #[must_use]
    pub fn text(self, key: &str) -> Option<String> {
        self.last(key).map(str::to_owned)
    }

    /// `true|false`, and the other spellings that V1 takes.
    ///
    /// # Errors
    /// [`QueryProblem`] for any other text.
    pub fn flag(self, key: &str) -> Result<Option<bool>, QueryProblem> {
        let Some(text) = self.last(key) else { return Ok(None) };
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" | "t" | "y" => Ok(Some(true)),
            "false" | "0" | "no" | "off" | "f" | "n" => Ok(Some(false)),
            _ => Err(QueryProblem::new(
                key,
                "Input should be a valid boolean, unable to interpret input",
            )),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// [`QueryProblem`] when it is none.
    pub fn int(self, key: &str) -> Result<Option<i64>, QueryProblem> {
        let Some(text) = self.last(key) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| {
            QueryProblem::new(
                key,
                "Input should be a valid integer, unable to parse string as an integer",
            )
        })
    }

    /// A point in time; without an offset it is taken as UTC.
    ///
    /// # Errors
    /// [`QueryProblem`] when it is none.
    pub fn time(self, key: &str) -> Result<Option<Time>, QueryProblem> {
        let Some(text) = self.last(key) else { return Ok(None) };
        // A plus sign that nobody encoded arrives as a space.
        Time::parse(text).or_else(|| Time::parse(&text.replace(' ', "+"))).map(Some).ok_or_else(
            || QueryProblem::new(key, "Input should be a valid datetime or date, invalid format"),
        )
    }

    /// One of some words.
    ///
    /// # Errors
    /// [`QueryProblem`] naming the words when it is none of them.
    pub fn word<T: Copy>(self, key: &str, words: &[(&str, T)]) -> Result<Option<T>, QueryProblem> {
        let Some(text) = self.last(key) else { return Ok(None) };
        let found = words.iter().find(|(word, _)| *word == text);
        found.map(|&(_, value)| Some(value)).ok_or_else(|| {
            let quoted: Vec<String> = words.iter().map(|(word, _)| format!("'{word}'")).collect();
            QueryProblem::new(key, format!("Input should be {}", quoted.join(" or ")))
        })
    }

    /// All values of a key that may be repeated, empty ones included. `key[]` is taken as well.
    #[must_use]
    pub fn list(self, key: &str) -> Vec<String> {
        self.0
            .iter()
            .filter(|(name, _)| name.strip_suffix("[]").unwrap_or(name) == key)
            .map(|(_, value)| value.clone())
            .collect()
    }

    /// All values of a key that may be repeated and may hold several with commas between, without empty ones.
    #[must_use]
    pub fn comma_list(self, key: &str) -> Vec<String> {
        let listed = self.list(key);
        let values = listed.iter().flat_map(|values| values.split(','));
        values.map(str::trim).filter(|value| !value.is_empty()).map(str::to_owned).collect()
    }

    /// As [`Pairs::list`] without empty values; `None` when nothing is left.
    #[must_use]
    pub fn some_list(self, key: &str) -> Option<Vec<String>> {
        let mut values = self.list(key);
        values.retain(|value| !value.is_empty());
        (!values.is_empty()).then_some(values)
    }
}
