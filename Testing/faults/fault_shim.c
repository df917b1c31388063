/* Counts, fails, tears and records the calls with which a process changes files.
 *
 * Preloaded (LD_PRELOAD) into a Python whose scenario is under test; see fault_points.py.
 * Whoever writes is seen: Python, SQLite, SimpleITK, since all of them go through these
 * functions of the C library. Writes through mmap() are not seen.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { NOTHING, KILL_BEFORE, KILL_AFTER, TEAR, FAIL, FAIL_FROM_THERE_ON };
#define MOST_FDS 65536
#define REAL(name) ((__typeof__(&name))real(#name))

static char root[PATH_MAX];
static size_t root_length;
static int armed, how, error_number, record_to = -1, acknowledge_to = -1, struck;
static long count, at;
static unsigned char ours[MOST_FDS];

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

/* ---- what fault_points.py calls -------------------------------------------------- */

void fault_arm(const char *folder, long strike_at, int way, int number, int record, int acks) {
  snprintf(root, sizeof root, "%s", folder);
  root_length = strlen(root);
  count = 0, at = strike_at, how = way, error_number = number, struck = 0;
  record_to = record, acknowledge_to = acks, armed = 1;
  memset(ours, 0, sizeof ours);
}

void fault_disarm(void) { armed = 0; }
long fault_count(void) { return count; }
int fault_struck(void) { return struck; }

static void put(int fd, const void *data, size_t length) {
  const char *next = data;
  while (length) {
    ssize_t done = syscall(SYS_write, fd, next, length);
    if (done <= 0) return;
    next += done, length -= (size_t)done;
  }
}

static void record(const char *op, int fd, long long offset, int flags, const char *first,
                   const char *second, const void *data, size_t length) {
  if (record_to < 0) return;
  char line[200];
  int n = snprintf(line, sizeof line, "%s %ld %d %lld %d %zu %zu %zu\n", op, count, fd, offset,
                   flags, strlen(first), strlen(second), length);
  put(record_to, line, (size_t)n);
  put(record_to, first, strlen(first));
  put(record_to, second, strlen(second));
  put(record_to, data, length);
}

void fault_acknowledge(const char *text) {
  if (acknowledge_to >= 0) put(acknowledge_to, text, strlen(text)), put(acknowledge_to, "\n", 1);
  record("ack", -1, 0, 0, text, "", "", 0);
}

/* ---- deciding -------------------------------------------------------------------- */

static void die(void) {
  syscall(SYS_kill, getpid(), SIGKILL);
  for (;;) pause();
}

static int place(int dirfd, const char *path, char *out) {
  char base[PATH_MAX] = "";
  if (!armed || !path) return 0;
  if (path[0] == '/') {
    snprintf(out, PATH_MAX, "%s", path);
  } else {
    if (dirfd == AT_FDCWD) {
      if (!getcwd(base, sizeof base)) return 0;
    } else {
      char link[64];
      snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
      ssize_t n = readlink(link, base, sizeof base - 1);
      if (n < 0) return 0;
      base[n] = 0;
    }
    size_t used = strlen(base);
    snprintf(out, PATH_MAX, "%s", base);
    snprintf(out + used, PATH_MAX - used, "/%s", path);
  }
  return strncmp(out, root, root_length) == 0 && (out[root_length] == '/' || !out[root_length]);
}

static int mine(int fd) { return armed && fd >= 0 && fd < MOST_FDS && ours[fd]; }

/* Returns the number of this call, or 0 when it has to fail (errno is set). */
static long enter(void) {
  long n = ++count;
  if (n == at || (how == FAIL_FROM_THERE_ON && at && n > at)) {
    struck = 1;
    if (how == KILL_BEFORE) die();
    if (how == FAIL || how == FAIL_FROM_THERE_ON) {
      errno = error_number;
      return 0;
    }
  }
  return n;
}

static void leave(long n) {
  if (n == at && (how == KILL_AFTER || how == TEAR)) die();
}

static int tears(long n) { return n == at && how == TEAR; }

/* ---- open and close --------------------------------------------------------------- */

static int opened(int dirfd, const char *path, int flags, mode_t mode) {
  char full[PATH_MAX];
  int (*really)(int, const char *, int, ...) = real("openat");
  if (!place(dirfd, path, full)) {
    int fd = really(dirfd, path, flags, mode);
    if (fd >= 0 && fd < MOST_FDS) ours[fd] = 0;
    return fd;
  }
  long n = enter();
  if (!n) return -1;
  if (tears(n)) die();
  int fd = really(dirfd, path, flags, mode);
  if (fd >= 0 && fd < MOST_FDS) {
    ours[fd] = 1;
    record("open", fd, 0, flags, full, "", "", 0);
  }
  int kept = errno;
  leave(n);
  errno = kept;
  return fd;
}

#define WITH_MODE(flags)                          \
  mode_t mode = 0;                                \
  if ((flags) & (O_CREAT | __O_TMPFILE)) {        \
    va_list rest;                                 \
    va_start(rest, flags);                        \
    mode = va_arg(rest, mode_t);                  \
    va_end(rest);                                 \
  }

int open(const char *path, int flags, ...) {
  WITH_MODE(flags) return opened(AT_FDCWD, path, flags, mode);
}
int open64(const char *path, int flags, ...) {
  WITH_MODE(flags) return opened(AT_FDCWD, path, flags, mode);
}
int openat(int dirfd, const char *path, int flags, ...) {
  WITH_MODE(flags) return opened(dirfd, path, flags, mode);
}
int openat64(int dirfd, const char *path, int flags, ...) {
  WITH_MODE(flags) return opened(dirfd, path, flags, mode);
}
int creat(const char *path, mode_t mode) {
  return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

static FILE *streamed(const char *name, const char *path, const char *way) {
  char full[PATH_MAX];
  FILE *(*really)(const char *, const char *) = real(name);
  if (!place(AT_FDCWD, path, full)) return really(path, way);
  long n = enter();
  if (!n) return NULL;
  if (tears(n)) die();
  FILE *file = really(path, way);
  if (file) {
    int flags = way[0] == 'r' ? (strchr(way, '+') ? O_RDWR : O_RDONLY) : O_WRONLY | O_CREAT;
    flags |= way[0] == 'w' ? O_TRUNC : way[0] == 'a' ? O_APPEND : 0;
    ours[fileno(file)] = 1;
    record("open", fileno(file), 0, flags, full, "", "", 0);
  }
  leave(n);
  return file;
}
FILE *fopen(const char *path, const char *way) { return streamed("fopen", path, way); }
FILE *fopen64(const char *path, const char *way) { return streamed("fopen64", path, way); }

int close(int fd) {
  if (mine(fd)) {
    ours[fd] = 0;
    record("close", fd, 0, 0, "", "", "", 0);
  }
  return REAL(close)(fd);
}

/* ---- writing ----------------------------------------------------------------------- */

static long long position(int fd) {
  struct stat now;
  if ((fcntl(fd, F_GETFL) & O_APPEND) && !fstat(fd, &now)) return now.st_size;
  return lseek(fd, 0, SEEK_CUR);
}

ssize_t write(int fd, const void *data, size_t length) {
  if (!mine(fd)) return REAL(write)(fd, data, length);
  long n = enter();
  if (!n) return -1;
  long long offset = position(fd);
  ssize_t done = REAL(write)(fd, data, tears(n) ? length / 2 : length);
  if (done > 0) record("write", fd, offset, 0, "", "", data, (size_t)done);
  leave(n);
  return done;
}

static ssize_t wrote_at(int fd, const void *data, size_t length, off64_t offset) {
  if (!mine(fd)) return REAL(pwrite64)(fd, data, length, offset);
  long n = enter();
  if (!n) return -1;
  ssize_t done = REAL(pwrite64)(fd, data, tears(n) ? length / 2 : length, offset);
  if (done > 0) record("write", fd, offset, 0, "", "", data, (size_t)done);
  leave(n);
  return done;
}
ssize_t pwrite(int fd, const void *d, size_t l, off_t o) { return wrote_at(fd, d, l, o); }
ssize_t pwrite64(int fd, const void *d, size_t l, off64_t o) { return wrote_at(fd, d, l, o); }

ssize_t writev(int fd, const struct iovec *parts, int many) {
  if (!mine(fd)) return REAL(writev)(fd, parts, many);
  ssize_t sum = 0;
  for (int p = 0; p < many; p++) {
    ssize_t done = parts[p].iov_len ? write(fd, parts[p].iov_base, parts[p].iov_len) : 0;
    if (done < 0) return sum ? sum : -1;
    sum += done;
    if ((size_t)done < parts[p].iov_len) break;
  }
  return sum;
}

/* Copies inside the kernel are made visible as reads and writes. */
ssize_t sendfile(int out, int in, off_t *offset, size_t length) {
  if (!mine(out)) return REAL(sendfile)(out, in, offset, length);
  char part[65536];
  size_t most = length < sizeof part ? length : sizeof part;
  ssize_t got = offset ? pread(in, part, most, *offset) : read(in, part, most);
  if (got <= 0) return got;
  ssize_t done = write(out, part, (size_t)got);
  if (offset && done > 0) *offset += done;
  return done;
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t length) {
  return sendfile(out, in, (off_t *)offset, length);
}
ssize_t copy_file_range(int in, off64_t *io, int out, off64_t *oo, size_t length, unsigned flags) {
  if (!mine(out)) return REAL(copy_file_range)(in, io, out, oo, length, flags);
  errno = ENOSYS; /* the caller then copies by hand */
  return -1;
}

static int cut(int fd, off64_t length) {
  if (!mine(fd)) return REAL(ftruncate64)(fd, length);
  long n = enter();
  if (!n) return -1;
  if (tears(n)) die();
  int result = REAL(ftruncate64)(fd, length);
  if (!result) record("truncate", fd, length, 0, "", "", "", 0);
  leave(n);
  return result;
}
int ftruncate(int fd, off_t length) { return cut(fd, length); }
int ftruncate64(int fd, off64_t length) { return cut(fd, length); }

static int cut_named(const char *path, off64_t length) {
  char full[PATH_MAX];
  if (!place(AT_FDCWD, path, full)) return REAL(truncate64)(path, length);
  long n = enter();
  if (!n) return -1;
  if (tears(n)) die();
  int result = REAL(truncate64)(path, length);
  if (!result) record("truncate", -1, length, 0, full, "", "", 0);
  leave(n);
  return result;
}
int truncate(const char *path, off_t length) { return cut_named(path, length); }
int truncate64(const char *path, off64_t length) { return cut_named(path, length); }

static int flushed(const char *name, int fd) {
  int (*really)(int) = real(name);
  if (!mine(fd)) return really(fd);
  long n = enter();
  if (!n) return -1;
  if (tears(n)) die();
  int result = really(fd);
  if (!result) record("fsync", fd, 0, 0, "", "", "", 0);
  leave(n);
  return result;
}
int fsync(int fd) { return flushed("fsync", fd); }
int fdatasync(int fd) { return flushed("fdatasync", fd); }

/* ---- names ------------------------------------------------------------------------- */

#define NAMED(op, dirfd, path, flags, call)                 \
  char full[PATH_MAX];                                      \
  if (!place(dirfd, path, full)) return call;               \
  long n = enter();                                         \
  if (!n) return -1;                                        \
  if (tears(n)) die();                                      \
  int result = call;                                        \
  int kept = errno;                                         \
  if (!result) record(op, -1, 0, flags, full, "", "", 0);   \
  leave(n);                                                 \
  errno = kept;                                             \
  return result;

int unlink(const char *path) { NAMED("unlink", AT_FDCWD, path, 0, REAL(unlink)(path)) }
int rmdir(const char *path) { NAMED("rmdir", AT_FDCWD, path, 0, REAL(rmdir)(path)) }
int unlinkat(int dirfd, const char *path, int flags) {
  NAMED(flags & AT_REMOVEDIR ? "rmdir" : "unlink", dirfd, path, 0,
        REAL(unlinkat)(dirfd, path, flags))
}
int mkdir(const char *path, mode_t mode) {
  NAMED("mkdir", AT_FDCWD, path, 0, REAL(mkdir)(path, mode))
}
int mkdirat(int dirfd, const char *path, mode_t mode) {
  NAMED("mkdir", dirfd, path, 0, REAL(mkdirat)(dirfd, path, mode))
}

#define TWO_NAMED(op, from_dir, from, to_dir, to, call)                         \
  char first[PATH_MAX], second[PATH_MAX];                                       \
  int inside = place(from_dir, from, first);                                    \
  inside = place(to_dir, to, second) || inside;                                 \
  if (!inside) return call;                                                     \
  long n = enter();                                                             \
  if (!n) return -1;                                                            \
  if (tears(n)) die();                                                          \
  int result = call;                                                            \
  int kept = errno;                                                             \
  if (!result) record(op, -1, 0, 0, first, second, "", 0);                      \
  leave(n);                                                                     \
  errno = kept;                                                                 \
  return result;

int rename(const char *a, const char *b) {
  TWO_NAMED("rename", AT_FDCWD, a, AT_FDCWD, b, REAL(rename)(a, b))
}
int renameat(int da, const char *a, int db, const char *b) {
  TWO_NAMED("rename", da, a, db, b, REAL(renameat)(da, a, db, b))
}
int link(const char *a, const char *b) {
  TWO_NAMED("link", AT_FDCWD, a, AT_FDCWD, b, REAL(link)(a, b))
}
int linkat(int da, const char *a, int db, const char *b, int flags) {
  TWO_NAMED("link", da, a, db, b, REAL(linkat)(da, a, db, b, flags))
}
