//! `retold restore`: a backup made a data directory again.

use std::path::{Path, PathBuf};

use clap::Args;
use retold_events::store::{
    SledOptions, StoreError,
    archive::{Backup, Manifest},
};
use retold_snapshots::restore::{Options, RestoreError, Restored, restore};
use serde_json::json;

use super::{
    Exit, Process, backup::hex, flags::DirFlags, print, progress::Line, say, start_log,
    voice::Voice,
};
use crate::{
    config::Config,
    vault::{KEY_FILE, key_file},
    wire::Time,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  retold restore /backups/retold --data-dir ./new
  retold serve --data-dir ./new

Every hash is checked on the way. The directory must be empty or not exist; until the restore is complete no server takes
it. One that was cut off can be begun again. The key of secrets is in no backup: secrets.key of the server that was backed
up goes into the new directory, before or after.";

/// What to restore, and where to.
#[derive(Debug, Args)]
pub(super) struct RestoreArgs {
    /// Directory of the backup
    #[arg(value_name = "BACKUP")]
    backup: PathBuf,
    /// Print JSON: one object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) flags: DirFlags,
}

impl RestoreArgs {
    /// How it tells what went wrong.
    pub(super) const fn voice(&self) -> Voice {
        Voice { json: self.json }
    }
}

/// Restores a backup.
pub(super) fn run(config: &Config, args: &RestoreArgs, process: &Process) -> Exit {
    start_log(if config.log.is_set() { &config.log.value } else { "warn" }, process);
    let dir = &config.data_dir.value;
    let voice = args.voice();
    let backup = match Backup::open(&args.backup) {
        Ok(backup) => backup,
        Err(error) => return voice.complain(&error, Exit::Failed),
    };
    let store = SledOptions { cache_bytes: config.cache_bytes.value, ..SledOptions::default() };
    let options = Options { store, ..Options::default() };
    let mut line = Line::new("restore", process);
    let done = restore(&backup, dir, options, &mut |at| line.tell(at));
    line.clear();
    match done {
        Ok(restored) => {
            if !args.json && config.encryption_key.is_none() && !key_file(dir).exists() {
                say(format_args!(
                    "the key of secrets is no part of a backup: put the file {KEY_FILE} of the server it was made of into {}, \
                     or set LETTA_ENCRYPTION_KEY, before tools need secrets",
                    dir.display()
                ));
            }
            print(&told(&args.backup, dir, backup.manifest(), &restored, args.json))
        }
        Err(RestoreError::Store(error)) => {
            let exit = exit_of(&error);
            voice.complain(&error, exit)
        }
        Err(error) => voice.complain(&error, Exit::Failed),
    }
}

/// Whether the directory is what stands in the way.
fn exit_of(error: &StoreError) -> Exit {
    match error {
        StoreError::InUse { .. } | StoreError::Unusable { .. } | StoreError::NewerFormat { .. } => {
            Exit::DataDir
        }
        StoreError::NotTheLog { .. }
        | StoreError::Damaged { .. }
        | StoreError::Full
        | StoreError::Io(_)
        | StoreError::Closed(_) => Exit::Failed,
    }
}

fn told(
    backup: &Path,
    dir: &Path,
    manifest: &Manifest,
    restored: &Restored,
    as_json: bool,
) -> String {
    let head = restored.head;
    let unreadable = restored.unreadable.iter();
    if as_json {
        let unreadable = unreadable.map(|it| {
            json!({ "stream": super::verify::stream_name(it.stream), "seq": it.seq.0, "reason": it.reason })
        });
        let object = json!({
            "data_dir": dir.display().to_string(),
            "backup": backup.display().to_string(),
            "backed_up_at": Time(manifest.made_at),
            "position": head.position.0,
            "chain": hex(&head.chain),
            "epoch": head.epoch,
            "events": manifest.counts.events,
            "output_batches": manifest.counts.batches,
            "unreadable": unreadable.collect::<Vec<_>>(),
        });
        return format!("{object}\n");
    }
    let mut text = format!(
        "restored {} into {}: {} events up to position {}, as of {}\n",
        backup.display(),
        dir.display(),
        manifest.counts.events,
        head.position.0,
        Time(manifest.made_at),
    );
    for it in unreadable {
        let stream = super::verify::stream_name(it.stream);
        text.push_str(&format!(
            "  {stream} cannot be read from its event {} on: {}\n",
            it.seq.0, it.reason
        ));
    }
    text
}
