//! Which agents are awake, and how they come to be and cease to be so.
//!
//! An agent is activated at most once at a time, however many ask for it. An idle agent is put to sleep when awake ones
//! fill more memory than they may; it is removed from here first, under the lock, so nobody can reach an agent that is
//! about to end. An actor that failed keeps its place until the agent is woken again, which waits for what it had queued.
//!
//! Failures are counted per place in the history: an agent that fails three times at one is put into quarantine until
//! the next start, and everybody else goes on. Its failures are forgotten when it fails at another place, or once it is
//! put to sleep: then it has ended all that was under way. An actor that ends because a commit was refused has not
//! failed, for the next one is as if nothing had been asked; unless it was begun with something to recover, and still is.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use ractor::{
    Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, ActorStatus, SupervisionEvent,
};
use retold_events::{AgentId, RunId, Seq, defect::Defect, store::Commit};
use retold_snapshots::{
    agent::State,
    load::{self, LoadError, Loaded},
};
use tokio::{
    sync::{OnceCell, Semaphore},
    time::Instant,
};

use crate::{
    Refusal,
    agent::{
        Gauges, Message, Permits, Shared,
        actor::{AgentActor, Arguments, Diverged},
    },
    bound::{Bound, Share},
    metrics::Now,
};

/// Failures at one place of a history after which its agent is quarantined.
const FAILURES: u32 = 3;
/// How often one request begins anew when it finds an actor that has just failed.
const WAKINGS: usize = 3;
/// Histories folded at the same time at most. More would only wait for the same disk.
const ACTIVATIONS: usize = 32;

/// The awake agents.
#[derive(Debug)]
pub(crate) struct Directory {
    shared: Shared,
    supervisor: ActorCell,
    slots: Mutex<HashMap<AgentId, Arc<Slot>>>,
    actors: Actors,
    /// Open runs of the server.
    open_runs: Arc<Bound>,
    failures: Mutex<HashMap<AgentId, Failures>>,
    activations: Semaphore,
    uses: AtomicU64,
    /// Agents whose history cannot be folded, as far as somebody asked for them.
    unreadable: Mutex<HashSet<AgentId>>,
}

/// One agent's place.
#[derive(Debug)]
pub(crate) struct Slot {
    awake: OnceCell<Awake>,
    /// Requests that hold the agent at this moment.
    holders: AtomicUsize,
    last_use: AtomicU64,
    /// Open runs of the agent.
    queue: Arc<Bound>,
}

#[derive(Debug)]
struct Awake {
    actor: ActorRef<Message>,
    gauges: Arc<Gauges>,
}

/// Whose an actor is. Each is noted here before it hears its first message, so that it cannot fail unknown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Actors(Arc<Mutex<HashMap<ActorId, Known>>>);

/// What stays known of an actor when it ends.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) agent: AgentId,
    pub(crate) gauges: Arc<Gauges>,
    /// Where in the history it began, if it had something to recover there.
    pub(crate) recovered_at: Option<Seq>,
}

/// How an actor ended.
#[derive(Debug)]
enum Ending {
    /// It was told to.
    Stopped,
    /// A commit of it was refused.
    Diverged,
    /// It gave an error, or panicked.
    Failed(String),
}

#[derive(Debug, Default)]
struct Failures {
    at: Seq,
    count: u32,
    reason: String,
    /// Runs that were open when it failed last.
    open_runs: Vec<RunId>,
}

/// A hold on an awake agent: while it lives the agent is not put to sleep.
#[derive(Debug)]
pub(crate) struct Hold {
    slot: Arc<Slot>,
}

impl Actors {
    pub(crate) fn note(&self, actor: ActorId, known: Known) {
        self.lock().insert(actor, known);
    }

