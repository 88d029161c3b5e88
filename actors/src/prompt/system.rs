//! Tokens of a compiled system message, without counting again what every agent has in common.
//!
//! A compiled text mostly begins with the agent's system prompt, several KiB that thousands of agents share and that no
//! edit of memory changes. Counting it was a third of the work of making an agent. So its count is remembered, and only
//! what follows is counted anew; the seam may cost a token against counting the whole.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

use retold_models::tokens::count;

/// Prompts remembered: far more than an installation has, and 36 bytes each.
const REMEMBERED: usize = 128;
/// Shorter ones cost less to count than to look up.
const WORTH_IT_BYTES: usize = 256;

/// Hashes of prompts and their tokens, the newest last.
static COUNTED: Mutex<VecDeque<(blake3::Hash, u32)>> = Mutex::new(VecDeque::new());

/// Tokens of `text`, which was compiled from the prompt `system`.
pub(crate) fn tokens(system: &str, text: &str) -> u32 {
    match text.strip_prefix(system) {
        Some(rest) if system.len() >= WORTH_IT_BYTES => {
            remembered(system).saturating_add(count(rest))
        }
        Some(_) | None => count(text),
    }
}

fn remembered(system: &str) -> u32 {
    let hash = blake3::hash(system.as_bytes());
    let lock = || COUNTED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, tokens)) = lock().iter().rev().find(|(known, _)| *known == hash) {
        return *tokens;
    }
    let tokens = count(system);
    let mut counted = lock();
    if counted.len() >= REMEMBERED {
        counted.pop_front();
    }
    counted.push_back((hash, tokens));
    tokens
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_count_of_the_whole_up_to_the_seam() {
        let system = "You are a helpful assistant that remembers. ".repeat(20);
        for rest in ["", "\n\n<memory_blocks>\nname: Ada\n</memory_blocks>", "x"] {
            let text = format!("{system}{rest}");
            for _ in 0..2 {
                assert!(tokens(&system, &text).abs_diff(count(&text)) <= 1, "{rest}");
            }
        }
        assert_eq!(tokens("short", "short text"), count("short text"));
        assert_eq!(tokens(&system, "something else"), count("something else"));
    }

    #[test]
    fn however_many_prompts_there_are_only_so_many_are_remembered() {
        for number in 0..2 * REMEMBERED {
            tokens(&format!("{number} {}", "a".repeat(WORTH_IT_BYTES)), "text");
            remembered(&format!("{number} prompt"));
        }
        assert!(COUNTED.lock().unwrap().len() <= REMEMBERED);
    }
}
