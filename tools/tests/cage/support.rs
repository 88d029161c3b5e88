//! A cage to test, and the world around it that no tool may touch.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use retold_tools::cage::{Cage, CageOptions, Helper, Job, Layer, Limits, Outcome};

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A form of the cage: the three layers, and the last of them as older kernels have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Namespaces,
    UserNamespaces,
    Landlock,
    LandlockWithoutScopes,
}

impl Form {
    pub(crate) const ALL: [Self; 4] =
        [Self::Namespaces, Self::UserNamespaces, Self::Landlock, Self::LandlockWithoutScopes];

    pub(crate) fn layer(self) -> Layer {
        match self {
            Self::Namespaces => Layer::Namespaces,
            Self::UserNamespaces => Layer::UserNamespaces,
            Self::Landlock | Self::LandlockWithoutScopes => Layer::Landlock,
        }
    }

    /// Whether every process of a call is in a namespace of its own.
    pub(crate) fn has_own_processes(self) -> bool {
        matches!(self, Self::Namespaces | Self::UserNamespaces)
    }
}

/// Bounds that are quick to reach.
pub(crate) fn small() -> Limits {
    Limits {
        cpu_seconds: 20,
        memory_bytes: 256 << 20,
        processes: 32,
        disk_bytes: 16 << 20,
        files: 2_000,
        flood_bytes: 4 << 20,
        output_bytes: 64 << 10,
        ..Limits::default()
    }
}

pub(crate) fn options(data: PathBuf, form: Form) -> CageOptions {
    let helper =
        Helper { program: env!("CARGO_BIN_EXE_retold-cage").into(), arguments: Vec::new() };
    let mut options = CageOptions::new(data, helper);
    options.layers = Some(vec![form.layer()]);
    options.scope_signals = form != Form::LandlockWithoutScopes;
    options.limits = small();
    options.concurrency = 3;
    options
}

/// A cage with a world around it.
pub(crate) struct Ground {
    pub(crate) cage: Cage,
    pub(crate) form: Form,
    pub(crate) world: World,
}

impl Ground {
    /// The cage in this form, or nothing where the machine does not have it.
    pub(crate) async fn new(form: Form) -> Result<Option<Self>, Failure> {
        Self::with(form, |_| {}).await
    }

    pub(crate) async fn with(
        form: Form,
        change: impl FnOnce(&mut CageOptions),
    ) -> Result<Option<Self>, Failure> {
        let world = World::new()?;
        let mut options = options(world.data.path().to_path_buf(), form);
        change(&mut options);
        let cage = Cage::start(options).await;
        if cage.layer() != form.layer() {
            println!("not on this machine: {}", cage.missing().join("; "));
            return Ok(None);
        }
        Ok(Some(Self { cage, form, world }))
    }

    pub(crate) async fn run(&self, job: Job) -> Result<Outcome, Failure> {
        Ok(self.cage.run(job).await?)
    }

    /// Processes of the call that printed `outcome`, after the prelude of the escapes.
    pub(crate) fn left_behind(&self, stdout: &str) -> Vec<String> {
        let Some((group, namespace)) = identity(stdout) else { return Vec::new() };
        let all = processes();
        let left = all.iter().filter(|process| {
            if self.form.has_own_processes() {
                process.namespace == namespace
            } else {
                process.group == group
            }
        });
        // The number of a namespace that is gone may be that of another call's by now, which has its keeper.
        left.filter(|process| !has_keeper(process, &all)).map(|it| it.name.clone()).collect()
    }
}

fn has_keeper(process: &Process, all: &[Process]) -> bool {
    let mut parent = process.parent;
    while let Some(above) = all.iter().find(|one| one.pid == parent) {
        let line = std::fs::read(format!("/proc/{parent}/cmdline")).unwrap_or_default();
        if String::from_utf8_lossy(&line).contains("\0keeper\0") {
            return true;
        }
        parent = above.parent;
    }
    false
}

/// What the prelude prints first: the process group and the namespace of a call.
pub(crate) fn identity(stdout: &str) -> Option<(String, String)> {
    let line = stdout.lines().find_map(|line| line.strip_prefix("identity "))?;
    let (group, namespace) = line.split_once(' ')?;
    Some((group.to_owned(), namespace.to_owned()))
}

struct Process {
    pid: u32,
    parent: u32,
    group: String,
    namespace: String,
    name: String,
}

/// All processes of the machine but those that are dead already and wait for their parent.
fn processes() -> Vec<Process> {
    let Ok(all) = std::fs::read_dir("/proc") else { return Vec::new() };
    all.filter_map(Result::ok)
        .filter_map(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let (name, rest) = stat.rsplit_once(')')?;
            let mut fields = rest.split_ascii_whitespace();
            let state = fields.next()?;
            let parent = fields.next()?.parse().ok()?;
            let group = fields.next()?.to_owned();
            let namespace = std::fs::read_link(entry.path().join("ns/pid")).ok()?;
            (state != "Z" && state != "X").then(|| Process {
                pid: entry.file_name().to_string_lossy().parse().unwrap_or(0),
                parent,
                group,
                namespace: namespace.display().to_string(),
                name: format!("{name})"),
            })
        })
        .collect()
}

