/* Stands between a process and the disk: records what is done below a folder, and lets calls fail.

   Loaded by LD_PRELOAD; does nothing until it is told a folder, by the environment or by shim_configure.

     SHIM_FOLDER  what is done below these folders (absolute, separated by ':') is met
     SHIM_MATCH   of that, only paths that hold this text fail (all are recorded)
     SHIM_LOG     a file, outside of the folders, that everything changing them is written to
     SHIM_FAIL    call:errno:after[:count], several separated by ','
     SHIM_SWITCH  calls fail only while this file is there
     SHIM_NOSYNC  1: nothing is really flushed, which costs nothing in a recording

   A `call` is one of the groups below: write, fsync, truncate, rename, unlink, link, mkdir, open (to
   write), time (setting it), read; any is all of them but read. The first `after` calls of a process go well, then `count` fail (all, without a count).
   An errno may also be KILL: the process is killed in place of the call.

   One record: magic, length of all, call, process, file (inode), two numbers, lengths of two paths and
   of the data, as `struct head`; then these. It is written after the call, and no other call below the
   folder comes between: the order of the records is that of the disk. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE = 1, FSYNC, TRUNCATE, RENAME, UNLINK, LINK, MKDIR, OPEN, READ, MARK, TIME, ANY, CALLS };

static const char *const NAMES[CALLS] = {"",     "write", "fsync", "truncate", "rename", "unlink",
                                         "link", "mkdir", "open",  "read",     "mark",   "time",     "any"};

struct head {
    uint32_t magic, whole;
    uint32_t call, pid;
    uint64_t ino;
    int64_t first, second;
    uint32_t path, other;
    uint64_t data;
};

struct fault {
    int call, error;
    long after, count;
};

static char folders[4 * PATH_MAX], match[256], switched[PATH_MAX], logged[PATH_MAX];
static struct fault faults[16];
static int fault_count, nosync, on, log_fd = -1;
static pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static __thread int depth;

/* The real calls. */

#define REAL(result, name, ...) static result (*real_##name)(__VA_ARGS__)
REAL(int, open, const char *, int, ...);
REAL(int, openat, int, const char *, int, ...);
REAL(int, close, int);
REAL(FILE *, fopen, const char *, const char *);
REAL(FILE *, fdopen, int, const char *);
REAL(int, fileno, FILE *);
REAL(ssize_t, read, int, void *, size_t);
REAL(ssize_t, pread, int, void *, size_t, off_t);
REAL(ssize_t, write, int, const void *, size_t);
REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
REAL(ssize_t, writev, int, const struct iovec *, int);
REAL(ssize_t, pwritev, int, const struct iovec *, int, off_t);
REAL(ssize_t, pwritev2, int, const struct iovec *, int, off_t, int);
REAL(ssize_t, sendfile, int, int, off_t *, size_t);
REAL(ssize_t, copy_file_range, int, off_t *, int, off_t *, size_t, unsigned);
REAL(int, fsync, int);
REAL(int, fdatasync, int);
REAL(int, ftruncate, int, off_t);
REAL(int, truncate, const char *, off_t);
REAL(int, fallocate, int, int, off_t, off_t);
REAL(int, posix_fallocate, int, off_t, off_t);
REAL(int, rename, const char *, const char *);
REAL(int, renameat, int, const char *, int, const char *);
REAL(int, renameat2, int, const char *, int, const char *, unsigned);
REAL(int, unlink, const char *);
REAL(int, unlinkat, int, const char *, int);
REAL(int, remove, const char *);
REAL(int, rmdir, const char *);
REAL(int, link, const char *, const char *);
REAL(int, linkat, int, const char *, int, const char *, int);
REAL(int, symlink, const char *, const char *);
REAL(int, symlinkat, const char *, int, const char *);
REAL(int, mkdir, const char *, mode_t);
REAL(int, mkdirat, int, const char *, mode_t);
REAL(int, utimensat, int, const char *, const struct timespec *, int);
REAL(int, futimens, int, const struct timespec *);

