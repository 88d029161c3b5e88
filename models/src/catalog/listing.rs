//! Asking a provider what it has.
//!
//! Each kind of provider lists its models in its own way, and says of them what it likes. What it does not say is
//! taken from [`known`], or guessed low for servers that run on somebody's desk.

use futures_util::{StreamExt, stream};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    info::{EmbeddingInfo, ModelInfo},
    known::{self, Thinking},
};
use crate::{
    ModelError, ModelErrorKind,
    http::{Upstream, read_bounded},
    limits,
    provider::{ProviderConfig, ProviderKind},
};

/// Claude models to list when Anthropic does not list them itself, as some proxies and restricted keys do not.
const CLAUDE: [&str; 6] = [
    "claude-opus-4-6",
    "claude-opus-4-5-20251101",
    "claude-sonnet-4-6",
    "claude-sonnet-4-5-20250929",
    "claude-haiku-4-5-20251001",
    "claude-3-5-haiku-20241022",
];

/// How many of Ollama's models are asked about at the same time.
const SHOW_AT_ONCE: usize = 8;

/// What one provider has.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) models: Vec<ModelInfo>,
    pub(super) embeddings: Vec<EmbeddingInfo>,
}

/// Asks `upstream` for its models.
pub(super) async fn fetch(upstream: &Upstream) -> Result<Listing, ModelError> {
    let asking = async {
        match upstream.config.kind {
            ProviderKind::Ollama => ollama(upstream).await,
            ProviderKind::LmStudio => match lm_studio(upstream).await {
                // Older versions have only the common listing.
                Err(error) if error.kind != ModelErrorKind::Connection => {
                    openai_like(upstream).await
                }
                outcome => outcome,
            },
            ProviderKind::Anthropic => match anthropic(upstream).await {
                // A wrong key fails the calls as well; a listing that is refused for other reasons does not.
                Err(error) if error.kind == ModelErrorKind::BadRequest => {
                    Ok(claude(&upstream.config))
                }
                outcome => outcome,
            },
            ProviderKind::OpenAi | ProviderKind::OpenRouter | ProviderKind::Vllm => {
                openai_like(upstream).await
            }
        }
    };
    match timeout(limits::LISTING_WAIT, asking).await {
        Ok(outcome) => outcome,
        Err(_) => Err(upstream.timed_out("its list of models", limits::LISTING_WAIT)),
    }
}

/// What is known of a model of which only the name is known.
pub(super) fn model(config: &ProviderConfig, name: &str) -> ModelInfo {
    let local = match config.kind {
        ProviderKind::Ollama | ProviderKind::LmStudio => true,
        ProviderKind::OpenAi
        | ProviderKind::OpenRouter
        | ProviderKind::Vllm
        | ProviderKind::Anthropic => false,
    };
    // A local model's window is what it was loaded with, whatever its name could do.
    let known = known::windows(name).filter(|_| !local);
    let default = if local { known::DEFAULT_LOCAL_CONTEXT } else { known::DEFAULT_CONTEXT };
    let (context_window, max_output_tokens) = known.unwrap_or((default, None));
    let is_claude = config.kind == ProviderKind::Anthropic;
    ModelInfo {
        handle: format!("{}/{name}", config.name),
        name: name.to_owned(),
        provider_name: config.name.clone(),
        provider_type: config.kind.provider_type(),
        endpoint_type: config.kind.endpoint_type(),
        endpoint: Some(config.shown_base()),
        context_window,
        max_output_tokens,
        supports_images: is_claude
            || name.contains("gpt-4o")
            || name.contains("gpt-4.1")
            || name.contains("gpt-5"),
        native_reasoning: if is_claude {
            known::claude_thinking(name) != Thinking::None
        } else {
            known::is_openai_reasoner(name.rsplit('/').next().unwrap_or(name))
        },
    }
}

