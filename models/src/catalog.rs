//! Which models there are, and how a handle becomes one.
//!
//! The catalog asks every configured provider for its list, keeps the last good one when a provider is down, and turns
//! a handle into a [`Model`]. Readers take a snapshot and never wait for discovery. It knows no HTTP routes and no
//! environment: who configures it decides what is in it.

mod info;
pub(crate) mod known;
mod listing;

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use tokio::time::Instant;

pub use info::{EmbeddingInfo, ModelInfo, ProviderStatus, ResolveError};
use listing::Listing;

use crate::{
    Model, Timeouts,
    anthropic::MessagesModel,
    http::{Http, Upstream},
    limits,
    openai::ChatModel,
    provider::{ProviderConfig, ProviderKind},
    rehearsal::{self, Rehearsal},
};

/// A model ready to be called, and what is known of it.
pub type Resolved = (Arc<dyn Model>, ModelInfo);

/// How many similar handles an error suggests.
const SUGGESTIONS: usize = 3;

/// The configured providers and their models. The rehearsal model is always among them.
pub struct Catalog {
    providers: Vec<Provider>,
    /// Models registered directly, by handle; a `BTreeMap` so that lists have an order.
    inserted: Mutex<BTreeMap<String, Resolved>>,
    snapshot: ArcSwap<Snapshot>,
}

struct Provider {
    upstream: Arc<Upstream>,
    state: Mutex<State>,
    /// Held while refreshing, with the time of the last: one refresh serves all who wait for it.
    refreshing: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Default)]
struct State {
    listing: Option<Arc<Listing>>,
    error: Option<String>,
}

struct Snapshot {
    models: Arc<[ModelInfo]>,
    embeddings: Arc<[EmbeddingInfo]>,
}

impl Catalog {
    /// A catalog of `providers`, whose lists are empty until the first refresh. Nothing is sent.
    #[must_use]
    pub fn new(providers: Vec<ProviderConfig>, timeouts: Timeouts) -> Self {
        let http = Http::new(timeouts);
        let provider = |config| Provider {
            upstream: Arc::new(Upstream::new(config, http.clone())),
            state: Mutex::default(),
            refreshing: tokio::sync::Mutex::new(None),
        };
        let empty = Snapshot { models: Arc::new([]), embeddings: Arc::new([]) };
        let catalog = Self {
            providers: providers.into_iter().map(provider).collect(),
            inserted: Mutex::default(),
            snapshot: ArcSwap::from_pointee(empty),
        };
        catalog.insert(rehearsal::HANDLE, Arc::new(Rehearsal::new()), rehearsal::info());
        catalog
    }

    /// Asks every provider for its list, all at once, each for at most [`limits::LISTING_WAIT`]. One that fails keeps
    /// the list it had; [`Catalog::status`] tells.
    pub async fn refresh(&self) {
        join_all(self.providers.iter().map(|provider| self.refresh_one(provider, Duration::ZERO)))
            .await;
    }

    /// The models, in the order of configuration; those registered directly come first.
    #[must_use]
    pub fn models(&self) -> Arc<[ModelInfo]> {
        Arc::clone(&self.snapshot.load().models)
    }

    /// The embedding models, in the order of configuration.
    #[must_use]
    pub fn embeddings(&self) -> Arc<[EmbeddingInfo]> {
        Arc::clone(&self.snapshot.load().embeddings)
    }

    /// What became of the last refresh of each provider.
    #[must_use]
    pub fn status(&self) -> Vec<ProviderStatus> {
        self.providers.iter().map(Provider::status).collect()
    }

    /// Registers a model under `handle`, in place of any that has it.
    pub fn insert(&self, handle: &str, model: Arc<dyn Model>, info: ModelInfo) {
        let info = ModelInfo { handle: handle.to_owned(), ..info };
        lock(&self.inserted).insert(handle.to_owned(), (model, info));
        self.rebuild();
    }

    /// The model of `handle`, from what is known now.
    ///
    /// A bare name is accepted where exactly one known handle ends in it. A name of a provider that has never given a
    /// list is accepted as it is, with the context window its name suggests: a discovery that fails must not stop
    /// work that would succeed.
    ///
    /// # Errors
    /// [`ResolveError`], which names what there is instead.
    pub fn resolve(&self, handle: &str) -> Result<Resolved, ResolveError> {
        if let Some((model, info)) = lock(&self.inserted).get(handle) {
            return Ok((Arc::clone(model), info.clone()));
        }
        let models = self.models();
        if let Some(info) = models.iter().find(|info| info.handle == handle) {
            return self.open(info);
        }
        let provider = handle
            .split_once('/')
            .filter(|(provider, name)| !provider.is_empty() && !name.is_empty());
        let configured = provider.and_then(|(name, model)| Some((self.provider(name)?, model)));
        if let Some((provider, name)) = configured {
            if lock(&provider.state).listing.is_some() {
                return Err(unknown_model(handle, &models));
            }
            let info = listing::model(&provider.upstream.config, name);
            return Ok((provider.model(name), info));
        }
        // Not only for names without a slash: many names, as `author/model`, have one of their own.
        let matches: Vec<&ModelInfo> = models.iter().filter(|info| info.name == handle).collect();
        match (matches.as_slice(), provider) {
            ([info], _) => self.open(info),
            (_, Some((provider, _))) if matches.is_empty() => {
                // A provider of registered models is known, though nothing is configured of it.
                if models.iter().any(|info| info.provider_name == provider) {
                    return Err(unknown_model(handle, &models));
                }
                let known = self.provider_names(&models);
                Err(ResolveError::UnknownProvider {
                    handle: handle.to_owned(),
                    provider: provider.to_owned(),
                    known,
                })
            }
            _ => Err(ResolveError::BadForm {
                handle: handle.to_owned(),
                matches: matches.iter().map(|info| info.handle.clone()).collect(),
            }),
        }
    }

