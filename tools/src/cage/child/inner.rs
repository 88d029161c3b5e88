//! The last thing before a tool's interpreter: this process takes every right from itself, then becomes the interpreter.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use rustix::thread::{
    CapabilitiesSecureBits, CapabilitySet, CapabilitySets, Gid, Uid, set_capabilities,
    set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};

use super::filter;
use super::plan::{Inner, Paths};
use crate::cage::limits::Limits;

/// Becomes the command, locked in. Comes back only with the reason why not.
///
/// # Errors
/// Whatever could not be locked: a half-made cage is never entered.
pub(super) fn enter(inner: &Inner) -> io::Result<()> {
    // The keeper's precedence is not for what it keeps.
    rustix::process::setpriority_process(None, 0)?;
    let shared = inner.landlock.is_some() || inner.open;
    if shared {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    }
    bound(&inner.limits, shared)?;
    set_no_new_privs(true)?;
    if inner.open {
        return Err(become_command(inner));
    }
    drop_rights(inner.user)?;
    let mut signals = false;
    if let Some(paths) = &inner.landlock {
        signals = !paths.scoped;
        restrict(paths, inner.network)?;
    }
    filter::apply(filter::Reach { network: inner.network, shared, signals })?;
    Err(become_command(inner))
}

fn become_command(inner: &Inner) -> io::Error {
    let [program, arguments @ ..] = inner.command.as_slice() else {
        return io::Error::other("there is no command to run in the cage");
    };
    let failure = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", &inner.home)
        .env("TMPDIR", inner.home.with_file_name("tmp"))
        .env("LANG", "C.UTF-8")
        .env("PYTHONUNBUFFERED", "1")
        .current_dir(&inner.home)
        .exec();
    io::Error::new(failure.kind(), format!("{program} cannot be started in the cage: {failure}"))
}

fn bound(limits: &Limits, shared: bool) -> io::Result<()> {
    let processes =
        if shared { limits.processes + threads_of_this_user() } else { limits.processes };
    for (resource, most) in [
        (Resource::Core, 0),
        (Resource::Cpu, limits.cpu_seconds),
        (Resource::Data, limits.memory_bytes),
        (Resource::Fsize, limits.disk_bytes),
        (Resource::Nofile, limits.descriptors),
        (Resource::Nproc, processes),
        (Resource::Memlock, 1 << 16),
        (Resource::Msgqueue, 0),
        (Resource::Nice, 0),
        (Resource::Rtprio, 0),
    ] {
        // What is already lower stays so: nobody but an administrator may raise it.
        let hard = rustix::process::getrlimit(resource).maximum;
        let most = hard.map_or(most, |hard| hard.min(most));
        // Two seconds between the signal that says so and the one that cannot be ignored.
        let last = if resource == Resource::Cpu { most.saturating_add(2) } else { most };
        let last = hard.map_or(last, |hard| hard.min(last));
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(last) })?;
    }
    Ok(())
}

/// The kernel counts processes by user, so where the user is the server's own, what runs already is no part of the bound.
fn threads_of_this_user() -> u64 {
    use std::os::unix::fs::MetadataExt;
    let own = rustix::process::getuid().as_raw();
    let Ok(processes) = std::fs::read_dir("/proc") else { return 0 };
    processes
        .filter_map(Result::ok)
        .filter(|entry| entry.metadata().is_ok_and(|data| data.uid() == own))
        .filter_map(|entry| std::fs::read_dir(entry.path().join("task")).ok())
        .map(|threads| threads.count() as u64)
        .sum()
}

/// Leaves the administrator's place where it is asked to, and every capability in any case.
fn drop_rights(user: Option<u32>) -> io::Result<()> {
    let bits = CapabilitiesSecureBits::NO_ROOT
        | CapabilitiesSecureBits::NO_ROOT_LOCKED
        | CapabilitiesSecureBits::NO_SETUID_FIXUP_LOCKED
        | CapabilitiesSecureBits::KEEP_CAPS_LOCKED;
    // Both need a right that an ordinary user lacks and, having nothing to lose, does not need.
    let _ = rustix::thread::set_capabilities_secure_bits(bits);
    if let Some(user) = user {
        set_thread_groups(&[])?;
        let group = Gid::from_raw(user);
        set_thread_res_gid(group, group, group)?;
        let user = Uid::from_raw(user);
        set_thread_res_uid(user, user, user)?;
    }
    let _ = rustix::thread::clear_ambient_capability_set();
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(())
}

/// The newest set of rights that this was written against.
const NEWEST: ABI = ABI::V7;
/// Below this, a file that may be read could be emptied.
const OLDEST: ABI = ABI::V3;

/// Whether the kernel's landlock keeps signals in.
pub(crate) fn signals_can_be_scoped() -> bool {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .scope(Scope::from_all(ABI::V6))
        .and_then(Ruleset::create)
        .is_ok()
}

fn restrict(paths: &Paths, network: bool) -> io::Result<()> {
    let status = ruleset(paths, network).map_err(io::Error::other)?;
    if status == RulesetStatus::NotEnforced {
        return Err(io::Error::other("the kernel's landlock is off"));
    }
    Ok(())
}

fn ruleset(paths: &Paths, network: bool) -> Result<RulesetStatus, landlock::RulesetError> {
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(OLDEST))?
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?;
    if !network {
        rules = rules.handle_access(AccessNet::from_all(NEWEST))?;
    }
    if paths.scoped {
        rules = rules
            .set_compatibility(CompatLevel::HardRequirement)
            .scope(Scope::from_all(NEWEST))?
            .set_compatibility(CompatLevel::BestEffort);
    }
    let status = rules
        .create()?
        .add_rules(path_beneath_rules(&paths.readable, AccessFs::from_read(NEWEST)))?
        .add_rules(path_beneath_rules(DEVICES, AccessFs::from_read(NEWEST) | AccessFs::WriteFile))?
        .add_rules(path_beneath_rules(&paths.writable, AccessFs::from_all(NEWEST)))?
        .restrict_self()?;
    Ok(status.ruleset)
}

const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

/// What the process in the cage may read of the system, in either kind of walls; what does not exist is left out.
pub(super) fn system(network: bool) -> Vec<PathBuf> {
    const ALWAYS: &[&str] = &[
        "/usr",
        "/bin",
        "/sbin",
        "/lib",
        "/lib32",
        "/lib64",
        "/nix/store",
        "/etc/alternatives",
        "/etc/ca-certificates",
        "/etc/ld.so.cache",
        "/etc/localtime",
        "/etc/mime.types",
        "/etc/pki/ca-trust/extracted",
        "/etc/pki/tls/certs",
        "/etc/ssl/certs",
        "/etc/ssl/openssl.cnf",
        "/etc/timezone",
    ];
    const NETWORK: &[&str] = &[
        "/etc/gai.conf",
        "/etc/host.conf",
        "/etc/hosts",
        "/etc/nsswitch.conf",
        "/etc/protocols",
        "/etc/resolv.conf",
        "/etc/services",
    ];
    ALWAYS
        .iter()
        .chain(if network { NETWORK } else { &[] })
        .filter(|path| Path::new(path).exists())
        .map(PathBuf::from)
        .collect()
}
