//! A host on a stage: its disk writes, its clock moves and its tasks go on only when the test says so.
//!
//! The runtime has one thread and polls one task between two turns of the test. An append waits at a gate; when it is
//! let through, the test's thread stands still until it is written and answered. So the order of things
//! hangs on the machine only where something is read on another thread: a stream that begins after its run has ended,
//! and who shares a block that was edited. Outside of a race the gate is open, and time is what it always is.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use retold_actors::{Host, Options, agent::NewAgent};
use retold_events::{
    AgentId, RunId,
    agent::AgentType,
    output::{Item, Output},
    store::{Commit, EventStore as _, Failure, Faults, Moment},
};
use retold_models::testing::{Say, ScriptedModel};

use crate::{
    audit::output,
    watched::{Barrier, Opener, Watched},
    world::{Disk, in_time, message, new_agent, open, request},
};

/// What a model says that was not told what to say.
pub(crate) const UNTOLD: &str = "again";

/// Chances that follow from a seed.
#[derive(Debug, Clone)]
pub(crate) struct Chance(u64);

impl Chance {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`: a step of SplitMix64.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(crate) fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }
}

/// Runs a play on a runtime of its own that polls one task at a time.
pub(crate) fn play(play: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .event_interval(1)
        .build()
        .expect("a runtime can be built");
    runtime.block_on(play);
}

/// One host after the other, over one disk.
pub(crate) struct Stage {
    pub(crate) disk: Disk,
    pub(crate) host: Host,
    pub(crate) agent: AgentId,
    store: Arc<Watched>,
    faults: Faults,
    model: ScriptedModel,
    scripts: Arc<Mutex<VecDeque<Vec<Say>>>>,
    gate: Option<(Barrier, Opener)>,
    /// Whether the host has answered before: the first message of a process waits for the tokenizer.
    warm: bool,
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("agent", &self.agent).finish_non_exhaustive()
    }
}

impl Stage {
    /// A host with one agent, which is awake and has answered before: from here on nothing is read on another thread.
    pub(crate) async fn new() -> Self {
        let disk = Disk::default();
        let scripts: Arc<Mutex<VecDeque<Vec<Say>>>> = Arc::default();
        let told = Arc::clone(&scripts);
        let model = ScriptedModel::from_fn(move |_| {
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            told.pop_front().unwrap_or_else(|| Say::answer(UNTOLD))
        });
        let (store, faults, host) = start(&disk, &model).await;
        let agent = host.create_agent(smallest()).await.expect("the agent is sound").state.id;
        let mut stage =
            Self { disk, host, agent, store, faults, model, scripts, gate: None, warm: false };
        stage.answers().await;
        stage
    }

    /// The agent answers, in real time.
    pub(crate) async fn answers(&mut self) {
        self.warm = true;
        let send = retold_actors::run::Send::new(vec![message("hello")], request(false));
        let run = in_time(self.host.send(self.agent, send)).await.expect("it is accepted").run.id;
        in_time(self.host.run_end(run)).await.expect("it ends");
        let last = output(self.disk.contents(), run).pop().expect("a run that ended shows its end");
        let completed = retold_events::run::EndStatus::Completed;
        assert!(matches!(last.output, Output::End { status, .. } if status == completed));
    }

    /// From here on the disk writes when it is told to, and the clock stands still; the model says this.
    pub(crate) async fn begin(&mut self, scripts: &[Vec<Say>]) {
        if !self.warm {
            self.answers().await;
        }
        while self.waiting() > 0 {
            tokio::task::yield_now().await;
        }
        *self.scripts.lock().unwrap_or_else(PoisonError::into_inner) =
            scripts.iter().cloned().collect();
        self.gate = Some(self.next_gate());
        tokio::time::pause();
    }

    /// The disk and the clock are as always again.
    pub(crate) fn end(&mut self) {
        self.gate = None;
        self.store.let_appends_pass();
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner).clear();
        tokio::time::resume();
    }

    /// One task goes on to its next await.
    pub(crate) async fn poll(&self) {
        tokio::task::yield_now().await;
        self.come_to_the_gate();
    }

    /// The clock moves on.
    pub(crate) async fn pass(&self, time: Duration) {
        tokio::time::advance(time).await;
        self.come_to_the_gate();
    }

    /// The disk writes what it was given, and all who wait for it are answered. Whether it had anything to write.
    pub(crate) fn write(&mut self) -> bool {
        let waiting = self.waiting();
        if waiting == 0 {
            return false;
        }
        let Some((gate, opener)) = self.gate.take() else { return false };
        until(|| gate.is_reached());
        // It is there before the next append can come to it.
        self.gate = Some(self.next_gate());
        drop(opener);
        until(|| self.waiting() < waiting);
        true
    }

    /// Other threads go on: one may be reading for somebody.
    pub(crate) async fn breathe(&self) {
        tokio::task::spawn_blocking(std::thread::yield_now).await.expect("it does not panic");
    }

    /// The process ends here, with what the disk was given written or not.
    pub(crate) async fn fall(&mut self, moment: Moment) {
        self.faults.fail_append(1, moment, Failure::Io);
        self.end();
        let marker = self.host.log().append(Commit::default());
        marker.await.expect_err("the disk fails now");
    }

    /// Another process begins.
    pub(crate) async fn rise(&mut self) {
        (self.store, self.faults, self.host) = start(&self.disk, &self.model).await;
        self.warm = false;
    }

    /// Another process begins, and ends as by [`Stage::fall`] after so many turns of the test, wherever its recovery is
    /// then. Gives what was seen meanwhile of the runs that were open.
    pub(crate) async fn relapse(&mut self, turns: u64, moment: Moment) -> Vec<Glimpse> {
        let open = self.open_runs();
        let (store, faults) = self.disk.open();
        let store = Watched::new(store);
        let (mut gate, mut opener) = Barrier::closed();
        store.hold_appends([gate.clone()]);
        let mut opening = tokio::spawn(host(Arc::clone(&store), self.model.clone()));
        let mut life = None;
        let mut glimpses = Vec::new();
        for turn in 0..turns {
            tokio::task::yield_now().await;
            self.breathe().await;
            if life.is_none() && opening.is_finished() {
                let host = (&mut opening).await.expect("it opens");
                glimpses.extend(open.iter().map(|run| Glimpse::of(&host, *run)));
                life = Some(host);
            }
            // The disk is slow enough for the rest to come between two writes.
            if turn % 3 == 2 && gate.is_reached() {
                let next = Barrier::closed();
                store.hold_appends([next.0.clone()]);
                drop(opener);
                (gate, opener) = next;
            }
        }
        let (reached, appends) = (gate.is_reached(), faults.appends());
        faults.fail_append(1, moment, Failure::Io);
        store.let_appends_pass();
        drop(opener);
        // What waits at the gate is what fails; when nothing does, this is.
        until(|| !reached || faults.appends() > appends);
        until(|| store.append(&[]).is_err());
        opening.abort();
        drop(life);
        glimpses
    }

    /// Runs that have not ended, as far as is durable.
    pub(crate) fn open_runs(&self) -> Vec<RunId> {
        let runs = retold_snapshots::query::open_runs(self.disk.contents());
        runs.expect("the rows are readable").into_iter().map(|(run, _)| run).collect()
    }

    /// The store of the host that is there now.
    pub(crate) fn store(&self) -> Arc<Watched> {
        Arc::clone(&self.store)
    }

    /// Waits until what was given to the disk is at the gate: what comes later is a group of its own.
    fn come_to_the_gate(&self) {
        if let Some((gate, _)) = self.gate.as_ref().filter(|_| self.waiting() > 0) {
            until(|| gate.is_reached());
        }
    }

    fn waiting(&self) -> u64 {
        self.host.log().metrics().waiting()
    }

    fn next_gate(&self) -> (Barrier, Opener) {
        let (barrier, opener) = Barrier::closed();
        self.store.hold_appends([barrier.clone()]);
        (barrier, opener)
    }
}

/// What somebody saw of a run who followed it from its beginning, until the process ended.
pub(crate) struct Glimpse {
    run: RunId,
    seen: Arc<Mutex<Vec<Item>>>,
}

impl Glimpse {
    fn of(host: &Host, run: RunId) -> Self {
        let seen = Arc::<Mutex<Vec<Item>>>::default();
        let (mut follow, shown) = (host.follow(run, 0), Arc::clone(&seen));
        tokio::spawn(async move {
            while let Ok(Some(items)) = follow.next().await {
                let mut shown = shown.lock().unwrap_or_else(PoisonError::into_inner);
                shown.extend(items.iter().cloned());
            }
        });
        Self { run, seen }
    }

    /// The run, and what was seen of it.
    pub(crate) fn seen(&self) -> (RunId, Vec<Item>) {
        (self.run, self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

async fn start(disk: &Disk, model: &ScriptedModel) -> (Arc<Watched>, Faults, Host) {
    let (store, faults) = disk.open();
    let store = Watched::new(store);
    let host = host(Arc::clone(&store), model.clone()).await;
    (store, faults, host)
}

async fn host(store: Arc<Watched>, model: ScriptedModel) -> Host {
    // Nobody's patience ends because the clock is moved by hand; the grace of a cancelled turn may.
    let options = Options { answer_timeout: Duration::from_secs(1 << 30), ..Options::default() };
    open(store, Arc::new(model), options).await
}

/// An agent that forgets, so that the thousandth race is like the first.
fn smallest() -> NewAgent {
    let mut new = new_agent(AgentType::LettaV1);
    new.config.message_buffer_autoclear = true;
    new.config.system = "Be brief.".to_owned();
    new.new_blocks.truncate(1);
    new
}

/// Waits for the committer's thread, while this one stands still.
fn until(done: impl Fn() -> bool) {
    while !done() {
        std::thread::yield_now();
    }
}

/// Whether the end of a run is durable.
pub(crate) fn is_over(store: &Watched, run: RunId) -> bool {
    matches!(output(store, run).last().map(|item| &item.output), Some(Output::End { .. }))
}