    fn forget(&self, actor: ActorId) -> Option<Known> {
        self.lock().remove(&actor)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ActorId, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Awake {
    /// Whether its actor hears nothing any more.
    fn is_over(&self) -> bool {
        self.actor.get_status() >= ActorStatus::Stopping
    }

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
    pub(crate) fn queue(&self) -> Option<Share> {
        if Defect::QueueUnbounded.is_on() {
            return Some(self.slot.queue.take());
        }
        self.slot.queue.try_take()
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
    pub(crate) fn new(shared: Shared, supervisor: ActorCell, open_runs: Arc<Bound>) -> Self {
        Self {
            shared,
            supervisor,
            slots: Mutex::default(),
            actors: Actors::default(),
            open_runs,
            failures: Mutex::default(),
            activations: Semaphore::new(ACTIVATIONS),
            uses: AtomicU64::new(0),
            unreadable: Mutex::default(),
        }
    }

    /// The agent if it is awake.
    pub(crate) fn awake(&self, id: AgentId) -> Option<Hold> {
        let slots = self.slots();
        let slot = slots.get(&id).filter(|slot| slot.is_awake())?;
        Some(self.hold(slot))
    }

    /// The agent, woken if it sleeps.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Quarantined`], or what storage gives.
    pub(crate) async fn wake(&self, id: AgentId) -> Result<Hold, Refusal> {
        for _ in 0..WAKINGS {
            let hold = self.place(id);
            match hold.slot.awake.get_or_try_init(|| self.activated(id, &hold.slot)).await {
                Ok(awake) if awake.is_over() => {
                    // What it had queued is part of the history: the next one begins once that is written.
                    self.shared.log.append(Commit::default()).await?;
                    self.give_up(id, &hold.slot);
                }
                Ok(awake) if awake.is_deleted() => return Err(Refusal::no_agent(id)),
                Ok(_) => return Ok(hold),
                Err(refusal) => {
                    self.let_go(id, hold);
                    return Err(refusal);
                }
            }
        }
        Err(Refusal::Storage("the agent fails as soon as it is woken; try again".to_owned()))
    }

    /// The agent's place, made if it has none.
    fn place(&self, id: AgentId) -> Hold {
        let mut slots = self.slots();
        if Defect::WokenTwice.is_on() {
            slots.retain(|of, slot| *of != id || slot.is_awake());
        }
        let slot =
            slots.entry(id).or_insert_with(|| Arc::new(Slot::new(self.shared.options.queue_bound)));
        self.hold(slot)
    }

    /// Removes the place of an actor that is over, unless that was done.
    fn give_up(&self, id: AgentId, slot: &Arc<Slot>) {
        let mut slots = self.slots();
        if slots.get(&id).is_some_and(|known| Arc::ptr_eq(known, slot)) {
            slots.remove(&id);
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

    /// Activates, and measures it. That there is no such agent is no failure.
    async fn activated(&self, id: AgentId, slot: &Slot) -> Result<Awake, Refusal> {
        let began = Instant::now();
        let awake = self.activate(id, slot).await;
        if !matches!(awake, Err(Refusal::NotFound { .. })) {
            self.shared.metrics.activated(began, awake.is_ok());
        }
        awake
    }

    async fn activate(&self, id: AgentId, slot: &Slot) -> Result<Awake, Refusal> {
        self.check_quarantine(id)?;
        let _turn = self.activations.acquire().await.map_err(|_| Refusal::Draining)?;
        let loaded = self.load(id).await.inspect_err(|refusal| {
            if matches!(refusal, Refusal::Quarantined { .. }) {
                self.unreadable.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
                self.abandon_runs(id);
            }
        })?;
        if loaded.state.deleted {
            return Err(Refusal::no_agent(id));
        }
        let at = loaded.seq;
        let gauges = Arc::new(Gauges::default());
        // They were admitted before and are not refused now; but they count.
        let permit = |&run| (run, Permits::new(slot.queue.take(), self.open_runs.take()));
        let arguments = Arguments {
            shared: self.shared.clone(),
            permits: loaded.state.open_runs.keys().map(permit).collect(),
            loaded,
            gauges: Arc::clone(&gauges),
            actors: self.actors.clone(),
        };
        let spawned =
            Actor::spawn_linked(None, AgentActor, arguments, self.supervisor.clone()).await;
        match spawned {
            Ok((actor, _)) => Ok(Awake { actor, gauges }),
            Err(error) => {
                let reason = error.to_string();
                self.note_failure(id, at, &reason, &gauges);
                self.check_quarantine(id)?;
                Err(Refusal::Storage(reason))
            }
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
            Err(_) => Err(Refusal::Quarantined {
                agent: id,
                reason: "its history could not be folded".to_owned(),
            }),
        }
    }

    /// Refuses an agent in quarantine. Nothing will come of its open runs: those who follow them are told.
    fn check_quarantine(&self, id: AgentId) -> Result<(), Refusal> {
        let reason = match self.failures().get(&id) {
            Some(failures) if failures.count >= FAILURES => failures.reason.clone(),
            Some(_) | None => return Ok(()),
        };
        self.abandon_runs(id);
        Err(Refusal::Quarantined { agent: id, reason })
    }

    fn abandon_runs(&self, id: AgentId) {
        if let Some(failures) = self.failures().get(&id) {
            for &run in &failures.open_runs {
                self.shared.hub.abandon(run);
            }
        }
    }

    fn note_failure(&self, id: AgentId, at: Seq, reason: &str, gauges: &Gauges) {
        tracing::error!(agent = %id, ?at, reason, "an agent failed");
        let mut failures = self.failures();
        let known = failures.entry(id).or_default();
        if known.at != at {
            *known = Failures { at, ..Failures::default() };
        }
        known.count += 1;
        known.reason = format!("failed {} times after event {}: {reason}", known.count, at.0);
        if let Some(seen) = &*gauges.seen.load() {
            known.open_runs = seen.state.open_runs.keys().copied().collect();
        }
    }

    /// Notes how an actor ended. Gives its agent when it did not end by itself, so that its open runs can be recovered.
    fn ended(&self, actor: ActorId, ending: Ending) -> Option<AgentId> {
        let Known { agent, gauges, recovered_at } = self.actors.forget(actor)?;
        match ending {
            Ending::Stopped => return None,
            Ending::Failed(reason) => {
                let at = gauges.seen.load().as_ref().map_or(Seq::default(), |seen| seen.seq);
                self.note_failure(agent, at, &reason, &gauges);
            }
            Ending::Diverged => {
                if let Some(at) = recovered_at {
                    self.note_failure(agent, at, &Diverged.to_string(), &gauges);
                }
            }
        }
        Some(agent)
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
            let told = slot.awake.get().map(|awake| awake.actor.send_message(Message::Sleep));
            // Where it has failed meanwhile there is nothing to put to sleep, and nothing to forget.
            if let Some(Ok(())) = told {
                self.failures().remove(&id);
            }
        }
        slept
    }

    /// Nobody holds it, nothing is under way, and everything it did is durable, so that waking it finds all of it.
    fn may_sleep(&self, slot: &Slot) -> bool {
        let seen = slot.awake.get().and_then(|awake| awake.gauges.seen.load_full());
        let Some(seen) = seen else { return false };
        let durable = seen.ticket.is_none_or(|ticket| self.shared.log.is_durable(ticket));
        let held = slot.holders.load(Ordering::Acquire) > 0 && !Defect::SleepsWhileHeld.is_on();
        !held && !seen.is_busy() && durable
    }

    /// Agents that have something under way.
    pub(crate) fn busy(&self) -> Vec<Hold> {
        let slots = self.slots();
        let is_busy = |awake: &Awake| !awake.is_over() && awake.gauges.is_busy();
        let busy = slots.values().filter(|slot| slot.awake.get().is_some_and(is_busy));
        busy.map(|slot| self.hold(slot)).collect()
    }

    /// What there is at this moment, without the bounds.
    pub(crate) fn now(&self) -> Now {
        let mut now = Now { quarantined: self.count_quarantined(), ..Now::default() };
        for slot in self.slots().values() {
            let Some(awake) = slot.awake.get().filter(|awake| !awake.is_over()) else { continue };
            now.awake += 1;
            now.awake_bytes += awake.gauges.bytes();
            let seen = awake.gauges.seen.load();
            let Some(seen) = &*seen else { continue };
            let open = &seen.state.open_runs;
            now.longest_queue = now.longest_queue.max(open.len());
            for run in open.values() {
                match (&run.started, run.cancel_requested) {
                    (None, _) => now.waiting += 1,
                    (Some(_), false) => now.running += 1,
                    (Some(_), true) => now.cancelling += 1,
                }
            }
        }
        now
    }

    fn count_quarantined(&self) -> usize {
        let unreadable = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = self.failures();
        let failed = failures.iter().filter(|(_, failures)| failures.count >= FAILURES);
        let others = failed.filter(|(id, _)| !unreadable.contains(id)).count();
        unreadable.len() + others
    }

    /// How many agents are awake.
    pub(crate) fn count_awake(&self) -> usize {
        self.slots().values().filter(|slot| slot.is_awake()).count()
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<AgentId, Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failures(&self) -> MutexGuard<'_, HashMap<AgentId, Failures>> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    fn new(queue_bound: usize) -> Self {
        Self {
            awake: OnceCell::new(),
            holders: AtomicUsize::new(0),
            last_use: AtomicU64::new(0),
            queue: Bound::new(queue_bound),
        }
    }

    fn is_awake(&self) -> bool {
        self.awake.get().is_some_and(|awake| !awake.is_over())
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
            SupervisionEvent::ActorTerminated(cell, ..) => {
                directory.ended(cell.get_id(), Ending::Stopped)
            }
            SupervisionEvent::ActorFailed(cell, error) if error.is::<Diverged>() => {
                directory.ended(cell.get_id(), Ending::Diverged)
            }
            SupervisionEvent::ActorFailed(cell, error) => {
                directory.ended(cell.get_id(), Ending::Failed(error.to_string()))
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
