//! An agent's secrets as its history left them: sealed, with the times that clients are told.

use retold_events::{Secret, Timestamp};
use serde::{Deserialize, Serialize};

/// A secret of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldSecret {
    /// The secret.
    pub secret: Secret,
    /// When the agent first had one of this name, as long as it kept one.
    pub created_at: Timestamp,
    /// When its value last changed.
    pub updated_at: Timestamp,
}

/// The secrets after all of them were set. One whose bytes stay is the one that was there.
pub(crate) fn set(before: &[HeldSecret], set: &[Secret], at: Timestamp) -> Vec<HeldSecret> {
    let held = |secret: &Secret| {
        let before = before.iter().find(|held| held.secret.name == secret.name);
        HeldSecret {
            secret: secret.clone(),
            created_at: before.map_or(at, |held| held.created_at),
            updated_at: before
                .filter(|held| held.secret == *secret)
                .map_or(at, |held| held.updated_at),
        }
    };
    set.iter().map(held).collect()
}

#[cfg(test)]
mod tests {
    use retold_events::Sealed;

    use super::*;

    fn secret(name: &str, byte: u8) -> Secret {
        let value = Sealed { owner: [1; 16], bytes: vec![byte] };
        Secret { name: name.to_owned(), value }
    }

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn a_secret_keeps_its_times_as_far_as_it_stays() {
        let first = set(&[], &[secret("A", 1), secret("B", 1), secret("C", 1)], at(1));
        let second = set(&first, &[secret("C", 2), secret("A", 1), secret("D", 1)], at(2));
        let told: Vec<_> = second
            .iter()
            .map(|held| (held.secret.name.as_str(), held.created_at, held.updated_at))
            .collect();
        assert_eq!(told, [("C", at(1), at(2)), ("A", at(1), at(1)), ("D", at(2), at(2))]);
        assert_eq!(set(&second, &[], at(3)), []);
        // One that was away is a new one.
        let again = set(&set(&first, &[], at(2)), &[secret("A", 1)], at(3));
        assert_eq!((again[0].created_at, again[0].updated_at), (at(3), at(3)));
    }
}
