//! Attempts on processes: the server's environment, memory and life, those of others, and on staying after the end.

use super::{Attempt, died, endless, ends, held};

pub(super) const ATTEMPTS: &[Attempt] = &[
    held(
        "find the server's environment in its own",
        "known = {'HOME', 'LANG', 'PATH', 'TMPDIR', 'NO_COLOR', 'TERM', 'PYTHONUNBUFFERED'}\nreturn refused(lambda: set(os.environ) - known or 1/0)",
    ),
    held(
        "read the environment it was started with",
        "names = {e.split(b'=')[0] for e in open('/proc/self/environ', 'rb').read().split(b'\\0') if e} if os.path.exists('/proc/self/environ') and os.access('/proc/self/environ', os.R_OK) and not os.path.exists('{DATA}') else set()\nreturn refused(lambda: names - {b'HOME', b'LANG', b'PATH', b'TMPDIR', b'PYTHONUNBUFFERED', b'PWD'} or 1/0)",
    ),
    held(
        "read the environment of others",
        "return refused(*[lambda p=p: open('/proc/%d/environ' % p, 'rb').read() for p in ({VICTIM}, {SERVER})])",
    ),
    held(
        "find the server's canary in any process",
        "def seen():\n    for p in os.listdir('/proc'):\n        try:\n            if b'CARGO' in open('/proc/%s/environ' % p, 'rb').read():\n                return p\n        except OSError:\n            pass\n    raise LookupError\nreturn refused(seen)",
    ),
    held(
        "see the command lines of others",
        "return refused(lambda: open('/proc/{SERVER}/cmdline').read(), lambda: open('/proc/{VICTIM}/cmdline').read())",
    ),
    held(
        "see the memory of others",
        "return refused(lambda: open('/proc/{VICTIM}/mem', 'rb'), lambda: open('/proc/{VICTIM}/maps').read(), lambda: open('/proc/{SERVER}/mem', 'r+b'))",
    ),
    held(
        "trace another",
        "return refused(lambda: kernel({SYS_ptrace}, 16, {VICTIM}, 0, 0), lambda: kernel({SYS_ptrace}, 16, os.getppid(), 0, 0))",
    ),
    held("have itself traced", "return refused(lambda: kernel({SYS_ptrace}, 0, 0, 0, 0))"),
    held(
        "read the memory of another by call",
        "buffer = ctypes.create_string_buffer(32)\nreturn refused(lambda: kernel({SYS_process_vm_readv}, {VICTIM}, buffer, 1, buffer, 1, 0), lambda: kernel({SYS_process_vm_writev}, {VICTIM}, buffer, 1, buffer, 1, 0))",
    ),
    held(
        "take a descriptor of another",
        "return refused(lambda: kernel({SYS_pidfd_getfd}, os.pidfd_open({VICTIM}) if hasattr(os, 'pidfd_open') else 3, 0, 0))",
    ),
    held(
        "compare itself with another",
        "return refused(lambda: kernel({SYS_kcmp}, os.getpid(), {VICTIM}, 0, 0, 0))",
    ),
    held(
        "kill another",
        "return tried(lambda: os.kill({VICTIM}, 9), lambda: os.kill({VICTIM}, 15), lambda: os.kill({VICTIM}, 19))",
    ),
    held("kill the server", "return tried(lambda: os.kill({SERVER}, 9))"),
    held(
        "kill its keeper",
        "return tried(lambda: os.kill(os.getppid(), 9), lambda: os.kill(os.getppid(), 19), lambda: os.kill(1, 9) if os.getpid() != 1 else 0)",
    ),
    held(
        "kill by other calls",
        "return tried(lambda: kernel({SYS_tkill}, {VICTIM}, 9), lambda: kernel({SYS_tgkill}, {VICTIM}, {VICTIM}, 9), lambda: kernel({SYS_rt_sigqueueinfo}, {VICTIM}, 9, ctypes.create_string_buffer(128)), lambda: signal.pidfd_send_signal(os.pidfd_open({VICTIM}), 9))",
    ),
    held(
        "kill everybody",
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nreturn tried(lambda: os.kill(-1, 15))",
    ),
    held("kill another's group", "return tried(lambda: os.killpg(os.getpgid({VICTIM}), 9))"),
    held(
        "set the limits of another",
        "return tried(lambda: resource.prlimit({VICTIM}, resource.RLIMIT_NOFILE, (1, 1)))",
    ),
    held(
        "bind another to a processor",
        "return tried(lambda: os.sched_setaffinity({VICTIM}, {0}))",
    ),
    held(
        "slow another down",
        "return tried(lambda: os.setpriority(os.PRIO_PROCESS, {VICTIM}, 19), lambda: os.setpriority(os.PRIO_USER, 0, 19))",
    ),
    held(
        "raise its own limits",
        "return refused(*[lambda w=w: resource.setrlimit(w, (resource.RLIM_INFINITY,) * 2) for w in (resource.RLIMIT_CPU, resource.RLIMIT_DATA, resource.RLIMIT_NPROC, resource.RLIMIT_FSIZE, resource.RLIMIT_CORE)])",
    ),
    held(
        "be in a hurry",
        "return refused(lambda: os.nice(-5), lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)))",
    ),
    held(
        "become another user",
        "return refused(lambda: os.setuid(12345), lambda: os.setresuid(0, 0, 12345), lambda: os.setgid(12345), lambda: os.setgroups([12345]))",
    ),
    held(
        "have any capability",
        "head = struct.pack('Ii', 0x20080522, 0)\ndata = ctypes.create_string_buffer(24)\nkernel({SYS_capget}, head, data)\nreturn refused(lambda: any(struct.unpack('6I', data.raw)) or 1/0)",
    ),
    held(
        "gain rights by a program of the administrator's",
        "assert libc.prctl(39, 0, 0, 0, 0) == 1\nreturn refused(lambda: subprocess.run(['/usr/bin/su', '-c', 'id', 'root'], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True), lambda: subprocess.run(['/usr/bin/mount', '-t', 'tmpfs', 'x', '/tmp'], stderr=subprocess.DEVNULL, check=True))",
    ),
    held(
        "find descriptors of the server",
        "def found():\n    for fd in range(0, 200):\n        try:\n            name = os.fstat(fd)\n        except OSError:\n            continue\n        if fd > 3:\n            return fd\n        if fd == 3 and not (name.st_mode & 0o170000) == 0o140000:\n            return fd\n    raise LookupError\nreturn refused(found)",
    ),
    held(
        "read the server's descriptor by its number",
        "return refused(lambda: os.pread(40, 100, 0), lambda: open('/proc/self/fd/40').read())",
    ),
    held(
        "leave a daemon",
        "if os.fork() == 0:\n    try:\n        os.setsid()\n    except OSError:\n        pass\n    if os.fork() == 0:\n        time.sleep(600)\n    os._exit(0)\nos.wait()\nreturn 'held'",
    ),
    held(
        "leave a program",
        "subprocess.Popen(['sleep', '600'])\nsubprocess.Popen(['sh', '-c', 'trap \"\" TERM HUP INT; sleep 600 & sleep 600'])\nreturn 'held'",
    ),
    held(
        "leave a program in a session of its own",
        "try:\n    subprocess.Popen(['sleep', '600'], start_new_session=True)\nexcept OSError:\n    pass\nreturn 'held'",
    ),
    held(
        "leave a child that ignores all it can",
        "if os.fork() == 0:\n    for s in range(1, 65):\n        try:\n            signal.signal(s, signal.SIG_IGN)\n        except (OSError, ValueError):\n            pass\n    while True:\n        time.sleep(1)\nreturn 'held'",
    ),
    held(
        "leave a stopped child",
        "child = os.fork()\nif child == 0:\n    os.kill(os.getpid(), signal.SIGSTOP)\n    time.sleep(600)\nreturn 'held'",
    ),
    held(
        "leave threads",
        "for _ in range(5):\n    threading.Thread(target=time.sleep, args=(600,)).start()\nreturn 'held'",
    ),
    held(
        "work after the return",
        "import atexit\natexit.register(lambda: open('{OUTSIDE}/after', 'w'))\nthreading.Thread(target=lambda: (time.sleep(0.05), open('{OUTSIDE}/after', 'w'))).start()\nreturn 'held'",
    ),
    held(
        "be the parent of what it leaves",
        "libc.prctl(36, 1, 0, 0, 0)\nif os.fork() == 0:\n    if os.fork() == 0:\n        time.sleep(600)\n    os._exit(0)\nreturn 'held'",
    ),
    held(
        "outlive its keeper",
        "tried(lambda: libc.prctl(1, 0, 0, 0, 0))\nif os.fork() == 0:\n    time.sleep(600)\nreturn 'held'",
    ),
    held(
        "hide from debuggers",
        "libc.prctl(4, 0, 0, 0, 0)\nif os.fork() == 0:\n    time.sleep(600)\nreturn 'held'",
    ),
    endless("stop itself", "os.kill(os.getpid(), signal.SIGSTOP)\ntime.sleep(600)"),
    endless(
        "ignore that it shall end",
        "for s in range(1, 65):\n    try:\n        signal.signal(s, signal.SIG_IGN)\n    except (OSError, ValueError):\n        pass\nwhile True:\n    pass",
    ),
    endless(
        "catch what ends it and go on",
        "while True:\n    try:\n        time.sleep(600)\n    except BaseException:\n        pass",
    ),
    endless(
        "never wake",
        "signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\nthreading.Event().wait()",
    ),
    ends("end in the middle", "os._exit(0)", died),
    ends("end with a code", "os._exit(7)", died),
    ends("kill itself", "os.kill(os.getpid(), signal.SIGKILL)\ntime.sleep(600)", died),
    ends("crash", "libc.abort()", died),
    ends("read nowhere", "ctypes.string_at(8)", died),
    ends("leave a child and go", "if os.fork() == 0:\n    time.sleep(600)\nos._exit(0)", died),
    ends("become another program", "os.execv('/bin/sh', ['sh', '-c', 'sleep 0.1; exit 3'])", died),
];