fn embedding(config: &ProviderConfig, name: &str, dim: Option<u32>) -> EmbeddingInfo {
    EmbeddingInfo {
        handle: format!("{}/{name}", config.name),
        name: name.to_owned(),
        display_name: name.to_owned(),
        provider_name: config.name.clone(),
        provider_type: config.kind.provider_type(),
        endpoint_type: config.kind.embedding_endpoint_type(),
        endpoint: config.shown_base(),
        dim: dim.or_else(|| known::embedding_dim(name)).unwrap_or(1536),
        chunk_size: 300, // Letta's default
        batch_size: 32,  // Letta's default
    }
}

async fn openai_like(upstream: &Upstream) -> Result<Listing, ModelError> {
    let config = &upstream.config;
    let body = get(upstream, upstream.request(Method::GET, "/models")?).await?;
    // Only OpenAI itself lists models that no chat can use; a proxy lists what it was set up with.
    let is_openai = config.host() == "api.openai.com";
    let mut listing = Listing::default();
    for entry in entries(upstream, &body, "data")? {
        let Some(name) = entry.get("id").and_then(Value::as_str) else { continue };
        if known::is_embedding(name) {
            listing.embeddings.push(embedding(config, name, None));
        } else if !is_openai || known::is_openai_chat(name) {
            let mut info = model(config, name);
            // OpenRouter's name for it, then vLLM's, then those of two proxies.
            let said = ["context_length", "max_model_len", "context_window", "max_context_length"];
            if let Some(window) = said.iter().find_map(|field| number(entry, field)) {
                info.context_window = window;
            }
            if let Some(limit) =
                entry.pointer("/top_provider").and_then(|top| number(top, "max_completion_tokens"))
            {
                info.max_output_tokens = Some(limit);
            }
            let has = |path: &str, word: &str| {
                entry
                    .pointer(path)
                    .and_then(Value::as_array)
                    .is_some_and(|list| list.iter().any(|item| item == word))
            };
            info.supports_images |= has("/architecture/input_modalities", "image");
            info.native_reasoning |= has("/supported_parameters", "reasoning");
            listing.models.push(info);
        }
    }
    Ok(listing)
}

async fn lm_studio(upstream: &Upstream) -> Result<Listing, ModelError> {
    let config = &upstream.config;
    let url = format!("{}/api/v0/models", config.root());
    let body = get(upstream, upstream.request_to(Method::GET, &url)?).await?;
    let mut listing = Listing::default();
    for entry in entries(upstream, &body, "data")? {
        let Some(name) = entry.get("id").and_then(Value::as_str) else { continue };
        let kind = entry.get("type").and_then(Value::as_str).unwrap_or("llm");
        if kind == "embeddings" {
            listing.embeddings.push(embedding(config, name, None));
        } else {
            let mut info = model(config, name);
            let said = ["loaded_context_length", "max_context_length"];
            if let Some(window) = said.iter().find_map(|field| number(entry, field)) {
                info.context_window = window;
            }
            info.supports_images = kind == "vlm";
            listing.models.push(info);
        }
    }
    Ok(listing)
}

async fn ollama(upstream: &Upstream) -> Result<Listing, ModelError> {
    let config = &upstream.config;
    let root = config.root();
    let body =
        get(upstream, upstream.request_to(Method::GET, &format!("{root}/api/tags"))?).await?;
    let mut names = Vec::new();
    for entry in entries(upstream, &body, "models")? {
        names.extend(
            ["model", "name"]
                .iter()
                .find_map(|field| entry.get(field)?.as_str())
                .map(str::to_owned),
        );
    }
    let show = format!("{root}/api/show");
    let asking = names.into_iter().map(|name| describe(upstream, show.clone(), name));
    let described: Vec<_> = stream::iter(asking).buffered(SHOW_AT_ONCE).collect().await;
    let mut listing = Listing::default();
    for (name, details) in &described {
        let capable = |word: &str| {
            let list = details.get("capabilities").and_then(Value::as_array);
            list.map(|list| list.iter().any(|item| item == word))
        };
        let embeds = capable("embedding").unwrap_or_else(|| known::is_embedding(name));
        if embeds {
            listing.embeddings.push(embedding(
                config,
                name,
                ollama_number(details, ".embedding_length"),
            ));
        } else {
            let mut info = model(config, name);
            if let Some(window) = ollama_window(details) {
                info.context_window = window;
            }
            info.supports_images = capable("vision").unwrap_or(false);
            info.native_reasoning = capable("thinking").unwrap_or(false);
            listing.models.push(info);
        }
    }
    Ok(listing)
}