/// What lies around a cage: a data directory with a secret, a folder that anybody may write, somebody else's process,
/// listeners, and a descriptor that is handed to every child.
pub(crate) struct World {
    pub(crate) data: tempfile::TempDir,
    pub(crate) outside: tempfile::TempDir,
    victim: Child,
    tcp: TcpListener,
    named: UnixListener,
    hidden: UnixListener,
    abstract_name: String,
    leak: OwnedFd,
    before: Vec<String>,
}

impl World {
    fn new() -> Result<Self, Failure> {
        let data = tempfile::tempdir()?;
        std::fs::write(data.path().join("secret"), "the server's secret")?;
        let outside = tempfile::tempdir()?;
        std::fs::set_permissions(outside.path(), std::fs::Permissions::from_mode(0o777))?;
        let file = outside.path().join("file");
        std::fs::write(&file, "as it was")?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666))?;
        let tcp = TcpListener::bind("127.0.0.1:0")?;
        tcp.set_nonblocking(true)?;
        let named = UnixListener::bind(outside.path().join("socket"))?;
        named.set_nonblocking(true)?;
        let abstract_name = format!("retold-{}", outside.path().display());
        let hidden = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&abstract_name)?)?;
        hidden.set_nonblocking(true)?;
        let leak = OwnedFd::from(std::fs::File::open(data.path().join("secret"))?);
        let leak = rustix::io::fcntl_dupfd_cloexec(&leak, 40)?;
        rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty())?;
        let victim = Command::new("sleep").arg("600").spawn()?;
        let mut world = Self {
            data,
            outside,
            victim,
            tcp,
            named,
            hidden,
            abstract_name,
            leak,
            before: Vec::new(),
        };
        world.before = world.looks();
        Ok(world)
    }

    /// The source with the names of this world put in.
    pub(crate) fn fill(&self, source: &str) -> String {
        let port = self.tcp.local_addr().map_or(0, |address| address.port());
        source
            .replace("{DATA}", &self.data.path().display().to_string())
            .replace("{OUTSIDE}", &self.outside.path().display().to_string())
            .replace("{VICTIM}", &self.victim.id().to_string())
            .replace("{SERVER}", &std::process::id().to_string())
            .replace("{PORT}", &port.to_string())
            .replace("{ABSTRACT}", &self.abstract_name)
    }

    fn looks(&self) -> Vec<String> {
        let mut all = Vec::new();
        for folder in [self.outside.path(), self.data.path()] {
            let mut names: Vec<PathBuf> = std::fs::read_dir(folder)
                .map(|entries| entries.filter_map(Result::ok).map(|entry| entry.path()).collect())
                .unwrap_or_default();
            // What the cage itself keeps below the data directory.
            names.retain(|name| !name.ends_with("tools"));
            names.sort();
            for name in names {
                let data = std::fs::symlink_metadata(&name);
                let data = data.map(|data| {
                    (data.mode(), data.uid(), data.nlink(), data.len(), data.mtime(), data.ino())
                });
                let text = std::fs::read_to_string(&name).ok();
                all.push(format!("{} {data:?} {text:?}", name.display()));
            }
        }
        let victim = self.victim.id();
        let affinity =
            std::fs::read_to_string(format!("/proc/{victim}/status")).unwrap_or_default();
        let affinity = affinity.lines().find(|line| line.starts_with("Cpus_allowed:"));
        let limits = std::fs::read_to_string(format!("/proc/{victim}/limits")).unwrap_or_default();
        all.push(format!("{affinity:?} {limits}"));
        let stat = std::fs::read_to_string(format!("/proc/{victim}/stat")).unwrap_or_default();
        let nice = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(16));
        all.push(format!("nice {nice:?}"));
        all
    }

    /// What a tool has changed out here: nothing, if the cage held.
    pub(crate) fn changes(&mut self) -> Vec<String> {
        let mut changes = Vec::new();
        if !matches!(self.victim.try_wait(), Ok(None)) {
            changes.push("another process was ended".to_owned());
        }
        let state = std::fs::read_to_string(format!("/proc/{}/stat", self.victim.id()));
        if state.is_ok_and(|stat| stat.contains(") T ")) {
            changes.push("another process was stopped".to_owned());
        }
        let now = self.looks();
        changes.extend(now.iter().filter(|line| !self.before.contains(line)).cloned());
        changes.extend(
            self.before
                .iter()
                .filter(|line| !now.contains(line))
                .map(|line| format!("gone: {line}")),
        );
        if self.tcp.accept().is_ok() || self.named.accept().is_ok() || self.hidden.accept().is_ok()
        {
            changes.push("a socket out here was reached".to_owned());
        }
        if rustix::io::fcntl_getfd(&self.leak).is_err() {
            changes.push("the leaking descriptor is gone: it proves nothing".to_owned());
        }
        changes
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = self.victim.kill();
        let _ = self.victim.wait();
    }
}

/// Asks until it is so, for at most half a minute.
pub(crate) async fn until(mut so: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(30) {
        if so() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    so()
}
