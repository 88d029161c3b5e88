//! Counting tokens without asking a provider.
//!
//! Counts decide when a conversation is compacted and what the context overview shows; what was billed comes from the
//! provider. One tokenizer serves all models: exact for OpenAI's `o200k_base` models, an estimate for every other
//! (Claude's and Llama's counts of English differ from it by some 10-20 percent, judgement).
//!
//! **Cost.** The tokenizer is built on first use, once for the process: 0.48 s and 44 MiB resident, both paid by nobody
//! who never counts. Afterwards 1 MiB of prose takes 77 ms (73 ns a byte), the worst texts found (one letter or white
//! space throughout) 0.4-0.5 s. Do the first count on a thread that may block. Measured by
//! `examples/token_rate.rs`, optimised, on a 2-core machine with a load of 6.

use std::borrow::Cow;

use tiktoken_rs::{CoreBPE, o200k_base_singleton};

/// Text is counted in slices of at most this many bytes, so that no input makes the tokenizer's regular expression
/// backtrack, or one merge run over a megabyte: cost stays linear in the length.
const SLICE_BYTES: usize = 8 * 1024;

/// Text longer than this is sampled instead of counted whole.
const WHOLE_BYTES: usize = 1024 * 1024;

/// How many slices a sample has, spread evenly over the text.
const SAMPLE_SLICES: usize = 64;

/// Tokens of `text` in `o200k_base`.
///
/// Exact for OpenAI's GPT-4o, GPT-4.1, GPT-5 and o-series up to the cuts of slices of 8 KiB, which may add a token
/// each; an estimate for all other models, and for text over 1 MiB, of which 64 slices are counted and scaled.
/// Special tokens in the text are counted as the plain text they are.
#[must_use]
pub fn count(text: &str) -> u32 {
    if text.is_empty() {
        return 0;
    }
    let tokenizer = tokenizer();
    let tokens = if text.len() <= WHOLE_BYTES {
        count_whole(tokenizer, text)
    } else {
        sample(tokenizer, text)
    };
    u32::try_from(tokens).unwrap_or(u32::MAX)
}

/// Tokens of `text` at four bytes each: costs nothing, and is good to about a third for English.
#[must_use]
pub fn estimate(text: &str) -> u32 {
    u32::try_from(text.len().div_ceil(4)).unwrap_or(u32::MAX)
}

/// Tokens to count for a picture of unknown size.
///
/// Anthropic bills width x height / 750 and scales pictures down to about 1.15 megapixels, so at most some 1 600;
/// OpenAI's high detail is 765 for a square picture and at most about 1 100. The larger is taken: to count too much
/// only compacts a little early.
#[must_use]
pub fn image_tokens() -> u32 {
    1600
}

fn tokenizer() -> &'static CoreBPE {
    o200k_base_singleton()
}

fn count_whole(tokenizer: &CoreBPE, mut text: &str) -> usize {
    let mut tokens = 0;
    while !text.is_empty() {
        let (slice, rest) = text.split_at(slice_end(text));
        tokens += tokenizer.encode_ordinary(slice).len();
        text = rest;
    }
    tokens
}

fn sample(tokenizer: &CoreBPE, text: &str) -> usize {
    let (mut tokens, mut bytes) = (0, 0);
    for index in 0..SAMPLE_SLICES {
        let start =
            text.floor_char_boundary((text.len() - SLICE_BYTES) / (SAMPLE_SLICES - 1) * index);
        let slice = &text[start..];
        let slice = &slice[..slice_end(slice)];
        tokens += tokenizer.encode_ordinary(slice).len();
        bytes += slice.len();
    }
    tokens.saturating_mul(text.len()) / bytes.max(1)
}

/// Where to cut `text`: before a space near the limit if there is one, because a token begins there, or else at the
/// last whole character.
fn slice_end(text: &str) -> usize {
    if text.len() <= SLICE_BYTES {
        return text.len();
    }
    let end = text.floor_char_boundary(SLICE_BYTES);
    let tail = text.floor_char_boundary(end - 256);
    text[tail..end].rfind(' ').map_or(end, |space| tail + space)
}

/// `text` cut to at most `limit` bytes, on a character boundary.
pub(crate) fn clip(text: &str, limit: usize) -> Cow<'_, str> {
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!(
        "{}…",
        &text[..text.floor_char_boundary(limit.saturating_sub('…'.len_utf8()))]
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn known_counts_of_o200k_hold() {
        assert_eq!(count(""), 0);
        assert_eq!(count("hello world"), 2);
        assert_eq!(count("<|endoftext|>"), 7, "a special token in a text is plain text");
    }

    #[test]
    fn slicing_costs_at_most_a_token_per_slice() {
        let text = "The quick brown fox jumps over the lazy dog. ".repeat(2000);
        let whole = tokenizer().encode_ordinary(&text).len();
        let sliced = count(&text) as usize;
        assert!(sliced.abs_diff(whole) <= text.len() / SLICE_BYTES + 1, "{sliced} against {whole}");
    }

    #[test]
    fn a_sampled_text_is_within_five_percent() {
        let text = "The quick brown fox jumps over the lazy dog. ".repeat(40_000);
        let exact = 10 * 40_000 + 1;
        let sampled = count(&text) as usize;
        assert!(sampled.abs_diff(exact) < exact / 20, "{sampled} against {exact}");
    }

    #[test]
    fn pathological_text_is_counted_in_bounded_time() {
        for unit in ["a", " ", "\n", "é", "😀", "\u{0301}", "0"] {
            let text = unit.repeat(16 * SLICE_BYTES / unit.len());
            let begun = std::time::Instant::now();
            assert!(count(&text) > 0);
            // Some 0.2 s without optimisation; a quadratic cost would be minutes.
            assert!(begun.elapsed().as_secs() < 20, "{unit:?} took {:?}", begun.elapsed());
        }
    }

    #[test]
    fn clipping_keeps_whole_characters_and_the_limit() {
        assert_eq!(clip("short", 10), "short");
        let clipped = clip("éééééééé", 8);
        assert!(clipped.len() <= 8 && clipped.ends_with('…'), "{clipped}");
    }

    proptest! {
        #[test]
        fn any_text_is_counted(text in "\\PC{0,300}", times in 1_usize..40) {
            let text = text.repeat(times);
            prop_assert!(count(&text) as usize <= text.len());
        }
    }
}
