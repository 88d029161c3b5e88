//! Attempts on the kernel: namespaces, mounts, keyrings, and the calls that have let others out before.

use super::{Attempt, held};

/// Numbers of calls, for the attempts that make them without a library.
pub(super) const NUMBERS: &[(&str, i64)] = &[
    ("SYS_acct", libc::SYS_acct),
    ("SYS_add_key", libc::SYS_add_key),
    ("SYS_bpf", libc::SYS_bpf),
    ("SYS_capget", libc::SYS_capget),
    ("SYS_capset", libc::SYS_capset),
    ("SYS_chroot", libc::SYS_chroot),
    ("SYS_clock_settime", libc::SYS_clock_settime),
    ("SYS_clone", libc::SYS_clone),
    ("SYS_clone3", libc::SYS_clone3),
    ("SYS_delete_module", libc::SYS_delete_module),
    ("SYS_fanotify_init", libc::SYS_fanotify_init),
    ("SYS_finit_module", libc::SYS_finit_module),
    ("SYS_fsopen", libc::SYS_fsopen),
    ("SYS_init_module", libc::SYS_init_module),
    ("SYS_inotify_init1", libc::SYS_inotify_init1),
    ("SYS_io_uring_setup", libc::SYS_io_uring_setup),
    ("SYS_kcmp", libc::SYS_kcmp),
    ("SYS_kexec_load", libc::SYS_kexec_load),
    ("SYS_keyctl", libc::SYS_keyctl),
    ("SYS_memfd_secret", libc::SYS_memfd_secret),
    ("SYS_mount", libc::SYS_mount),
    ("SYS_move_mount", libc::SYS_move_mount),
    ("SYS_open_by_handle_at", libc::SYS_open_by_handle_at),
    ("SYS_open_tree", libc::SYS_open_tree),
    ("SYS_perf_event_open", libc::SYS_perf_event_open),
    ("SYS_personality", libc::SYS_personality),
    ("SYS_pidfd_getfd", libc::SYS_pidfd_getfd),
    ("SYS_pivot_root", libc::SYS_pivot_root),
    ("SYS_process_vm_readv", libc::SYS_process_vm_readv),
    ("SYS_process_vm_writev", libc::SYS_process_vm_writev),
    ("SYS_ptrace", libc::SYS_ptrace),
    ("SYS_quotactl", libc::SYS_quotactl),
    ("SYS_reboot", libc::SYS_reboot),
    ("SYS_renameat2", libc::SYS_renameat2),
    ("SYS_request_key", libc::SYS_request_key),
    ("SYS_rt_sigqueueinfo", libc::SYS_rt_sigqueueinfo),
    ("SYS_sethostname", libc::SYS_sethostname),
    ("SYS_setns", libc::SYS_setns),
    ("SYS_settimeofday", libc::SYS_settimeofday),
    ("SYS_shmget", libc::SYS_shmget),
    ("SYS_socketpair", libc::SYS_socketpair),
    ("SYS_socket", libc::SYS_socket),
    ("SYS_swapon", libc::SYS_swapon),
    ("SYS_syslog", libc::SYS_syslog),
    ("SYS_tgkill", libc::SYS_tgkill),
    ("SYS_tkill", libc::SYS_tkill),
    ("SYS_umount2", libc::SYS_umount2),
    ("SYS_unshare", libc::SYS_unshare),
    ("SYS_userfaultfd", libc::SYS_userfaultfd),
    ("SYS_vhangup", libc::SYS_vhangup),
];

