/* _spawn: run a table of raw system calls in a vfork-style child, then execve.
 *
 * Theory of operation
 *
 * The child is made with CLONE_VM | CLONE_VFORK: it borrows the parent's memory, and the calling
 * thread sleeps until the child has called execve or died.  No page table is copied, so a parent
 * with gigabytes of heap starts a program as fast as a small one.  The price is that between
 * clone and execve the child must not touch anything that another thread of the parent may be
 * using: no Python, no malloc, no stdio, no locks.  It runs nothing but the table: each entry is
 * one system call with its arguments, converted here, before the clone.  The results of earlier
 * entries may be arguments of later ones (a descriptor that was opened, say).
 *
 * Signals are blocked from before the clone until the child has put every caught signal back to
 * its default, so no handler of the parent ever runs in the child.  A failing entry is reported
 * through the shared memory as (step, errno); the child then exits and is reaped here.
 *
 * The child runs on a buffer in the parent's frame: the parent sleeps, so the frame stays put.
 *
 * A child that changes its user, joins namespaces or hides makes the memory it shares with us
 * undumpable, lest its new peers look into it.  We put our own state back, but only once no such
 * child has that memory any more.  That is later than the end of our sleep, which execve ends (and,
 * in 6.1.192 for one, closes descriptors) a moment before it takes the new memory.
 *
 *   spawn(steps, paths, argv, envp, flags, cgroup_fd, sigmask) -> (pid, pidfd)
 *   signalfd(sigmask) -> fd
 *   address(bytes) -> int
 *
 * Each step is (name, args, expect) or more: args a tuple of int, None (NULL), bytes (a pointer to
 * them) or (k,) (the result of step k); expect None, the one result that is not a failure, or -1:
 * none is; what follows is for those who explain a failure.
 * sigmask: bit N-1 stands for signal N; for spawn, -1 keeps the caller's mask.
 * On failure spawn raises OSError with the attribute `step`: an index into steps, len(steps) for
 * execve, -1 for the clone itself.
 */
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <Python.h>
#include <structmember.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif
#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_close_range
#define SYS_close_range 436
#endif
#ifndef SYS_open_tree
#define SYS_open_tree 428
#define SYS_move_mount 429
#define SYS_fsopen 430
#define SYS_fsconfig 431
#define SYS_fsmount 432
#endif
#ifndef SYS_openat2
#define SYS_openat2 437
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif
#define INTO_CGROUP 0x200000000ULL   /* CLONE_INTO_CGROUP, clone3 only, since 5.7 */
#define CLEAR_SIGHAND 0x100000000ULL /* CLONE_CLEAR_SIGHAND, clone3 only, since 5.5 */
/* Python ignores these for itself; programs expect the default. */
#define IGNORED_BY_PYTHON (1ULL << (SIGPIPE - 1) | 1ULL << (SIGXFSZ - 1))

#define NSIG_KERNEL 64
#define MAX_ARGS 5
#define CHILD_STACK (32 * 1024)
#define AT_CLONE (-1)
#define PF_FORKNOEXEC 0x40 /* include/linux/sched.h: cleared after exec_mmap() */
#define NO_FAILURE (-2)
#define ANY_RESULT (-1) /* as `expect`: a failure of this step does not matter */

/* The calls a plan may name.  Numbers come from the compiler, so they are right on every machine. */
static const struct { const char *name; long nr; } known_calls[] = {
#define CALL(name) {#name, SYS_##name}
    CALL(capset), CALL(chdir), CALL(close), CALL(close_range), CALL(dup3), CALL(exit_group),
    CALL(fchdir), CALL(fcntl), CALL(fsconfig), CALL(fsmount), CALL(fsopen), CALL(getppid),
    CALL(ioctl), CALL(mkdirat), CALL(mknodat), CALL(mount), CALL(mount_setattr), CALL(move_mount),
    CALL(open_tree), CALL(openat), CALL(openat2), CALL(pivot_root), CALL(prctl), CALL(prlimit64),
    CALL(read), CALL(readlinkat), CALL(setgroups), CALL(sethostname), CALL(setns), CALL(setpgid),
    CALL(setpriority), CALL(setresgid), CALL(setresuid), CALL(setsid), CALL(socket),
    CALL(symlinkat), CALL(umask), CALL(umount2), CALL(unshare), CALL(write),
#undef CALL
};

