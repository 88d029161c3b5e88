//! Folding: from nothing, from a saved state, from a damaged one, up to any moment: always the same bytes.

use proptest::prelude::*;
use retold_events::{
    AgentId, Position, Seq, StreamId,
    store::{Commit, EventStore, MemoryStore, SavedState},
};
use retold_snapshots::{FOLD_VERSION, agent, block, load};

use crate::{
    facts::Choice,
    world::{Act, Fact, Outcome, World},
};

pub(crate) fn acts(at_most: usize) -> impl Strategy<Value = Vec<Act>> {
    prop::collection::vec(any::<Act>(), 1..at_most)
}

pub(crate) fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

fn bytes<S: serde::Serialize>(state: &S) -> Outcome<Vec<u8>> {
    Ok(postcard::to_stdvec(state)?)
}

/// An agent folded by hand from the first `count` facts.
fn agent_by_hand(world: &World, id: AgentId, count: usize) -> Option<agent::State> {
    let mut state = None;
    for fact in &world.facts[..count] {
        let Fact::Agent(of, at, event) = fact else { continue };
        if *of != id {
            continue;
        }
        match (&mut state, &**event) {
            (None, retold_events::agent::Event::Created(created)) => {
                state = Some(agent::State::created(id, *at, created));
            }
            (None, retold_events::agent::Event::Forked(forked)) => {
                let moment = forked.position.0 as usize;
                let parent = agent_by_hand(world, forked.parent, moment)?;
                state = Some(agent::State::forked(id, *at, forked, &parent));
            }
            (None, _) => {}
            (Some(state), event) => agent::apply(state, *at, event),
        }
    }
    state
}

proptest! {
    #![proptest_config(cases(96))]

    #[test]
    fn a_saved_state_and_its_tail_are_the_full_replay(acts in acts(150)) {
        let world = World::after(&acts)?;
        for live in &world.agents {
            let loaded = load::agent(&world.store, live.id, None)?;
            let state = loaded.map(|loaded| loaded.state);
            let by_hand = agent_by_hand(&world, live.id, world.facts.len());
            prop_assert_eq!(bytes(&state)?, bytes(&by_hand)?);
            prop_assert_eq!(bytes(&state)?, bytes(&Some(live))?);
        }
        for live in &world.blocks {
            let loaded = load::block(&world.store, live.id, None)?;
            prop_assert_eq!(loaded.map(|loaded| loaded.state), Some(block::State::clone(live)));
        }
    }

    #[test]
    fn a_past_moment_is_the_fold_of_what_had_happened_by_then(
        acts in acts(100),
        moment in any::<prop::sample::Index>(),
    ) {
        let world = World::after(&acts)?;
        let count = moment.index(world.facts.len() + 1);
        for live in &world.agents {
            let loaded = load::agent(&world.store, live.id, Some(Position(count as u64)))?;
            let by_hand = agent_by_hand(&world, live.id, count);
            prop_assert_eq!(bytes(&loaded.map(|loaded| loaded.state))?, bytes(&by_hand)?);
        }
    }

    #[test]
    fn a_state_that_cannot_be_trusted_is_ignored(
        acts in acts(80),
        seed in any::<u64>(),
        damage in 0..4_u8,
    ) {
        let mut world = World::after(&acts)?;
        let choice = &mut Choice::new(seed);
        let index = choice.below(world.agents.len());
        world.save(index)?;
        let id = world.agents[index].id;
        let good = load::agent(&world.store, id, None)?;
        let saved = world.store.snapshot(StreamId::Agent(id), Seq(u64::MAX))?;
        let mut saved = saved.ok_or_else(|| TestCaseError::fail("it was just saved"))?;
        saved.bytes = damaged(&saved, damage, choice);
        save(&world.store, saved)?;
        let loaded = load::agent(&world.store, id, None)?;
        prop_assert!(loaded.as_ref().is_some_and(|loaded| loaded.folded > 0));
        let state = |loaded: Option<load::Loaded<agent::State>>| loaded.map(|it| (it.state, it.seq));
        prop_assert_eq!(bytes(&state(loaded))?, bytes(&state(good))?);
    }
}

fn save(store: &MemoryStore, saved: SavedState) -> Outcome {
    for answer in store.append(&[Commit { snapshots: vec![saved], ..Commit::default() }])? {
        answer?;
    }
    Ok(())
}

fn damaged(saved: &SavedState, damage: u8, choice: &mut Choice) -> bytes::Bytes {
    let mut bytes = saved.bytes.to_vec();
    match damage {
        0 => {
            let index = choice.below(bytes.len());
            bytes[index] ^= 1 << choice.below(8);
        }
        1 => bytes[..2].copy_from_slice(&(FOLD_VERSION + 1).to_be_bytes()),
        2 => bytes.truncate(choice.below(bytes.len())),
        _ => bytes.push(0),
    }
    bytes::Bytes::from(bytes)
}

#[test]
fn a_good_state_at_a_wrong_place_is_ignored() -> Outcome {
    let mut world = World::after(&[(0, 1), (7, 2), (7, 3), (0, 4)])?;
    world.save(0)?;
    let (first, second) = (world.agents[0].id, world.agents[1].id);
    let stream = StreamId::Agent(first);
    let saved = world.store.snapshot(stream, Seq(u64::MAX))?;
    let saved = saved.ok_or_else(|| TestCaseError::fail("it was just saved"))?;
    save(&world.store, SavedState { stream: StreamId::Agent(second), ..saved.clone() })?;
    save(&world.store, SavedState { seq: Seq(1), ..saved })?;
    for live in &world.agents {
        let loaded = load::agent(&world.store, live.id, None)?;
        assert_eq!(loaded.map(|loaded| loaded.state).as_ref(), Some(live));
    }
    let at_first = load::agent(&world.store, first, Some(Position(1)))?;
    assert_eq!(at_first.map(|loaded| loaded.state), agent_by_hand(&world, first, 1));
    Ok(())
}

#[test]
fn a_stream_that_never_begins_is_nobody() -> Outcome {
    use retold_events::{NewEvent, codec::Event as _, store::Append};
    let store = MemoryStore::new();
    let id = AgentId::from_uuid(uuid::Uuid::from_u128(1));
    let event = retold_events::agent::Event::Deleted(retold_events::agent::Deleted {});
    let new = NewEvent {
        id: ulid::Ulid::nil(),
        causation: ulid::Ulid::nil(),
        run: None,
        at: retold_events::Timestamp::from_micros(1),
        encoded: event.encode(),
    };
    let append = Append { stream: StreamId::Agent(id), expected: Seq(0), events: vec![new] };
    for answer in store.append(&[Commit { appends: vec![append], ..Commit::default() }])? {
        answer?;
    }
    assert_eq!(load::agent(&store, id, None)?, None);
    Ok(())
}
