//! Attempts on the channel of results: to forge one, to break it, to answer twice or never.

use retold_tools::cage::Status;

use super::{Attempt, died, ends, held, short};

/// Nobody sees a channel closed that bubblewrap holds open as well; the clock ends the call then.
fn died_or_timed_out(status: &Status) -> bool {
    died(status) || super::timed_out(status)
}

fn broken_or_true(status: &Status) -> bool {
    died(status) || super::says_held(status)
}

fn cut(status: &Status) -> bool {
    matches!(status, Status::Returned { text, chars } if text.len() == 1_000_001 && *chars == 40_000_000)
}

fn raised(status: &Status) -> bool {
    matches!(status, Status::Raised(text) if text.starts_with("Error executing function attempt: "))
}

pub(super) const ATTEMPTS: &[Attempt] = &[
    held(
        "print a frame",
        "import zlib\npayload = b'{\"status\": \"returned\", \"text\": \"forged\", \"chars\": 6}'\nfor tag in (b'ready\\0\\0\\0', b'ended\\0\\0\\0', b'\\0' * 8):\n    for fd in (1, 2):\n        os.write(fd, b'RTLD' + tag + struct.pack('<II', len(payload), zlib.crc32(tag + payload)) + payload)\nreturn 'held'",
    ),
    ends(
        "write a frame to every descriptor",
        "import zlib\npayload = b'{\"status\": \"returned\", \"text\": \"forged\", \"chars\": 6}'\nfor tag in (b'ready\\0\\0\\0', b'ended\\0\\0\\0', b'\\0' * 8):\n    for fd in range(3, 100):\n        tried(lambda: os.write(fd, b'RTLD' + tag + struct.pack('<II', len(payload), zlib.crc32(tag + payload)) + payload))\nreturn 'held'",
        died,
    ),
    ends(
        "write an ending to every descriptor",
        "import zlib\nfor payload in (b'\"Memory\"', b'{\"Exited\": 0}'):\n    for fd in range(3, 100):\n        tried(lambda: os.write(fd, b'RTLDended\\0\\0\\0' + struct.pack('<II', len(payload), zlib.crc32(b'ended\\0\\0\\0' + payload)) + payload))\nreturn 'held'",
        died,
    ),
    ends(
        "write anything to every descriptor",
        "for fd in range(3, 100):\n    tried(lambda: os.write(fd, b'forged' * 100))\nreturn 'held'",
        died,
    ),
    ends(
        "announce more than there is",
        "for fd in range(3, 100):\n    tried(lambda: os.write(fd, b'RTLD12345678' + struct.pack('<II', 0xffffffff, 0)))\nreturn 'held'",
        died,
    ),
    ends(
        "begin a frame and go",
        "for fd in range(3, 100):\n    tried(lambda: os.write(fd, b'RTLD1234'))\nos._exit(0)",
        died,
    ),
    ends(
        "read from the channel",
        "for fd in range(3, 100):\n    tried(lambda: os.set_blocking(fd, False), lambda: os.read(fd, 1 << 20))\nreturn 'held'",
        broken_or_true,
    ),
    ends("close every descriptor", "os.closerange(0, 4096)\nreturn 'held'", died),
    short(
        "close every descriptor and stay",
        "os.closerange(0, 4096)\ntime.sleep(600)",
        died_or_timed_out,
    ),
    ends(
        "put a file in the place of every descriptor",
        "f = os.open('file', os.O_RDWR | os.O_CREAT)\nfor fd in range(3, 50):\n    if fd != f:\n        tried(lambda: os.dup2(f, fd))\nreturn 'held'",
        died,
    ),
    short(
        "shut the channel down",
        "for fd in range(3, 100):\n    tried(lambda: socket.socket(fileno=fd).shutdown(2))\ntime.sleep(600)",
        died_or_timed_out,
    ),
    held("close what is printed to", "os.close(1)\nos.close(2)\nreturn 'held'"),
    held(
        "put nothing in the place of the streams",
        "sys.stdout = sys.stderr = None\nreturn 'held'",
    ),
    held(
        "change the library under the runner",
        "import zlib\nos.write = lambda *a: 1/0\njson.dumps = lambda *a, **k: 'forged'\nos._exit = lambda *a: None\nsys.exit = None\nreturn 'held'",
    ),
    ends("a result that is far too large", "return 'x' * 40_000_000", cut),
    ends(
        "a structure that is far too large",
        "return {'x': ['y' * 1000] * 20000}",
        |status| matches!(status, Status::Returned { text, chars } if text.len() == 1_000_001 && *chars > 20_000_000),
    ),
    ends("a result of escapes only", "return '\\x00' * 1_000_000", |status| {
        matches!(status, Status::Returned { chars: 1_000_000, .. })
    }),
    ends(
        "a result that cannot be made text",
        "class Odd:\n    def __str__(self):\n        raise SystemExit\nreturn Odd()",
        raised,
    ),
    ends(
        "a result that lies about itself",
        "class Odd:\n    def model_dump(self, **_):\n        return Odd()\n    def __str__(self):\n        return 'held'\nreturn Odd()",
        raised_or_held,
    ),
    ends(
        "a text that is more than text",
        "class Text(str):\n    def __getitem__(self, _):\n        return 5\n    def __len__(self):\n        return -1\n    def __str__(self):\n        return 'held'\nreturn Text('forged')",
        raised_or_held,
    ),
    ends(
        "an error without end",
        "raise ValueError('x' * 10_000_000)",
        |status| matches!(status, Status::Raised(text) if text.len() == 1_000),
    ),
    ends(
        "an error that runs",
        "class Odd(BaseException):\n    def __str__(self):\n        os._exit(3)\nraise Odd",
        died,
    ),
    held("answer in a child as well", "if os.fork() == 0:\n    return 'held'\ntime.sleep(600)"),
    held(
        "write after the return",
        "def later():\n    while True:\n        for fd in range(3, 100):\n            tried(lambda: os.write(fd, b'') )\n        print('late')\n        time.sleep(0.01)\nthreading.Thread(target=later).start()\nreturn 'held'",
    ),
];

fn raised_or_held(status: &Status) -> bool {
    raised(status) || status.is_success()
}
