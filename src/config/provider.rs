//! Which model providers are configured.
//!
//! A provider exists when a variable or a section of the file mentions it; nothing is probed by itself. The variables
//! are those Letta V1 reads. This is the only place that turns settings into the `models` crate's own configuration.

use retold_models::{ProviderConfig, ProviderKind};

use super::{
    ConfigError, Hint, Origin, Secret, Sourced,
    file::File,
    sources::{Sources, file_value},
    value::{Url, Value},
};

/// A provider that is known by name.
#[derive(Debug, Clone, Copy)]
pub struct KnownProvider {
    /// Its section in the file: `[providers.NAME]`. Also what `kind` takes.
    pub name: &'static str,
    /// The dialect.
    pub kind: ProviderKind,
    /// Variables of the key; the first one that is set wins.
    pub key_env: &'static [&'static str],
    /// Variables of the base URL; the first one that is set wins.
    pub url_env: &'static [&'static str],
}

/// Every provider that is known by name.
pub const PROVIDERS: &[KnownProvider] = &[
    KnownProvider {
        name: "openai",
        kind: ProviderKind::OpenAi,
        key_env: &["OPENAI_API_KEY"],
        url_env: &["OPENAI_BASE_URL", "OPENAI_API_BASE"],
    },
    KnownProvider {
        name: "anthropic",
        kind: ProviderKind::Anthropic,
        key_env: &["ANTHROPIC_API_KEY"],
        url_env: &["ANTHROPIC_BASE_URL"],
    },
    KnownProvider {
        name: "ollama",
        kind: ProviderKind::Ollama,
        key_env: &[],
        url_env: &["OLLAMA_BASE_URL"],
    },
    KnownProvider {
        name: "vllm",
        kind: ProviderKind::Vllm,
        key_env: &[],
        url_env: &["VLLM_API_BASE"],
    },
    KnownProvider {
        name: "lmstudio",
        kind: ProviderKind::LmStudio,
        key_env: &[],
        url_env: &["LMSTUDIO_BASE_URL"],
    },
    KnownProvider {
        name: "openrouter",
        kind: ProviderKind::OpenRouter,
        key_env: &["OPENROUTER_API_KEY"],
        url_env: &[],
    },
];

/// The keys of a section `[providers.NAME]`.
const SECTION_KEYS: [&str; 4] = ["kind", "base_url", "api_key", "api_key_env"];

/// One configured provider.
#[derive(Debug, Clone)]
pub struct ProviderSetting {
    /// The part of a handle before the slash.
    pub name: String,
    /// The dialect.
    pub kind: ProviderKind,
    /// Where it is, with or without a trailing `/v1`.
    pub base_url: Sourced<String>,
    /// The key, when it has one.
    pub api_key: Option<Sourced<Secret>>,
}

impl ProviderSetting {
    /// What made it exist: the key's origin if it has a key, else the URL's.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        self.api_key.as_ref().map_or(&self.base_url.origin, |key| &key.origin)
    }

    /// The same in the words of the `models` crate.
    #[must_use]
    pub fn to_models(&self) -> ProviderConfig {
        ProviderConfig {
            name: self.name.clone(),
            kind: self.kind,
            base_url: self.base_url.value.clone(),
            api_key: self
                .api_key
                .as_ref()
                .map(|key| retold_models::Secret::new(key.value.expose())),
        }
    }
}

impl Value for ProviderKind {
    const EXPECTED: &'static str = "one of openai, anthropic, ollama, vllm, lmstudio, openrouter";

    fn parse(text: &str) -> Option<Self> {
        known(text).map(|provider| provider.kind)
    }
}

/// The name a section or a `kind` means. Letta calls LM Studio's provider `lmstudio_openai`, so both are taken.
fn known(name: &str) -> Option<&'static KnownProvider> {
    PROVIDERS.iter().find(|provider| provider.name == name || provider.kind.provider_type() == name)
}

/// All configured providers, the known ones first.
pub(super) fn providers(sources: &Sources<'_>) -> Result<Vec<ProviderSetting>, ConfigError> {
    let mut sections = sections(sources)?;
    let mut found = Vec::new();
    for provider in PROVIDERS {
        let at = sections
            .iter()
            .position(|section| known(section.name).is_some_and(|it| it.name == provider.name));
        let section = at.map(|at| sections.remove(at));
        found.extend(known_provider(sources, provider, section)?);
    }
    for section in sections {
        found.push(custom_provider(sources, &section)?);
    }
    Ok(found)
}

struct Section<'a> {
    file: &'a File,
    name: &'a str,
    table: &'a toml::Table,
}

