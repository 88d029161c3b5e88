//! How an agent's history is compacted, as clients set it.

use retold_events::agent::{Compaction, CompactionMode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{JsonObject, ModelSettingsInput, Problem, WireCompactionMode, json};

/// Upper bound of a summary, in characters.
const DEFAULT_CLIP_CHARS: u32 = 50_000;

/// Share of the messages that give way at first.
const DEFAULT_SHARE: f64 = 0.30;

/// How an agent's history is compacted.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CompactionSettings {
    /// Handle of the model that summarizes.
    pub model: Option<String>,
    /// Its settings.
    pub model_settings: Option<JsonObject>,
    /// What it is asked; `null` is the server's own text for the mode.
    pub prompt: Option<String>,
    /// Whether it acknowledges first.
    pub prompt_acknowledgement: bool,
    /// Upper bound of the summary, in characters.
    pub clip_chars: Option<u32>,
    /// Which messages give way.
    pub mode: WireCompactionMode,
    /// Share of the messages that give way at first.
    pub sliding_window_percentage: f64,
}

impl CompactionSettings {
    /// Stored settings as they are answered; `handle` is the agent's own model.
    #[must_use]
    pub fn new(stored: &Compaction, handle: &str) -> Self {
        Self {
            model: Some(stored.model.clone().unwrap_or_else(|| handle.to_owned())),
            model_settings: stored.model_settings.as_ref().map(JsonObject::stored),
            prompt: stored.prompt.clone(),
            prompt_acknowledgement: stored.prompt_acknowledgement,
            clip_chars: stored.clip_chars,
            mode: stored.mode.into(),
            sliding_window_percentage: stored.sliding_window_percentage,
        }
    }
}

/// How an agent's history is to be compacted.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
pub struct CompactionSettingsInput {
    /// Handle of the model that summarizes; absent: the agent's own.
    pub model: Option<String>,
    /// Its settings.
    pub model_settings: Option<ModelSettingsInput>,
    /// What it is asked; absent: the server's own text for the mode.
    pub prompt: Option<String>,
    /// Whether it acknowledges first.
    pub prompt_acknowledgement: Option<bool>,
    /// Upper bound of the summary, in characters; 50000 when absent, none when `null`.
    #[serde(default, deserialize_with = "json::given")]
    #[schema(value_type = Option<u32>)]
    pub clip_chars: Option<Option<u32>>,
    /// Which messages give way.
    pub mode: Option<WireCompactionMode>,
    /// Share of the messages that give way at first, within 0..=1.
    pub sliding_window_percentage: Option<f64>,
}

/// What an agent gets whose client says nothing. `model` summarizes; `None` is the agent's own.
#[must_use]
pub fn default_compaction(model: Option<String>) -> Compaction {
    Compaction {
        model,
        prompt: None,
        prompt_acknowledgement: false,
        mode: CompactionMode::SlidingWindow,
        sliding_window_percentage: DEFAULT_SHARE,
        clip_chars: Some(DEFAULT_CLIP_CHARS),
        model_settings: None,
    }
}

impl CompactionSettingsInput {
    /// Overlays stored settings with what was given. A new mode without a prompt takes that mode's own.
    ///
    /// # Errors
    /// [`Problem::Unprocessable`] when the share is not within 0..=1.
    pub fn apply(self, stored: &mut Compaction) -> Result<(), Problem> {
        if let Some(share) = self.sliding_window_percentage {
            if !(0.0..=1.0).contains(&share) {
                return Err(Problem::Unprocessable(format!(
                    "compaction_settings.sliding_window_percentage is {share}, which is not within 0 and 1"
                )));
            }
            stored.sliding_window_percentage = share;
        }
        if let Some(mode) = self.mode.map(WireCompactionMode::stored) {
            if mode != stored.mode {
                stored.prompt = None;
            }
            stored.mode = mode;
        }
        if let Some(clip_chars) = self.clip_chars {
            stored.clip_chars = clip_chars;
        }
        stored.model = self.model.or_else(|| stored.model.take());
        stored.prompt = self.prompt.or_else(|| stored.prompt.take());
        stored.prompt_acknowledgement =
            self.prompt_acknowledgement.unwrap_or(stored.prompt_acknowledgement);
        if let Some(settings) = &self.model_settings {
            stored.model_settings = Some(json::to_text(settings));
        }
        Ok(())
    }
}
