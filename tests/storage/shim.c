/* The disk as the tests want it: a library that is loaded before libc (LD_PRELOAD) and stands between a program and the
 * files below one directory.
 *
 * It writes down every change of these files, with its bytes and in its order (SHIM_TRACE), and it lets a call
 * of a kind fail (SHIM_FAULT, "kind:number:mode:errno"; a line per failed call goes to SHIM_HITS):
 *
 *   kind   write   whatever puts bytes into a file
 *          sync    fsync, fdatasync, syncfs
 *          range   sync_file_range
 *          create  a file or directory that was not there
 *          open    any opening of a file
 *          resize  ftruncate, fallocate
 *          rename  rename, unlink, rmdir
 *   mode   once    that call alone
 *          forever that call and all later ones of its kind
 *          short   that call writes half of its bytes, all later ones fail
 *
 * Opening `FREEZE` in the root lets no call below it return any more: then all that was done is written down, and the
 * process can be killed.
 *
 * Everything is below SHIM_ROOT; other files are none of its business. Calls are made as system calls, so that
 * the library never meets itself. One lock is held around a call and its note: the order of notes is the order of
 * effects. A file is known by its inode, so that descriptors may be duplicated and files renamed. 64-bit Linux only.
 * Files mapped into memory and raw system calls pass it by: the programs under test change their files in neither way,
 * but for the space that is put aside in BALLAST, which holds nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

/* Numbers that the reader of a trace knows too (trace.rs). */
enum op { WRITE = 1, ZEROS, LENGTH, SYNC, CREATE, RENAME, REMOVE, DIRECTORY };
enum kind { K_WRITE, K_SYNC, K_RANGE, K_CREATE, K_OPEN, K_RESIZE, K_RENAME, KINDS };
enum mode { ONCE, FOREVER, SHORT };
/* What a call should do. */
enum verdict { PASS, FAIL, HALF };

static const char *const KIND_NAMES[KINDS] = {
    "write", "sync", "range", "create", "open", "resize", "rename"};

