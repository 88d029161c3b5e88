//! Which calls to the kernel a tool may not make.
//!
//! A list of what is refused rather than of what is allowed: tools are arbitrary Python with compiled packages, and a list of
//! the allowed breaks them with every release of a C library. What is refused either reaches out of the cage (sockets, other
//! processes, what others own), opens a wide surface of the kernel (`bpf`, `io_uring`, new namespaces), or outlives the call
//! (keyrings). It answers `EPERM`, so a tool gets an exception and not a signal.

use std::collections::BTreeMap;
use std::io;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch, apply_filter,
};

/// What decides on a filter.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reach {
    /// Internet sockets are allowed.
    pub(super) network: bool,
    /// The tool shares its process ids, its IPC and its user with others: what acts on those is refused, too.
    pub(super) shared: bool,
    /// Nothing else keeps signals from leaving: only itself and its group may be signalled.
    pub(super) signals: bool,
}

/// Refused whatever the arguments are.
const NEVER: &[c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_memfd_secret,
    libc::SYS_migrate_pages,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_move_pages,
    libc::SYS_name_to_handle_at,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setdomainname,
    libc::SYS_sethostname,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
];

/// Refused where processes, IPC objects and files are those of the server's own user: landlock knows nothing of modes, owners,
/// times and attributes, and a process that leaves its group would survive the end of the call.
const SHARED: &[c_long] = &[
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fchmodat2,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    libc::SYS_fremovexattr,
    libc::SYS_fsetxattr,
    libc::SYS_inotify_init1,
    libc::SYS_ioprio_set,
    libc::SYS_lremovexattr,
    libc::SYS_lsetxattr,
    libc::SYS_mq_open,
    libc::SYS_mq_unlink,
    libc::SYS_msgctl,
    libc::SYS_msgget,
    libc::SYS_msgrcv,
    libc::SYS_msgsnd,
    libc::SYS_removexattr,
    libc::SYS_semctl,
    libc::SYS_semget,
    libc::SYS_semop,
    libc::SYS_semtimedop,
    libc::SYS_setpgid,
    libc::SYS_setsid,
    libc::SYS_setxattr,
    libc::SYS_shmat,
    libc::SYS_shmctl,
    libc::SYS_shmget,
    libc::SYS_truncate,
    libc::SYS_utimensat,
    // setxattrat and removexattrat, newer than the names this is compiled with.
    463,
    466,
];

