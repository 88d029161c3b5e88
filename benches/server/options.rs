//! The command line of the driver.

use std::path::PathBuf;

pub(crate) const HELP: &str = "\
cargo bench --bench server -- [SECTION]... [OPTION VALUE]...

Sections, all of them unless named:
  turns    a blocking turn at a time: added time
  load     turns per second at concurrency 64
  first    added time to the first token with 64 streams open
  tokens   streamed tokens per second over 64 streams
  cancel   cancel to closed upstream socket, with silent streams open
  create   agents created per second, two blocks each
  history  a turn with much history against one with little
  memory   resident memory: idle, stored, awake, subscribed
  start    start to ready on the store that the sections before left

Options:
  --seconds N    length of the sections that run by time [4]
  --agents N     agents stored for `memory` [2000]
  --silent N     silent streams for `cancel` [500]
  --binary PATH  the server [the one cargo built]
  --dir PATH     where its directories go [below target/]";

/// One thing to be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Section {
    Turns,
    Load,
    First,
    Tokens,
    Cancel,
    Create,
    History,
    Memory,
    Start,
}

const SECTIONS: [(&str, Section); 9] = [
    ("turns", Section::Turns),
    ("load", Section::Load),
    ("first", Section::First),
    ("tokens", Section::Tokens),
    ("cancel", Section::Cancel),
    ("create", Section::Create),
    ("history", Section::History),
    ("memory", Section::Memory),
    ("start", Section::Start),
];

/// What is to be measured, and how.
pub(crate) struct Options {
    pub(crate) sections: Vec<Section>,
    pub(crate) seconds: u64,
    pub(crate) agents: usize,
    pub(crate) silent: usize,
    pub(crate) binary: PathBuf,
    pub(crate) dir: PathBuf,
}

impl Options {
    /// Reads the arguments. `None` when this is no bench run: cargo says `--bench` in one.
    pub(crate) fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Self>, String> {
        let mut options = Self {
            sections: Vec::new(),
            seconds: 4,
            agents: 2000,
            silent: 500,
            binary: PathBuf::from(env!("CARGO_BIN_EXE_retold")),
            // On a real disk, which the system's directory for temporary files need not be.
            dir: PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
        };
        let mut is_bench = false;
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            let number =
                |text: String| text.parse::<usize>().map_err(|_| format!("{text:?} is no number"));
            match argument.as_str() {
                "--bench" => is_bench = true,
                "--seconds" => options.seconds = number(value()?)?.max(1) as u64,
                "--agents" => options.agents = number(value()?)?.max(1),
                "--silent" => options.silent = number(value()?)?.max(1),
                "--binary" => options.binary = value()?.into(),
                "--dir" => options.dir = value()?.into(),
                name => match SECTIONS.iter().find(|(known, _)| *known == name) {
                    Some((_, section)) => options.sections.push(*section),
                    None => return Err(format!("there is no section {name:?}")),
                },
            }
        }
        if options.sections.is_empty() {
            options.sections.extend(SECTIONS.iter().map(|(_, section)| section));
        }
        Ok(is_bench.then_some(options))
    }
}