struct note {
    uint32_t magic, op;
    uint64_t inode, offset, length;
    uint32_t name_bytes, other_bytes, data_bytes, zero;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static char root[PATH_MAX];
static size_t root_bytes;
static int trace = -1, hits = -1;
static uint64_t calls[KINDS];
static int fault_kind = -1, fault_errno, fault_mode;
static uint64_t fault_at;

static int append_to(const char *variable) {
    const char *path = getenv(variable);
    if (!path) return -1;
    return (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void start(void) {
    const char *directory = getenv("SHIM_ROOT");
    if (!directory || !realpath(directory, root)) return;
    root_bytes = strlen(root);
    trace = append_to("SHIM_TRACE");
    hits = append_to("SHIM_HITS");
    const char *fault = getenv("SHIM_FAULT");
    char kind[16], mode[16];
    unsigned long long at;
    if (!fault || sscanf(fault, "%15[^:]:%llu:%15[^:]:%d", kind, &at, mode, &fault_errno) != 4) return;
    for (int k = 0; k < KINDS; k++)
        if (!strcmp(kind, KIND_NAMES[k])) fault_kind = k;
    fault_mode = !strcmp(mode, "forever") ? FOREVER : !strcmp(mode, "short") ? SHORT : ONCE;
    fault_at = at;
}

static void enter(void) { pthread_mutex_lock(&lock); }

static long leave(long result) {
    int kept = errno;
    pthread_mutex_unlock(&lock);
    errno = kept;
    return result;
}

static int is_below(const char *path) {
    return root_bytes && !strncmp(path, root, root_bytes) && (path[root_bytes] == '/' || !path[root_bytes]);
}

/* Whether a descriptor is of a file below the root; `path` becomes its name. */
static int of_descriptor(int fd, char path[PATH_MAX]) {
    pthread_once(&once, start);
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return is_below(path);
}

/* The same of a name, which may be relative; the file need not be there. */
static int of_name(int directory, const char *name, char path[PATH_MAX]) {
    pthread_once(&once, start);
    char joined[PATH_MAX], parent[PATH_MAX];
    if (name[0] == '/') {
        snprintf(joined, sizeof joined, "%s", name);
    } else if (directory == AT_FDCWD) {
        if (!getcwd(parent, sizeof parent)) return 0;
        if (snprintf(joined, sizeof joined, "%s/%s", parent, name) >= (int)sizeof joined) return 0;
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", directory);
        ssize_t length = readlink(link, parent, sizeof parent - 1);
        if (length < 0) return 0;
        parent[length] = 0;
        if (snprintf(joined, sizeof joined, "%s/%s", parent, name) >= (int)sizeof joined) return 0;
    }
    char *slash = strrchr(joined, '/');
    if (!slash) return 0;
    char last[NAME_MAX + 1];
    snprintf(last, sizeof last, "%s", slash + 1);
    *slash = 0;
    if (!realpath(joined[0] ? joined : "/", parent)) return 0;
    if (snprintf(path, PATH_MAX, "%s/%s", parent, last) >= PATH_MAX) return 0;
    return is_below(path);
}

static uint64_t inode_of(int fd) {
    struct stat found;
    return fstat(fd, &found) ? 0 : found.st_ino;
}

static uint64_t inode_at(const char *path) {
    struct stat found;
    return lstat(path, &found) ? 0 : found.st_ino;
}

static void write_down(int op, uint64_t inode, uint64_t offset, uint64_t length, const char *name, const char *other,
                       const void *data, size_t data_bytes) {
    if (trace < 0) return;
    struct note note = {.magic = 0x4d494853, .op = (uint32_t)op, .inode = inode, .offset = offset, .length = length};
    note.name_bytes = name ? (uint32_t)strlen(name) : 0;
    note.other_bytes = other ? (uint32_t)strlen(other) : 0;
    note.data_bytes = (uint32_t)data_bytes;
    struct iovec parts[] = {{&note, sizeof note},
                            {(void *)name, note.name_bytes},
                            {(void *)other, note.other_bytes},
                            {(void *)data, data_bytes}};
    if (syscall(SYS_writev, trace, parts, 4) != (long)(sizeof note + note.name_bytes + note.other_bytes + data_bytes)) {
        static const char words[] = "shim: the trace cannot be written\n";
        syscall(SYS_write, 2, words, sizeof words - 1);
        abort();
    }
}

static void write_down_bytes(int fd, uint64_t offset, const char *data, size_t length) {
    int is_zero = length >= 4096 && !data[0] && !memcmp(data, data + 1, length - 1);
    write_down(is_zero ? ZEROS : WRITE, inode_of(fd), offset, length, 0, 0, data, is_zero ? 0 : length);
}

/* Counts a call and says what becomes of it. */
static enum verdict judge(int kind, const char *path) {
    if (fault_kind != kind) return PASS;
    uint64_t number = ++calls[kind];
    int fails = fault_mode == ONCE ? number == fault_at : number >= fault_at;
    if (!fails) return PASS;
    if (hits >= 0) {
        char line[PATH_MAX + 64];
        int length = snprintf(line, sizeof line, "%s %llu %s\n", KIND_NAMES[kind], (unsigned long long)number, path);
        syscall(SYS_write, hits, line, (size_t)length);
    }
    if (fault_mode == SHORT && number == fault_at) return HALF;
    errno = fault_errno;
    return FAIL;
}

/* --- bytes ------------------------------------------------------------------------------------------------------- */

static ssize_t write_at(int fd, const void *data, size_t length, off_t offset, int is_positioned) {
    char path[PATH_MAX];
    if (!of_descriptor(fd, path))
        return is_positioned ? syscall(SYS_pwrite64, fd, data, length, offset) : syscall(SYS_write, fd, data, length);
    enter();
    enum verdict verdict = judge(K_WRITE, path);
    if (verdict == FAIL) return leave(-1);
    if (verdict == HALF) length = length > 1 ? length / 2 : length;
    if (!is_positioned) {
        int appends = fcntl(fd, F_GETFL) & O_APPEND;
        offset = lseek(fd, 0, appends ? SEEK_END : SEEK_CUR);
    }
    long done = is_positioned ? syscall(SYS_pwrite64, fd, data, length, offset) : syscall(SYS_write, fd, data, length);
    if (done > 0) write_down_bytes(fd, (uint64_t)offset, data, (size_t)done);
    return leave(done);
}

ssize_t write(int fd, const void *data, size_t length) { return write_at(fd, data, length, 0, 0); }
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) { return write_at(fd, data, length, offset, 1); }
ssize_t pwrite64(int fd, const void *data, size_t length, off_t offset) { return write_at(fd, data, length, offset, 1); }

static ssize_t write_parts(int fd, const struct iovec *parts, int count, off_t offset, int is_positioned) {
    char path[PATH_MAX];
    if (!of_descriptor(fd, path))
        return is_positioned ? syscall(SYS_pwritev, fd, parts, count, offset, 0) : syscall(SYS_writev, fd, parts, count);
    /* A short write is a permitted answer: the first part that has bytes. */
    for (int index = 0; index < count; index++)
        if (parts[index].iov_len) return write_at(fd, parts[index].iov_base, parts[index].iov_len, offset, is_positioned);
    return 0;
}

ssize_t writev(int fd, const struct iovec *parts, int count) { return write_parts(fd, parts, count, 0, 0); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) { return write_parts(fd, parts, count, offset, 1); }
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off_t offset) { return write_parts(fd, parts, count, offset, 1); }

/* Copying inside the kernel is refused, so that who copies does it with reads and writes. */
ssize_t copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t length, unsigned flags) {
    char path[PATH_MAX];
    if (!of_descriptor(to, path)) return syscall(SYS_copy_file_range, from, from_at, to, to_at, length, flags);
    errno = ENOSYS;
    return -1;
}