struct step {
    long nr, args[MAX_ARGS], expect, result;
    unsigned char refs; /* bit i: args[i] is the index of the step whose result is meant */
    char has_expect;
};

struct child {
    struct step *steps;
    int count;
    char **paths, **argv, **envp;
    uint64_t mask;   /* the new program's signal mask */
    uint64_t reset;  /* signals to put back to their default */
    int hides, gone; /* some step makes the memory undumpable; the child has it no more */
    volatile int failed_step, failed_errno, began;
};

struct clone3_args {
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls,
             set_tid, set_tid_size, cgroup;
};

struct kernel_sigaction { void *handler; unsigned long flags; void *restorer; uint64_t mask; };

/* libc's syscall() is safe in the child: all it writes is errno, which the sleeping caller does
 * not look at afterwards. */
static long call(long nr, long a, long b, long c, long d, long e) {
    long result = syscall(nr, a, b, c, d, e);
    return result == -1 ? -errno : result;
}

static void set_mask(uint64_t mask, uint64_t *old) {
    call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&mask, (long)old, sizeof mask, 0);
}

/* ---- the child -------------------------------------------------------------------------- */

static void __attribute__((noreturn)) fail(struct child *c, int step, long error) {
    c->failed_errno = (int)-error;
    c->failed_step = step;
    for (;;) call(SYS_exit_group, 127, 0, 0, 0, 0);
}

static int run_child(void *arg) {
    struct child *c = arg;
    struct kernel_sigaction dfl = {0};
    long error = -ENOENT;

    c->began = 1;
    for (int sig = 1; sig <= NSIG_KERNEL; sig++)
        if (c->reset >> (sig - 1) & 1)
            call(SYS_rt_sigaction, sig, (long)&dfl, 0, sizeof dfl.mask, 0);
    for (int i = 0; i < c->count; i++) {
        struct step *s = &c->steps[i];
        long a[MAX_ARGS];
        for (int j = 0; j < MAX_ARGS; j++)
            a[j] = s->refs >> j & 1 ? c->steps[s->args[j]].result : s->args[j];
        s->result = call(s->nr, a[0], a[1], a[2], a[3], a[4]);
        if (s->has_expect ? s->result != s->expect && s->expect != ANY_RESULT : s->result < 0)
            fail(c, i, s->result < 0 ? s->result : -ESRCH);
    }
    set_mask(c->mask, NULL);
    /* The rule of execvp: go on past what is not there, but remember a refusal. */
    for (char **path = c->paths; *path; path++) {
        long e = call(SYS_execve, (long)*path, (long)c->argv, (long)c->envp, 0, 0);
        if (e != -ENOENT && e != -ENOTDIR) error = e;
        if (e != -ENOENT && e != -ENOTDIR && e != -EACCES) break;
    }
    fail(c, c->count, error);
}