    /// Like [`Catalog::resolve`], but asks the provider for its list first when the handle is unknown. Any number of
    /// such questions at once, or within [`limits::REFRESH_PAUSE`], cause one refresh.
    ///
    /// # Errors
    /// As for [`Catalog::resolve`].
    pub async fn resolve_or_refresh(&self, handle: &str) -> Result<Resolved, ResolveError> {
        let known = self.models().iter().any(|info| info.handle == handle);
        if known {
            return self.resolve(handle);
        }
        let named = handle.split_once('/').and_then(|(name, _)| self.provider(name));
        let unsure = self.providers.iter().filter(|provider| match named {
            Some(named) => std::ptr::eq(*provider, named),
            // A bare name may be anybody's, unless it is already somebody's.
            None => self.resolve(handle).is_err(),
        });
        join_all(unsure.map(|provider| self.refresh_one(provider, provider.pause()))).await;
        self.resolve(handle)
    }

    /// Refreshes `provider` unless that was done within `pause`, or is done by somebody else while this waits.
    async fn refresh_one(&self, provider: &Provider, pause: Duration) {
        let mut last = provider.refreshing.lock().await;
        if last.is_some_and(|last| last.elapsed() < pause) {
            return;
        }
        provider.refresh().await;
        // Before the lock is given up: whoever waited for it looks at the snapshot next.
        self.rebuild();
        *last = Some(Instant::now());
    }

    fn open(&self, info: &ModelInfo) -> Result<Resolved, ResolveError> {
        if let Some((model, info)) = lock(&self.inserted).get(&info.handle) {
            return Ok((Arc::clone(model), info.clone()));
        }
        match self.provider(&info.provider_name) {
            Some(provider) => Ok((provider.model(&info.name), info.clone())),
            None => Err(unknown_model(&info.handle, &self.models())),
        }
    }

    fn provider(&self, name: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.upstream.config.name == name)
    }

    fn provider_names(&self, models: &[ModelInfo]) -> Vec<String> {
        let mut names: Vec<String> =
            self.providers.iter().map(|provider| provider.upstream.config.name.clone()).collect();
        for info in models {
            if !names.contains(&info.provider_name) {
                names.push(info.provider_name.clone());
            }
        }
        names
    }

    fn rebuild(&self) {
        // The lock is held to the end, so that of two rebuilds the later one is the one that stays.
        let inserted = lock(&self.inserted);
        let mut models: Vec<ModelInfo> = inserted.values().map(|(_, info)| info.clone()).collect();
        let mut embeddings = Vec::new();
        for provider in &self.providers {
            if let Some(listing) = &lock(&provider.state).listing {
                models.extend(
                    listing
                        .models
                        .iter()
                        .filter(|info| !inserted.contains_key(&info.handle))
                        .cloned(),
                );
                embeddings.extend(listing.embeddings.iter().cloned());
            }
        }
        self.snapshot
            .store(Arc::new(Snapshot { models: models.into(), embeddings: embeddings.into() }));
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog").field("providers", &self.status()).finish_non_exhaustive()
    }
}

impl Provider {
    async fn refresh(&self) {
        let outcome = listing::fetch(&self.upstream).await;
        let mut state = lock(&self.state);
        match outcome {
            Ok(listing) => *state = State { listing: Some(Arc::new(listing)), error: None },
            Err(error) => {
                tracing::warn!(provider = %self.upstream.config.name, %error, "the provider's models could not be listed");
                state.error = Some(error.to_string());
            }
        }
    }

    /// Handles of a provider that is down are accepted as they are, so asking it again can wait; a question that is
    /// never answered would otherwise hold up every call.
    fn pause(&self) -> Duration {
        let state = lock(&self.state);
        let is_down = state.listing.is_none() && state.error.is_some();
        if is_down { limits::REFRESH_PAUSE_DOWN } else { limits::REFRESH_PAUSE }
    }

    fn model(&self, name: &str) -> Arc<dyn Model> {
        let upstream = Arc::clone(&self.upstream);
        match upstream.config.kind {
            ProviderKind::Anthropic => Arc::new(MessagesModel::new(upstream, name.to_owned())),
            ProviderKind::OpenAi
            | ProviderKind::OpenRouter
            | ProviderKind::Vllm
            | ProviderKind::Ollama
            | ProviderKind::LmStudio => Arc::new(ChatModel::new(upstream, name.to_owned())),
        }
    }

    fn status(&self) -> ProviderStatus {
        let config = &self.upstream.config;
        let state = lock(&self.state);
        ProviderStatus {
            name: config.name.clone(),
            provider_type: config.kind.provider_type(),
            endpoint: config.shown_base(),
            models: state
                .listing
                .as_ref()
                .map(|listing| listing.models.len() + listing.embeddings.len()),
            error: state.error.clone(),
        }
    }
}

fn unknown_model(handle: &str, models: &[ModelInfo]) -> ResolveError {
    let mut ranked: Vec<(f64, &str)> = models
        .iter()
        .map(|info| (strsim::jaro_winkler(handle, &info.handle), info.handle.as_str()))
        .filter(|(likeness, _)| *likeness > 0.8)
        .collect();
    ranked.sort_by(|(a, left), (b, right)| b.total_cmp(a).then_with(|| left.cmp(right)));
    ResolveError::UnknownModel {
        handle: handle.to_owned(),
        nearest: ranked
            .into_iter()
            .take(SUGGESTIONS)
            .map(|(_, handle)| handle.to_owned())
            .collect(),
    }
}

/// What these locks guard is replaced whole, so a panic elsewhere leaves nothing half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