ssize_t sendfile(int to, int from, off_t *at, size_t length) {
    char path[PATH_MAX];
    if (!of_descriptor(to, path)) return syscall(SYS_sendfile, to, from, at, length);
    errno = ENOSYS;
    return -1;
}

ssize_t sendfile64(int to, int from, off_t *at, size_t length) { return sendfile(to, from, at, length); }

/* --- length ------------------------------------------------------------------------------------------------------ */

int ftruncate(int fd, off_t length) {
    char path[PATH_MAX];
    if (!of_descriptor(fd, path)) return (int)syscall(SYS_ftruncate, fd, length);
    enter();
    if (judge(K_RESIZE, path) == FAIL) return (int)leave(-1);
    long done = syscall(SYS_ftruncate, fd, length);
    if (!done) write_down(LENGTH, inode_of(fd), 0, (uint64_t)length, 0, 0, 0, 0);
    return (int)leave(done);
}

int ftruncate64(int fd, off_t length) { return ftruncate(fd, length); }

int truncate(const char *name, off_t length) {
    char path[PATH_MAX];
    if (!of_name(AT_FDCWD, name, path)) return (int)syscall(SYS_truncate, name, length);
    enter();
    if (judge(K_RESIZE, path) == FAIL) return (int)leave(-1);
    long done = syscall(SYS_truncate, name, length);
    if (!done) write_down(LENGTH, inode_at(path), 0, (uint64_t)length, 0, 0, 0, 0);
    return (int)leave(done);
}

int truncate64(const char *name, off_t length) { return truncate(name, length); }

int fallocate(int fd, int mode, off_t offset, off_t length) {
    char path[PATH_MAX];
    if (!of_descriptor(fd, path)) return (int)syscall(SYS_fallocate, fd, mode, offset, length);
    enter();
    if (judge(K_RESIZE, path) == FAIL) return (int)leave(-1);
    long done = syscall(SYS_fallocate, fd, mode, offset, length);
    struct stat now;
    if (!done && !fstat(fd, &now)) write_down(LENGTH, now.st_ino, 0, (uint64_t)now.st_size, 0, 0, 0, 0);
    return (int)leave(done);
}

int fallocate64(int fd, int mode, off_t offset, off_t length) { return fallocate(fd, mode, offset, length); }

/* --- syncs ------------------------------------------------------------------------------------------------------- */

static int sync_one(long number, int fd) {
    char path[PATH_MAX];
    if (!of_descriptor(fd, path)) return (int)syscall(number, fd);
    enter();
    if (judge(K_SYNC, path) == FAIL) return (int)leave(-1);
    long done = syscall(number, fd);
    if (!done) write_down(SYNC, inode_of(fd), 0, 0, path, 0, 0, 0);
    return (int)leave(done);
}

