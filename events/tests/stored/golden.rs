//! Golden bytes: one file per stored type and version, one line of hexadecimal digits per sample.
//!
//! A file is written once, with `RETOLD_BLESS=1`, and never changed: the bytes are in data directories everywhere. When a
//! struct gets a new version its file stays, and the old bytes have to decode to the lifted values.

use std::{env, fmt::Write as _, fs, path::PathBuf};

use bytes::Bytes;
use retold_events::{
    Encoded, EventType,
    codec::{self, Event},
};

use crate::samples;

fn path(name: &str, version: u16) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    folder.join(format!("{name}_v{version}.hex"))
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut line, byte| {
        write!(line, "{byte:02x}").expect("a string takes all");
        line
    })
}

fn from_hex(line: &str) -> Vec<u8> {
    let digits = line.as_bytes().chunks(2);
    digits
        .map(|pair| {
            let pair = std::str::from_utf8(pair).expect("hexadecimal digits");
            u8::from_str_radix(pair, 16).expect("hexadecimal digits")
        })
        .collect()
}

/// The golden samples of a type, written now if they are not there and that was asked for.
fn golden(name: &str, version: u16, now: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let path = path(name, version);
    if !path.exists() && env::var_os("RETOLD_BLESS").is_some_and(|value| value == "1") {
        let lines: String = now.iter().map(|bytes| to_hex(bytes) + "\n").collect();
        fs::write(&path, lines).expect("the folder is there");
    }
    let text = fs::read_to_string(&path);
    let text = text.unwrap_or_else(|error| panic!("{}: {error}; RETOLD_BLESS=1?", path.display()));
    text.lines().map(from_hex).collect()
}

/// Checks the newest version of an event.
fn check<E: Event + PartialEq>(name: &str, event_type: u16, samples: &[E]) {
    let encoded: Vec<Encoded> = samples.iter().map(Event::encode).collect();
    let now: Vec<Vec<u8>> = encoded.iter().map(|encoded| encoded.payload.to_vec()).collect();
    let version = encoded.first().map_or(1, |encoded| encoded.version);
    let golden = golden(name, version, &now);
    assert_eq!(golden.len(), samples.len(), "{name}: as many samples as golden lines");
    for ((sample, encoded), golden) in samples.iter().zip(encoded).zip(golden) {
        let numbers = (EventType(event_type), version);
        assert_eq!((encoded.event_type, encoded.version), numbers, "{name}");
        assert_eq!(to_hex(&encoded.payload), to_hex(&golden), "{name}");
        let stored = Encoded { payload: Bytes::from(golden), ..encoded };
        assert_eq!(E::decode(&stored).as_ref(), Ok(sample), "{name}");
    }
}

/// Checks that bytes of an older version, which nothing writes any more, are lifted to what they stand for today.
fn check_lifted<E: Event + PartialEq>(name: &str, event_type: u16, version: u16, lifted: &[E]) {
    let text = fs::read_to_string(path(name, version)).expect("golden bytes are kept for ever");
    let golden: Vec<Vec<u8>> = text.lines().map(from_hex).collect();
    assert_eq!(golden.len(), lifted.len(), "{name}: as many samples as golden lines");
    for (lifted, golden) in lifted.iter().zip(golden) {
        let payload = Bytes::from(golden);
        let stored = Encoded { event_type: EventType(event_type), version, payload };
        assert_eq!(E::decode(&stored).as_ref(), Ok(lifted), "{name}");
        assert!(lifted.encode().version > version, "{name}: there is a newer version");
    }
}

#[test]
fn every_agent_event_is_stored_as_it_always_was() {
    for (name, event_type, samples) in samples::agent_events() {
        check(name, event_type, &samples);
    }
}

#[test]
fn every_block_event_is_stored_as_it_always_was() {
    for (name, event_type, samples) in samples::block_events() {
        check(name, event_type, &samples);
    }
}

#[test]
fn every_tool_event_is_stored_as_it_always_was() {
    for (name, event_type, samples) in samples::tool_events() {
        check(name, event_type, &samples);
    }
}

