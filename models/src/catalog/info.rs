//! What a catalog knows of each model.

/// A model that answers prompts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// `provider/name`: what an agent's `model` field holds.
    pub handle: String,
    /// The name that the provider knows.
    pub name: String,
    /// The configured name of the provider, which is the first part of the handle.
    pub provider_name: String,
    /// Letta's `ProviderType`.
    pub provider_type: &'static str,
    /// Letta's `model_endpoint_type`.
    pub endpoint_type: &'static str,
    /// The base URL, without credentials; `None` for models that are built in.
    pub endpoint: Option<String>,
    /// Tokens of prompt and answer together. As the provider says, or as known by name, or a default; the caller caps
    /// it as it likes.
    pub context_window: u32,
    /// Largest answer in tokens, where known.
    pub max_output_tokens: Option<u32>,
    /// Whether it takes pictures, as far as is known.
    pub supports_images: bool,
    /// Whether it reasons by itself before it answers, as far as is known.
    pub native_reasoning: bool,
}

/// A model that makes embeddings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbeddingInfo {
    /// `provider/name`.
    pub handle: String,
    /// The name that the provider knows.
    pub name: String,
    /// For people.
    pub display_name: String,
    /// The configured name of the provider.
    pub provider_name: String,
    /// Letta's `ProviderType`.
    pub provider_type: &'static str,
    /// Letta's `embedding_endpoint_type`.
    pub endpoint_type: &'static str,
    /// The base URL, without credentials.
    pub endpoint: String,
    /// Numbers in a vector; 1536 when nobody says.
    pub dim: u32,
    /// Tokens of a piece of text to embed.
    pub chunk_size: u32,
    /// Texts per request.
    pub batch_size: u32,
}

/// What became of the last refresh of a provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderStatus {
    /// The configured name.
    pub name: String,
    /// Letta's `ProviderType`.
    pub provider_type: &'static str,
    /// The base URL, without credentials.
    pub endpoint: String,
    /// How many models of both sorts the list in use has; `None` when none was ever had.
    pub models: Option<usize>,
    /// Why the last refresh failed; `None` when it succeeded or none was tried.
    pub error: Option<String>,
}

/// A handle that leads to no model.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// It is not `provider/name`, and not the bare name of exactly one model.
    #[error("`{handle}` is not a model handle: write it as `provider/name`{}", also(matches))]
    BadForm {
        /// What was asked for.
        handle: String,
        /// Handles that end in it.
        matches: Vec<String>,
    },
    /// No such provider is configured.
    #[error("no provider `{provider}` is configured for `{handle}`; configured are: {}", known.join(", "))]
    UnknownProvider {
        /// What was asked for.
        handle: String,
        /// Its first part.
        provider: String,
        /// The configured providers.
        known: Vec<String>,
    },
    /// The provider does not list it.
    #[error("unknown model `{handle}`{}", did_you_mean(nearest))]
    UnknownModel {
        /// What was asked for.
        handle: String,
        /// The most similar handles, best first.
        nearest: Vec<String>,
    },
}

fn also(matches: &[String]) -> String {
    if matches.is_empty() {
        String::new()
    } else {
        format!(" (it could be {})", matches.join(" or "))
    }
}

fn did_you_mean(nearest: &[String]) -> String {
    if nearest.is_empty() {
        "; see GET /v1/models/ for the models there are".to_owned()
    } else {
        format!("; did you mean {}?", nearest.join(" or "))
    }
}