int fsync(int fd) { return sync_one(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_one(SYS_fdatasync, fd); }

/* Counted as no sync of anything: nobody here relies on it, and a model of it would have to know every file. */
int syncfs(int fd) {
    char path[PATH_MAX];
    if (!of_descriptor(fd, path)) return (int)syscall(SYS_syncfs, fd);
    enter();
    if (judge(K_SYNC, path) == FAIL) return (int)leave(-1);
    return (int)leave(syscall(SYS_syncfs, fd));
}

/* By its manual it makes nothing durable, so it is not written down. */
int sync_file_range(int fd, off_t offset, off_t length, unsigned flags) {
    char path[PATH_MAX];
    if (!of_descriptor(fd, path)) return (int)syscall(SYS_sync_file_range, fd, offset, length, flags);
    enter();
    if (judge(K_RANGE, path) == FAIL) return (int)leave(-1);
    return (int)leave(syscall(SYS_sync_file_range, fd, offset, length, flags));
}

/* --- names ------------------------------------------------------------------------------------------------------- */

static int open_one(int directory, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    if (!of_name(directory, name, path)) return (int)syscall(SYS_openat, directory, name, flags, mode);
    enter();
    if (!strcmp(path + root_bytes, "/FREEZE")) {
        /* For ever: what is under way is done and written down, and nothing more happens below the root. */
        errno = ENOENT;
        return -1;
    }
    uint64_t before = inode_at(path);
    if (judge(K_OPEN, path) == FAIL) return (int)leave(-1);
    if ((flags & O_CREAT) && !before && judge(K_CREATE, path) == FAIL) return (int)leave(-1);
    long fd = syscall(SYS_openat, directory, name, flags, mode);
    if (fd >= 0 && (flags & O_CREAT) && !before) write_down(CREATE, inode_of((int)fd), 0, 0, path, 0, 0, 0);
    if (fd >= 0 && (flags & O_TRUNC) && before) write_down(LENGTH, before, 0, 0, 0, 0, 0, 0);
    return (int)leave(fd);
}

#define MODE(last)                          \
    mode_t mode = 0;                        \
    if (flags & (O_CREAT | O_TMPFILE)) {    \
        va_list more;                       \
        va_start(more, last);               \
        mode = (mode_t)va_arg(more, int);   \
        va_end(more);                       \
    }

int open(const char *name, int flags, ...) { MODE(flags) return open_one(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE(flags) return open_one(AT_FDCWD, name, flags, mode); }
int openat(int directory, const char *name, int flags, ...) { MODE(flags) return open_one(directory, name, flags, mode); }
int openat64(int directory, const char *name, int flags, ...) { MODE(flags) return open_one(directory, name, flags, mode); }
int creat(const char *name, mode_t mode) { return open_one(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *name, mode_t mode) { return creat(name, mode); }

int renameat2(int from_directory, const char *from, int to_directory, const char *to, unsigned flags) {
    char old_path[PATH_MAX], new_path[PATH_MAX];
    if (!of_name(from_directory, from, old_path) || !of_name(to_directory, to, new_path))
        return (int)syscall(SYS_renameat2, from_directory, from, to_directory, to, flags);
    enter();
    if (judge(K_RENAME, old_path) == FAIL) return (int)leave(-1);
    long done = syscall(SYS_renameat2, from_directory, from, to_directory, to, flags);
    if (!done) write_down(RENAME, inode_at(new_path), 0, 0, old_path, new_path, 0, 0);
    return (int)leave(done);
}

int renameat(int from_directory, const char *from, int to_directory, const char *to) {
    return renameat2(from_directory, from, to_directory, to, 0);
}
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int directory, const char *name, int flags) {
    char path[PATH_MAX];
    if (!of_name(directory, name, path)) return (int)syscall(SYS_unlinkat, directory, name, flags);
    enter();
    if (judge(K_RENAME, path) == FAIL) return (int)leave(-1);
    long done = syscall(SYS_unlinkat, directory, name, flags);
    if (!done) write_down(REMOVE, 0, 0, 0, path, 0, 0, 0);
    return (int)leave(done);
}

int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }
int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int mkdirat(int directory, const char *name, mode_t mode) {
    char path[PATH_MAX];
    if (!of_name(directory, name, path)) return (int)syscall(SYS_mkdirat, directory, name, mode);
    enter();
    if (!inode_at(path) && judge(K_CREATE, path) == FAIL) return (int)leave(-1);
    long done = syscall(SYS_mkdirat, directory, name, mode);
    if (!done) write_down(DIRECTORY, inode_at(path), 0, 0, path, 0, 0, 0);
    return (int)leave(done);
}

int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }
