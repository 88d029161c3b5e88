//! Who waits for whom: threads of agents whose run waits for the end of another thread's run.
//!
//! A thread takes one run at a time. So when one waits for another that waits for it, whether by way of messages that led
//! to one another or of two that crossed, neither will ever go on. Such a wait is refused before it begins.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use retold_events::{AgentId, ConversationId, RunId, defect::Defect};
use tokio_util::sync::CancellationToken;

/// A thread of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) agent: AgentId,
    /// `None` is its own.
    pub(super) conversation: Option<ConversationId>,
}

/// Who waits for whom.
#[derive(Debug, Clone, Default)]
pub(super) struct Waits(Arc<Mutex<Graph>>);

#[derive(Debug, Default)]
struct Graph {
    by: HashMap<Place, Vec<Wait>>,
    last: u64,
}

#[derive(Debug)]
struct Wait {
    number: u64,
    run: RunId,
    on: Place,
    over: CancellationToken,
}

/// A wait that has not ended. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Waiting {
    waits: Waits,
    by: Place,
    number: u64,
}

/// Agents that would wait for one another in a circle: from the one that is asked to the one that asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Circle(pub(super) Vec<AgentId>);

impl Waits {
    /// Begins a wait of `run`, which holds the thread `by`, for a run of the thread `on`.
    ///
    /// # Errors
    /// [`Circle`] when `on` waits for `by`, itself or by way of others.
    pub(super) fn begin(&self, by: Place, run: RunId, on: Place) -> Result<Waiting, Circle> {
        let mut graph = self.lock();
        if let Some(circle) = graph.way(on, by).filter(|_| !Defect::CircleAllowed.is_on()) {
            return Err(Circle(circle));
        }
        graph.last += 1;
        let number = graph.last;
        let wait = Wait { number, run, on, over: CancellationToken::new() };
        graph.by.entry(by).or_default().push(wait);
        Ok(Waiting { waits: self.clone(), by, number })
    }

    /// The ends of the waits that these runs have begun.
    pub(super) fn ends(&self, runs: &[RunId]) -> Vec<CancellationToken> {
        let graph = self.lock();
        let waits = graph.by.values().flatten();
        waits.filter(|wait| runs.contains(&wait.run)).map(|wait| wait.over.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Graph> {
        // No code that could panic runs under this lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Graph {
    /// The agents on the way along waits from one thread to another, both included; `None` when there is none.
    fn way(&self, from: Place, to: Place) -> Option<Vec<AgentId>> {
        let mut came_from: HashMap<Place, Place> = HashMap::new();
        let (mut seen, mut left) = (HashSet::from([from]), vec![from]);
        while let Some(place) = left.pop() {
            if place == to {
                let mut way = vec![place];
                way.extend(std::iter::successors(came_from.get(&place), |it| came_from.get(it)));
                return Some(way.iter().rev().map(|place| place.agent).collect());
            }
            for wait in self.by.get(&place).into_iter().flatten() {
                if seen.insert(wait.on) {
                    came_from.insert(wait.on, place);
                    left.push(wait.on);
                }
            }
        }
        None
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut graph = self.waits.lock();
        let Some(waits) = graph.by.get_mut(&self.by) else { return };
        let Some(index) = waits.iter().position(|wait| wait.number == self.number) else { return };
        let wait = waits.swap_remove(index);
        if waits.is_empty() {
            graph.by.remove(&self.by);
        }
        wait.over.cancel();
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn agent(number: u128) -> AgentId {
        AgentId::from_uuid(Uuid::from_u128(number))
    }

    fn place(number: u128) -> Place {
        Place { agent: agent(number), conversation: None }
    }

    fn run(number: u128) -> RunId {
        RunId::from_uuid(Uuid::from_u128(number))
    }

    #[test]
    fn nobody_waits_for_who_waits_for_them() {
        let waits = Waits::default();
        let first = waits.begin(place(1), run(1), place(2)).unwrap();
        let second = waits.begin(place(2), run(2), place(3)).unwrap();
        let circle = waits.begin(place(3), run(3), place(1)).unwrap_err();
        assert_eq!(circle, Circle(vec![agent(1), agent(2), agent(3)]));
        assert_eq!(waits.begin(place(1), run(1), place(1)).unwrap_err(), Circle(vec![agent(1)]));
        drop(second);
        drop(waits.begin(place(3), run(3), place(1)).unwrap());
        drop(first);
        assert!(waits.lock().by.is_empty(), "nothing is left behind");
    }

    #[test]
    fn two_ways_to_one_agent_are_no_circle() {
        let waits = Waits::default();
        let _both = (
            waits.begin(place(1), run(1), place(2)).unwrap(),
            waits.begin(place(1), run(1), place(3)).unwrap(),
        );
        let _third = waits.begin(place(2), run(2), place(3)).unwrap();
        assert!(waits.begin(place(3), run(3), place(4)).is_ok());
        assert!(waits.begin(place(3), run(3), place(1)).is_err());
    }

    #[test]
    fn another_thread_of_an_agent_is_free() {
        let waits = Waits::default();
        let conversation = Some(ConversationId::from_uuid(Uuid::from_u128(9)));
        let _wait = waits.begin(Place { conversation, ..place(1) }, run(1), place(2)).unwrap();
        assert!(waits.begin(place(2), run(2), place(1)).is_ok());
    }

    #[test]
    fn an_end_is_told_to_whoever_asked_for_it() {
        let waits = Waits::default();
        let wait = waits.begin(place(1), run(1), place(2)).unwrap();
        let ends = waits.ends(&[run(2), run(1)]);
        assert!(waits.ends(&[run(2)]).is_empty());
        assert!(ends.iter().all(|end| !end.is_cancelled()));
        drop(wait);
        assert!(!ends.is_empty() && ends.iter().all(CancellationToken::is_cancelled));
    }
}
