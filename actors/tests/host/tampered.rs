//! A history of which anybody changed a word is told apart from the one that was, and the event is named.

use retold_actors::replay::{Status, What, replay};
use retold_events::{
    NewEvent, Part, Position, RunId, Seq, StreamId,
    agent::Event,
    codec::{Event as _, encode_items},
    run::StopReason,
    store::{Append, Commit, EventStore, MemoryStore, OutputBatch, RowChange, Scan, Table},
};
use retold_models::{
    ModelErrorKind,
    testing::{Say, ScriptedModel},
};

use crate::{
    audit::{output, records},
    replay::{edit, run},
    world::World,
};

/// A store with the same history but for one event, rows and output as they were. Gives the place of the event, too.
fn altered(store: &dyn EventStore, alter: impl Fn(&mut Event) -> bool) -> (MemoryStore, Position) {
    let copy = MemoryStore::new();
    let (mut at, mut runs) = (None, Vec::new());
    for record in records(store) {
        let mut encoded = record.encoded.clone();
        if let (StreamId::Agent(_), Ok(mut event)) = (record.stream, Event::decode(&encoded)) {
            if let Event::RunAccepted(accepted) = &event {
                runs.push(accepted.run);
            }
            if at.is_none() && alter(&mut event) {
                at = Some(record.position);
                encoded = event.encode();
            }
        }
        let expected = Seq(record.seq.0 - 1);
        let (id, causation, run) = (record.id, record.causation, record.run);
        let events = vec![NewEvent { id, causation, run, at: record.at, encoded }];
        let append = Append { stream: record.stream, expected, events };
        let commit = Commit { appends: vec![append], ..Commit::default() };
        write(&copy, commit);
    }
    let mut rest = Commit::default();
    let scan = Scan { limit: usize::MAX, ..Scan::default() };
    for table in Table::ALL {
        for (key, value) in store.rows(table, &scan).expect("the rows are readable") {
            rest.rows.push(RowChange { table, key: key.to_vec(), value: Some(value) });
        }
    }
    for run in runs {
        let items = output(store, run);
        let (Some(first), Some(last)) = (items.first(), items.last()) else { continue };
        let (first, last) = (first.seq, retold_actors::hub::last_seq(last));
        rest.outputs.push(OutputBatch { run, first, last, items: encode_items(&items) });
    }
    write(&copy, rest);
    (copy, at.expect("there is such an event"))
}

