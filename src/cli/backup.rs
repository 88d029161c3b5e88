//! `retold backup`: everything a server remembers, into a directory; from a running server, or from the data directory
//! when none runs.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use clap::Args;
use futures_util::StreamExt as _;
use reqwest::Method;
use retold_actors::{Clock as _, SystemClock};
use retold_events::store::{
    SledOptions, SledStore,
    archive::{ArchiveError, ArchiveReader, Archiver, Manifest, Moment, Since, Target},
};
use serde_json::json;
use tokio::sync::mpsc;

use super::{
    Exit, Process, block_on,
    flags::ChatFlags,
    print,
    progress::{Line, size},
    say, start_log, target,
    voice::Voice,
};
use crate::{
    client::{Client, ClientError},
    config::Config,
    wire::Time,
};

pub(super) const EXAMPLES: &str = "\
Examples:
  retold backup /backups/retold                          from the server on this machine, while it works
  retold backup /backups/retold --url https://retold.example.com
  retold backup /backups/retold --data-dir ./data        from a directory that no server uses
  retold verify /backups/retold && retold restore /backups/retold --data-dir ./new

The backup is of one moment. Doing it again into the same directory adds what has happened since. One that was cut off
is never taken for a backup: do it again, and it is made whole. The key of secrets is not in it: keep secrets.key of the
data directory, or LETTA_ENCRYPTION_KEY, in another place.";

/// Pieces of an answer that may wait for the disk before the server is held up.
const PIECES: usize = 16;

/// What to back up, and where to.
#[derive(Debug, Args)]
pub(super) struct BackupArgs {
    /// Directory of the backup; created if there is none
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// Print JSON: one object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    pub(super) flags: ChatFlags,
}

impl BackupArgs {
    /// How it tells what went wrong.
    pub(super) const fn voice(&self) -> Voice {
        Voice { json: self.json }
    }
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("the backup ended unexpectedly: {0}")]
    Task(#[from] tokio::task::JoinError),
}

/// What was backed up.
struct Done {
    source: String,
    before: u64,
    manifest: Manifest,
}

/// Makes a backup.
pub(super) fn run(config: &Config, args: &BackupArgs, process: &Process) -> Exit {
    start_log(if config.log.is_set() { &config.log.value } else { "warn" }, process);
    let line = Line::new("backup", process);
    let voice = args.voice();
    let dir = args.dir.clone();
    block_on(async {
        let done = match target::running_server(config).await {
            Some(url) => match Client::new(&url, target::password(config)) {
                Ok(client) => from_server(client, dir, line).await,
                Err(error) => Err(error.into()),
            },
            None => {
                let data = config.data_dir.value.clone();
                if !data.join("FORMAT").exists() {
                    let why = format!(
                        "there is nothing to back up: no server answers, and {} is no data directory",
                        data.display()
                    );
                    return voice.refuse(why, Exit::DataDir);
                }
                let store = match SledStore::open(&data, SledOptions::default()) {
                    Ok(store) => store,
                    Err(error) => {
                        let exit = voice.complain(&error, Exit::DataDir);
                        say(
                            "if a server is running on that data directory, name it with --url URL",
                        );
                        return exit;
                    }
                };
                from_store(store, data, dir, line).await
            }
        };
        match done {
            Ok(done) => {
                if !args.json {
                    say(
                        "the key of secrets is no part of a backup: keep a copy of the file secrets.key of the data \
                         directory, or of LETTA_ENCRYPTION_KEY, in another place",
                    );
                }
                print(&told(&args.dir, &done, args.json))
            }
            Err(error) => {
                let exit = voice.complain(&error, Exit::Failed);
                if matches!(&error, Fault::Archive(ArchiveError::Damaged { path, .. }) if path.starts_with(&args.dir))
                {
                    say(format_args!(
                        "nothing is added to a damaged backup: make a new one in another directory, then remove {0}; `retold verify {0}` names all damage",
                        args.dir.display()
                    ));
                }
                exit
            }
        }
    })
}

async fn from_store(
    store: SledStore,
    data: PathBuf,
    dir: PathBuf,
    mut line: Line,
) -> Result<Done, Fault> {
    let now = SystemClock.now();
    let making = tokio::task::spawn_blocking(move || {
        let target = Target::open(&dir)?;
        let since = target.since();
        since.check(&store).map_err(|error| of_dir(error, &dir))?;
        let moment = Moment::now(&store).map_err(ArchiveError::from)?;
        let archiver = Archiver::new(moment, since, now, env!("CARGO_PKG_VERSION"));
        let made = target.receive(ArchiveReader::new(archiver, &store), &mut |at| line.tell(at));
        line.clear();
        let before = since.position.0;
        Ok(Done { source: data.display().to_string(), before, manifest: made? })
    });
    making.await?
}

async fn from_server(client: Client, dir: PathBuf, mut line: Line) -> Result<Done, Fault> {
    let taken = dir.clone();
    let target = tokio::task::spawn_blocking(move || Target::open(&taken)).await??;
    let since = target.since();
    let request = client.request_of(Method::GET, address(&client, since)?);
    let answer = match client.ask(request).await {
        Ok(answer) => answer,
        Err(ClientError::Refused { status: 409, .. }) => {
            return Err(ArchiveError::OtherHistory { dir, position: since.position.0 }.into());
        }
        Err(error) => return Err(error.into()),
    };
    let (sender, pieces) = mpsc::channel(PIECES);
    let making = tokio::task::spawn_blocking(move || {
        let made = target.receive(Pieces { pieces, rest: Bytes::new() }, &mut |at| line.tell(at));
        line.clear();
        made
    });
    let mut body = answer.bytes_stream();
    while let Some(piece) = body.next().await {
        // Whoever received has given up, and says why.
        if sender.send(piece.map_err(io::Error::other)).await.is_err() {
            break;
        }
    }
    drop(sender);
    let (source, before) = (client.url().to_owned(), since.position.0);
    Ok(Done { source, before, manifest: making.await?? })
}

fn address(client: &Client, since: Since) -> Result<reqwest::Url, ClientError> {
    let mut url = client.endpoint(&["admin", "backup"])?;
    if since.position.0 > 0 {
        let chain = hex(&since.chain);
        url.query_pairs_mut()
            .append_pair("after", &since.position.0.to_string())
            .append_pair("chain", &chain);
    }
    Ok(url)
}

/// The store knows that the history is another one, and not in which directory it was looked for.
fn of_dir(error: ArchiveError, dir: &Path) -> ArchiveError {
    if let ArchiveError::OtherHistory { position, .. } = error {
        return ArchiveError::OtherHistory { dir: dir.to_owned(), position };
    }
    error
}

/// The pieces of an answer as one stream of bytes, for a thread that waits.
struct Pieces {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    rest: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.rest.is_empty() {
            match self.pieces.blocking_recv() {
                Some(piece) => self.rest = piece?,
                None => return Ok(0),
            }
        }
        let count = into.len().min(self.rest.len());
        into[..count].copy_from_slice(&self.rest.split_to(count));
        Ok(count)
    }
}

fn told(dir: &Path, done: &Done, as_json: bool) -> String {
    let Done { source, before, manifest } = done;
    let new = manifest.position.0 - before;
    if as_json {
        let object = json!({
            "backup": dir.display().to_string(),
            "source": source,
            "position": manifest.position.0,
            "chain": hex(&manifest.chain),
            "epoch": manifest.epoch,
            "made_at": Time(manifest.made_at),
            "events": manifest.counts.events,
            "new_events": new,
            "groups": manifest.counts.groups,
            "output_batches": manifest.counts.batches,
            "files": manifest.segments.len(),
            "bytes": manifest.bytes(),
        });
        return format!("{object}\n");
    }
    format!(
        "backed up {source} into {}: {} events up to position {}, {new} of them new; {} in {} file{}\n",
        dir.display(),
        manifest.counts.events,
        manifest.position.0,
        size(manifest.bytes()),
        manifest.segments.len(),
        if manifest.segments.len() == 1 { "" } else { "s" },
    )
}

/// Bytes as text.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
