//! What a check of a data directory asks of those who know what its bytes mean, and whether its rows are right.

use std::collections::BTreeMap;

use bytes::Bytes;
use retold_events::{
    Record, StreamId, codec,
    store::{
        EventStore, OutputBatch, SavedState, Scan, Table,
        archive::{Backup, Part, Tell},
        verify::{Meaning, Place, Report},
    },
};

use crate::{
    agent, block,
    load::{LoadError, understood},
    mcp,
    query::last_number,
    rebuild::rebuild,
    saved, tool,
};

/// Rows read at a time.
const PAGE: usize = 1024;

/// Reads everything as the program itself would.
#[derive(Debug, Clone, Copy, Default)]
pub struct Understood;

impl Meaning for Understood {
    fn event(&mut self, record: &Record) -> Option<String> {
        let read = match record.stream {
            StreamId::Agent(_) => understood::<agent::State>(record).map(drop),
            StreamId::Block(_) => understood::<block::State>(record).map(drop),
            StreamId::Tool(_) => understood::<tool::State>(record).map(drop),
            StreamId::McpServer(_) => understood::<mcp::State>(record).map(drop),
        };
        match read {
            Ok(()) => None,
            Err(LoadError::Event { source, .. }) => Some(source.to_string()),
            Err(error @ LoadError::Store(_)) => Some(error.to_string()),
        }
    }

    fn output(&mut self, batch: &OutputBatch) -> Option<String> {
        let items = match codec::decode_items(&batch.items) {
            Ok(items) => items,
            Err(error) => return Some(error.to_string()),
        };
        let mut expected = batch.first;
        for item in &items {
            if item.seq != expected {
                return Some(format!("item {} is in the place of item {expected}", item.seq));
            }
            expected = last_number(item) + 1;
        }
        (expected != batch.last + 1)
            .then(|| format!("its items end at {}, not at {}", expected - 1, batch.last))
    }

    fn saved(&mut self, state: &SavedState) -> Option<String> {
        let read = match state.stream {
            StreamId::Agent(_) => saved::unsave::<agent::State>(state).map(drop),
            StreamId::Block(_) => saved::unsave::<block::State>(state).map(drop),
            StreamId::Tool(_) => saved::unsave::<tool::State>(state).map(drop),
            StreamId::McpServer(_) => saved::unsave::<mcp::State>(state).map(drop),
        };
        read.err().map(|error| error.to_string())
    }

    fn row(&mut self, _: Table, _: &[u8], _: &Bytes) -> Option<String> {
        // Rows follow from the events: `rows` compares them, which says more than that they can be read.
        None
    }
}

/// Compares the rows of a store with those that its events give. Takes memory for every row.
///
/// # Errors
/// [`LoadError`] when the events cannot be folded.
pub fn rows(store: &dyn EventStore, report: &mut Report) -> Result<(), LoadError> {
    let mut expected = rebuild(store)?;
    let mut damage = |table: Table, key: &[u8], what: &str| {
        let key: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        report.damage(Place::key(format!("row of {table:?}, {key}")), what);
    };
    for table in Table::ALL {
        let mut after = None;
        loop {
            let scan = Scan { after, limit: PAGE, ..Scan::default() };
            let found = store.rows(table, &scan)?;
            let Some((last, _)) = found.last() else { break };
            after = Some(last.to_vec());
            for (key, value) in found {
                match expected.remove(&(table, key.to_vec())) {
                    Some(wanted) if wanted == value => {}
                    Some(_) => damage(table, &key, "it is not what its events give"),
                    None => damage(table, &key, "no event gives it"),
                }
            }
        }
    }
    for (table, key) in expected.into_keys() {
        damage(table, &key, "it is missing");
    }
    Ok(())
}

/// Checks every byte of a backup.
#[must_use]
pub fn backup(backup: &Backup, tell: Tell<'_>) -> Report {
    let manifest = backup.manifest();
    let mut report = Report {
        position: manifest.position,
        chain: manifest.chain,
        epoch: manifest.epoch,
        ..Report::default()
    };
    let found = std::cell::RefCell::new(&mut report);
    let mut tips = BTreeMap::new();
    let visit = |part: Part| {
        let report = &mut **found.borrow_mut();
        match part {
            Part::Group(group) => {
                report.seen.groups += 1;
                report.seen.events += group.envelopes.len() as u64;
                if let Err(error) = group.follow(&mut tips) {
                    report.damage(Place::position(group.first), error);
                }
                for record in group.records().unwrap_or_default() {
                    if let Some(reason) = Understood.event(&record) {
                        let mut place = Place::event(record.stream, record.seq);
                        place.position = Some(record.position);
                        report.damage(place, reason);
                    }
                }
            }
            Part::Output(batch) => {
                report.seen.batches += 1;
                if let Some(reason) = Understood.output(&batch) {
                    report.damage(Place::run(batch.run), format!("item {}: {reason}", batch.first));
                }
            }
        }
        Ok::<(), std::convert::Infallible>(())
    };
    let damaged = |error: retold_events::store::archive::ArchiveError| {
        let report = &mut **found.borrow_mut();
        report.damage(Place::key(error.file()), error.detail());
        Ok(())
    };
    match backup.read(tell, visit, damaged) {
        Ok(()) => {}
        Err(never) => match never {},
    }
    report.seen.streams = tips.len() as u64;
    report
}
