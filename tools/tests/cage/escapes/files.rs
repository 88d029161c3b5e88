//! Attempts on files: to read what is secret, to change what is not theirs, to reach around by links and handles.

use super::{Attempt, held};

pub(super) const ATTEMPTS: &[Attempt] = &[
    held("read the server's secret", "return refused(lambda: open('{DATA}/secret').read())"),
    held("list the data directory", "return refused(lambda: os.listdir('{DATA}'))"),
    held("read the shadow file", "return refused(lambda: open('/etc/shadow').read())"),
    held("read the users of the machine", "return refused(lambda: open('/etc/passwd').read())"),
    held(
        "look into homes",
        "return refused(lambda: os.listdir('/home'), lambda: os.listdir('/root') != ['.pyenv'] or 1/0)",
    ),
    held(
        "list the folders at the top",
        "return refused(lambda: [n for n in os.listdir('/') if n in ('etc', 'var', 'srv') and os.listdir('/' + n) and n != 'etc'] or 1/0)",
    ),
    held(
        "read a file that anybody may read",
        "return refused(lambda: open('{OUTSIDE}/file').read())",
    ),
    held(
        "write a file that anybody may write",
        "return refused(lambda: open('{OUTSIDE}/file', 'w'))",
    ),
    held(
        "append to it",
        "return refused(lambda: os.open('{OUTSIDE}/file', os.O_WRONLY | os.O_APPEND))",
    ),
    held("make a file outside", "return refused(lambda: open('{OUTSIDE}/new', 'w'))"),
    held("make a folder outside", "return refused(lambda: os.mkdir('{OUTSIDE}/folder'))"),
    held(
        "make a nameless file outside",
        "return refused(lambda: os.open('{OUTSIDE}', os.O_TMPFILE | os.O_RDWR))",
    ),
    held(
        "read through a link",
        "os.symlink('{DATA}/secret', 'link')\nreturn refused(lambda: open('link').read())",
    ),
    held(
        "list through a link to a folder",
        "os.symlink('{DATA}', 'link')\nreturn refused(lambda: os.listdir('link'), lambda: open('link/secret'))",
    ),
    held(
        "write through a link",
        "os.symlink('{OUTSIDE}/file', 'link')\nreturn refused(lambda: open('link', 'w'))",
    ),
    held(
        "take a second name for a file",
        "return refused(lambda: os.link('{DATA}/secret', 'mine'), lambda: os.link('{OUTSIDE}/file', 'mine'))",
    ),
    held(
        "walk up from the working directory",
        "up = '../' * 30\nreturn refused(lambda: open(up + '{DATA}/secret'), lambda: open(up + 'etc/shadow'))",
    ),
    held(
        "walk up from a descriptor",
        "here = os.open('.', os.O_RDONLY)\nreturn refused(lambda: os.open('../' * 30 + '{DATA}/secret', os.O_RDONLY, dir_fd=here))",
    ),
    held(
        "go through the root of its own process",
        "return refused(lambda: open('/proc/self/root{DATA}/secret'), lambda: open('/proc/thread-self/root{DATA}/secret'))",
    ),
    held(
        "go through the root and folder of others",
        "return refused(*[lambda p=p: open('/proc/%s%s' % (p, rest)) for p in (1, os.getppid(), {VICTIM}, {SERVER}) \
         for rest in ('/root{DATA}/secret', '/cwd/Cargo.toml')])",
    ),
    held(
        "change the mode of a file outside",
        "return refused(lambda: os.chmod('{OUTSIDE}/file', 0o600), lambda: os.chmod('{DATA}/secret', 0o666))",
    ),
    held(
        "change the mode of a file by descriptor",
        "return refused(lambda: os.fchmod(os.open('{OUTSIDE}/file', os.O_PATH), 0o600), lambda: os.chmod(sys.executable, 0o777))",
    ),
    held(
        "give a file away",
        "return refused(lambda: os.chown('{OUTSIDE}/file', 65534, 65534), lambda: os.lchown('{DATA}/secret', 65534, 65534))",
    ),
    held(
        "change the times of a file",
        "return refused(lambda: os.utime('{OUTSIDE}/file', (1, 1)), lambda: os.utime('{DATA}/secret'))",
    ),
    held(
        "attach attributes to a file",
        "return refused(lambda: os.setxattr('{OUTSIDE}/file', 'user.mine', b'x'))",
    ),
    held(
        "cut a file by its name",
        "return refused(lambda: os.truncate('{OUTSIDE}/file', 0), lambda: os.truncate('{DATA}/secret', 0))",
    ),
    held(
        "empty a file while reading it",
        "return refused(lambda: os.open('{OUTSIDE}/file', os.O_RDONLY | os.O_TRUNC))",
    ),
    held(
        "rename a file",
        "return refused(lambda: os.rename('{OUTSIDE}/file', '{OUTSIDE}/other'), lambda: os.rename('{OUTSIDE}/file', 'mine'))",
    ),
    held(
        "remove a file",
        "return refused(lambda: os.unlink('{OUTSIDE}/file'), lambda: os.unlink('{DATA}/secret'))",
    ),
    held(
        "swap two files",
        "open('mine', 'w').close()\nreturn refused(lambda: kernel({SYS_renameat2}, -100, b'mine', -100, b'{OUTSIDE}/file', 2))",
    ),
    held(
        "make a device",
        "import stat\nreturn refused(lambda: os.mknod('disk', stat.S_IFBLK | 0o600, os.makedev(254, 0)), lambda: os.mknod('mem', stat.S_IFCHR | 0o600, os.makedev(1, 1)))",
    ),
    held(
        "open devices",
        "return refused(*[lambda n=n: open('/dev/' + n, 'rb') for n in ('mem', 'kmem', 'port', 'kmsg', 'vda', 'sda', 'fuse', 'kvm', 'net/tun', 'mapper/control', 'vhost-net', 'loop-control')])",
    ),
    held(
        "write among programs",
        "return refused(lambda: open('/usr/bin/new', 'w'), lambda: open('/usr/lib/new', 'w'), lambda: open('/usr/bin/env', 'r+b'))",
    ),
    held(
        "write to the interpreter and its library",
        "return refused(lambda: open(sys.executable, 'r+b'), lambda: open(os.__file__, 'a'), lambda: open(os.path.dirname(os.__file__) + '/new.py', 'w'))",
    ),
    held(
        "write to the keeper's program",
        "return refused(lambda: open('/cage/helper', 'r+b'), lambda: open('/cage/new', 'w'))",
    ),
    held(
        "write at the top",
        "return refused(lambda: open('/new', 'w'), lambda: os.mkdir('/new'), lambda: open('/etc/new', 'w'), lambda: open('/dev/new', 'w'))",
    ),
    held(
        "set the kernel",
        "return refused(*[lambda n=n: os.write(os.open(n, os.O_WRONLY), b'x') for n in ('/proc/sys/kernel/core_pattern', '/proc/sys/kernel/hostname', '/proc/sysrq-trigger', '/sys/kernel/mm/ksm/run', '/proc/self/uid_map')])",
    ),
    held(
        "open by handle",
        "import struct\nhandle = struct.pack('Ii', 8, 1) + struct.pack('II', 2, 0)\nreturn refused(lambda: kernel({SYS_open_by_handle_at}, os.open('/', os.O_RDONLY), handle, 0), lambda: kernel({SYS_open_by_handle_at}, 1, handle, 0))",
    ),
    held(
        "see what others do with files",
        "return refused(lambda: kernel({SYS_fanotify_init}, 0, 0)) if not os.path.exists('{DATA}') else refused(lambda: kernel({SYS_inotify_init1}, 0), lambda: kernel({SYS_fanotify_init}, 0, 0))",
    ),
    held(
        "see the mounts of the machine",
        "return refused(lambda: '{DATA}' in open('/proc/self/mountinfo').read() or 1/0, lambda: '{OUTSIDE}' in open('/proc/self/mountinfo').read() or 1/0)",
    ),
];
