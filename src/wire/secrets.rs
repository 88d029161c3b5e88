//! Secrets of agents: how a client gives them, and how they are shown to whoever asks for them by name.
//!
//! What a client gives is read without a trace: no error, no log and no `Debug` of a request holds a value.

use std::{collections::BTreeMap, fmt};

use retold_events::AgentId;
use retold_snapshots::secret::HeldSecret;
use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;
use utoipa::ToSchema;
use uuid::{Builder, Uuid};

use super::{DEFAULT_USER_ID, Id, Problem, Time};

/// Secrets that an agent may have.
const MOST: usize = 200;
/// Bytes of a name.
const MOST_NAME_BYTES: usize = 256;
/// Bytes of a value.
const MOST_VALUE_BYTES: usize = 64 << 10;
/// Bytes of all values together: they are in one event, and in every call of a tool.
const MOST_BYTES: usize = 512 << 10;

/// Names that mean something to the process a tool runs in. A value would be passed over, or break the call.
const RESERVED: [&str; 15] = [
    "BASH_ENV",
    "HOME",
    "LD_AUDIT",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "LETTA_AGENT_ID",
    "LETTA_PROJECT_ID",
    "NODE_OPTIONS",
    "NO_COLOR",
    "PATH",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONUNBUFFERED",
    "TERM",
    "TMPDIR",
];

/// Environment variables of tools, by name.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretValues(BTreeMap<String, String>);

impl SecretValues {
    /// Those that may be secrets of an agent.
    ///
    /// # Errors
    /// [`Problem::Unprocessable`] when a name or a value cannot be one, or there are too many. It names names only.
    pub fn checked(self) -> Result<Self, Problem> {
        let refused = |why: String| Err(Problem::Unprocessable(why));
        if self.0.len() > MOST {
            return refused(format!("{} secrets, {MOST} are allowed", self.0.len()));
        }
        for (name, value) in &self.0 {
            check_name(name)?;
            if value.len() > MOST_VALUE_BYTES {
                let bytes = value.len();
                return refused(format!(
                    "the secret {name} has {bytes} bytes, {MOST_VALUE_BYTES} are allowed"
                ));
            }
            if value.contains('\0') {
                return refused(format!(
                    "the secret {name} holds a NUL character, which no environment variable can"
                ));
            }
        }
        let bytes: usize = self.0.values().map(String::len).sum();
        if bytes > MOST_BYTES {
            return refused(format!(
                "the secrets have {bytes} bytes together, {MOST_BYTES} are allowed"
            ));
        }
        Ok(self)
    }

    /// Names and values, in the order of names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The variables themselves.
    #[must_use]
    pub fn into_variables(self) -> BTreeMap<String, String> {
        self.0
    }
}

impl fmt::Debug for SecretValues {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<'de> Deserialize<'de> for SecretValues {
    /// Reads anything first: what serde says of a value that does not fit would repeat it.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Value::Object(members) = Value::deserialize(deserializer)? else {
            return Err(de::Error::custom("Input should be an object of names and strings"));
        };
        let text = |(name, value): (String, Value)| match value {
            Value::String(value) => Ok((name, value)),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => {
                Err(de::Error::custom(format!("the value of {} should be a string", shown(&name))))
            }
        };
        members.into_iter().map(text).collect::<Result<_, _>>().map(Self)
    }
}

fn check_name(name: &str) -> Result<(), Problem> {
    let mut characters = name.chars();
    let begins = characters.next().is_some_and(|it| it.is_ascii_alphabetic() || it == '_');
    let goes_on = characters.all(|it| it.is_ascii_alphanumeric() || it == '_');
    if !begins || !goes_on || name.len() > MOST_NAME_BYTES {
        return Err(Problem::Unprocessable(format!(
            "{} is no name of a secret: letters, digits and underscores, no digit first, {MOST_NAME_BYTES} characters at most",
            shown(name)
        )));
    }
    if RESERVED.contains(&name) {
        return Err(Problem::Unprocessable(format!(
            "{name} cannot be a secret: it means something to the process that tools run in; give it another name"
        )));
    }
    Ok(())
}

/// A name as it is repeated to whoever sent it: enough to find it.
fn shown(name: &str) -> String {
    let start: String = name.chars().take(40).collect();
    let rest = if start.len() < name.len() { "..." } else { "" };
    format!("{start:?}{rest}")
}

/// A secret of an agent, opened.
#[derive(Clone, Serialize, ToSchema)]
pub struct AgentEnvironmentVariable {
    /// Who made it.
    pub created_by_id: Option<String>,
    /// Who changed it last.
    pub last_updated_by_id: Option<String>,
    /// When the agent first had it.
    pub created_at: Option<Time>,
    /// When its value last changed.
    pub updated_at: Option<Time>,
    /// Its id, which is the same as long as the agent has a secret of this name.
    pub id: String,
    /// Its name.
    pub key: String,
    /// Its value; empty when this server cannot open it, and in the past.
    pub value: String,
    /// Always `null`.
    pub description: Option<String>,
    /// Always `null`: how it is kept is nobody's business.
    pub value_enc: Option<String>,
    /// Whose it is.
    #[schema(value_type = String)]
    pub agent_id: Id<AgentId>,
}