/* clone3 has no libc wrapper.  The child starts on its own stack and never returns from here. */
static long clone3_call(struct clone3_args *args, size_t size, int (*fn)(void *), void *arg) {
#if defined(__x86_64__)
    long result;
    register void *r8 __asm__("r8") = (void *)fn;
    register void *r9 __asm__("r9") = arg;
    __asm__ volatile(
        "syscall\n\ttest %%rax,%%rax\n\tjnz 1f\n\t"
        "xor %%ebp,%%ebp\n\tmov %%r9,%%rdi\n\tcall *%%r8\n\tud2\n1:"
        : "=a"(result) : "a"(SYS_clone3), "D"(args), "S"(size), "r"(r8), "r"(r9)
        : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = SYS_clone3;
    register long x0 __asm__("x0") = (long)args;
    register long x1 __asm__("x1") = (long)size;
    register void *x10 __asm__("x10") = (void *)fn;
    register void *x11 __asm__("x11") = arg;
    __asm__ volatile(
        "svc 0\n\tcbnz x0,1f\n\tmov x29,xzr\n\tmov x0,x11\n\tblr x10\n\tbrk 1\n1:"
        : "+r"(x0) : "r"(x8), "r"(x1), "r"(x10), "r"(x11) : "x30", "memory");
    return x0;
#else
    (void)args; (void)size; (void)fn; (void)arg;
    return -ENOSYS; /* the caller then joins the cgroup by a write */
#endif
}

/* ---- the parent ------------------------------------------------------------------------- */

static uint64_t caught_signals(void) {
    uint64_t caught = 0;
    struct kernel_sigaction sa;
    for (int sig = 1; sig <= NSIG_KERNEL; sig++) {
        if (call(SYS_rt_sigaction, sig, 0, (long)&sa, sizeof sa.mask, 0)) continue;
        if (sa.handler == (void *)SIG_DFL || sa.handler == (void *)SIG_IGN) continue;
        caught |= 1ULL << (sig - 1);
    }
    return caught;
}

/* Some microseconds after execve has ended our sleep.  Where it cannot be seen, we rather stay
 * undumpable. */
static int has_new_memory(long pid) {
    char path[32], text[512];
    const struct timespec pause = {.tv_nsec = 50000};

    snprintf(path, sizeof path, "/proc/%ld/stat", pid);
    for (int i = 0; i < 20000; i++) {
        unsigned flags;
        char state, *name;
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
        if (fd >= 0) close(fd);
        if (n <= 0) return kill((pid_t)pid, 0) != 0; /* SIGCHLD ignored: it is reaped by itself */
        text[n] = 0;
        name = strrchr(text, ')');
        if (!name || sscanf(name, ") %c %*d %*d %*d %*d %*d %u", &state, &flags) != 2) return 0;
        if (!(flags & PF_FORKNOEXEC) || state == 'Z') return 1;
        nanosleep(&pause, NULL);
    }
    return 0;
}

static long start(struct child *c, uint64_t flags, int cgroup_fd, uint64_t mask, int *pidfd) {
    char stack[CHILD_STACK] __attribute__((aligned(16)));
    uint64_t old;
    long pid;

    flags |= CLONE_VM | CLONE_VFORK | CLONE_PIDFD;
    set_mask(~0ULL, &old);
    c->mask = mask == ~0ULL ? old : mask; /* no mask has SIGKILL, so that one is free */
    if (cgroup_fd >= 0) {
        c->reset = IGNORED_BY_PYTHON; /* the kernel resets what is caught: no asking 64 times */
        struct clone3_args args = {
            .flags = flags | INTO_CGROUP | CLEAR_SIGHAND, .pidfd = (uint64_t)(uintptr_t)pidfd,
            .exit_signal = SIGCHLD, .stack = (uint64_t)(uintptr_t)stack,
            .stack_size = sizeof stack, .cgroup = (uint64_t)cgroup_fd};
        pid = clone3_call(&args, sizeof args, run_child, c);
    } else {
        c->reset = IGNORED_BY_PYTHON | caught_signals(); /* after blocking: nothing runs meanwhile */
        pid = clone(run_child, stack + sizeof stack, (int)(flags | SIGCHLD), c, pidfd);
        if (pid < 0) pid = -errno;
    }
    /* In a cgroup that was once killed through cgroup.kill, or from one, a child of
     * CLONE_INTO_CGROUP is killed at birth (6.18): the caller then joins by a write. */
    if (pid > 0 && cgroup_fd >= 0 && !c->began) {
        c->failed_errno = ECANCELED;
        c->failed_step = AT_CLONE;
    }
    if (pid > 0 && c->failed_step != NO_FAILURE)
        while (call(SYS_wait4, pid, 0, __WALL, 0, 0) == -EINTR) {}
#ifdef __SANITIZE_ADDRESS__ /* tools/sanitize.py: no frame of the child has ever been left */
    __asan_unpoison_memory_region(stack, sizeof stack);
#endif
    if (c->hides) c->gone = pid < 0 || c->failed_step != NO_FAILURE || has_new_memory(pid);
    set_mask(old, NULL);
    if (pid < 0) { c->failed_step = AT_CLONE; c->failed_errno = (int)-pid; }
    return pid;
}

static int read_arg(struct step *s, int i, int j, PyObject *arg) {
    if (arg == Py_None) return 0;
    if (PyBytes_Check(arg)) { s->args[j] = (long)PyBytes_AsString(arg); return 0; }
    if (PyLong_Check(arg)) {
        s->args[j] = (long)PyLong_AsUnsignedLongMask(arg);
        return PyErr_Occurred() ? -1 : 0;
    }
    if (PyTuple_Check(arg) && PyTuple_Size(arg) == 1) {
        long k = PyLong_AsLong(PyTuple_GetItem(arg, 0));
        if (PyErr_Occurred()) return -1;
        if (k >= 0 && k < i) { s->args[j] = k; s->refs |= 1 << j; return 0; }
    }
    PyErr_Format(PyExc_TypeError, "step %d: argument %d is not int, bytes, None or (earlier step,)", i, j);
    return -1;
}

static int read_step(struct step *s, int i, PyObject *item) {
    PyObject *name, *args, *expect, *purpose;
    memset(s, 0, sizeof *s);
    if (!PyTuple_Check(item)) {
        PyErr_Format(PyExc_TypeError, "step %d is not a tuple", i);
        return -1;
    }
    if (!PyArg_ParseTuple(item, "UO!O|O;a step is (name, args, expect, purpose)", &name,
                          &PyTuple_Type, &args, &expect, &purpose))
        return -1;
    size_t k = 0, known = sizeof known_calls / sizeof *known_calls;
    while (k < known && PyUnicode_CompareWithASCIIString(name, known_calls[k].name)) k++;
    if (k == known) { PyErr_Format(PyExc_ValueError, "step %d: no system call %R", i, name); return -1; }
    s->nr = known_calls[k].nr;
    if (PyTuple_Size(args) > MAX_ARGS) {
        PyErr_Format(PyExc_ValueError, "step %d: more than %d arguments", i, MAX_ARGS);
        return -1;
    }
    for (int j = 0; j < (int)PyTuple_Size(args); j++)
        if (read_arg(s, i, j, PyTuple_GetItem(args, j)) < 0) return -1;
    if (expect != Py_None) {
        s->has_expect = 1;
        s->expect = PyLong_AsLong(expect);
    }
    return PyErr_Occurred() ? -1 : 0;
}

static char **strings(PyObject *tuple) {
    Py_ssize_t n = PyTuple_Size(tuple);
    char **list = PyMem_Calloc(n + 1, sizeof *list);
    if (!list) { PyErr_NoMemory(); return NULL; }
    for (Py_ssize_t i = 0; i < n; i++) /* refuses embedded NUL bytes */
        if (PyBytes_AsStringAndSize(PyTuple_GetItem(tuple, i), &list[i], NULL) < 0) {
            PyMem_Free(list);
            return NULL;
        }
    return list;
}

static PyObject *raise_failure(const struct child *c) {
    PyObject *error = PyObject_CallFunction(PyExc_OSError, "is", c->failed_errno, strerror(c->failed_errno));
    PyObject *step = PyLong_FromLong(c->failed_step);
    if (error && step && PyObject_SetAttrString(error, "step", step) == 0)
        PyErr_SetObject(PyExc_OSError, error);
    Py_XDECREF(error);
    Py_XDECREF(step);
    return NULL;
}

/* How many children have our memory undumpable now, and what it was before the first. */
static int hiding;
static long dumpable;

/* Source: commit_creds() in kernel/cred.c */
static int may_hide(const struct step *s) {
    return s->nr == SYS_setresuid || s->nr == SYS_setresgid || s->nr == SYS_setns ||
           s->nr == SYS_unshare || (s->nr == SYS_prctl && s->args[0] == PR_SET_DUMPABLE);
}

static PyObject *spawn(PyObject *self, PyObject *args) {
    PyObject *steps, *paths, *argv, *envp, *result = NULL;
    unsigned long long flags;
    unsigned long long mask;
    int cgroup_fd, pidfd = -1;
    struct child c = {.failed_step = NO_FAILURE};
    (void)self;

    if (!PyArg_ParseTuple(args, "O!O!O!O!KiK", &PyTuple_Type, &steps, &PyTuple_Type, &paths,
                          &PyTuple_Type, &argv, &PyTuple_Type, &envp, &flags, &cgroup_fd, &mask))
        return NULL;
    c.count = (int)PyTuple_Size(steps);
    c.steps = PyMem_Calloc(c.count + 1, sizeof *c.steps);
    if (!c.steps) { PyErr_NoMemory(); goto out; }
    for (int i = 0; i < c.count; i++) {
        if (read_step(&c.steps[i], i, PyTuple_GetItem(steps, i)) < 0) goto out;
        c.hides |= may_hide(&c.steps[i]);
    }
    if (!(c.paths = strings(paths)) || !(c.argv = strings(argv)) || !(c.envp = strings(envp))) goto out;

    long pid;
    /* Other threads may be at it too; the GIL guards these two. */
    if (c.hides && !hiding++) dumpable = call(SYS_prctl, PR_GET_DUMPABLE, 0, 0, 0, 0);
    Py_BEGIN_ALLOW_THREADS /* a step may be slow or block */
    pid = start(&c, flags, cgroup_fd, mask, &pidfd);
    Py_END_ALLOW_THREADS
    if (c.hides && !--hiding && dumpable == 1 && c.gone) call(SYS_prctl, PR_SET_DUMPABLE, 1, 0, 0, 0);
    if (c.failed_step == NO_FAILURE) {
        result = Py_BuildValue("li", pid, pidfd);
    } else {
        if (pidfd >= 0) close(pidfd);
        raise_failure(&c);
    }
out:
    PyMem_Free(c.steps);
    PyMem_Free(c.paths);
    PyMem_Free(c.argv);
    PyMem_Free(c.envp);
    return result;
}

/* Python's own signal module cannot tell a signal that the terminal sent from one that a process
 * sent; a signalfd can.  It is here because the mask that a signalfd needs is the mask that the
 * child must not inherit. */
static PyObject *make_signalfd(PyObject *self, PyObject *args) {
    unsigned long long mask;
    (void)self;
    if (!PyArg_ParseTuple(args, "K", &mask)) return NULL;
    uint64_t set = mask;
    long fd = call(SYS_signalfd4, -1, (long)&set, sizeof set, SFD_CLOEXEC | SFD_NONBLOCK, 0);
    if (fd < 0) { errno = (int)-fd; return PyErr_SetFromErrno(PyExc_OSError); }
    return PyLong_FromLong(fd);
}

/* For structures of the kernel that point to others.  `array` could tell it too, at 2.6 ms. */
static PyObject *address(PyObject *self, PyObject *data) {
    (void)self;
    char *start = PyBytes_AsString(data);
    return start ? PyLong_FromVoidPtr(start) : NULL;
}

/* ---- a descriptor that is closed with its last reference ----------------------------------- */

/* Not by a __del__ in Python: a Ctrl+C that comes while one runs is dropped by the interpreter. */
typedef struct { PyObject_HEAD int fd; } Keeper;

static PyObject *keeper_new(PyTypeObject *type, PyObject *args, PyObject *kwds) {
    int fd;
    (void)kwds;
    if (!PyArg_ParseTuple(args, "i", &fd)) return NULL;
    allocfunc alloc = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Keeper *self = (Keeper *)alloc(type, 0);
    if (self) self->fd = fd;
    return (PyObject *)self;
}

static void keeper_dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    close(((Keeper *)self)->fd);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMemberDef keeper_members[] = {
    {"fd", T_INT, offsetof(Keeper, fd), READONLY, "the descriptor"}, {NULL, 0, 0, 0, NULL}};
static PyType_Slot keeper_slots[] = {
    {Py_tp_new, keeper_new}, {Py_tp_dealloc, keeper_dealloc}, {Py_tp_members, keeper_members},
    {Py_tp_doc, "Keeper(fd): closes the descriptor when the last reference to it goes."}, {0, NULL}};
static PyType_Spec keeper_spec = {
    .name = "climits.launch._spawn.Keeper", .basicsize = sizeof(Keeper),
    .flags = Py_TPFLAGS_DEFAULT, .slots = keeper_slots};

static int add_types(PyObject *module) {
    PyObject *type = PyType_FromModuleAndSpec(module, &keeper_spec, NULL);
    int result = type ? PyModule_AddType(module, (PyTypeObject *)type) : -1;
    Py_XDECREF(type);
    return result;
}

static PyMethodDef methods[] = {
    {"spawn", spawn, METH_VARARGS, "spawn(steps, paths, argv, envp, flags, cgroup_fd, sigmask) -> (pid, pidfd)"},
    {"signalfd", make_signalfd, METH_VARARGS, "signalfd(sigmask) -> fd"},
    {"address", address, METH_O, "address(bytes) -> where they are in memory, while they live"},
    {NULL, NULL, 0, NULL},
};
static PyModuleDef_Slot slots[] = {{Py_mod_exec, add_types}, {0, NULL}};
static struct PyModuleDef module = {
    .m_base = PyModuleDef_HEAD_INIT, .m_name = "_spawn", .m_doc = "Runs a table of system calls in a child.",
    .m_methods = methods, .m_slots = slots};

PyMODINIT_FUNC PyInit__spawn(void) { return PyModuleDef_Init(&module); }