#[cfg(target_arch = "x86_64")]
const OLD_NEVER: &[c_long] = &[
    libc::SYS__sysctl,
    libc::SYS_ioperm,
    libc::SYS_iopl,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
];
#[cfg(target_arch = "x86_64")]
const OLD_SHARED: &[c_long] = &[
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_futimesat,
    libc::SYS_inotify_init,
    libc::SYS_lchown,
    libc::SYS_utime,
    libc::SYS_utimes,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_NEVER: &[c_long] = &[];
#[cfg(not(target_arch = "x86_64"))]
const OLD_SHARED: &[c_long] = &[];

/// Locks these calls away from this process and all that come from it.
///
/// # Errors
/// When the kernel takes no filter, or this processor is one the filter cannot be written for.
pub(super) fn apply(reach: Reach) -> io::Result<()> {
    // `clone3` hides its flags behind a pointer; without it a C library uses `clone`, whose flags can be looked at.
    load(&[(libc::SYS_clone3, vec![])], libc::ENOSYS)?;
    load(&refused(reach)?, libc::EPERM)
}

type Refusal = (c_long, Vec<SeccompRule>);

fn refused(reach: Reach) -> io::Result<Vec<Refusal>> {
    let mut all: Vec<Refusal> =
        NEVER.iter().chain(OLD_NEVER).map(|call| (*call, Vec::new())).collect();
    // The numbers that only the second set of calls of this processor has: `ptrace` and others once more.
    #[cfg(target_arch = "x86_64")]
    all.extend((512..=547).map(|call| (call, Vec::new())));
    all.push((libc::SYS_clone, namespaces()?));
    all.push((libc::SYS_socket, sockets(reach.network)?));
    all.push((libc::SYS_socketpair, vec![unless(0, &[libc::AF_UNIX as u64])?]));
    all.push((libc::SYS_personality, vec![unless(0, &[0, 0xffff_ffff])?]));
    // Typing into a terminal, and pasting into a console.
    all.push((libc::SYS_ioctl, vec![when(1, 0x5412)?, when(1, 0x541c)?]));
    if reach.shared {
        all.extend(SHARED.iter().chain(OLD_SHARED).map(|call| (*call, Vec::new())));
        for of_another in [
            libc::SYS_prlimit64,
            libc::SYS_sched_setaffinity,
            libc::SYS_sched_setattr,
            libc::SYS_sched_setparam,
            libc::SYS_sched_setscheduler,
        ] {
            all.push((of_another, vec![unless(0, &[0])?]));
        }
        all.push((libc::SYS_setpriority, vec![unless(0, &[0])?, unless(1, &[0])?]));
        all.push((libc::SYS_prctl, vec![when(0, libc::PR_SET_PDEATHSIG as u64)?]));
    }
    if reach.signals {
        let own = u64::from(std::process::id());
        all.push((libc::SYS_kill, vec![unless(0, &[0, own])?]));
        all.push((libc::SYS_tgkill, vec![unless(0, &[own])?]));
        all.push((libc::SYS_rt_tgsigqueueinfo, vec![unless(0, &[own])?]));
        all.push((libc::SYS_rt_sigqueueinfo, vec![unless(0, &[own])?]));
        all.push((libc::SYS_tkill, Vec::new()));
        all.push((libc::SYS_pidfd_send_signal, Vec::new()));
    }
    Ok(all)
}

/// Any flag of `clone` that asks for a new namespace.
fn namespaces() -> io::Result<Vec<SeccompRule>> {
    [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ]
    .into_iter()
    .map(|flag| rule(vec![condition(0, Op::MaskedEq(flag as u64), flag as u64)?]))
    .collect()
}

/// Without the network no socket at all; with it those of the Internet. Never a Unix socket: those of the host (of container
/// engines, of databases) would answer. A pair of connected ones stays allowed, event loops need it.
fn sockets(network: bool) -> io::Result<Vec<SeccompRule>> {
    if network {
        Ok(vec![unless(0, &[libc::AF_INET as u64, libc::AF_INET6 as u64])?, when_raw()?])
    } else {
        Ok(Vec::new())
    }
}

/// Raw sockets, whichever flags come with the type.
fn when_raw() -> io::Result<SeccompRule> {
    rule(vec![condition(1, Op::MaskedEq(0xf), libc::SOCK_RAW as u64)?])
}

fn when(argument: u8, value: u64) -> io::Result<SeccompRule> {
    rule(vec![condition(argument, Op::Eq, value)?])
}

/// Refused unless the argument is one of these.
fn unless(argument: u8, allowed: &[u64]) -> io::Result<SeccompRule> {
    rule(
        allowed
            .iter()
            .map(|value| condition(argument, Op::Ne, *value))
            .collect::<Result<_, _>>()?,
    )
}

fn condition(argument: u8, operator: Op, value: u64) -> io::Result<SeccompCondition> {
    // The kernel looks at the low half of all of these.
    SeccompCondition::new(argument, Len::Dword, operator, value).map_err(io::Error::other)
}

fn rule(conditions: Vec<SeccompCondition>) -> io::Result<SeccompRule> {
    SeccompRule::new(conditions).map_err(io::Error::other)
}

fn load(refusals: &[Refusal], errno: i32) -> io::Result<()> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for (call, conditions) in refusals {
        for number in numbers(*call) {
            rules.insert(number, conditions.clone());
        }
    }
    let architecture = TargetArch::try_from(std::env::consts::ARCH).map_err(io::Error::other)?;
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(errno.unsigned_abs()),
        architecture,
    )
    .map_err(io::Error::other)?;
    let program: BpfProgram = filter.try_into().map_err(io::Error::other)?;
    apply_filter(&program).map_err(io::Error::other)
}

/// The numbers under which a call can be made: some kernels take a second set with this bit set.
fn numbers(call: c_long) -> Vec<i64> {
    #[cfg(target_arch = "x86_64")]
    return vec![call, call | 0x4000_0000];
    #[cfg(not(target_arch = "x86_64"))]
    vec![call]
}
