//! How text and TOML become values.
//!
//! Flags and variables are text, the file has types. A value says once what it accepts (`EXPECTED`, shown in the error)
//! and which TOML types may carry it, so that `port = true` is an error and not a surprise.

use std::{net::IpAddr, path::PathBuf, time::Duration};

use super::Secret;

/// Something a setting may hold.
pub(crate) trait Value: Sized {
    /// What is accepted, after "must be".
    const EXPECTED: &'static str;
    /// TOML types that may carry it, in the words of `toml::Value::type_str`.
    const TYPES: &'static [&'static str] = &["string"];
    /// Whether the text may be repeated in an error.
    const SHOWN: bool = true;

    /// Reads a flag or a variable.
    fn parse(text: &str) -> Option<Self>;

    /// Reads a value of the file.
    fn from_toml(value: &toml::Value) -> Option<Self> {
        if !Self::TYPES.contains(&value.type_str()) {
            return None;
        }
        value.as_str().map_or_else(|| Self::parse(&value.to_string()), Self::parse)
    }
}

impl Value for IpAddr {
    const EXPECTED: &'static str = "an IP address such as 127.0.0.1, or `localhost`";

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("localhost") {
            return Some(Self::from([127, 0, 0, 1]));
        }
        text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text).parse().ok()
    }
}

impl Value for u16 {
    const EXPECTED: &'static str = "a port number from 0 to 65535";
    const TYPES: &'static [&'static str] = &["integer"];

    fn parse(text: &str) -> Option<Self> {
        text.trim().parse().ok()
    }
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";
    const TYPES: &'static [&'static str] = &["boolean"];

    fn parse(text: &str) -> Option<Self> {
        match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(true),
            "false" | "0" | "no" | "off" => Some(false),
            _ => None,
        }
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty()).then(|| Self::from(text))
    }
}

impl Value for Secret {
    const EXPECTED: &'static str = "text that is not empty";
    const SHOWN: bool = false;

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self::new(text))
    }
}

/// A number of things, at least one.
pub(crate) struct Count(pub(crate) usize);

impl Value for Count {
    const EXPECTED: &'static str = "a whole number from 1 to 1000000";
    const TYPES: &'static [&'static str] = &["integer"];

    fn parse(text: &str) -> Option<Self> {
        text.trim().parse().ok().filter(|count| (1..=1_000_000).contains(count)).map(Self)
    }
}

/// A size in bytes, at least one.
pub(crate) struct Bytes(pub(crate) u64);

impl Value for Bytes {
    const EXPECTED: &'static str =
        "a number of bytes above zero, such as 1048576, `64MiB` or `1GiB`";
    const TYPES: &'static [&'static str] = &["integer", "string"];

    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split_unit(text);
        let factor: u64 = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "kib" | "k" => 1 << 10,
            "mib" | "m" => 1 << 20,
            "gib" | "g" => 1 << 30,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            _ => return None,
        };
        number.parse::<u64>().ok()?.checked_mul(factor).filter(|bytes| *bytes > 0).map(Self)
    }
}

/// Longest time any setting may hold: a week. Beyond it stands a mistaken unit, not a wish.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// A time that may be zero.
pub(crate) struct Span(pub(crate) Duration);

impl Value for Span {
    const EXPECTED: &'static str =
        "a time up to a week, such as 30 (seconds), `500ms`, `30s` or `2m`";
    const TYPES: &'static [&'static str] = &["integer", "float", "string"];

    fn parse(text: &str) -> Option<Self> {
        let (number, unit) = split_unit(text);
        let factor = match unit.to_ascii_lowercase().as_str() {
            "ms" => 0.001,
            "" | "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let seconds = number.parse::<f64>().ok()? * factor;
        Duration::try_from_secs_f64(seconds).ok().filter(|span| *span <= LONGEST).map(Self)
    }
}

/// A time that is longer than zero: a timeout.
pub(crate) struct Wait(pub(crate) Duration);

impl Value for Wait {
    const EXPECTED: &'static str =
        "a time above zero, such as 30 (seconds), `500ms`, `30s` or `2m`";
    const TYPES: &'static [&'static str] = Span::TYPES;

    fn parse(text: &str) -> Option<Self> {
        Span::parse(text).filter(|span| !span.0.is_zero()).map(|span| Self(span.0))
    }
}

fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    (text[..end].trim_end(), &text[end..])
}

/// A model handle.
pub(crate) struct Handle(pub(crate) String);

impl Value for Handle {
    const EXPECTED: &'static str = "a handle of the form provider/model";

    fn parse(text: &str) -> Option<Self> {
        let (provider, model) = text.trim().split_once('/')?;
        (!provider.is_empty() && !model.is_empty()).then(|| Self(text.trim().to_owned()))
    }
}

/// An `http` or `https` address without its trailing slash.
pub(crate) struct Url(pub(crate) String);

impl Value for Url {
    const EXPECTED: &'static str = "a URL that begins with http:// or https://";
    // A base URL may hold a user name and a password.
    const SHOWN: bool = false;

    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_end_matches('/');
        let parsed = reqwest::Url::parse(text).ok()?;
        (matches!(parsed.scheme(), "http" | "https") && parsed.has_host())
            .then(|| Self(text.to_owned()))
    }
}

/// What is logged: a level, or directives of tracing's filter.
pub(crate) struct LogFilter(pub(crate) String);

impl Value for LogFilter {
    const EXPECTED: &'static str = "one of error, warn, info, debug, trace, off, or directives such as `info,retold_actors=debug`";

    /// Python's names for levels are understood, because Letta's variable uses them.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let level = match text.as_str() {
            "critical" | "fatal" => "error",
            "warning" => "warn",
            other => other,
        };
        let is_level = ["error", "warn", "info", "debug", "trace", "off"].contains(&level);
        let is_filter =
            level.contains('=') && level.parse::<tracing_subscriber::EnvFilter>().is_ok();
        (is_level || is_filter).then(|| Self(level.to_owned()))
    }
}

/// Words, none of them empty; the list may be.
pub(crate) struct List(pub(crate) Vec<String>);

impl Value for List {
    const EXPECTED: &'static str = "a list, separated by commas, or a list of strings";

    fn parse(text: &str) -> Option<Self> {
        Some(Self::trimmed(text.split(',')))
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        if let Some(list) = value.as_array() {
            let words = list.iter().map(toml::Value::as_str).collect::<Option<Vec<_>>>()?;
            return Some(Self::trimmed(words));
        }
        value.as_str().and_then(Self::parse)
    }
}

impl List {
    fn trimmed<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let words = words.into_iter().map(str::trim).filter(|word| !word.is_empty());
        Self(words.map(str::to_owned).collect())
    }
}

/// Origins that browsers may call from.
pub(crate) struct Origins(pub(crate) Vec<String>);

impl Value for Origins {
    const EXPECTED: &'static str =
        "origins such as `https://app.example.com`, separated by commas, or `*`";

    /// A list with commas; a JSON list too, as Letta's settings take lists that way.
    fn parse(text: &str) -> Option<Self> {
        if text.trim_start().starts_with('[') {
            let list: Vec<String> = serde_json::from_str(text).ok()?;
            return Self::checked(list.iter().map(String::as_str));
        }
        Self::checked(text.split(','))
    }

    fn from_toml(value: &toml::Value) -> Option<Self> {
        if let Some(list) = value.as_array() {
            return Self::checked(
                list.iter().map(toml::Value::as_str).collect::<Option<Vec<_>>>()?,
            );
        }
        value.as_str().and_then(Self::parse)
    }
}

impl Origins {
    fn checked<'a>(list: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let trimmed = list
            .into_iter()
            .map(|origin| origin.trim().trim_end_matches('/'))
            .filter(|origin| !origin.is_empty());
        trimmed
            .map(|origin| is_origin(origin).then(|| origin.to_owned()))
            .collect::<Option<Vec<_>>>()
            .map(Self)
    }
}

/// A scheme, a host and perhaps a port; other schemes than `http` exist (`tauri://localhost`, browser extensions).
fn is_origin(text: &str) -> bool {
    let authority = text.split_once("://").map(|(_, authority)| authority);
    text == "*"
        || text == "null"
        || authority.is_some_and(|it| !it.is_empty() && !it.contains(['/', ' ', '?', '#']))
}
