//! Which agents are awake, and how they come to be and cease to be so.
//!
//! An agent is activated at most once at a time, however many ask for it. An idle agent is put to sleep when awake ones
//! fill more memory than they may; it is removed from here first, under the lock, so nobody can reach an agent that is
//! about to end. Failures are counted per place in the history: an event that fails three times puts its agent into
//! quarantine, and everybody else goes on.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use ractor::{Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use retold_events::{AgentId, Seq, store::Commit};
use retold_snapshots::{
    agent::State,
    load::{self, LoadError, Loaded},
};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};

use crate::{
    Refusal,
    agent::{
        Gauges, Message, Shared,
        actor::{AgentActor, Arguments},
    },
};

/// Failures at one place of a history after which its agent is quarantined.
const FAILURES: u32 = 3;
/// Histories folded at the same time at most. More would only wait for the same disk.
const ACTIVATIONS: usize = 32;

/// The awake agents.
#[derive(Debug)]
pub(crate) struct Directory {
    shared: Shared,
    supervisor: ActorCell,
    slots: Mutex<HashMap<AgentId, Arc<Slot>>>,
    by_actor: Mutex<HashMap<ActorId, AgentId>>,
    failures: Mutex<HashMap<AgentId, Failures>>,
    activations: Semaphore,
    uses: AtomicU64,
}

/// One agent's place.
#[derive(Debug)]
pub(crate) struct Slot {
    awake: OnceCell<Awake>,
    /// Requests that hold the agent at this moment.
    holders: AtomicUsize,
    last_use: AtomicU64,
    /// Open runs of the agent; outlives the actor, so that the bound does too.
    queue: Arc<Semaphore>,
}

#[derive(Debug)]
struct Awake {
    actor: ActorRef<Message>,
    gauges: Arc<Gauges>,
}

#[derive(Debug)]
struct Failures {
    at: Option<Seq>,
    count: u32,
    reason: String,
}

/// A hold on an awake agent: while it lives the agent is not put to sleep.
#[derive(Debug)]
pub(crate) struct Hold {
    slot: Arc<Slot>,
}

impl Awake {
    fn is_deleted(&self) -> bool {
        self.gauges.seen.load().as_ref().is_some_and(|seen| seen.state.deleted)
    }
}

impl Hold {
    pub(crate) fn tell(&self, message: Message) -> Result<(), ()> {
        self.slot.awake.get().ok_or(())?.actor.send_message(message).map_err(|_| ())
    }

    pub(crate) fn gauges(&self) -> Option<&Gauges> {
        self.slot.awake.get().map(|awake| &*awake.gauges)
    }

    /// A share of the agent's queue; `None` when it is full.
    pub(crate) fn queue(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.slot.queue).try_acquire_owned().ok()
    }
}

