//! The targets over seeds from the golden bytes and the encoders, and over what is made from these.

use std::{fs, path::Path};

use super::*;
use crate::store::fuzzing::{archive_seeds, journal_seeds};

#[path = "../../../fuzz/driver.rs"]
mod driver;

/// Names and payloads of all golden samples, and their versions.
fn golden() -> Vec<(String, u8, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut samples = Vec::new();
    for path in paths {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let version = name.rsplit_once("_v").unwrap().1.parse().unwrap();
        for line in fs::read_to_string(&path).unwrap().lines() {
            let digits = (0..line.len()).step_by(2);
            let bytes = digits.map(|at| u8::from_str_radix(&line[at..at + 2], 16).unwrap());
            samples.push((name.clone(), version, bytes.collect()));
        }
    }
    samples
}

/// The golden events, each with the number of a type that takes it.
fn events() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (name, version, payload) in golden() {
        if name.starts_with("items_") {
            continue;
        }
        let before = seeds.len();
        for (index, &(number, newest)) in types().iter().enumerate() {
            if u16::from(version) > newest {
                continue;
            }
            let encoded = Encoded {
                event_type: EventType(number),
                version: version.into(),
                payload: Bytes::from(payload.clone()),
            };
            let of_agent = agent::Event::decode(&encoded).map(|event| event.encode());
            let of_block = block::Event::decode(&encoded).map(|event| event.encode());
            let of_tool = tool::Event::decode(&encoded).map(|event| event.encode());
            let of_mcp = mcp::Event::decode(&encoded).map(|event| event.encode());
            if of_agent.or(of_block).or(of_tool).or(of_mcp).is_ok() {
                let index = u8::try_from(index).expect("there are few types");
                seeds.push([&[index, version], &payload[..]].concat());
            }
        }
        assert!(seeds.len() > before, "{name} is of some type");
    }
    seeds
}

#[test]
fn the_types_are_those_of_the_codec() {
    let types = types();
    assert!(types.len() > 20 && types.contains(&(101, 1)) && types.contains(&(301, 2)));
}

#[test]
fn an_envelope_is_refused_or_read_as_it_was_written() {
    let seeds = crate::envelope::samples(&golden().into_iter().map(|it| it.2).collect::<Vec<_>>());
    driver::run("envelope", seeds, envelope);
}

#[test]
fn an_event_of_any_type_and_version_is_refused_or_read_as_it_was_written() {
    driver::run("event", events(), event);
}

#[test]
fn output_is_refused_or_read_as_it_was_written() {
    let items_only = golden().into_iter().filter(|(name, ..)| name.starts_with("items_"));
    driver::run("items", items_only.map(|it| it.2).collect(), items);
}

#[test]
fn a_file_of_the_journal_gives_the_groups_that_are_whole_in_it() {
    driver::run("journal", journal_seeds(), journal);
}

#[test]
fn an_archive_is_refused_or_read_as_it_was_written_however_it_arrives() {
    driver::run("archive", archive_seeds(), archive);
}
