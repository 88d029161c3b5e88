//! What is known of well-known models by their names, for providers whose listing does not say it.
//!
//! Names are matched by prefix, the longest prefix first, so that a dated or suffixed release is recognised. Sources:
//! the providers' model pages, as of 2026.

/// The context window of a cloud model nobody knows.
pub(crate) const DEFAULT_CONTEXT: u32 = 128_000;

/// The context window of a local model nobody knows. Ollama and LM Studio load models with a small window by default
/// and cut longer prompts in silence, so a guess must be low.
pub(crate) const DEFAULT_LOCAL_CONTEXT: u32 = 8192;

/// Prefix of the name, context window, largest answer.
const WINDOWS: [(&str, u32, Option<u32>); 33] = [
    ("gpt-3.5-turbo", 16_385, Some(4096)),
    ("gpt-4-32k", 32_768, None),
    ("gpt-4-turbo", 128_000, Some(4096)),
    ("gpt-4.1", 1_047_576, Some(32_768)),
    ("gpt-4.5", 128_000, Some(16_384)),
    ("gpt-4o", 128_000, Some(16_384)),
    ("gpt-4", 8192, Some(8192)),
    ("gpt-5-chat", 128_000, Some(16_384)),
    ("gpt-5", 400_000, Some(128_000)),
    ("gpt-oss", 131_072, None),
    ("chatgpt-4o", 128_000, Some(16_384)),
    ("o1-mini", 128_000, Some(65_536)),
    ("o1", 200_000, Some(100_000)),
    ("o3", 200_000, Some(100_000)),
    ("o4-mini", 200_000, Some(100_000)),
    ("claude-3-5", 200_000, Some(8192)),
    ("claude-3-7", 200_000, Some(64_000)),
    ("claude-3", 200_000, Some(4096)),
    ("claude-opus-4-0", 200_000, Some(32_000)),
    ("claude-opus-4-1", 200_000, Some(32_000)),
    ("claude-opus-4-2025", 200_000, Some(32_000)),
    ("claude", 200_000, Some(64_000)),
    ("deepseek", 128_000, None),
    ("gemini", 1_048_576, None),
    ("llama-3", 131_072, None),
    ("llama3", 131_072, None),
    ("llama-4", 131_072, None),
    ("mistral", 131_072, None),
    ("mixtral", 32_768, None),
    ("qwen2.5", 32_768, None),
    ("qwen3", 40_960, None),
    ("grok", 131_072, None),
    ("command-r", 128_000, None),
];

/// The context window and the largest answer of the model called `name`, when it is well known.
pub(crate) fn windows(name: &str) -> Option<(u32, Option<u32>)> {
    let name = base_name(name);
    let matching = WINDOWS.iter().filter(|(prefix, ..)| name.starts_with(prefix));
    matching.max_by_key(|(prefix, ..)| prefix.len()).map(|&(_, window, output)| (window, output))
}

/// Numbers in the vectors of an embedding model, when it is well known.
pub(crate) fn embedding_dim(name: &str) -> Option<u32> {
    const DIMS: [(&str, u32); 12] = [
        ("text-embedding-3-small", 1536),
        ("text-embedding-3-large", 3072),
        ("text-embedding-ada-002", 1536),
        ("text-embedding-nomic-embed", 768),
        ("nomic-embed-text", 768),
        ("mxbai-embed-large", 1024),
        ("snowflake-arctic-embed", 1024),
        ("all-minilm", 384),
        ("bge-m3", 1024),
        ("bge-large", 1024),
        ("embeddinggemma", 768),
        ("qwen3-embedding", 1024),
    ];
    let name = base_name(name);
    DIMS.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|&(_, dim)| dim)
}

/// Whether the name says that it makes embeddings.
pub(crate) fn is_embedding(name: &str) -> bool {
    embedding_dim(name).is_some() || base_name(name).contains("embed")
}

