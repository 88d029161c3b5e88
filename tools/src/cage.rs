//! The cage in which users' own tools run: one call, one interpreter, nothing inherited and nothing left behind.
//!
//! Tools are arbitrary programs of users and of models, so what counts is not what they should do but what they can. Each call
//! has processes of its own: a keeper, which is this program started anew and stays outside, and the interpreter, which locks
//! itself in before it sees the source. Interpreters are started ahead, since starting one costs more than most calls.
//!
//! It knows nothing of agents, events or prompts: a job comes in, an outcome goes out. A caller that stops waiting has ended
//! the call.

mod child;
pub mod frame;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod interpreter;
mod job;
mod layer;
mod limits;
mod options;
mod pool;
mod venv;
mod worker;

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use tokio::sync::{OnceCell, Semaphore};

pub use child::child_main;
pub(crate) use child::{Attendance, said};
pub use interpreter::Python;
pub use job::{Job, Language, Outcome, Requirement, Status};
pub use layer::Layer;
pub use limits::Limits;
pub use options::{CageOptions, Helper};

use child::Plan;
use interpreter::TypeScript;
use layer::Found;
use pool::{Kind, Pool};
use venv::Venvs;
use worker::Worker;

/// How long an interpreter may take to be ready. Far more than on a busy machine: past it, something is broken.
const START: Duration = Duration::from_secs(30);

/// What the engine of JavaScript may reserve; what it uses is bounded by the keeper.
const RESERVE: u64 = 64 << 30;

/// Why a call could not be made. Nothing of the tool's has run then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CageError {
    /// Nothing on this machine keeps a tool in.
    #[error(
        "custom tools are off: nothing on this machine can keep them in ({0}); install bubblewrap, or allow tools to run uncaged"
    )]
    NoLayer(String),
    /// There is no Python to run it with.
    #[error("this tool needs Python 3.8 or newer on the server: {0}")]
    NoPython(String),
    /// There is nothing that runs TypeScript.
    #[error("TypeScript tools need Node 22 or newer, or Bun, on the server: {0}")]
    NoTypeScript(String),
    /// A requirement cannot be installed.
    #[error("the requirement {requirement} could not be installed: {why}")]
    Requirement {
        /// The requirement as pip takes it.
        requirement: String,
        /// What pip says.
        why: String,
    },
    /// The environment for requirements cannot be made.
    #[error("the environment for the tool's requirements could not be made: {0}")]
    Environment(String),
    /// The job is larger than jobs may be.
    #[error("source, arguments and environment together have {bytes} bytes; {limit} are allowed")]
    TooLarge {
        /// What they have.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// The interpreter did not come up in its cage.
    #[error("the {language} interpreter could not be started in its cage: {why}")]
    Start {
        /// Which.
        language: &'static str,
        /// What it said.
        why: String,
    },
    /// The cage is being shut down.
    #[error("the server is shutting down")]
    Closed,
}

/// The cage of a server.
#[derive(Debug, Clone)]
pub struct Cage(Arc<Inside>);

#[derive(Debug)]
struct Inside {
    options: Arc<CageOptions>,
    found: Arc<Found>,
    pool: Arc<Pool>,
    venvs: Venvs,
    places: Semaphore,
    python: OnceCell<Python>,
    typescript: OnceCell<TypeScript>,
}

impl Cage {
    /// Finds out what keeps tools in here, and starts nothing else: interpreters come with the first call.
    pub async fn start(options: CageOptions) -> Self {
        worker::clear(&options.data_dir);
        let found = Arc::new(layer::find(&options).await);
        let options = Arc::new(options);
        let pool = Pool::new(starter(&options, &found), options.warm, options.idle);
        Self(Arc::new(Inside {
            venvs: Venvs::new(&options.data_dir, options.pip_env.clone(), options.pip_deadline),
            places: Semaphore::new(options.concurrency.clamp(1, Semaphore::MAX_PERMITS)),
            options,
            found,
            pool,
            python: OnceCell::new(),
            typescript: OnceCell::new(),
        }))
    }

    /// What keeps tools in.
    #[must_use]
    pub fn layer(&self) -> Layer {
        self.0.found.layer
    }