#define FIND(name) *(void **)&real_##name = dlsym(RTLD_NEXT, #name)

static void find_calls(void) {
    if (real_open) return;
    FIND(openat), FIND(close), FIND(fopen), FIND(fdopen), FIND(fileno), FIND(read), FIND(pread);
    FIND(write), FIND(pwrite), FIND(writev), FIND(pwritev), FIND(pwritev2), FIND(sendfile);
    FIND(copy_file_range), FIND(fsync), FIND(fdatasync), FIND(ftruncate), FIND(truncate);
    FIND(fallocate), FIND(posix_fallocate), FIND(rename), FIND(renameat), FIND(renameat2);
    FIND(unlink), FIND(unlinkat), FIND(remove), FIND(rmdir), FIND(link), FIND(linkat);
    FIND(symlink), FIND(symlinkat), FIND(mkdir), FIND(mkdirat);
    FIND(utimensat), FIND(futimens), FIND(open);
}

/* What is asked of it. */

static int error_number(const char *name) {
    static const struct { const char *name; int number; } known[] = {
        {"ENOSPC", ENOSPC}, {"EDQUOT", EDQUOT}, {"EIO", EIO}, {"EROFS", EROFS}, {"EACCES", EACCES},
        {"EPERM", EPERM}, {"EMFILE", EMFILE}, {"ENFILE", ENFILE}, {"ENOMEM", ENOMEM},
        {"ESTALE", ESTALE}, {"EINTR", EINTR}, {"EAGAIN", EAGAIN}, {"EFBIG", EFBIG}, {"ENOLCK", ENOLCK},
        {"KILL", -1}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp(known[i].name, name)) return known[i].number;
    return 0;
}

static void copied(char *to, size_t size, const char *from) {
    snprintf(to, size, "%s", from ? from : "");
}

