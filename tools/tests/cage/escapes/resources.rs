//! Attempts to use up the machine: memory, processor, processes, disk, descriptors, output.

use retold_tools::cage::Status;

use super::{Attempt, ends, held, short};

fn memory(status: &Status) -> bool {
    matches!(status, Status::OutOfMemory)
        || matches!(status, Status::Raised(text) if text.contains("MemoryError") || text.contains("Cannot allocate"))
}

fn processes(status: &Status) -> bool {
    matches!(status, Status::TooManyProcesses | Status::OutOfMemory)
        || matches!(status, Status::Raised(text) if text.contains("temporarily unavailable") || text.contains("can't start new thread"))
}

fn disk(status: &Status) -> bool {
    matches!(status, Status::OutOfDisk)
        || matches!(status, Status::Raised(text) if text.contains("No space left") || text.contains("File too large"))
}

fn cpu(status: &Status) -> bool {
    matches!(status, Status::OutOfCpu)
}

fn flood(status: &Status) -> bool {
    matches!(status, Status::OutputFlood)
}

fn descriptors(status: &Status) -> bool {
    matches!(status, Status::Raised(text) if text.contains("Too many open files"))
}

fn recursion(status: &Status) -> bool {
    matches!(status, Status::Raised(text) if text.contains("RecursionError")) || super::died(status)
}

pub(super) const ATTEMPTS: &[Attempt] = &[
    ends("fill the memory", "held = []\nwhile True:\n    held.append(bytearray(1 << 20))", memory),
    ends("fill the memory at once", "return len(bytearray(1 << 34))", memory),
    ends(
        "fill shared memory",
        "held = []\nwhile True:\n    held.append(mmap.mmap(-1, 1 << 20))\n    held[-1].write(b'x' * (1 << 20))",
        memory,
    ),
    ends(
        "fill memory without a name",
        "f = os.memfd_create('x')\nwhile True:\n    os.write(f, b'x' * (1 << 20))",
        |status| disk(status) || memory(status) || super::died(status),
    ),
    ends(
        "fill the memory by children",
        "for _ in range(6):\n    if os.fork() == 0:\n        held = bytearray(os.urandom(1 << 20) * 100)\n        time.sleep(600)\nwhile True:\n    time.sleep(1)",
        memory,
    ),
    ends("a text that doubles without end", "text = 'x'\nwhile True:\n    text += text", memory),
    ends("fork without end", "while True:\n    if os.fork() == 0:\n        continue", processes),
    ends(
        "fork and wait",
        "while True:\n    if os.fork() == 0:\n        time.sleep(600)",
        processes,
    ),
    ends(
        "threads without end",
        "while True:\n    threading.Thread(target=time.sleep, args=(600,)).start()",
        processes,
    ),
    ends("programs without end", "while True:\n    subprocess.Popen(['sleep', '600'])", processes),
    short(
        "a bomb of the shell",
        "subprocess.run(['sh', '-c', 'b() { b | b & }; b; sleep 600'], stderr=subprocess.DEVNULL)\nwhile True:\n    time.sleep(1)",
        |status| processes(status) || super::timed_out(status),
    ),
    ends(
        "fill the disk with one file",
        "with open('big', 'wb') as f:\n    while True:\n        f.write(b'x' * (1 << 20))",
        disk,
    ),
    ends(
        "fill the disk with many files",
        "n = 0\nwhile True:\n    n += 1\n    open('f%d' % n, 'wb').write(b'x' * (1 << 16))",
        |status| disk(status) || memory(status),
    ),
    ends(
        "fill the disk with empty files",
        "n = 0\nwhile True:\n    n += 1\n    open('f%d' % n, 'w').close()",
        disk,
    ),
    ends(
        "fill the disk with folders",
        "while True:\n    os.mkdir('d')\n    os.chdir('d')",
        |status| disk(status) || super::died(status),
    ),
    ends(
        "fill the folder for passing files",
        "import tempfile\nwhile True:\n    f = tempfile.NamedTemporaryFile(delete=False)\n    f.write(b'x' * (1 << 20))\n    f.flush()\n    f.close()",
        disk,
    ),
    ends(
        "fill removed files",
        "held = []\nwhile True:\n    f = open('x', 'wb')\n    f.write(b'x' * (1 << 20))\n    f.flush()\n    os.unlink('x')\n    held.append(f)",
        |status| disk(status) || descriptors(status),
    ),
    ends(
        "open without end",
        "held = []\nwhile True:\n    held.append(os.open('/dev/null', 0))",
        descriptors,
    ),
    ends("print without end", "while True:\n    print('x' * 10000)", flood),
    ends("print errors without end", "while True:\n    os.write(2, b'x' * 10000)", flood),
    ends("print by a child without end", "subprocess.run(['yes'])", flood),
    ends("call without end", "def down():\n    return down()\nreturn down()", recursion),
    ends(
        "call without end or limit",
        "sys.setrecursionlimit(10 ** 5)\ndef down():\n    return repr([down()])\nreturn down()",
        |status| recursion(status) || memory(status) || matches!(status, Status::Raised(_)),
    ),
    ends(
        "nest without end",
        "x = []\nfor _ in range(10 ** 6):\n    x = [x]\nreturn json.dumps(x)",
        recursion,
    ),
    held(
        "a sparse file past the bound",
        "def far():\n    with open('far', 'wb') as f:\n        f.truncate(1 << 40)\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nreturn refused(far)",
    ),
    held("lock memory", "return refused(lambda: libc.mlockall(3) == 0 or 1/0)"),
    held(
        "queue messages",
        "def queue():\n    r = libc.mq_open(b'/mine', 66, 0o600, 0)\n    if r < 0:\n        raise OSError\nreturn refused(queue)",
    ),
];

/// A processor is used up in its own time, so this one has a table of its own.
pub(super) const BUSY: &[Attempt] = &[ends("compute without end", "while True:\n    pass", cpu)];
