//! Runs a fuzz target without a fuzzer: over seeds, and over thousands of inputs that are made from them.
//!
//! The tests of each crate include this file, so that what libFuzzer calls is called by every run of the tests, too. The
//! inputs follow from the seeds and a number: the same on every run and on every machine.

use std::{
    fmt::Write as _,
    fs,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::{Path, PathBuf},
};

/// Inputs per target.
const INPUTS: usize = 20_000;
/// Longest input that is made.
const LONGEST: usize = 64 << 10;
/// Changes of one input, at most.
const MOST_CHANGES: u64 = 4;
/// Numbers at which arithmetic goes wrong.
const EXTREMES: [u64; 9] =
    [0, 1, 0x7f, 0x80, 0xff, 0x7fff_ffff, 0xffff_ffff, i64::MAX as u64, u64::MAX];
/// Pieces that mean something to one format or the other.
const WORDS: [&[u8]; 14] = [
    b"\n",
    b"\r\n",
    b"\r",
    b"\n\n",
    b"data: ",
    b"event: ",
    b"\xEF\xBB\xBF",
    b"\xF0\x9F\x98",
    b"18446744073709551616",
    b"-1",
    b"\"",
    b"{",
    b"\\ud800",
    b"9999-12-31T23:59:60Z",
];

/// Calls `target` with `seeds`, with the inputs kept in `fuzz/seeds/NAME`, and with what is made from both.
pub(crate) fn run(name: &str, seeds: Vec<Vec<u8>>, target: impl Fn(&[u8])) {
    run_with(INPUTS, name, seeds, target);
}

/// The same with another number of inputs, for targets that take longer.
pub(crate) fn run_with(inputs: usize, name: &str, mut seeds: Vec<Vec<u8>>, target: impl Fn(&[u8])) {
    keep(name, &seeds);
    seeds.extend(kept(name));
    assert!(!seeds.is_empty(), "{name} has a seed");
    for seed in &seeds {
        call(name, seed, &target);
    }
    let mut chance = Chance(blend(name));
    for _ in 0..inputs {
        call(name, &chance.input(&seeds), &target);
    }
}

/// An input that makes the target fail is said, so that it can be kept.
fn call(name: &str, input: &[u8], target: impl Fn(&[u8])) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(input))) {
        let hex = input.iter().fold(String::new(), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        eprintln!("{name} fails on {hex}\n{}", String::from_utf8_lossy(input));
        resume_unwind(panic);
    }
}

fn folder(name: &str) -> Option<PathBuf> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().map(|above| above.join("fuzz/seeds").join(name)).find(|path| path.is_dir())
}

/// The inputs that are kept in files, in the order of their names.
fn kept(name: &str) -> Vec<Vec<u8>> {
    let Some(entries) = folder(name).and_then(|folder| fs::read_dir(folder).ok()) else {
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a seed can be read")).collect()
}

/// Writes the seeds to files when that was asked for with `RETOLD_KEEP_SEEDS=1`: libFuzzer begins with them.
fn keep(name: &str, seeds: &[Vec<u8>]) {
    if std::env::var_os("RETOLD_KEEP_SEEDS").is_none_or(|value| value != "1") {
        return;
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let all = here.ancestors().map(|above| above.join("fuzz/seeds")).find(|path| path.is_dir());
    let folder = all.expect("fuzz/seeds is there").join(name);
    fs::create_dir_all(&folder).expect("the folder can be made");
    for (number, seed) in seeds.iter().enumerate() {
        fs::write(folder.join(format!("seed-{number:03}")), seed).expect("a seed can be written");
    }
}

fn blend(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Chances that follow from a number: SplitMix64.
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    /// A seed with some changes.
    fn input(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = self.pick(seeds).clone();
        for _ in 0..=self.below(MOST_CHANGES as usize) {
            self.change(&mut input, seeds);
        }
        input.truncate(LONGEST);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        let at = self.below(input.len() + 1);
        match self.below(9) {
            0 | 1 => {
                let bit = 1 << self.below(8);
                input.get_mut(at).into_iter().for_each(|byte| *byte ^= bit);
            }
            2 => {
                let byte = *self.pick(&EXTREMES) as u8;
                input.get_mut(at).into_iter().for_each(|old| *old = byte);
            }
            3 => input.truncate(at),
            4 => {
                let other = self.pick(seeds);
                input.truncate(at);
                input.extend_from_slice(&other[self.below(other.len() + 1)..]);
            }
            // A length that lies.
            5 => {
                let number = self.pick(&EXTREMES).to_be_bytes();
                let width = *self.pick(&[2, 4, 8]);
                let place = input.iter_mut().skip(at).take(width);
                place.zip(&number[8 - width..]).for_each(|(old, new)| *old = *new);
            }
            // A length that is one off.
            6 => {
                let less = self.below(2) == 0;
                if let Some(byte) = input.get_mut(at) {
                    *byte = if less { byte.wrapping_sub(1) } else { byte.wrapping_add(1) };
                }
            }
            7 => {
                let word = *self.pick(&WORDS);
                drop(input.splice(at..at, word.iter().copied()));
            }
            _ => {
                let end = (at + self.below(32)).min(input.len());
                let again = input[at..end].to_vec();
                drop(input.splice(at..at, again));
            }
        }
    }
}
