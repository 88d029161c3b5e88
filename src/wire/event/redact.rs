//! Free JSON and addresses without the credentials they may carry.
//!
//! An event log is read by more people than an agent is: it goes into dashboards and files. So what a client put into free
//! JSON stays as it came but for members that are called like a credential, at any depth, and addresses lose their user
//! information and what in their query is called so. Everything in an event that a client can shape freely passes
//! through here, but for what is said to and by an agent, which is the point of the log.

use retold_events::JsonText;
use serde_json::{Map, Value};

use crate::wire::{JsonObject, json::from_text};

/// What stands where a credential was.
pub const REDACTED: &str = "[redacted]";

/// Parts of names that credentials have, without what separates words.
const SECRET_WORDS: [&str; 14] = [
    "apikey",
    "accesskey",
    "secretkey",
    "privatekey",
    "signingkey",
    "authorization",
    "authheader",
    "bearer",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "credential",
    "cookie",
];

/// Names that are credentials as a whole.
const SECRET_NAMES: [&str; 4] = ["auth", "pwd", "jwt", "signature"];

/// Free JSON as it is shown. Text in which nothing is hidden stays as it came.
pub(super) fn json(text: &JsonText) -> JsonObject {
    let Some(mut value) = from_text::<Value>(text) else { return JsonObject::of(&Map::new()) };
    if redact(&mut value) { JsonObject::of(&value) } else { JsonObject::stored(text) }
}

/// Hides what looks like a credential. Gives whether there was anything.
pub(super) fn redact(value: &mut Value) -> bool {
    match value {
        Value::Object(members) => redact_members(members),
        Value::Array(items) => {
            // Every one, not only up to the first.
            let hidden = items.iter_mut().filter_map(|item| redact(item).then_some(()));
            hidden.count() > 0
        }
        Value::String(text) => match address(text) {
            Some(shown) if shown != *text => {
                *text = shown;
                true
            }
            Some(_) | None => false,
        },
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

fn redact_members(members: &mut Map<String, Value>) -> bool {
    let mut any = false;
    for (name, value) in members {
        any |= if is_hidden(name, value) {
            *value = REDACTED.into();
            true
        } else {
            redact(value)
        };
    }
    any
}

fn is_hidden(name: &str, value: &Value) -> bool {
    if value.is_null() || value.as_str() == Some(REDACTED) {
        return false;
    }
    match naming(name) {
        Naming::Secret => true,
        // `max_tokens: 100` and `return_token_ids: true` are no credentials.
        Naming::Token => !value.is_number() && !value.is_boolean(),
        Naming::Plain => false,
    }
}

/// What a name says of its value.
enum Naming {
    /// It is a credential.
    Secret,
    /// It is a credential or a count of tokens.
    Token,
    /// Nothing.
    Plain,
}

fn naming(name: &str) -> Naming {
    let letters = name.chars().filter(|character| character.is_alphanumeric());
    let name: String = letters.flat_map(char::to_lowercase).collect();
    let is_secret = SECRET_WORDS.iter().any(|word| name.contains(word))
        || SECRET_NAMES.contains(&name.as_str());
    if is_secret {
        Naming::Secret
    } else if name.contains("token") {
        Naming::Token
    } else {
        Naming::Plain
    }
}

/// An address that may carry credentials anywhere: without user information, and with nothing of its query.
pub(super) fn url(text: &str) -> String {
    let (address, query) = match text.split_once('?') {
        Some((address, _)) => (address, "?[redacted]"),
        // A fragment is never sent, but was given.
        None => (text.split_once('#').map_or(text, |(address, _)| address), ""),
    };
    format!("{}{query}", without_user(address).unwrap_or_else(|| address.to_owned()))
}

/// A text that is an address, as it is shown; `None` for any other text.
fn address(text: &str) -> Option<String> {
    let is_one = text.contains("://") && !text.contains(char::is_whitespace);
    if !is_one {
        return None;
    }
    let (address, query) = text.split_once('?').map_or((text, None), |(a, q)| (a, Some(q)));
    let mut shown = without_user(address).unwrap_or_else(|| address.to_owned());
    for (number, pair) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if number == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) if !matches!(naming(name), Naming::Plain) => {
                shown.push_str(name);
                shown.push('=');
                shown.push_str(REDACTED);
            }
            Some(_) | None => shown.push_str(pair),
        }
    }
    Some(shown)
}

/// An address without user information; `None` when it has none.
fn without_user(address: &str) -> Option<String> {
    let (scheme, rest) = address.split_once("://")?;
    let end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (_, host) = authority.rsplit_once('@')?;
    Some(format!("{scheme}://{REDACTED}@{host}{path}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown(value: Value) -> Value {
        serde_json::to_value(super::json(&JsonText::new(value.to_string()))).unwrap()
    }

    #[test]
    fn members_that_are_called_like_credentials_are_hidden_at_any_depth_and_in_any_spelling() {
        for name in [
            "api_key",
            "API-Key",
            "apiKey",
            "x-api-key",
            "openai_api_key",
            "Authorization",
            "token",
            "access_token",
            "authToken",
            "Secret",
            "client_secret",
            "PASSWORD",
            "db.password",
            "credentials",
            "private key",
            "auth",
        ] {
            let hidden = shown(json!({ "a": [{ name: "hidden", "b": 1 }] }));
            assert_eq!(hidden, json!({ "a": [{ name: REDACTED, "b": 1 }] }), "{name}");
        }
        let nested = shown(json!({ "secrets": { "a": "b" }, "tokens": ["c"], "password": 1234 }));
        assert_eq!(
            nested,
            json!({ "secrets": REDACTED, "tokens": REDACTED, "password": REDACTED })
        );
    }

    #[test]
    fn everything_else_stays_as_it_came() {
        let text = r#"{ "max_tokens":100, "return_token_ids" : true,"b":1.50,"key":"k","author":"Ada","token":null,
            "note":"the password: open sesame", "at":"https://a/b?page=2#x", "big": 123456789012345678901234567890 }"#;
        let shown = serde_json::to_string(&super::json(&JsonText::new(text))).unwrap();
        assert_eq!(shown, text);
    }

    #[test]
    fn addresses_lose_their_user_and_what_is_called_like_a_credential() {
        let hidden = shown(json!({
            "a": "https://ada:pw@host:1/p@th?page=2&sig_token=t&x",
            "b": ["postgres://u:p@db/x", "mailto:ada@host", "https://host/@ada"],
        }));
        let expected = json!({
            "a": "https://[redacted]@host:1/p@th?page=2&sig_token=[redacted]&x",
            "b": ["postgres://[redacted]@db/x", "mailto:ada@host", "https://host/@ada"],
        });
        assert_eq!(hidden, expected);
    }

    #[test]
    fn an_address_to_be_called_keeps_where_it_leads_and_no_more() {
        for (given, expected) in [
            ("https://ada:pw@host/done?key=v&b", "https://[redacted]@host/done?[redacted]"),
            ("https://host/done", "https://host/done"),
            ("https://host?a@b:c", "https://host?[redacted]"),
            ("https://u:p@ss@host/x#frag", "https://[redacted]@host/x"),
            ("https://u:p@host\\x", "https://[redacted]@host\\x"),
            ("nonsense", "nonsense"),
        ] {
            assert_eq!(url(given), expected);
        }
    }

    #[test]
    fn what_is_no_json_shows_nothing() {
        let shown = serde_json::to_value(super::json(&JsonText::new("secret"))).unwrap();
        assert_eq!(shown, json!({}));
    }
}