    /// Why there is no stronger layer: a line for each that was tried in vain.
    #[must_use]
    pub fn missing(&self) -> &[String] {
        &self.0.found.missing
    }

    /// Whether custom tools run at all.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.found.layer != Layer::None || self.0.found.uncaged
    }

    /// The Python that tools without requirements run in, looked for once.
    ///
    /// # Errors
    /// [`CageError::NoPython`], with what was tried.
    pub async fn python(&self) -> Result<&Python, CageError> {
        self.0.python.get_or_try_init(|| Python::find(self.0.options.python.as_deref())).await
    }

    /// How many interpreters wait for a call.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.0.pool.ready()
    }

    /// Has interpreters wait for calls of this kind from now on, as after a first call.
    ///
    /// # Errors
    /// As [`Cage::run`], for what can be known without a call.
    pub async fn warm(&self, job: &Job) -> Result<(), CageError> {
        let kind = self.kind(job).await?;
        self.take(job, &kind).await.map(drop)
    }

    /// Runs one call. Dropping the future ends it, with every process it started.
    ///
    /// # Errors
    /// [`CageError`] when the call could not begin; whatever the tool does is an [`Outcome`].
    pub async fn run(&self, job: Job) -> Result<Outcome, CageError> {
        let limits = &self.0.options.limits;
        let payload = job.payload(limits.text_chars);
        if payload.len() > limits.job_bytes {
            return Err(CageError::TooLarge { bytes: payload.len(), limit: limits.job_bytes });
        }
        let kind = self.kind(&job).await?;
        let _place = self.0.places.acquire().await.map_err(|_| CageError::Closed)?;
        let worker = self.take(&job, &kind).await?;
        Ok(worker.run(chance(), &payload, job.timeout).await)
    }

    async fn take(&self, job: &Job, kind: &Kind) -> Result<Worker, CageError> {
        self.0
            .pool
            .take(kind)
            .await
            .map_err(|why| CageError::Start { language: job.language.name(), why })
    }

    async fn kind(&self, job: &Job) -> Result<Kind, CageError> {
        let inside = &self.0;
        if !self.is_open() {
            return Err(CageError::NoLayer(inside.found.missing.join("; ")));
        }
        let network = job.network || inside.options.network;
        match job.language {
            Language::Python if job.requirements.is_empty() => {
                Ok(self.python().await?.kind(network))
            }
            Language::Python => {
                let base = self.python().await?;
                Ok(inside.venvs.get(base, &job.requirements).await?.kind(network))
            }
            Language::TypeScript => {
                let given = inside.options.typescript.as_deref();
                let found = inside.typescript.get_or_try_init(|| TypeScript::find(given)).await?;
                Ok(found.kind(network))
            }
        }
    }
}

fn starter(options: &Arc<CageOptions>, found: &Arc<Found>) -> pool::Starter {
    let (options, found) = (Arc::clone(options), Arc::clone(found));
    let next = AtomicU16::new(u16::from_le_bytes([chance()[0], chance()[1]]));
    Box::new(move |kind| {
        let walls = found.walls(next.fetch_add(1, Ordering::Relaxed));
        let plan = walls.map(|walls| Plan {
            walls,
            limits: options.limits.clone(),
            helper: options.helper.words(),
            command: kind.command.clone(),
            readable: kind.readable.clone(),
            hidden: options.data_dir.clone(),
            scratch: worker::scratch(&options.data_dir),
            network: kind.network,
            reserve_bytes: if kind.reserves { RESERVE } else { 0 },
        });
        Box::pin(async move {
            match plan {
                Some(plan) => Worker::start(&plan, START).await,
                None => Err("nothing keeps tools in".into()),
            }
        })
    })
}

/// What nobody can guess: the tag of a job.
fn chance() -> frame::Tag {
    let mut tag = [0; 8];
    let flags = rustix::rand::GetRandomFlags::empty();
    // The kernel gives up to 256 bytes without interruption, once it is up.
    let filled = rustix::rand::getrandom(&mut tag, flags);
    debug_assert_eq!(filled, Ok(tag.len()));
    tag
}