/// Whether OpenAI serves the model over Chat Completions, as far as its name tells.
pub(crate) fn is_openai_chat(name: &str) -> bool {
    const OTHERS: [&str; 13] = [
        "audio",
        "realtime",
        "image",
        "tts",
        "transcribe",
        "instruct",
        "search",
        "moderation",
        "deep-research",
        "codex",
        "-pro",
        "computer-use",
        "live",
    ];
    let chat = ["gpt-", "chatgpt-", "ft:gpt-"].iter().any(|prefix| name.starts_with(prefix))
        || is_o_series(name);
    chat && !OTHERS.iter().any(|word| name.contains(word))
}

/// Whether the model is of OpenAI's o-series.
pub(crate) fn is_o_series(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next() == Some(b'o') && bytes.next().is_some_and(|byte| byte.is_ascii_digit())
}

/// Whether the model of that name at OpenAI reasons before it answers.
pub(crate) fn is_openai_reasoner(name: &str) -> bool {
    is_o_series(name) || (name.starts_with("gpt-5") && !name.contains("chat"))
}

/// How a Claude model is asked to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thinking {
    /// Not at all: it predates thinking.
    None,
    /// With a budget in tokens.
    Budget,
    /// As much as it sees fit, steered by an effort. These models refuse a budget, and a temperature too.
    Adaptive,
}

/// How the model called `name` is asked to think.
///
/// Claude 3.7 to 4.6 take a budget; Opus 4.7 and everything named since refuses it with a 400. A name that is not
/// Claude's is somebody's proxy and gets the older form, which proxies know.
pub(crate) fn claude_thinking(name: &str) -> Thinking {
    let name = base_name(name);
    let Some(rest) = name.strip_prefix("claude-") else { return Thinking::Budget };
    if rest.starts_with("3-7") {
        return Thinking::Budget;
    }
    if rest.starts_with(['2', '3']) || rest.starts_with("instant") {
        return Thinking::None;
    }
    let mut words = rest.split(['-', '@', ':']);
    let family = words.next().unwrap_or_default();
    let mut number = || words.next().and_then(|word| word.parse::<u32>().ok());
    let major = number();
    // A date in the place of the minor version is a first release.
    let minor = number().filter(|&minor| minor < 100).unwrap_or(0);
    match (family, major) {
        ("opus" | "sonnet" | "haiku", Some(4)) if minor <= 6 => Thinking::Budget,
        _ => Thinking::Adaptive,
    }
}

/// The name without an author before a slash, lower case.
fn base_name(name: &str) -> String {
    name.rsplit('/').next().unwrap_or(name).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_prefix_decides() {
        assert_eq!(windows("gpt-4"), Some((8192, Some(8192))));
        assert_eq!(windows("gpt-4o-mini-2024-07-18"), Some((128_000, Some(16_384))));
        assert_eq!(windows("openai/gpt-4.1-nano").map(|known| known.0), Some(1_047_576));
        assert_eq!(windows("somebody-7b"), None);
    }

    #[test]
    fn only_chat_models_of_openai_are_listed() {
        for name in
            ["gpt-4o", "gpt-5.1", "o3", "o4-mini", "chatgpt-4o-latest", "ft:gpt-4o-mini:acme::x"]
        {
            assert!(is_openai_chat(name), "{name}");
        }
        for name in [
            "gpt-4o-realtime-preview",
            "tts-1",
            "whisper-1",
            "o1-pro",
            "gpt-image-1",
            "omni-moderation-latest",
        ] {
            assert!(!is_openai_chat(name), "{name}");
        }
    }

    #[test]
    fn claude_thinks_by_budget_up_to_4_6_and_adaptively_since() {
        for name in [
            "claude-3-7-sonnet-20250219",
            "claude-opus-4-20250514",
            "claude-sonnet-4-5-20250929",
            "claude-opus-4-6",
        ] {
            assert_eq!(claude_thinking(name), Thinking::Budget, "{name}");
        }
        for name in ["claude-opus-4-7", "claude-opus-5", "claude-fable-5"] {
            assert_eq!(claude_thinking(name), Thinking::Adaptive, "{name}");
        }
        assert_eq!(claude_thinking("claude-3-5-haiku-20241022"), Thinking::None);
        assert_eq!(claude_thinking("proxy-model"), Thinking::Budget);
    }
}