fn sections<'a>(sources: &Sources<'a>) -> Result<Vec<Section<'a>>, ConfigError> {
    let Some(file) = sources.file else { return Ok(vec![]) };
    let Some(given) = file.table.get("providers") else { return Ok(vec![]) };
    let providers = given.as_table().ok_or_else(|| not_a_table(file, "providers", given))?;
    providers.iter().map(|(name, given)| Section::read(file, name, given)).collect()
}

fn not_a_table(file: &File, key: &str, given: &toml::Value) -> ConfigError {
    ConfigError::Invalid {
        place: format!("`{key}` in {}", file.path.display()),
        given: format!("a value of type {}", given.type_str()),
        expected: "a section such as [providers.openai] with `base_url` and `api_key`",
    }
}

impl<'a> Section<'a> {
    fn read(file: &'a File, name: &'a str, given: &'a toml::Value) -> Result<Self, ConfigError> {
        let table = given
            .as_table()
            .ok_or_else(|| not_a_table(file, &format!("providers.{name}"), given))?;
        match table.keys().find(|key| !SECTION_KEYS.contains(&key.as_str())) {
            None => Ok(Self { file, name, table }),
            Some(key) => Err(ConfigError::UnknownKey {
                path: file.path.clone(),
                key: format!("providers.{name}.{key}"),
                hint: Hint::nearest(key, SECTION_KEYS),
            }),
        }
    }

    fn value<T: Value>(&self, key: &str) -> Result<Option<Sourced<T>>, ConfigError> {
        file_value(self.file, self.table, &format!("providers.{}.", self.name), key)
    }

    fn base_url(&self) -> Result<Option<Sourced<String>>, ConfigError> {
        Ok(self.value::<Url>("base_url")?.map(|url| url.map(|url| url.0)))
    }

    /// The key itself, or the one in the variable that `api_key_env` names.
    fn api_key(&self, sources: &Sources<'_>) -> Result<Option<Sourced<Secret>>, ConfigError> {
        let named: Option<Sourced<VariableName>> = self.value("api_key_env")?;
        match (self.value("api_key")?, named) {
            (Some(key), _) => Ok(Some(key)),
            (None, Some(named)) => sources.variable(&named.value.0),
            (None, None) => Ok(None),
        }
    }

    fn kind(&self) -> Result<ProviderKind, ConfigError> {
        let kind: Option<Sourced<ProviderKind>> = self.value("kind")?;
        kind.map(|kind| kind.value).ok_or_else(|| ConfigError::ProviderKind {
            path: self.file.path.clone(),
            name: self.name.to_owned(),
            hint: Hint::nearest(self.name, PROVIDERS.iter().map(|provider| provider.name)),
            kinds: PROVIDERS.iter().map(|provider| provider.name).collect::<Vec<_>>().join(", "),
        })
    }
}

struct VariableName(String);

impl Value for VariableName {
    const EXPECTED: &'static str = "the name of a variable";

    fn parse(text: &str) -> Option<Self> {
        (!text.is_empty() && !text.contains('=')).then(|| Self(text.to_owned()))
    }
}

fn known_provider(
    sources: &Sources<'_>,
    provider: &KnownProvider,
    section: Option<Section<'_>>,
) -> Result<Option<ProviderSetting>, ConfigError> {
    let mut key = first_variable::<Secret>(sources, provider.key_env)?;
    let mut url = first_variable::<Url>(sources, provider.url_env)?.map(|url| url.map(|url| url.0));
    let mut kind = provider.kind;
    if let Some(section) = &section {
        key = key.or(section.api_key(sources)?);
        url = url.or(section.base_url()?);
        kind = section.value("kind")?.map_or(kind, |given| given.value);
    }
    if key.is_none() && url.is_none() && section.is_none() {
        return Ok(None);
    }
    let base_url = url.unwrap_or_else(|| Sourced::default_of(kind.default_base_url().to_owned()));
    Ok(Some(ProviderSetting {
        name: provider.kind.provider_type().to_owned(),
        kind,
        base_url,
        api_key: key,
    }))
}

fn custom_provider(
    sources: &Sources<'_>,
    section: &Section<'_>,
) -> Result<ProviderSetting, ConfigError> {
    let kind = section.kind()?;
    let base_url = section
        .base_url()?
        .unwrap_or_else(|| Sourced::default_of(kind.default_base_url().to_owned()));
    Ok(ProviderSetting {
        name: section.name.to_owned(),
        kind,
        base_url,
        api_key: section.api_key(sources)?,
    })
}

fn first_variable<T: Value>(
    sources: &Sources<'_>,
    names: &[&str],
) -> Result<Option<Sourced<T>>, ConfigError> {
    for name in names {
        if let Some(found) = sources.variable(name)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}
