//! What is configured of a provider: its name, its kind, where it is, and its key.
//!
//! This is the only module that holds keys. A key leaves it as a request header and in no other way: it has no
//! `Display`, its `Debug` is redacted, and what providers echo of it is struck out (see [`Secret::redact`]).

use std::fmt;

/// A key. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Keys shorter than this are placeholders such as `EMPTY` or `ollama`; striking them out would garble messages.
const SHORTEST_REAL_KEY: usize = 8;

impl Secret {
    /// Takes a key, without the white space that copying leaves around it.
    #[must_use]
    pub fn new(key: impl AsRef<str>) -> Self {
        Self(key.as_ref().trim().to_owned())
    }

    /// The key itself, for a request header.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// `text` with every occurrence of the key struck out.
    pub(crate) fn redact(&self, text: &str) -> String {
        if self.0.len() < SHORTEST_REAL_KEY {
            text.to_owned()
        } else {
            text.replace(&self.0, "[key]")
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret([redacted])")
    }
}

/// The dialects this crate speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ProviderKind {
    /// OpenAI, or a proxy in front of it.
    OpenAi,
    /// openrouter.ai.
    OpenRouter,
    /// A vLLM server.
    Vllm,
    /// An Ollama server.
    Ollama,
    /// LM Studio's local server.
    LmStudio,
    /// Anthropic.
    Anthropic,
}

impl ProviderKind {
    /// Letta's `ProviderType` word.
    #[must_use]
    pub fn provider_type(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::OpenRouter => "openrouter",
            Self::Vllm => "vllm",
            Self::Ollama => "ollama",
            Self::LmStudio => "lmstudio_openai",
            Self::Anthropic => "anthropic",
        }
    }

    /// Letta's `model_endpoint_type` word.
    #[must_use]
    pub fn endpoint_type(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::OpenRouter => "openrouter",
            Self::Vllm => "vllm",
            Self::Ollama => "ollama",
            Self::LmStudio => "lmstudio-chatcompletions",
            Self::Anthropic => "anthropic",
        }
    }

    /// Letta's `embedding_endpoint_type` word, which has neither `openrouter` nor `lmstudio-chatcompletions`.
    #[must_use]
    pub fn embedding_endpoint_type(self) -> &'static str {
        match self {
            Self::OpenAi | Self::OpenRouter => "openai",
            Self::Vllm => "vllm",
            Self::Ollama => "ollama",
            Self::LmStudio => "lmstudio",
            Self::Anthropic => "anthropic",
        }
    }

    /// Where the provider is when nothing else is configured.
    #[must_use]
    pub fn default_base_url(self) -> &'static str {
        match self {
            Self::OpenAi => "https://api.openai.com/v1",
            Self::OpenRouter => "https://openrouter.ai/api/v1",
            Self::Vllm => "http://127.0.0.1:8000/v1",
            Self::Ollama => "http://127.0.0.1:11434/v1",
            Self::LmStudio => "http://127.0.0.1:1234/v1",
            Self::Anthropic => "https://api.anthropic.com/v1",
        }
    }

    /// The variable that commonly holds the key, named in the error that says a key was refused.
    pub(crate) fn key_variable(self) -> Option<&'static str> {
        match self {
            Self::OpenAi => Some("OPENAI_API_KEY"),
            Self::OpenRouter => Some("OPENROUTER_API_KEY"),
            Self::Anthropic => Some("ANTHROPIC_API_KEY"),
            Self::Vllm | Self::Ollama | Self::LmStudio => None,
        }
    }
}

/// One configured provider.
#[derive(Clone)]
pub struct ProviderConfig {
    /// The part of a handle before the slash: `openai`, `anthropic`, `ollama`, ...
    pub name: String,
    /// The dialect it speaks.
    pub kind: ProviderKind,
    /// Where it is, with or without a trailing `/v1`.
    pub base_url: String,
    /// The key, when it needs one.
    pub api_key: Option<Secret>,
}

impl ProviderConfig {
    /// A provider under the name its kind usually has.
    #[must_use]
    pub fn new(kind: ProviderKind, base_url: impl Into<String>, api_key: Option<Secret>) -> Self {
        Self { name: kind.provider_type().to_owned(), kind, base_url: base_url.into(), api_key }
    }

    /// The base of every request, ending in a version segment and without a slash after it.
    ///
    /// Documents show local servers with and without `/v1`, so a URL without a path gets it; a path that is not
    /// empty is somebody's proxy and stays as it is.
    pub(crate) fn api_base(&self) -> String {
        let base = self.base_url.trim().trim_end_matches('/');
        let base = base
            .strip_suffix("/chat/completions")
            .or_else(|| base.strip_suffix("/messages"))
            .unwrap_or(base);
        let after_scheme = base.split_once("://").map_or(base, |(_, rest)| rest);
        if after_scheme.contains('/') { base.to_owned() } else { format!("{base}/v1") }
    }

    /// The base without its version segment, for the native interfaces of Ollama and LM Studio.
    pub(crate) fn root(&self) -> String {
        let base = self.api_base();
        base.strip_suffix("/v1").map_or(base.clone(), str::to_owned)
    }

    /// The base as it may be shown: without user name and password.
    pub(crate) fn shown_base(&self) -> String {
        without_credentials(&self.api_base())
    }

    /// The host and port, lower case.
    pub(crate) fn host(&self) -> String {
        let shown = self.shown_base();
        let rest = shown.split_once("://").map_or(shown.as_str(), |(_, rest)| rest);
        rest.split('/').next().unwrap_or(rest).to_ascii_lowercase()
    }
}

impl fmt::Debug for ProviderConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProviderConfig")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .field("base_url", &without_credentials(&self.base_url))
            .field("api_key", &self.api_key)
            .finish()
    }
}

fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(kind: ProviderKind, base_url: &str) -> ProviderConfig {
        ProviderConfig::new(kind, base_url, Some(Secret::new(" sk-very-secret-key \n")))
    }

    #[test]
    fn a_base_url_is_accepted_with_and_without_its_version_segment() {
        for url in [
            "http://h:1",
            "http://h:1/",
            "http://h:1/v1",
            "http://h:1/v1/",
            "http://h:1/v1/chat/completions",
        ] {
            assert_eq!(at(ProviderKind::Ollama, url).api_base(), "http://h:1/v1");
            assert_eq!(at(ProviderKind::Ollama, url).root(), "http://h:1");
        }
        assert_eq!(
            at(ProviderKind::OpenAi, "https://proxy/openai").api_base(),
            "https://proxy/openai"
        );
    }

    #[test]
    fn debug_output_holds_neither_key_nor_password() {
        let shown = format!("{:?}", at(ProviderKind::OpenAi, "https://user:pa55@host/v1"));
        assert!(!shown.contains("very-secret") && !shown.contains("pa55"), "{shown}");
        assert!(shown.contains("https://host/v1"));
    }

    #[test]
    fn a_key_is_struck_out_wherever_it_stands() {
        let key = Secret::new("sk-very-secret-key");
        assert_eq!(key.redact("no sk-very-secret-key, sk-very-secret-key"), "no [key], [key]");
    }

    #[test]
    fn a_placeholder_key_garbles_no_message() {
        assert_eq!(Secret::new("EMPTY").redact("EMPTY body"), "EMPTY body");
    }

    #[test]
    fn the_host_is_without_credentials_and_path() {
        assert_eq!(
            at(ProviderKind::OpenAi, "https://a:b@API.openai.com/v1").host(),
            "api.openai.com"
        );
    }
}
