//! Every event there can be, as it is told: one golden file for each type.

use retold_actors::{Fact, LogEvent};
use retold_events::{EventType, Position, Seq, StreamId, codec::DecodeError};

use super::*;
use crate::wire::event::{Event, EventName, EventPayload, EventsQuery};

/// Every stored event, and every alternative of everything in them, as the events' own tests have them.
#[expect(dead_code, reason = "it also has the output of runs, which is told in another way")]
#[path = "../../../events/tests/stored/samples/mod.rs"]
mod samples;

/// Name of the golden file and the events for it.
fn facts() -> Vec<(String, Vec<Fact>)> {
    let agents = samples::agent_events()
        .into_iter()
        .map(|(name, _, events)| (name.to_owned(), events.into_iter().map(Fact::Agent).collect()));
    let blocks = samples::block_events()
        .into_iter()
        .map(|(name, _, events)| (name.to_owned(), events.into_iter().map(Fact::Block).collect()));
    let tools = samples::tool_events()
        .into_iter()
        .map(|(name, _, events)| (name.to_owned(), events.into_iter().map(Fact::Tool).collect()));
    let servers = samples::mcp_events().into_iter().map(|(name, _, events)| {
        (name.to_owned(), events.into_iter().map(Fact::McpServer).collect())
    });
    let unreadable = Fact::Unreadable {
        event_type: EventType(999),
        version: 3,
        error: DecodeError::UnknownType(999),
    };
    agents
        .chain(blocks)
        .chain(tools)
        .chain(servers)
        .chain([("unreadable".to_owned(), vec![unreadable])])
        .collect()
}

#[test]
fn every_event_is_told_in_full() {
    for (name, facts) in facts() {
        let payloads: Vec<EventPayload> = facts.iter().map(EventPayload::from).collect();
        golden(&format!("event_{name}"), &payloads);
    }
}

#[test]
fn every_name_has_an_event_and_is_written_once() {
    let facts: Vec<Fact> = facts().into_iter().flat_map(|(_, facts)| facts).collect();
    for name in EventName::ALL {
        assert!(facts.iter().any(|fact| EventName::of(fact) == *name), "{name:?} is never told");
        assert_eq!(EventName::of_word(name.word()), Some(*name), "two share {:?}", name.word());
    }
    let words: Vec<&str> = EventName::ALL.iter().map(|name| name.word()).collect();
    golden("event_names", &words);
}

#[test]
fn around_an_event_stands_where_and_when_it_was() {
    let fact = Fact::Agent(retold_events::agent::Event::Deleted(retold_events::agent::Deleted {}));
    let event = LogEvent {
        stream: StreamId::Agent(agent_id()),
        seq: Seq(4),
        position: Position(9),
        id: "01JXSJ9WG0000000000000000A".parse().unwrap(),
        causation: "01JXSJ9WG00000000000000009".parse().unwrap(),
        run: Some(run_id()),
        at: NOW,
        fact,
    };
    golden("event", &Event::from(&event));
    let block = StreamId::Block(BlockId::from_uuid(uuid(0x80)));
    let event = LogEvent { stream: block, causation: Default::default(), run: None, ..event };
    let shown = serde_json::to_value(Event::from(&event)).unwrap();
    assert_eq!((&shown["agent_id"], &shown["causation_id"]), (&Value::Null, &Value::Null));
    assert_eq!(shown["stream"], shown["block_id"]);
    let tool = StreamId::Tool(retold_events::ToolId::from_uuid(uuid(0x81)));
    let shown = serde_json::to_value(Event::from(&LogEvent { stream: tool, ..event })).unwrap();
    assert_eq!((&shown["stream"], &shown["block_id"]), (&shown["tool_id"], &Value::Null));
}

#[test]
fn queries_name_positions_and_types() {
    let query = |pairs: &[(&str, &str)]| {
        let pairs: Vec<(String, String)> =
            pairs.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        EventsQuery::from_pairs(&pairs)
    };
    let all = query(&[]).unwrap();
    assert_eq!((all.after, all.before, all.limit), (None, None, 100));
    assert!(all.wants(EventName::BlockEdited));
    let some =
        query(&[("after", "7"), ("before", "latest"), ("limit", "9999"), ("type", "run.ended")])
            .unwrap();
    assert_eq!(
        (some.after, some.before, some.limit),
        (Some(Cursor::At(7)), Some(Cursor::Latest), 1000)
    );
    assert!(some.wants(EventName::RunEnded) && !some.wants(EventName::RunStarted));
    for (name, value) in [("after", "1.5"), ("before", "-1"), ("limit", "0"), ("type", "run")] {
        assert_eq!(query(&[(name, value)]).unwrap_err().loc, name);
    }
}
