//! `retold verify`: whether a data directory, or a backup, is whole; and what is not.

use std::path::{Path, PathBuf};

use clap::Args;
use retold_events::{
    StreamId,
    store::{
        StoreError,
        archive::{ArchiveError, Backup},
        verify::{Copy, Finding, Place, Report},
    },
};
use retold_snapshots::verify::{Understood, backup as check_backup, rows as check_rows};
use serde_json::{Value, json};

use super::{
    Exit, Process, backup::hex, flags::DirFlags, print, progress::Line, start_log, voice::Voice,
};
use crate::config::Config;

pub(super) const EXAMPLES: &str = "\
Examples:
  retold verify --data-dir ./data
  retold verify --data-dir ./data --rows      compares every list with the events, too; takes memory for all of them
  retold verify /backups/retold --json

Checks every byte, and changes none: a data directory is copied aside for the time of the check, beside itself or to
--scratch. No server may use it meanwhile.

Exit codes:
  0    whole
  1    damaged; every damage is named
  3    it cannot be looked at: in use, of a newer format, not a data directory, or a backup that was not finished";

/// What to check.
#[derive(Debug, Args)]
pub(super) struct VerifyArgs {
    /// Directory to check, a backup or a data directory; without it, --data-dir
    #[arg(value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Compare all rows with what the events give
    #[arg(long)]
    rows: bool,
    /// Where the copy of a data directory is made, for the time of the check [default: in the directory itself]
    #[arg(long, value_name = "DIR")]
    scratch: Option<PathBuf>,
    /// Print JSON: one object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) flags: DirFlags,
}

impl VerifyArgs {
    /// How it tells what went wrong.
    pub(super) const fn voice(&self) -> Voice {
        Voice { json: self.json }
    }
}

/// Checks a directory.
pub(super) fn run(config: &Config, args: &VerifyArgs, process: &Process) -> Exit {
    // What the database says of its own accord is told as a finding.
    start_log(if config.log.is_set() { &config.log.value } else { "off" }, process);
    let dir = args.dir.as_ref().unwrap_or(&config.data_dir.value);
    let mut line = Line::new("verify", process);
    let is_backup = Backup::is_at(dir);
    let checked = if is_backup {
        of_backup(dir, args.voice(), &mut line)
    } else {
        of_data(dir, args, &mut line)
    };
    line.clear();
    let report = match checked {
        Ok(report) => report,
        Err(exit) => return exit,
    };
    let kind = if is_backup { "backup" } else { "data" };
    print(&if args.json { as_json(dir, kind, &report) } else { as_text(dir, kind, &report) });
    if report.is_whole() { Exit::Done } else { Exit::Failed }
}

fn of_backup(dir: &Path, voice: Voice, line: &mut Line) -> Result<Report, Exit> {
    match Backup::open(dir) {
        Ok(backup) => Ok(check_backup(&backup, &mut |at| line.tell(at))),
        Err(error @ ArchiveError::Damaged { .. }) => {
            let mut report = Report::default();
            report.damage(Place::key(error.file()), error.detail());
            Ok(report)
        }
        Err(error) => Err(voice.complain(&error, Exit::DataDir)),
    }
}

fn of_data(dir: &Path, args: &VerifyArgs, line: &mut Line) -> Result<Report, Exit> {
    let voice = args.voice();
    let copy = match Copy::of(dir, args.scratch.as_deref()) {
        Ok(copy) => copy,
        Err(StoreError::Damaged { place, detail }) => {
            let mut report = Report::default();
            report.damage(Place::key(place), detail);
            return Ok(report);
        }
        Err(error) => return Err(voice.complain(&error, Exit::DataDir)),
    };
    let examined = copy.examine(&mut Understood, &mut |at| line.tell(at));
    let mut report = examined.map_err(|error| voice.complain(&error, Exit::DataDir))?;
    if args.rows && report.is_whole() {
        let store = copy.store().map_err(|error| voice.complain(&error, Exit::DataDir))?;
        if let Err(error) = check_rows(&store, &mut report) {
            report.damage(Place::key("rows"), error);
        }
    }
    Ok(report)
}

fn as_json(dir: &Path, kind: &str, report: &Report) -> String {
    let seen = report.seen;
    let object = json!({
        "directory": dir.display().to_string(),
        "kind": kind,
        "whole": report.is_whole(),
        "position": report.position.0,
        "chain": hex(&report.chain),
        "epoch": report.epoch,
        "events": seen.events,
        "streams": seen.streams,
        "groups": seen.groups,
        "output_batches": seen.batches,
        "rows": seen.rows,
        "saved_states": seen.saved_states,
        "damage": report.damage,
        "notes": report.notes,
        "findings": report.findings.iter().map(finding).collect::<Vec<_>>(),
    });
    format!("{object}\n")
}

fn finding(finding: &Finding) -> Value {
    let Place { stream, seq, position, run, key } = &finding.place;
    json!({
        "kind": if finding.is_damage { "damage" } else { "note" },
        "stream": stream.map(stream_name),
        "seq": seq.map(|seq| seq.0),
        "position": position.map(|position| position.0),
        "run": run.map(|run| run.to_string()),
        "key": key,
        "reason": finding.reason,
    })
}

fn as_text(dir: &Path, kind: &str, report: &Report) -> String {
    let seen = report.seen;
    let what = format!(
        "{} events in {} streams up to position {}, {} batches of output",
        seen.events, seen.streams, report.position.0, seen.batches
    );
    let derived = format!(", {} rows, {} saved states", seen.rows, seen.saved_states);
    let derived = if kind == "data" { derived.as_str() } else { "" };
    let dir = dir.display();
    let mut text = if report.is_whole() {
        format!("{dir} is whole: {what}{derived}\n")
    } else {
        format!("{dir} is damaged in {} places; looked at: {what}{derived}\n", report.damage)
    };
    for finding in &report.findings {
        let kind = if finding.is_damage { "damage" } else { "note" };
        text.push_str(&format!("  {kind}: {}: {}\n", place(&finding.place), finding.reason));
    }
    let told = report.findings.len() as u64;
    let more = (report.damage + report.notes).saturating_sub(told);
    if more > 0 {
        text.push_str(&format!("  and {more} more\n"));
    }
    text
}

fn place(place: &Place) -> String {
    let Place { stream, seq, position, run, key } = place;
    let mut parts = Vec::new();
    parts.extend(stream.map(stream_name));
    parts.extend(seq.map(|seq| format!("event {}", seq.0)));
    parts.extend(position.map(|position| format!("position {}", position.0)));
    parts.extend(run.map(|run| run.to_string()));
    parts.extend(key.clone());
    parts.join(", ")
}

/// A stream as clients name what it is of.
pub(super) fn stream_name(stream: StreamId) -> String {
    match stream {
        StreamId::Agent(agent) => agent.to_string(),
        StreamId::Block(block) => block.to_string(),
        StreamId::Tool(tool) => tool.to_string(),
        StreamId::McpServer(server) => server.to_string(),
    }
}