/* 0, or -1 where the faults cannot be understood. */
int shim_configure(const char *folder, const char *log, const char *fail, const char *only,
                   const char *while_there, int no_sync) {
    find_calls();
    pthread_mutex_lock(&mutex);
    on = 0;
    copied(folders, sizeof folders, folder);
    copied(match, sizeof match, only);
    copied(switched, sizeof switched, while_there);
    copied(logged, sizeof logged, log);
    nosync = no_sync;
    fault_count = 0;
    int wrong = 0;
    char text[1024], *rest = NULL;
    copied(text, sizeof text, fail);
    for (char *one = strtok_r(text, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
        char call[16] = "", error[16] = "";
        struct fault fault = {0, 0, 0, -1};
        if (sscanf(one, "%15[^:]:%15[^:]:%ld:%ld", call, error, &fault.after, &fault.count) < 3) wrong = -1;
        for (int i = 1; i < CALLS; i++)
            if (i != MARK && !strcmp(NAMES[i], call)) fault.call = i;
        fault.error = error_number(error);
        if (!fault.call || !fault.error || fault_count == 16) wrong = -1;
        else faults[fault_count++] = fault;
    }
    if (log_fd >= 0) real_close(log_fd);
    log_fd = *logged ? real_open(logged, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    if (*logged && log_fd < 0) wrong = -1;
    on = *folders && !wrong;
    pthread_mutex_unlock(&mutex);
    return wrong;
}

static void own_log(void) { /* a lock is of an opened file: a forked process needs one of its own */
    pthread_mutexattr_t recursive;
    pthread_mutexattr_init(&recursive);
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    pthread_mutex_init(&mutex, &recursive);
    if (log_fd < 0) return;
    real_close(log_fd);
    log_fd = real_open(logged, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

__attribute__((constructor)) static void start(void) {
    find_calls();
    pthread_atfork(NULL, NULL, own_log);
    const char *folder = getenv("SHIM_FOLDER"), *no_sync = getenv("SHIM_NOSYNC");
    if (folder && shim_configure(folder, getenv("SHIM_LOG"), getenv("SHIM_FAIL"), getenv("SHIM_MATCH"),
                                 getenv("SHIM_SWITCH"), no_sync && *no_sync == '1')) {
        static const char said[] = "shim: SHIM_FAIL or SHIM_LOG cannot be used\n";
        if (real_write(2, said, sizeof said - 1)) {}
        _exit(125);
    }
}

/* Which calls it is about. */

static int below(const char *path) {
    for (const char *folder = folders; *folder;) {
        size_t length = strcspn(folder, ":");
        if (!strncmp(path, folder, length) && (path[length] == '/' || !path[length])) return 1;
        folder += length + (folder[length] == ':');
    }
    return 0;
}

/* The path behind a name: links in its folders are followed, one at its end is not. */
static int placed(int at, const char *name, char *path) {
    char folder[PATH_MAX], whole[PATH_MAX];
    if (!name || !*name) return 0;
    if (*name == '/') copied(whole, sizeof whole, name);
    else {
        char link[64];
        if (at == AT_FDCWD) {
            if (!getcwd(folder, sizeof folder)) return 0;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", at);
            ssize_t length = readlink(link, folder, sizeof folder - 1);
            if (length <= 0) return 0;
            folder[length] = 0;
        }
        if (snprintf(whole, sizeof whole, "%s/%s", folder, name) >= (int)sizeof whole) return 0;
    }
    for (size_t end = strlen(whole); end > 1 && whole[end - 1] == '/'; end--) whole[end - 1] = 0;
    char *last = strrchr(whole, '/');
    if (!last) return 0;
    *last = 0;
    if (!realpath(*whole ? whole : "/", folder)) return 0;
    if (snprintf(path, PATH_MAX, "%s/%s", strcmp(folder, "/") ? folder : "", last + 1) >= PATH_MAX) return 0;
    return below(path);
}

/* The path of an open file or folder below ours; files without a name hold nothing that lasts. */
static int open_below(int fd, char *path, uint64_t *ino) {
    struct stat status;
    char link[64];
    if (fstat(fd, &status) || !(S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    *ino = status.st_ino;
    return below(path) && (status.st_nlink > 0);
}

static uint64_t inode(const char *path) {
    struct stat status;
    return lstat(path, &status) ? 0 : status.st_ino;
}

/* Whether a call is to fail now; errno says how. */
static int fails(int call, const char *path) {
    if (!fault_count || (*match && !strstr(path, match))) return 0;
    if (*switched && access(switched, F_OK)) return 0;
    for (int i = 0; i < fault_count; i++) {
        struct fault *fault = faults + i;
        if (fault->call != call && (fault->call != ANY || call == READ)) continue;
        if (fault->after > 0) {
            fault->after--;
            continue;
        }
        if (!fault->count) continue;
        if (fault->count > 0) fault->count--;
        if (fault->error < 0) kill(getpid(), SIGKILL), pause();
        errno = fault->error;
        return 1;
    }
    return 0;
}

static void hold(int kind) {
    if (log_fd < 0) return;
    struct flock lock = {.l_type = (short)kind, .l_whence = SEEK_SET};
    while (fcntl(log_fd, F_OFD_SETLKW, &lock) && errno == EINTR) {}
}

static int begin(void) {
    if (!on || depth) return 0;
    depth++;
    int before = errno;
    pthread_mutex_lock(&mutex);
    hold(F_WRLCK);
    errno = before;
    return 1;
}

static void end(void) {
    int before = errno;
    hold(F_UNLCK);
    pthread_mutex_unlock(&mutex);
    depth--;
    errno = before;
}

static void put(const void *bytes, size_t size) {
    for (const char *at = bytes; size;) {
        ssize_t done = real_write(log_fd, at, size);
        if (done < 0) {
            if (errno == EINTR) continue;
            static const char said[] = "shim: its log cannot be written\n";
            if (real_write(2, said, sizeof said - 1)) {}
            _exit(125);
        }
        at += done, size -= (size_t)done;
    }
}

static void record(int call, uint64_t ino, int64_t first, int64_t second, const char *path,
                   const char *other, const struct iovec *data, int parts, size_t size) {
    if (log_fd < 0) return;
    int before = errno;
    struct head head = {.magic = 0x5348494d, .call = (uint32_t)call, .pid = (uint32_t)getpid(), .ino = ino,
                        .first = first, .second = second, .path = (uint32_t)strlen(path),
                        .other = (uint32_t)strlen(other), .data = size};
    head.whole = (uint32_t)(sizeof head + head.path + head.other + size);
    put(&head, sizeof head);
    put(path, head.path);
    put(other, head.other);
    for (int i = 0; i < parts && size; i++) {
        size_t part = data[i].iov_len < size ? data[i].iov_len : size;
        put(data[i].iov_base, part);
        size -= part;
    }
    errno = before;
}

/* For the program itself: a sign in the log between two calls. */
void shim_mark(const char *text) {
    if (!begin()) return;
    record(MARK, 0, 0, 0, text, "", NULL, 0, 0);
    end();
}

/* Files. */

static int opened(int at, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX], real[PATH_MAX];
    if (!(flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC)) || !begin())
        return real_openat(at, name, flags, mode);
    int mine = placed(at, name, path), found = -1;
    if (mine && realpath(path, real) && strcmp(real, path)) mine = below(real), copied(path, PATH_MAX, real);
    if (!mine) {
        end();
        return real_openat(at, name, flags, mode);
    }
    if (!fails(OPEN, path)) {
        struct stat before;
        int there = !lstat(path, &before);
        found = real_openat(at, name, flags, mode);
        if (found >= 0 && (flags & O_TMPFILE) != O_TMPFILE) {
            uint64_t ino = inode(path);
            if (!there && ino) record(OPEN, ino, mode, 0, path, "", NULL, 0, 0);
            else if ((flags & O_TRUNC) && before.st_size) record(TRUNCATE, ino, 0, 0, path, "", NULL, 0, 0);
        }
    }
    end();
    return found;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { \
        va_list rest; \
        va_start(rest, flags); \
        mode = va_arg(rest, mode_t); \
        va_end(rest); \
    }

int open(const char *name, int flags, ...) {
    MODE(flags)
    find_calls();
    return opened(AT_FDCWD, name, flags, mode);
}

int open64(const char *name, int flags, ...) {
    MODE(flags)
    find_calls();
    return opened(AT_FDCWD, name, flags | O_LARGEFILE, mode);
}

int openat(int at, const char *name, int flags, ...) {
    MODE(flags)
    find_calls();
    return opened(at, name, flags, mode);
}

int openat64(int at, const char *name, int flags, ...) {
    MODE(flags)
    find_calls();
    return opened(at, name, flags | O_LARGEFILE, mode);
}

int creat(const char *name, mode_t mode) {
    find_calls();
    return opened(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int creat64(const char *name, mode_t mode) {
    find_calls();
    return opened(AT_FDCWD, name, O_CREAT | O_WRONLY | O_TRUNC | O_LARGEFILE, mode);
}

/* What programs call that were compiled with checks on. */
int __open_2(const char *name, int flags) { return open(name, flags); }
int __open64_2(const char *name, int flags) { return open64(name, flags); }
int __openat_2(int at, const char *name, int flags) { return openat(at, name, flags); }
int __openat64_2(int at, const char *name, int flags) { return openat64(at, name, flags); }

/* at < 0: where the file stands. */
static ssize_t written(int fd, const struct iovec *data, int parts, off_t at, int flags) {
    char path[PATH_MAX];
    uint64_t ino;
    ssize_t done = -1;
    int mine = begin();
    if (mine && !open_below(fd, path, &ino)) end(), mine = 0;
    if (mine && fails(WRITE, path)) {
        end();
        return -1;
    }
    if (at >= 0)
        done = flags        ? real_pwritev2(fd, data, parts, at, flags)
               : parts == 1 ? real_pwrite(fd, data->iov_base, data->iov_len, at)
                            : real_pwritev(fd, data, parts, at);
    else done = parts == 1 ? real_write(fd, data->iov_base, data->iov_len) : real_writev(fd, data, parts);
    if (mine) {
        if (done > 0) {
            if (at < 0) at = lseek(fd, 0, SEEK_CUR) - done;
            record(WRITE, ino, at, 0, path, "", data, parts, (size_t)done);
        }
        end();
    }
    return done;
}

ssize_t write(int fd, const void *bytes, size_t size) {
    find_calls();
    return written(fd, &(struct iovec){(void *)bytes, size}, 1, -1, 0);
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) {
    find_calls();
    return written(fd, &(struct iovec){(void *)bytes, size}, 1, at, 0);
}

ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) {
    find_calls();
    return written(fd, &(struct iovec){(void *)bytes, size}, 1, at, 0);
}

ssize_t writev(int fd, const struct iovec *data, int parts) {
    find_calls();
    return written(fd, data, parts, -1, 0);
}

ssize_t pwritev(int fd, const struct iovec *data, int parts, off_t at) {
    find_calls();
    return written(fd, data, parts, at, 0);
}

ssize_t pwritev64(int fd, const struct iovec *data, int parts, off64_t at) {
    find_calls();
    return written(fd, data, parts, at, 0);
}

ssize_t pwritev2(int fd, const struct iovec *data, int parts, off_t at, int flags) {
    find_calls();
    return written(fd, data, parts, at, flags);
}

ssize_t pwritev64v2(int fd, const struct iovec *data, int parts, off64_t at, int flags) {
    find_calls();
    return written(fd, data, parts, at, flags);
}

/* Copies inside the kernel go through memory where they end below the folder: so their bytes are seen. */
static ssize_t carried(int to, off_t *to_at, int from, off_t *from_at, size_t size) {
    static __thread char block[1 << 16];
    ssize_t got = from_at ? real_pread(from, block, size < sizeof block ? size : sizeof block, *from_at)
                          : real_read(from, block, size < sizeof block ? size : sizeof block);
    if (got <= 0) return got;
    ssize_t done = written(to, &(struct iovec){block, (size_t)got}, 1, to_at ? *to_at : -1, 0);
    if (done < 0 && !from_at) lseek(from, -got, SEEK_CUR);
    if (done > 0 && from_at) *from_at += done;
    if (done > 0 && to_at) *to_at += done;
    return done;
}

static int is_below(int fd) {
    char path[PATH_MAX];
    uint64_t ino;
    return on && !depth && open_below(fd, path, &ino);
}

ssize_t sendfile(int to, int from, off_t *at, size_t size) {
    find_calls();
    return is_below(to) ? carried(to, NULL, from, at, size) : real_sendfile(to, from, at, size);
}

ssize_t sendfile64(int to, int from, off64_t *at, size_t size) {
    return sendfile(to, from, at, size);
}

ssize_t copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t size, unsigned flags) {
    find_calls();
    return is_below(to) ? carried(to, to_at, from, from_at, size)
                        : real_copy_file_range(from, from_at, to, to_at, size, flags);
}

static ssize_t got(int fd, void *bytes, size_t size, off_t at) {
    char path[PATH_MAX];
    uint64_t ino;
    if (fault_count && begin()) {
        int refused = open_below(fd, path, &ino) && fails(READ, path);
        end();
        if (refused) return -1;
    }
    return at < 0 ? real_read(fd, bytes, size) : real_pread(fd, bytes, size, at);
}

ssize_t read(int fd, void *bytes, size_t size) {
    find_calls();
    return got(fd, bytes, size, -1);
}

ssize_t pread(int fd, void *bytes, size_t size, off_t at) {
    find_calls();
    return got(fd, bytes, size, at);
}

ssize_t pread64(int fd, void *bytes, size_t size, off64_t at) {
    find_calls();
    return got(fd, bytes, size, at);
}

ssize_t __read_chk(int fd, void *bytes, size_t size, size_t room) { return read(fd, bytes, size < room ? size : room); }
ssize_t __pread_chk(int fd, void *bytes, size_t size, off_t at, size_t room) {
    return pread(fd, bytes, size < room ? size : room, at);
}
ssize_t __pread64_chk(int fd, void *bytes, size_t size, off64_t at, size_t room) {
    return pread(fd, bytes, size < room ? size : room, at);
}

static int synced(int fd, int (*call)(int)) {
    char path[PATH_MAX];
    uint64_t ino;
    int mine = begin();
    if (mine && !open_below(fd, path, &ino)) end(), mine = 0;
    if (!mine) return nosync ? 0 : call(fd);
    int done = fails(FSYNC, path) ? -1 : nosync ? 0 : call(fd);
    if (!done) record(FSYNC, ino, 0, 0, path, "", NULL, 0, 0);
    end();
    return done;
}

int fsync(int fd) {
    find_calls();
    return synced(fd, real_fsync);
}

int fdatasync(int fd) {
    find_calls();
    return synced(fd, real_fdatasync);
}

int ftruncate(int fd, off_t size) {
    char path[PATH_MAX];
    uint64_t ino;
    find_calls();
    int mine = begin();
    if (mine && !open_below(fd, path, &ino)) end(), mine = 0;
    if (!mine) return real_ftruncate(fd, size);
    int done = fails(TRUNCATE, path) ? -1 : real_ftruncate(fd, size);
    if (!done) record(TRUNCATE, ino, size, 0, path, "", NULL, 0, 0);
    end();
    return done;
}

int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

int truncate(const char *name, off_t size) {
    char path[PATH_MAX];
    find_calls();
    int mine = begin();
    if (mine && !placed(AT_FDCWD, name, path)) end(), mine = 0;
    if (!mine) return real_truncate(name, size);
    int done = fails(TRUNCATE, path) ? -1 : real_truncate(name, size);
    if (!done) record(TRUNCATE, inode(path), size, 0, path, "", NULL, 0, 0);
    end();
    return done;
}

int truncate64(const char *name, off64_t size) { return truncate(name, size); }

/* Only what makes a file longer is known here, which is all that these are called for. */
static int longer(int fd, off_t at, off_t size, int (*call)(int, off_t, off_t)) {
    char path[PATH_MAX];
    uint64_t ino;
    struct stat status;
    int mine = begin();
    if (mine && !open_below(fd, path, &ino)) end(), mine = 0;
    if (!mine) return call(fd, at, size);
    int done = fails(TRUNCATE, path) ? -1 : call(fd, at, size);
    if (!done && !fstat(fd, &status)) record(TRUNCATE, ino, status.st_size, 0, path, "", NULL, 0, 0);
    end();
    return done;
}

static int plain_fallocate(int fd, off_t at, off_t size) { return real_fallocate(fd, 0, at, size); }

int fallocate(int fd, int how, off_t at, off_t size) {
    find_calls();
    return how ? real_fallocate(fd, how, at, size) : longer(fd, at, size, plain_fallocate);
}

int fallocate64(int fd, int how, off64_t at, off64_t size) { return fallocate(fd, how, at, size); }

int posix_fallocate(int fd, off_t at, off_t size) {
    find_calls();
    int done = longer(fd, at, size, real_posix_fallocate);
    return done < 0 ? errno : done;
}

int posix_fallocate64(int fd, off64_t at, off64_t size) { return posix_fallocate(fd, at, size); }

/* The C library's own streams write past everything above: those below the folder get other insides. */

struct stream {
    int fd;
};

static ssize_t stream_read(void *kept, char *bytes, size_t size) {
    return read(((struct stream *)kept)->fd, bytes, size);
}

static ssize_t stream_write(void *kept, const char *bytes, size_t size) {
    ssize_t done = write(((struct stream *)kept)->fd, bytes, size);
    return done < 0 ? 0 : done;
}

static int stream_seek(void *kept, off64_t *at, int whence) {
    *at = lseek(((struct stream *)kept)->fd, *at, whence);
    return *at < 0 ? -1 : 0;
}

static int stream_close(void *kept) {
    int done = close(((struct stream *)kept)->fd);
    free(kept);
    return done;
}

static struct { FILE *stream; int fd; } streams[256];

static FILE *seen_stream(int fd, const char *mode) {
    struct stream *kept = malloc(sizeof *kept);
    if (!kept) return NULL;
    kept->fd = fd;
    FILE *made = fopencookie(kept, mode, (cookie_io_functions_t){stream_read, stream_write, stream_seek,
                                                                 stream_close});
    if (!made) {
        free(kept);
        return NULL;
    }
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < sizeof streams / sizeof *streams; i++)
        if (!streams[i].stream || streams[i].stream == made) {
            streams[i].stream = made, streams[i].fd = fd;
            break;
        }
    pthread_mutex_unlock(&mutex);
    return made;
}

int fileno(FILE *stream) {
    find_calls();
    int found = -1;
    pthread_mutex_lock(&mutex);
    for (size_t i = 0; i < sizeof streams / sizeof *streams && found < 0; i++)
        if (streams[i].stream == stream) found = streams[i].fd;
    pthread_mutex_unlock(&mutex);
    return found >= 0 ? found : real_fileno(stream);
}

static int writes(const char *mode) { return strpbrk(mode, "wa+") != NULL; }

FILE *fopen(const char *name, const char *mode) {
    char path[PATH_MAX];
    find_calls();
    if (!on || depth || !writes(mode) || !placed(AT_FDCWD, name, path)) return real_fopen(name, mode);
    int plus = strchr(mode, '+') != NULL;
    int flags = *mode == 'r' ? 0 : *mode == 'w' ? O_CREAT | O_TRUNC : O_CREAT | O_APPEND;
    if (strchr(mode, 'x')) flags |= O_EXCL;
    if (strchr(mode, 'e')) flags |= O_CLOEXEC;
    int fd = open(name, flags | (plus ? O_RDWR : O_WRONLY), 0666);
    return fd < 0 ? NULL : seen_stream(fd, mode);
}

FILE *fopen64(const char *name, const char *mode) { return fopen(name, mode); }

FILE *fdopen(int fd, const char *mode) {
    char path[PATH_MAX];
    uint64_t ino;
    find_calls();
    if (!on || depth || !writes(mode) || !open_below(fd, path, &ino)) return real_fdopen(fd, mode);
    return seen_stream(fd, mode);
}

/* Names. */

static int renamed(int at, const char *name, int to, const char *target, unsigned flags) {
    char path[PATH_MAX], other[PATH_MAX];
    int mine = begin();
    if (mine) {
        int from_here = placed(at, name, path), to_here = placed(to, target, other);
        if (!(from_here || to_here)) end(), mine = 0;
    }
    if (!mine) return flags ? real_renameat2(at, name, to, target, flags) : real_renameat(at, name, to, target);
    int done = -1;
    if (!fails(RENAME, other)) {
        uint64_t ino = inode(path);
        done = flags ? real_renameat2(at, name, to, target, flags) : real_renameat(at, name, to, target);
        if (!done) record(RENAME, ino, flags, 0, path, other, NULL, 0, 0);
    }
    end();
    return done;
}

int rename(const char *name, const char *target) {
    find_calls();
    return renamed(AT_FDCWD, name, AT_FDCWD, target, 0);
}

int renameat(int at, const char *name, int to, const char *target) {
    find_calls();
    return renamed(at, name, to, target, 0);
}

int renameat2(int at, const char *name, int to, const char *target, unsigned flags) {
    find_calls();
    return renamed(at, name, to, target, flags);
}

static int removed(int at, const char *name, int flags) {
    char path[PATH_MAX];
    int mine = begin();
    if (mine && !placed(at, name, path)) end(), mine = 0;
    if (!mine) return real_unlinkat(at, name, flags);
    int done = -1;
    if (!fails(UNLINK, path)) {
        uint64_t ino = inode(path);
        done = real_unlinkat(at, name, flags);
        if (!done) record(UNLINK, ino, 0, 0, path, "", NULL, 0, 0);
    }
    end();
    return done;
}

int unlink(const char *name) {
    find_calls();
    return removed(AT_FDCWD, name, 0);
}

int unlinkat(int at, const char *name, int flags) {
    find_calls();
    return removed(at, name, flags);
}

int rmdir(const char *name) {
    find_calls();
    return removed(AT_FDCWD, name, AT_REMOVEDIR);
}

int remove(const char *name) {
    struct stat status;
    return !lstat(name, &status) && S_ISDIR(status.st_mode) ? rmdir(name) : unlink(name);
}

static int linked(int at, const char *name, int to, const char *target, int flags) {
    char path[PATH_MAX];
    int mine = begin();
    if (mine && !placed(to, target, path)) end(), mine = 0;
    if (!mine) return real_linkat(at, name, to, target, flags);
    int done = fails(LINK, path) ? -1 : real_linkat(at, name, to, target, flags);
    if (!done) record(LINK, inode(path), 0, 0, path, "", NULL, 0, 0);
    end();
    return done;
}

int link(const char *name, const char *target) {
    find_calls();
    return linked(AT_FDCWD, name, AT_FDCWD, target, 0);
}

int linkat(int at, const char *name, int to, const char *target, int flags) {
    find_calls();
    return linked(at, name, to, target, flags);
}

static int pointed(const char *content, int at, const char *name) {
    char path[PATH_MAX];
    int mine = begin();
    if (mine && !placed(at, name, path)) end(), mine = 0;
    if (!mine) return real_symlinkat(content, at, name);
    int done = fails(LINK, path) ? -1 : real_symlinkat(content, at, name);
    if (!done) record(LINK, inode(path), 1, 0, path, content, NULL, 0, 0);
    end();
    return done;
}

int symlink(const char *content, const char *name) {
    find_calls();
    return pointed(content, AT_FDCWD, name);
}

int symlinkat(const char *content, int at, const char *name) {
    find_calls();
    return pointed(content, at, name);
}

static int made(int at, const char *name, mode_t mode) {
    char path[PATH_MAX];
    int mine = begin();
    if (mine && !placed(at, name, path)) end(), mine = 0;
    if (!mine) return real_mkdirat(at, name, mode);
    int done = fails(MKDIR, path) ? -1 : real_mkdirat(at, name, mode);
    if (!done) record(MKDIR, inode(path), mode, 0, path, "", NULL, 0, 0);
    end();
    return done;
}

int mkdir(const char *name, mode_t mode) {
    find_calls();
    return made(AT_FDCWD, name, mode);
}

int mkdirat(int at, const char *name, mode_t mode) {
    find_calls();
    return made(at, name, mode);
}

static int timed(int at, const char *name, int fd, const struct timespec *times, int flags) {
    char path[PATH_MAX];
    uint64_t ino = 0;
    struct stat status;
    int mine = begin();
    if (mine && !(name ? placed(at, name, path) : open_below(fd, path, &ino))) end(), mine = 0;
    int done = mine && fails(TIME, path) ? -1
               : name                    ? real_utimensat(at, name, times, flags)
                                         : real_futimens(fd, times);
    if (!mine) return done;
    if (!done && !(name ? stat(path, &status) : fstat(fd, &status)))
        record(TIME, status.st_ino, status.st_mtim.tv_sec * 1000000000L + status.st_mtim.tv_nsec, 0, path, "",
               NULL, 0, 0);
    end();
    return done;
}

int utimensat(int at, const char *name, const struct timespec times[2], int flags) {
    find_calls();
    return timed(at, name, -1, times, flags);
}

int futimens(int fd, const struct timespec times[2]) {
    find_calls();
    return timed(-1, NULL, fd, times, 0);
}