#[test]
fn every_event_of_an_mcp_server_is_stored_as_it_always_was() {
    for (name, event_type, samples) in samples::mcp_events() {
        check(name, event_type, &samples);
    }
}

#[test]
fn agent_events_of_older_versions_stand_for_what_they_always_did() {
    for (name, event_type, version, lifted) in samples::older_agent_events() {
        check_lifted(name, event_type, version, &lifted);
    }
}

#[test]
fn block_events_of_version_1_stand_for_what_they_always_did() {
    for (name, event_type, lifted) in samples::others::block_events_of_version_1() {
        check_lifted(name, event_type, 1, &lifted);
    }
}

#[test]
fn output_items_are_stored_as_they_always_were() {
    let items = samples::items();
    let golden = golden("items", 1, &[codec::encode_items(&items).to_vec()]);
    assert_eq!(to_hex(&codec::encode_items(&items)), to_hex(&golden[0]));
    assert_eq!(codec::decode_items(&golden[0]), Ok(items));
}

#[test]
fn no_event_is_without_a_sample() {
    // The match has no wildcard: a new event does not compile before it is counted and sampled.
    use retold_events::{
        agent::Event as Agent, block::Event as Block, mcp::Event as Mcp, tool::Event as Tool,
    };
    let number_of = |event: &Agent| match event {
        Agent::Created(_) => 101,
        Agent::Configured(_) => 102,
        Agent::BlockAttached(_) => 103,
        Agent::BlockDetached(_) => 104,
        Agent::ToolAttached(_) => 105,
        Agent::ToolDetached(_) => 106,
        Agent::SystemCompiled(_) => 107,
        Agent::ContextReplaced(_) => 108,
        Agent::ContextCompacted(_) => 109,
        Agent::Deleted(_) => 110,
        Agent::RunAccepted(_) => 201,
        Agent::RunStarted(_) => 202,
        Agent::StepStarted(_) => 203,
        Agent::StepEnded(_) => 204,
        Agent::CancelRequested(_) => 205,
        Agent::RunEnded(_) => 206,
        Agent::CallbackSent(_) => 207,
        Agent::RunDeleted(_) => 208,
        Agent::FeedbackGiven(_) => 209,
        Agent::Forked(_) => 111,
        Agent::SecretsSet(_) => 112,
        Agent::ToolsCalled(_) => 210,
        Agent::ToolReturned(_) => 211,
        Agent::CallsResolved(_) => 212,
    };
    let mut seen = Vec::new();
    for (name, event_type, samples) in samples::agent_events() {
        assert!(samples.iter().all(|sample| number_of(sample) == event_type), "{name}");
        assert!(!samples.is_empty(), "{name}");
        seen.push(event_type);
    }
    assert_eq!(
        seen,
        (101..=110)
            .chain([201, 210, 211, 212])
            .chain(202..=209)
            .chain([111, 112])
            .collect::<Vec<u16>>()
    );
    let number_of = |event: &Block| match event {
        Block::Created(_) => 301,
        Block::Edited(_) => 302,
        Block::Deleted(_) => 303,
        Block::Forked(_) => 304,
    };
    for (name, event_type, samples) in samples::block_events() {
        assert!(samples.iter().all(|sample| number_of(sample) == event_type), "{name}");
    }
    assert_eq!(samples::block_events().len(), 4);
    let number_of = |event: &Tool| match event {
        Tool::Created(_) => 401,
        Tool::Updated(_) => 402,
        Tool::Deleted(_) => 403,
    };
    for (name, event_type, samples) in samples::tool_events() {
        assert!(samples.iter().all(|sample| number_of(sample) == event_type), "{name}");
    }
    assert_eq!(samples::tool_events().len(), 3);
    let number_of = |event: &Mcp| match event {
        Mcp::Created(_) => 501,
        Mcp::Updated(_) => 502,
        Mcp::Deleted(_) => 503,
    };
    for (name, event_type, samples) in samples::mcp_events() {
        assert!(samples.iter().all(|sample| number_of(sample) == event_type), "{name}");
    }
    assert_eq!(samples::mcp_events().len(), 3);
}