fn write(store: &MemoryStore, commit: Commit) {
    let answers = store.append(&[commit]).expect("memory does not fail");
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

/// Replays a run of a history of which one event was altered, and gives what differs; the event must be named.
fn tampered(store: &dyn EventStore, run: RunId, alter: impl Fn(&mut Event) -> bool) -> What {
    let (copy, position) = altered(store, alter);
    let replay = replay(&copy, run).expect("the log is readable").expect("the run is listed");
    assert_eq!(replay.status, Status::Diverged, "{replay:#?}");
    let divergence = replay.divergence.expect("it names what differs");
    assert_eq!(divergence.place.map(|place| place.position), Some(position), "{divergence:#?}");
    assert_ne!(divergence.expected, divergence.found);
    divergence.what
}

fn change_text(content: &mut [Part]) -> bool {
    match content.first_mut() {
        Some(Part::Text { text }) => {
            text.push('!');
            true
        }
        Some(Part::Reasoning { .. } | Part::RedactedReasoning { .. } | Part::Image(_)) | None => {
            false
        }
    }
}

#[tokio::test]
async fn an_altered_event_is_named_with_its_position() {
    let world = World::new(ScriptedModel::new([
        Say::answer("Hello."),
        edit("a", "Likes figs."),
        Say::failure(ModelErrorKind::ContextWindowExceeded, "too long"),
        Say::answer("They said hello."),
        Say::answer("Done."),
    ]))
    .await;
    let agent = world.agent().await;
    run(&world, agent, "Hi").await;
    let run = run(&world, agent, "Remember one.").await;
    let store = &*world.store;
    let (unchanged, _) = altered(store, |event| matches!(event, Event::RunAccepted(_)));
    assert_eq!(replay(&unchanged, run).unwrap().unwrap().status, Status::Identical);

    let input = |event: &mut Event| {
        let Event::RunAccepted(accepted) = event else { return false };
        accepted.run == run && change_text(&mut accepted.input[0].content)
    };
    assert_eq!(tampered(store, run, input), What::Input);
    let request = |event: &mut Event| {
        let Event::RunAccepted(accepted) = event else { return false };
        accepted.request.max_steps += 1;
        accepted.run == run
    };
    assert_eq!(tampered(store, run, request), What::Run);
    let model = |event: &mut Event| {
        let Event::StepStarted(started) = event else { return false };
        started.model.push('!');
        started.run == run
    };
    assert_eq!(tampered(store, run, model), What::Step);
    let returned = |event: &mut Event| {
        let Event::StepEnded(ended) = event else { return false };
        let message = ended.messages.get_mut(1).filter(|_| ended.run == run);
        message.map(|message| message.tool_returns[0].content.push('!')).is_some()
    };
    assert_eq!(tampered(store, run, returned), What::Message);
    let answer = |event: &mut Event| {
        let Event::StepEnded(ended) = event else { return false };
        ended.run == run
            && ended.messages.iter_mut().any(|message| change_text(&mut message.content))
    };
    assert_eq!(tampered(store, run, answer), What::Message);
    let cost = |event: &mut Event| {
        let Event::StepEnded(ended) = event else { return false };
        ended.usage.completion_tokens += 1;
        ended.run == run
    };
    assert_eq!(tampered(store, run, cost), What::Step);
    let summary = |event: &mut Event| {
        let Event::ContextCompacted(compacted) = event else { return false };
        change_text(&mut compacted.summary.content)
    };
    assert_eq!(tampered(store, run, summary), What::Message);
    let end = |event: &mut Event| {
        let Event::RunEnded(ended) = event else { return false };
        ended.total_ns += 1;
        ended.run == run
    };
    assert_eq!(tampered(store, run, end), What::Run);
}

#[tokio::test]
async fn an_altered_prompt_is_named_by_the_step_that_was_asked_with_it() {
    let world = World::new(ScriptedModel::new([Say::answer("Hello."), Say::answer("Yes.")])).await;
    let agent = world.agent().await;
    let before = run(&world, agent, "Hi").await;
    let later = run(&world, agent, "Again").await;
    let named = |alter: &dyn Fn(&mut Event) -> bool| {
        let (copy, _) = altered(&*world.store, alter);
        let replay = replay(&copy, later).unwrap().unwrap();
        let divergence = replay.divergence.unwrap();
        assert_eq!(divergence.place, Some(replay.steps[0].place));
        assert_eq!(replay.steps[0].matches(), Some(false));
        (divergence.what, divergence.detail)
    };
    // A message of an earlier run: that run's replay has the place.
    let (what, detail) = named(&|event| {
        let Event::StepEnded(ended) = event else { return false };
        ended.run == before && change_text(&mut ended.messages[0].content)
    });
    assert_eq!(what, What::Message);
    assert!(detail.contains(&before.to_string()), "{detail}");
    // The system text is nowhere else, and neither are the tools.
    let (what, _) = named(&|event| {
        let Event::Created(created) = event else { return false };
        change_text(&mut created.messages[0].content)
    });
    assert_eq!(what, What::Tools);
    let (what, _) = named(&|event| {
        let Event::Created(created) = event else { return false };
        created.tools.pop().is_some()
    });
    assert_eq!(what, What::Tools);
}

#[tokio::test]
async fn what_was_shown_is_compared_with_what_was_kept() {
    let world =
        World::new(ScriptedModel::new([Say::answer("Hello there."), Say::answer("Bye now.")]))
            .await;
    let agent = world.agent().await;
    let streamed = world.stream(agent, "Hi").await;
    world.host.run_end(streamed).await.unwrap();
    let whole = run(&world, agent, "Well?").await;
    let differs = |run: RunId, alter: &dyn Fn(&mut Event) -> bool| {
        let (copy, position) = altered(&*world.store, alter);
        // The rows are altered with their event, so that nothing but the output tells.
        let rows = retold_snapshots::rebuild::rebuild(&copy).unwrap();
        let rows = rows
            .into_iter()
            .map(|((table, key), value)| RowChange { table, key, value: Some(value) })
            .collect();
        write(&copy, Commit { rows, ..Commit::default() });
        let divergence = replay(&copy, run).unwrap().unwrap().divergence.unwrap();
        assert_eq!(divergence.what, What::Output, "{divergence:#?}");
        assert_eq!(divergence.place.unwrap().position, position);
        divergence
    };
    let answer = |of: RunId| {
        move |event: &mut Event| {
            let Event::StepEnded(ended) = event else { return false };
            ended.run == of && change_text(&mut ended.messages[0].content)
        }
    };
    let pieces = differs(streamed, &answer(streamed));
    assert!(pieces.expected.contains("there.") && pieces.found.contains("there.!"));
    let message = differs(whole, &answer(whole));
    assert!(message.expected.contains("now.") && message.found.contains("now.!"));
    differs(whole, &|event| {
        let Event::RunEnded(ended) = event else { return false };
        ended.stop_reason = StopReason::MaxSteps;
        ended.run == whole
    });
}