/// What Ollama says of one model. One that it cannot describe is still a model.
async fn describe(upstream: &Upstream, url: String, name: String) -> (String, Value) {
    let details = match upstream.request_to(Method::POST, &url) {
        Ok(request) => {
            get(upstream, request.json(&json!({ "model": name }))).await.unwrap_or_default()
        }
        Err(_) => Value::Null,
    };
    (name, details)
}

/// The window the model file sets, or else what the architecture allows.
fn ollama_window(details: &Value) -> Option<u32> {
    let parameters = details.get("parameters").and_then(Value::as_str).unwrap_or_default();
    let set = parameters
        .lines()
        .find_map(|line| line.trim().strip_prefix("num_ctx")?.trim().parse().ok());
    set.or_else(|| ollama_number(details, ".context_length"))
}

/// A number of `model_info`, whose keys begin with the name of the architecture.
fn ollama_number(details: &Value, suffix: &str) -> Option<u32> {
    let info = details.get("model_info")?.as_object()?;
    let (_, value) = info.iter().find(|(key, _)| key.ends_with(suffix))?;
    u32::try_from(value.as_u64()?).ok()
}

async fn anthropic(upstream: &Upstream) -> Result<Listing, ModelError> {
    let config = &upstream.config;
    let body = get(upstream, upstream.request(Method::GET, "/models?limit=1000")?).await?;
    let models = entries(upstream, &body, "data")?.iter().filter_map(|entry| {
        let mut info = model(config, entry.get("id")?.as_str()?);
        if let Some(window) = number(entry, "max_input_tokens") {
            info.context_window = window;
        }
        if let Some(limit) = number(entry, "max_tokens") {
            info.max_output_tokens = Some(limit);
        }
        Some(info)
    });
    Ok(Listing { models: models.collect(), embeddings: Vec::new() })
}

fn claude(config: &ProviderConfig) -> Listing {
    Listing {
        models: CLAUDE.iter().map(|name| model(config, name)).collect(),
        embeddings: Vec::new(),
    }
}

async fn get(upstream: &Upstream, request: RequestBuilder) -> Result<Value, ModelError> {
    let response = request.send().await.map_err(|error| upstream.unreachable(error))?;
    let (status, headers) = (response.status(), response.headers().clone());
    let limit = if status.is_success() { limits::LISTING_BYTES } else { limits::ERROR_BODY_BYTES };
    let body = read_bounded(response, limit, limits::LISTING_WAIT).await;
    if !status.is_success() {
        return Err(upstream.refused(status, &headers, &String::from_utf8_lossy(&body.bytes)));
    }
    if !body.whole {
        return Err(upstream.invalid("a list of models that is cut off or longer than 8 MiB", None));
    }
    serde_json::from_slice(&body.bytes).map_err(|error| {
        upstream.invalid(
            &format!("a list of models that is no JSON ({error}); check its base URL"),
            None,
        )
    })
}

/// The list in `field`, or the body itself where that is the list, as some proxies answer.
fn entries<'a>(
    upstream: &Upstream,
    body: &'a Value,
    field: &str,
) -> Result<&'a [Value], ModelError> {
    // Ollama without models says null.
    if body.get(field).is_some_and(Value::is_null) {
        return Ok(&[]);
    }
    let list = body.get(field).unwrap_or(body).as_array();
    list.map(Vec::as_slice)
        .ok_or_else(|| upstream.invalid("no list of models; check its base URL", None))
}

fn number(entry: &Value, field: &str) -> Option<u32> {
    entry
        .get(field)?
        .as_u64()
        .and_then(|number| u32::try_from(number).ok())
        .filter(|&number| number > 0)
}