pub(super) const ATTEMPTS: &[Attempt] = &[
    held(
        "mount",
        "return refused(lambda: kernel({SYS_mount}, b'x', b'/tmp', b'tmpfs', 0, 0), lambda: kernel({SYS_mount}, b'/', b'.', 0, 4096, 0))",
    ),
    held(
        "mount by the new calls",
        "return refused(lambda: kernel({SYS_fsopen}, b'tmpfs', 0), lambda: kernel({SYS_open_tree}, -100, b'/', 1), lambda: kernel({SYS_move_mount}, 0, b'', -100, b'/', 4))",
    ),
    held(
        "unmount",
        "return refused(*[lambda p=p: kernel({SYS_umount2}, p, 2) for p in (b'/proc', b'/dev', b'/usr', b'/cage/work')])",
    ),
    held(
        "change the root",
        "return refused(lambda: os.chroot('.'), lambda: kernel({SYS_pivot_root}, b'.', b'.'))",
    ),
    held("make a namespace of users", "return refused(lambda: kernel({SYS_unshare}, 0x10000000))"),
    held(
        "make any namespace",
        "return refused(*[lambda f=f: kernel({SYS_unshare}, f) for f in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x80)])",
    ),
    held(
        "be born in a namespace",
        "def born(flags):\n    child = kernel({SYS_clone}, flags | signal.SIGCHLD, 0, 0, 0, 0)\n    if child == 0:\n        os._exit(0)\n    return child\nreturn refused(*[lambda f=f: born(f) for f in (0x20000, 0x10000000, 0x10000000 | 0x20000000, 0x40000000)])",
    ),
    held(
        "be born in a namespace by the new call",
        "arguments = struct.pack('11Q', 0x10000000, 0, 0, 0, 17, 0, 0, 0, 0, 0, 0)\nreturn refused(lambda: kernel({SYS_clone3}, arguments, 88))",
    ),
    held(
        "enter a namespace",
        "return refused(*[lambda n=n: kernel({SYS_setns}, os.open('/proc/%s/ns/%s' % n, os.O_RDONLY), 0) for n in (('self', 'user'), ('self', 'mnt'), ('1', 'net'), ('{SERVER}', 'mnt'))])",
    ),
    held(
        "add a key",
        "return refused(lambda: kernel({SYS_add_key}, b'user', b'mine', b'x', 1, -4), lambda: kernel({SYS_request_key}, b'user', b'mine', 0, -4))",
    ),
    held(
        "read the keyrings of others",
        "return refused(*[lambda k=k: kernel({SYS_keyctl}, 0, k, 1) for k in range(-5, 0)], lambda: kernel({SYS_keyctl}, 1, 0))",
    ),
    held(
        "change its personality",
        "return refused(lambda: kernel({SYS_personality}, 0x40000), lambda: kernel({SYS_personality}, 8))",
    ),
    held(
        "load a module",
        "return refused(lambda: kernel({SYS_init_module}, b'x', 1, b''), lambda: kernel({SYS_finit_module}, 1, b'', 0), lambda: kernel({SYS_delete_module}, b'x', 0))",
    ),
    held("load a kernel", "return refused(lambda: kernel({SYS_kexec_load}, 0, 0, 0, 0))"),
    held(
        "load a program into the kernel",
        "return refused(lambda: kernel({SYS_bpf}, 5, ctypes.create_string_buffer(128), 128), lambda: kernel({SYS_bpf}, 0, ctypes.create_string_buffer(128), 128))",
    ),
    held(
        "measure others",
        "return refused(lambda: kernel({SYS_perf_event_open}, ctypes.create_string_buffer(128), {VICTIM}, -1, -1, 0), lambda: kernel({SYS_perf_event_open}, ctypes.create_string_buffer(128), 0, -1, -1, 0))",
    ),
    held(
        "queue calls past the filter",
        "return refused(lambda: kernel({SYS_io_uring_setup}, 4, ctypes.create_string_buffer(120)))",
    ),
    held("handle its own faults", "return refused(lambda: kernel({SYS_userfaultfd}, 1))"),
    held("hide memory from the kernel", "return refused(lambda: kernel({SYS_memfd_secret}, 0))"),
    held(
        "restart the machine",
        "return refused(lambda: kernel({SYS_reboot}, 0xfee1dead, 672274793, 0x89abcdef, 0))",
    ),
    held("swap", "return refused(lambda: kernel({SYS_swapon}, b'work', 0))"),
    held(
        "rename the machine",
        "return refused(lambda: kernel({SYS_sethostname}, b'mine', 4), lambda: socket.sethostname('mine'))",
    ),
    held(
        "set the clock",
        "return refused(lambda: time.clock_settime(0, 0), lambda: kernel({SYS_settimeofday}, struct.pack('qq', 0, 0), 0))",
    ),
    held(
        "read the kernel's words",
        "return refused(lambda: kernel({SYS_syslog}, 3, ctypes.create_string_buffer(100), 100))",
    ),
    held(
        "type into a terminal",
        "import fcntl\nreturn refused(lambda: fcntl.ioctl(0, 0x5412, b'x'), lambda: fcntl.ioctl(1, 0x541c, b'x'))",
    ),
    held(
        "account for processes, and set quotas",
        "return refused(lambda: kernel({SYS_acct}, b'log'), lambda: kernel({SYS_quotactl}, 0, 0, 0, 0), lambda: kernel({SYS_vhangup}))",
    ),
    held(
        "take capabilities",
        "head = struct.pack('Ii', 0x20080522, 0)\nreturn refused(lambda: kernel({SYS_capset}, head, struct.pack('6I', *[0xffffffff] * 6)))",
    ),
    held(
        "share memory with others by a key",
        "def shared():\n    if os.path.exists('{DATA}'):\n        return kernel({SYS_shmget}, 0x1234, 4096, 0o1666)\n    raise OSError('it has none but its own')\nreturn refused(shared)",
    ),
    held(
        "leave a dump of its memory",
        "assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)\nchild = os.fork()\nif child == 0:\n    os.abort()\n_, status = os.waitpid(child, 0)\nreturn refused(lambda: os.WCOREDUMP(status) or 1/0, lambda: [n for n in os.listdir('.') if 'core' in n] or 1/0)",
    ),
];