impl Clone for Hold {
    fn clone(&self) -> Self {
        self.slot.holders.fetch_add(1, Ordering::AcqRel);
        Self { slot: Arc::clone(&self.slot) }
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.slot.holders.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Directory {
    pub(crate) fn new(shared: Shared, supervisor: ActorCell) -> Self {
        Self {
            shared,
            supervisor,
            slots: Mutex::default(),
            by_actor: Mutex::default(),
            failures: Mutex::default(),
            activations: Semaphore::new(ACTIVATIONS),
            uses: AtomicU64::new(0),
        }
    }

    /// The agent if it is awake.
    pub(crate) fn awake(&self, id: AgentId) -> Option<Hold> {
        let slots = self.slots();
        let slot = slots.get(&id).filter(|slot| slot.awake.initialized())?;
        Some(self.hold(slot))
    }

    /// The agent, woken if it sleeps.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Quarantined`], or what storage gives.
    pub(crate) async fn wake(&self, id: AgentId) -> Result<Hold, Refusal> {
        self.check_quarantine(id)?;
        let hold = {
            let mut slots = self.slots();
            let slot = slots
                .entry(id)
                .or_insert_with(|| Arc::new(Slot::new(self.shared.options.queue_bound)));
            self.hold(slot)
        };
        let woken = hold.slot.awake.get_or_try_init(|| self.activate(id)).await;
        match woken.map(Awake::is_deleted) {
            Ok(false) => Ok(hold),
            Ok(true) => Err(Refusal::no_agent(id)),
            Err(refusal) => {
                self.let_go(id, hold);
                Err(refusal)
            }
        }
    }

    /// Removes the place of an agent that did not wake, unless others wait there: one of them may be luckier, and an
    /// agent that nobody finds here would soon have a second actor.
    fn let_go(&self, id: AgentId, hold: Hold) {
        let mut slots = self.slots();
        let slot = Arc::clone(&hold.slot);
        drop(hold);
        let is_last = slot.holders.load(Ordering::Acquire) == 0 && !slot.awake.initialized();
        if is_last && slots.get(&id).is_some_and(|known| Arc::ptr_eq(known, &slot)) {
            slots.remove(&id);
        }
    }

    fn hold(&self, slot: &Arc<Slot>) -> Hold {
        slot.holders.fetch_add(1, Ordering::AcqRel);
        slot.last_use.store(self.uses.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
        Hold { slot: Arc::clone(slot) }
    }

    async fn activate(&self, id: AgentId) -> Result<Awake, Refusal> {
        let _turn = self.activations.acquire().await.map_err(|_| Refusal::Draining)?;
        if self.failed_before(id) {
            // What the failed actor had queued is part of the history: this one waits until it is written.
            self.shared.log.append(Commit::default()).await?;
        }
        let loaded = self.load(id).await?;
        if loaded.state.deleted {
            return Err(Refusal::no_agent(id));
        }
        let at = loaded.seq;
        let gauges = Arc::new(Gauges::default());
        let arguments =
            Arguments { shared: self.shared.clone(), loaded, gauges: Arc::clone(&gauges) };
        let spawned =
            Actor::spawn_linked(None, AgentActor, arguments, self.supervisor.clone()).await;
        match spawned {
            Ok((actor, _)) => {
                self.by_actor
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(actor.get_id(), id);
                Ok(Awake { actor, gauges })
            }
            Err(error) => Err(self.note_failure(id, Some(at), &error.to_string())),
        }
    }

    /// Folds an agent's history, on a blocking thread.
    pub(crate) async fn load(&self, id: AgentId) -> Result<Loaded<State>, Refusal> {
        let folded = self
            .shared
            .log
            .read(move |store| {
                // A fold that panics is a damaged history of one agent and must not reach others.
                Ok(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                    load::agent(store, id, None)
                })))
            })
            .await?;
        match folded {
            Ok(Ok(Some(loaded))) => Ok(loaded),
            Ok(Ok(None)) => Err(Refusal::no_agent(id)),
            Ok(Err(LoadError::Store(error))) => Err(error.into()),
            Ok(Err(error @ LoadError::Event { .. })) => {
                Err(Refusal::Quarantined { agent: id, reason: error.to_string() })
            }
            Err(_) => Err(self.note_failure(id, None, "its history could not be folded")),
        }
    }

