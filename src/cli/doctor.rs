//! `retold doctor`: what this machine gives the server, and what is missing. It tries things rather than looking for them,
//! so what it calls well has been seen to work.

mod checks;

use clap::Args;
use serde_json::{Value, json};

use self::checks::Check;
use super::{Exit, Process, block_on, flags::ServeFlags, print, start_log, voice::Voice};
use crate::config::Config;

pub(super) const EXAMPLES: &str = "\
Examples:
  retold doctor
  retold doctor --data-dir ./data --json

Takes the settings of `retold serve`. Calls no provider, and leaves the data directory as it is.

Exit codes:
  0    nothing stands in the way of serving; what is missing is said
  1    the server could not start like this
  2    the command line or the configuration cannot be used";

/// How to tell.
#[derive(Debug, Args)]
pub(super) struct DoctorArgs {
    /// Print JSON: an object of `version` and `checks`
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) flags: ServeFlags,
}

impl DoctorArgs {
    /// How it tells what went wrong.
    pub(super) const fn voice(&self) -> Voice {
        Voice { json: self.json }
    }
}

/// Looks at everything and tells.
pub(super) fn run(config: &Config, args: &DoctorArgs, process: &Process) -> Exit {
    start_log(if config.log.is_set() { &config.log.value } else { "off" }, process);
    block_on(async {
        let checks = checks::all(config, process).await;
        print(&if args.json { as_json(&checks) } else { as_text(&checks) });
        if checks.iter().any(Check::stands_in_the_way) { Exit::Failed } else { Exit::Done }
    })
}

fn as_text(checks: &[Check]) -> String {
    let widest = checks.iter().map(|check| check.of.len()).max().unwrap_or(0);
    let mut text = format!("retold {}\n", env!("CARGO_PKG_VERSION"));
    for Check { of, found, says } in checks {
        text.push_str(&format!("  {:<7} {of:<widest$}  {says}\n", found.word()));
    }
    text
}

fn as_json(checks: &[Check]) -> String {
    let shown: Vec<Value> = checks
        .iter()
        .map(|check| json!({"name": check.of, "status": check.found.word(), "message": check.says}))
        .collect();
    format!("{:#}\n", json!({"version": env!("CARGO_PKG_VERSION"), "checks": shown}))
}
