/* floor: the system calls of a run, with nothing around them.
 *
 * What climits.run asks of the kernel for one short program, in the same order: make the cgroup in
 * each hierarchy, mark it, set the limits and read them back, start the program inside, open the
 * files of the report while it runs, wait, read them, remove the cgroup.  The difference to
 * climits.run is what Python costs; the difference to a bare posix_spawn is the kernel's.
 *
 * But for looking in vain for files that this kernel does not have.
 *
 * A shared object, so that it runs in the same process as what it is compared with.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define MOST_FILES 32
#define INTO_CGROUP 0x200000000ULL
#define CLEAR_SIGHAND 0x100000000ULL
#define PIDFD 0x1000

/* A hierarchy's part of the cgroup; the lists end with NULL. */
struct part {
    const char *path;     /* to be made */
    int born_inside;      /* v2 */
    const char **limits;  /* file, text, file, text, ... */
    const char **reports; /* files */
};

struct clone3_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
             set_tid_size, cgroup;
};

static int joined = -1, parent;
static char *const *program, *const *environment;

static __attribute__((noreturn)) void child(void) {
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    sigset_t none;
    sigaction(SIGPIPE, &dfl, NULL); /* Python ignores these two */
    sigaction(SIGXFSZ, &dfl, NULL);
    if (joined >= 0) {
        int fd = openat(joined, "tasks", O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, "0", 1) != 1) _exit(126);
        close(fd);
    }
    syscall(SYS_close_range, 3, ~0U, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(126);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    execve(program[0], program, environment);
    _exit(127);
}

static long start(int into, int *pidfd) {
    static char stack[32768] __attribute__((aligned(16)));
    struct clone3_args args = {
        .flags = CLONE_VM | CLONE_VFORK | PIDFD | INTO_CGROUP | CLEAR_SIGHAND,
        .pidfd = (uintptr_t)pidfd, .exit_signal = SIGCHLD, .stack = (uintptr_t)stack,
        .stack_size = sizeof stack, .cgroup = (uint64_t)into};
    long result;
#ifdef __x86_64__
    register void (*r8)(void) __asm__("r8") = child;
    __asm__ volatile("syscall\n\ttest %%rax,%%rax\n\tjnz 1f\n\txor %%ebp,%%ebp\n\tcall *%%r8\n\tud2\n1:"
                     : "=a"(result) : "a"(435), "D"(&args), "S"(sizeof args), "r"(r8)
                     : "rcx", "r11", "memory");
#else
    (void)args, (void)child, (void)stack, result = -ENOSYS;
#endif
    return result;
}

static int set(int directory, const char *file, const char *text) {
    char kept[64];
    size_t size = 0;
    while (text[size]) size++;
    int fd = openat(directory, file, O_RDWR | O_CLOEXEC);
    int bad = fd < 0 || write(fd, text, size) < 0 || pread(fd, kept, sizeof kept, 0) <= 0;
    close(fd);
    return bad;
}

/* One run: 0, or the number of the line that failed. */
#define TRY(condition) do { if (!(condition)) return __LINE__; } while (0)
int cycle(int count, const struct part *parts, char *const *argv, char *const *envp) {
    char text[8192];
    int directories[2], files[MOST_FILES], opened = 0, into = -1, pidfd;
    sigset_t all, old;
    siginfo_t end;

    TRY(count <= 2);
    program = argv, environment = envp, parent = getpid(), joined = -1;
    for (int i = 0; i < count; i++) {
        TRY(mkdir(parts[i].path, 0755) == 0);
        int fd = directories[i] = open(parts[i].path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        TRY(fd >= 0 && fsetxattr(fd, "user.climits-floor", "1", 1, 0) == 0);
        if (parts[i].born_inside) into = fd; else joined = fd;
    }
    for (int i = 0; i < count; i++)
        for (const char **limit = parts[i].limits; *limit; limit += 2)
            TRY(set(directories[i], limit[0], limit[1]) == 0);
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &old);
    long pid = start(into, &pidfd);
    sigprocmask(SIG_SETMASK, &old, NULL);
    TRY(pid > 0);
    for (int i = 0; i < count; i++)
        for (const char **file = parts[i].reports; *file; file++) {
            TRY(opened < MOST_FILES);
            TRY((files[opened++] = openat(directories[i], *file, O_RDONLY | O_CLOEXEC)) >= 0);
        }
    /* A wait, a look at how it ended, and the reaping. */
    for (int i = 0; i < 3; i++)
        TRY(waitid(P_PIDFD, (id_t)pidfd, &end, i < 2 ? WEXITED | WNOWAIT : WEXITED) == 0);
    for (int i = 0; i < opened; i++) {
        TRY(read(files[i], text, sizeof text) > 0);
        close(files[i]);
    }
    close(pidfd);
    for (int i = count - 1; i >= 0; i--) {
        TRY(rmdir(parts[i].path) == 0);
        close(directories[i]);
    }
    TRY(end.si_code == CLD_EXITED && end.si_status == 0);
    return 0;
}