    fn failed_before(&self, id: AgentId) -> bool {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&id)
    }

    fn check_quarantine(&self, id: AgentId) -> Result<(), Refusal> {
        match self.failures.lock().unwrap_or_else(PoisonError::into_inner).get(&id) {
            Some(failures) if failures.count >= FAILURES => {
                Err(Refusal::Quarantined { agent: id, reason: failures.reason.clone() })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn note_failure(&self, id: AgentId, at: Option<Seq>, reason: &str) -> Refusal {
        tracing::error!(agent = %id, ?at, reason, "an agent failed");
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let known = failures.entry(id).or_insert(Failures { at, count: 0, reason: String::new() });
        if known.at != at {
            *known = Failures { at, count: 0, reason: String::new() };
        }
        known.count += 1;
        known.reason = format!(
            "failed {} times after event {}: {reason}",
            known.count,
            at.map_or(0, |seq| seq.0)
        );
        Refusal::Quarantined { agent: id, reason: known.reason.clone() }
    }

    /// Forgets an actor that ended. Gives its agent when it failed, so that its open runs can be recovered.
    fn ended(&self, actor: ActorId, failure: Option<&str>) -> Option<AgentId> {
        let id = self.by_actor.lock().unwrap_or_else(PoisonError::into_inner).remove(&actor)?;
        let at = {
            let mut slots = self.slots();
            let same = |slot: &Arc<Slot>| {
                slot.awake.get().is_some_and(|awake| awake.actor.get_id() == actor)
            };
            let slot = if slots.get(&id).is_some_and(same) { slots.remove(&id) } else { None };
            let seen = slot.and_then(|slot| slot.awake.get()?.gauges.seen.load_full());
            seen.map(|seen| seen.seq)
        };
        let _ = self.note_failure(id, at, failure?);
        Some(id)
    }

    /// Puts idle agents to sleep, longest unused first, until the awake ones fit into their budget; deleted ones always.
    pub(crate) fn make_room(&self) -> usize {
        let mut slots = self.slots();
        let mut awake: Vec<(u64, AgentId, usize)> = slots
            .iter()
            .filter_map(|(&id, slot)| {
                let awake = slot.awake.get()?;
                Some((slot.last_use.load(Ordering::Relaxed), id, awake.gauges.bytes()))
            })
            .collect();
        let mut bytes: usize = awake.iter().map(|(_, _, bytes)| bytes).sum();
        awake.sort_unstable();
        let mut slept = 0;
        for (_, id, size) in awake {
            let deleted =
                slots.get(&id).and_then(|slot| slot.awake.get()).is_some_and(Awake::is_deleted);
            if bytes <= self.shared.options.awake_bytes && !deleted {
                continue;
            }
            let Some(slot) = slots.get(&id).filter(|slot| self.may_sleep(slot)).cloned() else {
                continue;
            };
            slots.remove(&id);
            bytes -= size;
            slept += 1;
            if let Some(awake) = slot.awake.get() {
                // It may have failed meanwhile: then there is nothing to put to sleep.
                let _ = awake.actor.send_message(Message::Sleep);
            }
        }
        slept
    }

    /// Nobody holds it, nothing is under way, and everything it did is durable, so that waking it finds all of it.
    fn may_sleep(&self, slot: &Slot) -> bool {
        let seen = slot.awake.get().and_then(|awake| awake.gauges.seen.load_full());
        let Some(seen) = seen else { return false };
        let durable = seen.ticket.is_none_or(|ticket| self.shared.log.is_durable(ticket));
        slot.holders.load(Ordering::Acquire) == 0 && !seen.is_busy() && durable
    }

    /// Agents that have something under way.
    pub(crate) fn busy(&self) -> Vec<Hold> {
        let slots = self.slots();
        let busy = slots
            .values()
            .filter(|slot| slot.awake.get().is_some_and(|awake| awake.gauges.is_busy()));
        busy.map(|slot| self.hold(slot)).collect()
    }

    /// How many agents are awake.
    pub(crate) fn count_awake(&self) -> usize {
        self.slots().values().filter(|slot| slot.awake.initialized()).count()
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<AgentId, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn new(queue_bound: usize) -> Self {
        Self {
            awake: OnceCell::new(),
            holders: AtomicUsize::new(0),
            last_use: AtomicU64::new(0),
            queue: Arc::new(Semaphore::new(queue_bound)),
        }
    }
}

/// Hears of every agent that ends, and of nothing else.
#[derive(Debug)]
pub(crate) struct Supervisor;

/// What the supervisor is told, besides what it supervises.
#[derive(Debug)]
pub(crate) enum Told {
    /// The directory it keeps in order, and where to say that an agent must be recovered.
    Keep(Arc<Directory>, tokio::sync::mpsc::Sender<AgentId>),
}

/// What the supervisor keeps.
#[derive(Debug, Default)]
pub(crate) struct Keeping(Option<(Arc<Directory>, tokio::sync::mpsc::Sender<AgentId>)>);

impl Actor for Supervisor {
    type Msg = Told;
    type State = Keeping;
    type Arguments = ();

    async fn pre_start(&self, _: ActorRef<Told>, (): ()) -> Result<Keeping, ActorProcessingErr> {
        Ok(Keeping::default())
    }

    async fn handle(
        &self,
        _: ActorRef<Told>,
        told: Told,
        keeping: &mut Keeping,
    ) -> Result<(), ActorProcessingErr> {
        let Told::Keep(directory, recover) = told;
        keeping.0 = Some((directory, recover));
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Told>,
        event: SupervisionEvent,
        keeping: &mut Keeping,
    ) -> Result<(), ActorProcessingErr> {
        let Some((directory, recover)) = &keeping.0 else { return Ok(()) };
        let failed = match event {
            SupervisionEvent::ActorTerminated(cell, ..) => directory.ended(cell.get_id(), None),
            SupervisionEvent::ActorFailed(cell, error) => {
                directory.ended(cell.get_id(), Some(&error.to_string()))
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => None,
        };
        if let Some(agent) = failed {
            // Where the queue is full, the agent is recovered by the next request for it.
            let _ = recover.try_send(agent);
        }
        Ok(())
    }
}
