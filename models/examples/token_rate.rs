//! What counting tokens costs: the first use in a process, and a mebibyte of easy and of hard text.
//!
//! `cargo run --release -p retold-models --example token_rate`

use std::time::Instant;

use retold_models::tokens::count;

const MEBIBYTE: usize = 1 << 20;

fn main() {
    let (before, begun) = (resident_kib(), Instant::now());
    let _ = count("first");
    println!("first use {:?}, {} KiB more resident", begun.elapsed(), resident_kib() - before);
    for (name, unit) in [
        ("prose", "The quick brown fox jumps over the lazy dog. "),
        ("one letter", "a"),
        ("spaces", " "),
    ] {
        let text = unit.repeat(MEBIBYTE / unit.len());
        let begun = Instant::now();
        let tokens = count(&text);
        println!("1 MiB of {name}: {tokens} tokens in {:?}", begun.elapsed());
    }
}

/// Resident memory of this process; 0 where the system does not tell.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