impl AgentEnvironmentVariable {
    /// A secret of an agent with its value.
    #[must_use]
    pub fn new(agent: AgentId, held: &HeldSecret, value: String) -> Self {
        let name = &held.secret.name;
        Self {
            created_by_id: Some(DEFAULT_USER_ID.to_owned()),
            last_updated_by_id: Some(DEFAULT_USER_ID.to_owned()),
            created_at: Some(Time(held.created_at)),
            updated_at: Some(Time(held.updated_at)),
            id: format!("agent-env-{}", id_of(agent, name)),
            key: name.clone(),
            value,
            description: None,
            value_enc: None,
            agent_id: Id(agent),
        }
    }
}

impl fmt::Debug for AgentEnvironmentVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentEnvironmentVariable").field("key", &self.key).finish_non_exhaustive()
    }
}

/// Made of whose it is and what it is called, which is what it is.
fn id_of(agent: AgentId, name: &str) -> Uuid {
    let mut hasher = blake3::Hasher::new();
    hasher.update(agent.as_bytes()).update(name.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
    Builder::from_random_bytes(bytes).into_uuid()
}

#[cfg(test)]
mod tests {
    use retold_events::{Sealed, Secret, Timestamp};
    use serde_json::json;

    use super::*;

    const VALUE: &str = "open sesame";

    fn given(value: Value) -> Result<SecretValues, String> {
        serde_json::from_value(value).map_err(|error: serde_json::Error| error.to_string())
    }

    fn refusal(secrets: Value) -> String {
        given(secrets).unwrap().checked().unwrap_err().to_string()
    }

    #[test]
    fn no_error_repeats_a_value() {
        for wrong in [
            json!(VALUE),
            json!([VALUE]),
            json!([[VALUE, VALUE]]),
            json!(71_077_345),
            json!({ "A": [VALUE] }),
            json!({ "A": { "b": VALUE } }),
            json!({ "A": 71_077_345 }),
            json!({ "A": null, "B": VALUE }),
        ] {
            let said = given(wrong).unwrap_err();
            assert!(!said.contains("sesame") && !said.contains("71077345"), "{said}");
            assert!(said.contains("should be"), "{said}");
        }
        let long = format!("{VALUE}{}", "x".repeat(MOST_VALUE_BYTES));
        for wrong in [json!({ "A": long }), json!({ "A": format!("{VALUE}\0") })] {
            let said = refusal(wrong);
            assert!(said.contains("secret A") && !said.contains("sesame"), "{said}");
        }
    }

    #[test]
    fn names_are_those_of_variables_that_a_tool_can_read() {
        for name in ["A", "_", "_a1", "API_KEY", "lower", &"N".repeat(256)] {
            assert!(given(json!({ name: "x" })).unwrap().checked().is_ok(), "{name}");
        }
        for name in ["", "1A", "A-B", "A B", "A=B", "é", "A\0", &"N".repeat(257)] {
            let said = refusal(json!({ name: VALUE }));
            assert!(said.contains("is no name of a secret") && said.len() < 200, "{said}");
        }
        for name in RESERVED {
            assert!(refusal(json!({ name: VALUE })).contains(name));
        }
        assert!(RESERVED.is_sorted());
    }

    #[test]
    fn their_number_and_their_size_are_bounded() {
        let many = |count: usize, value: &str| {
            let secrets = (0..count).map(|number| (format!("S{number}"), json!(value)));
            Value::Object(secrets.collect())
        };
        assert!(given(many(MOST, "x")).unwrap().checked().is_ok());
        assert_eq!(refusal(many(MOST + 1, "x")), "201 secrets, 200 are allowed");
        let large = "x".repeat(MOST_VALUE_BYTES);
        assert!(given(many(8, &large)).unwrap().checked().is_ok());
        assert!(refusal(many(9, &large)).contains("together"));
    }

    #[test]
    fn what_is_printed_holds_names_only() {
        let secrets = given(json!({ "B": VALUE, "A": VALUE })).unwrap();
        assert_eq!(format!("{secrets:?}"), r#"{"A", "B"}"#);
        assert_eq!(secrets.iter().collect::<Vec<_>>(), [("A", VALUE), ("B", VALUE)]);
        let agent = AgentId::from_uuid(Uuid::from_u128(1));
        let (at, owner) = (Timestamp::from_micros(0), [0; 16]);
        let secret = Secret { name: "A".to_owned(), value: Sealed { owner, bytes: Vec::new() } };
        let held = HeldSecret { secret, created_at: at, updated_at: at };
        let shown = format!("{:?}", AgentEnvironmentVariable::new(agent, &held, VALUE.to_owned()));
        assert!(shown.contains("\"A\"") && !shown.contains(VALUE), "{shown}");
    }

    #[test]
    fn the_id_of_a_secret_is_that_of_its_agent_and_name() {
        let agent = |number| AgentId::from_uuid(Uuid::from_u128(number));
        let id = id_of(agent(1), "A");
        assert_eq!((id, id.get_version_num()), (id_of(agent(1), "A"), 4));
        assert_ne!(id, id_of(agent(2), "A"));
        assert_ne!(id, id_of(agent(1), "B"));
    }
}
