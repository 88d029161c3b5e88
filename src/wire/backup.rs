//! What part of an archive is asked for.

use serde::Deserialize;
use utoipa::IntoParams;

use super::{Pairs, QueryProblem};

/// What the client has already, from an earlier archive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct BackupQuery {
    /// Only what came after this position, where an earlier archive ended; without it, everything.
    pub after: Option<u64>,
    /// The hash of the history up to that position, 32 hexadecimal digits, as the earlier archive gave it.
    #[param(value_type = Option<String>)]
    pub chain: Option<[u8; 16]>,
}

impl BackupQuery {
    /// Reads a query.
    ///
    /// # Errors
    /// [`QueryProblem`] for a member that has not its form, and where only one of the two is given.
    pub fn from_pairs(pairs: &[(String, String)]) -> Result<Self, QueryProblem> {
        let pairs = Pairs(pairs);
        let after = pairs.int("after")?.map(u64::try_from).transpose();
        let after = after.map_err(|_| {
            QueryProblem::new("after", "Input should be greater than or equal to 0")
        })?;
        let chain = match pairs.text("chain") {
            Some(text) => Some(hash(&text).ok_or_else(|| {
                QueryProblem::new("chain", "Input should be 32 hexadecimal digits")
            })?),
            None => None,
        };
        match (after, chain) {
            (Some(1..), None) => {
                Err(QueryProblem::new("chain", "Field required together with after"))
            }
            (None, Some(_)) => {
                Err(QueryProblem::new("after", "Field required together with chain"))
            }
            (after, chain) => Ok(Self { after, chain }),
        }
    }
}

fn hash(text: &str) -> Option<[u8; 16]> {
    let is_hex = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = is_hex.then(|| u128::from_str_radix(text, 16).ok())?;
    number.map(u128::to_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<BackupQuery, QueryProblem> {
        let owned: Vec<_> =
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        BackupQuery::from_pairs(&owned)
    }

    #[test]
    fn a_position_and_its_hash_go_together() {
        assert_eq!(read(&[]), Ok(BackupQuery::default()));
        let chain = "000102030405060708090a0b0c0d0e0f";
        let both = read(&[("after", "7"), ("chain", chain)]);
        let bytes = std::array::from_fn(|index| index as u8);
        assert_eq!(both, Ok(BackupQuery { after: Some(7), chain: Some(bytes) }));
        for wrong in [
            &[("after", "7")][..],
            &[("chain", chain)],
            &[("after", "-1"), ("chain", chain)],
            &[("after", "x"), ("chain", chain)],
            &[("after", "7"), ("chain", "+00102030405060708090a0b0c0d0e0f")],
            &[("after", "7"), ("chain", "00")],
        ] {
            assert!(read(wrong).is_err(), "{wrong:?}");
        }
    }
}
