//! Attempts on the network, and on sockets of the machine.

use super::{Attempt, died, ends, held};

pub(super) const ATTEMPTS: &[Attempt] = &[
    held(
        "connect to the machine",
        "return refused(lambda: socket.create_connection(('127.0.0.1', {PORT}), 2))",
    ),
    held(
        "connect by another name of it",
        "return refused(lambda: socket.create_connection(('localhost', {PORT}), 2), lambda: socket.create_connection(('::ffff:127.0.0.1', {PORT}), 2))",
    ),
    held(
        "send a datagram",
        "return refused(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {PORT})))",
    ),
    held(
        "send through the metadata address",
        "return refused(lambda: socket.create_connection(('169.254.169.254', 80), 1))",
    ),
    held(
        "listen",
        "return refused(lambda: socket.create_server(('127.0.0.1', 0)), lambda: socket.create_server(('0.0.0.0', 0)))",
    ),
    held(
        "connect to a socket in the file system",
        "s = lambda: socket.socket(socket.AF_UNIX)\nreturn refused(lambda: s().connect('{OUTSIDE}/socket'), lambda: s().connect('/var/run/docker.sock'), lambda: s().connect('/run/systemd/private'))",
    ),
    held(
        "connect to an abstract socket",
        "return refused(lambda: socket.socket(socket.AF_UNIX).connect('\\0{ABSTRACT}'))",
    ),
    held(
        "send a datagram to an abstract socket",
        "return refused(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'x', '\\0{ABSTRACT}'))",
    ),
    held(
        "use one of a pair for another way",
        "a, b = socket.socketpair()\nreturn refused(lambda: a.connect('\\0{ABSTRACT}'), lambda: a.connect('{OUTSIDE}/socket'))",
    ),
    held(
        "use a datagram pair for another way",
        "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\nreturn refused(lambda: a.connect('\\0{ABSTRACT}'), lambda: a.sendto(b'x', '{OUTSIDE}/socket'), lambda: a.sendto(b'x', '\\0{ABSTRACT}'))",
    ),
    held(
        "speak to the kernel's tables",
        "return refused(*[lambda p=p: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, p) for p in range(23)])",
    ),
    held(
        "capture packets",
        "return refused(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3), lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1), lambda: socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58))",
    ),
    held(
        "make a socket of any family",
        "return refused(*[lambda f=f, t=t: socket.socket(f, t) for f in range(1, 47) for t in (1, 2, 3, 5)])",
    ),
    held(
        "make a pair of another family",
        "return refused(*[lambda f=f: kernel({SYS_socketpair}, f, 1, 0, ctypes.create_string_buffer(8)) for f in range(2, 47)])",
    ),
    held(
        "make a socket without the library",
        "return refused(lambda: kernel({SYS_socket}, 2, 1, 0), lambda: kernel({SYS_socket}, 1 << 32 | 2, 1, 0), lambda: kernel({SYS_socket}, 1, 1, 0))",
    ),
    held(
        "make a socket by the second numbers",
        "return refused(lambda: kernel({SYS_socket} | 0x40000000, 2, 1, 0), lambda: kernel(0x40000000 | 521, 0, 0, 0, 0))",
    ),
    held(
        "ask by another program",
        "return refused(lambda: subprocess.run([sys.executable, '-I', '-c', 'import socket; socket.create_connection((\"127.0.0.1\", {PORT}), 2)'], check=True, stderr=subprocess.DEVNULL))",
    ),
    held("resolve a name", "return refused(lambda: socket.getaddrinfo('example.com', 80))"),
    ends(
        "make a socket by the calls of another processor",
        "import platform\nif platform.machine() != 'x86_64':\n    os._exit(0)\nmemory = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n\
         memory.write(bytes.fromhex('b867010000' 'bb02000000' 'b901000000' '31d2' 'cd80' 'c3'))\n\
         address = ctypes.addressof(ctypes.c_char.from_buffer(memory))\nreturn 'descriptor %d' % ctypes.CFUNCTYPE(ctypes.c_int)(address)()",
        died,
    ),
];
