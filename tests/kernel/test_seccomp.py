"""The seccomp filter of a container, on a real kernel.

That a call is refused says little where the kernel would refuse it anyway: the same calls are made
without a filter too, and those that the kernel then lets through, or fails in another way, tell.
"""

import errno
import json
import os
import signal
import subprocess
import sys

import pytest
from support import PATIENCE

import climits
from climits.errors import InvalidValueError
from climits.program import seccomp_filter
from climits.program.container import Container

MACHINE = os.uname().machine
CLONE_NEWUSER, CLONE_NEWNET = 0x1000_0000, 0x4000_0000
TIOCSTI, TIOCLINUX, AF_VSOCK = 0x5412, 0x541C, 40

on_x86_64 = pytest.mark.skipif(MACHINE != "x86_64", reason="calls of this machine's old ABIs")


@pytest.fixture(autouse=True)
def library():
    try:
        return seccomp_filter._library()
    except climits.UnsupportedError as e:
        pytest.skip(f"{e}; {e.hint}")


# ---- making calls --------------------------------------------------------------------------

# Makes raw system calls and prints the error number of each; 0 for none.
CALLER = """
import ctypes, json, sys
libc = ctypes.CDLL(None, use_errno=True)
errors = []
for number, *args in json.loads(sys.argv[1]):
    ctypes.set_errno(0)
    result = libc.syscall(*(ctypes.c_long(n if n < 2**63 else n - 2**64) for n in (number, *args)))
    errors.append(ctypes.get_errno() if result < 0 else 0)
print(json.dumps(errors))
"""

# The child of a clone goes no further.
CLONER = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
pid = libc.syscall(*map(ctypes.c_long, (int(sys.argv[1]), int(sys.argv[2]), 0, 0, 0, 0)))
if pid == 0:
    os._exit(0)
print(ctypes.get_errno() if pid < 0 else 0)
"""


def run(args, *, seccomp="default", memory="60M", **options):
    """(returncode, what it printed) of a program in a container."""
    inside = Container(seccomp=seccomp, **options)
    process = climits.Process(
        args, memory=memory, container=inside, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    output, _ = process.communicate(timeout=60 * PATIENCE)
    return process.returncode, output


def python(code, *args, **options):
    status, output = run([sys.executable, "-c", code, *map(str, args)], **options)
    assert status == 0, output
    return json.loads(output)


@pytest.fixture
def calls(library):
    """calls([(name, arg, ...), ...], ...) gives the error numbers."""

    def make(wanted, **options):
        numbers = [
            [library.resolve_syscall(library.Arch.NATIVE, name), *args] for name, *args in wanted
        ]
        return python(CALLER, json.dumps(numbers), **options)

    return make


@pytest.fixture
def clone(library):
    """clone(flags, ...) gives the error number of the system call."""
    number = library.resolve_syscall(library.Arch.NATIVE, "clone")
    return lambda flags, **options: python(CLONER, number, flags | signal.SIGCHLD, **options)


@pytest.fixture
def profile(tmp_path):
    """profile(rule, ...) gives the path of a file that allows all but what the rules say."""

    def write(*rules):
        file = tmp_path / "profile.json"
        table = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": list(rules)}
        file.write_text(json.dumps(table))
        return str(file)

    return write


def compiled(source, tmp_path):
    """Path of a C program."""
    file, binary = tmp_path / "program.c", tmp_path / "program"
    file.write_text(source)
    try:
        subprocess.run(["gcc", "-o", binary, file], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no gcc here")
    return str(binary)


# ---- what the default refuses --------------------------------------------------------------


def test_the_default_refuses(calls):
    wanted = [
        ("mount", 0, 0, 0, 0, 0), ("umount2", 0, 0), ("fsopen", 0, 0), ("bpf", 0, 0, 0),
        ("keyctl", 0, 0), ("add_key", 0, 0, 0, 0, 0), ("kexec_load", 0, 0, 0, 0),
        ("init_module", 0, 0, 0), ("unshare", CLONE_NEWUSER), ("unshare", CLONE_NEWNET),
        ("setns", 99, 0), ("ioctl", 0, TIOCSTI, 0), ("ioctl", 0, 1 << 32 | TIOCSTI, 0),
        ("ioctl", 0, TIOCLINUX, 0), ("socket", AF_VSOCK, 1, 0), ("personality", 0x4_0000),
        ("process_vm_readv", 1, 0, 0, 0, 0, 0), ("perf_event_open", 0, 0, 0, 0, 0),
        ("userfaultfd", 0), ("io_uring_setup", 1, 0), ("open_by_handle_at", 0, 0, 0),
        ("reboot", 0, 0, 0, 0), ("syslog", 3, 0, 0),
    ]  # fmt: skip
    assert calls(wanted) == [errno.EPERM] * len(wanted)


def test_it_is_the_filter_that_refuses(calls):
    wanted = [
        ("unshare", CLONE_NEWUSER), ("setns", 99, 0), ("ioctl", 0, TIOCSTI, 0),
        ("ioctl", 0, TIOCLINUX, 0), ("personality", 0x4_0000), ("clone3", 0, 0),
    ]  # fmt: skip
    assert calls(wanted, seccomp="none") == [
        0, errno.EBADF, errno.ENOTTY, errno.ENOTTY, 0, errno.EINVAL,
    ]  # fmt: skip
    assert calls(wanted) == [errno.EPERM] * 5 + [errno.ENOSYS]


@pytest.mark.skipif(MACHINE.startswith("s390"), reason="its arguments are in another order")
def test_a_clone_makes_processes_but_no_namespaces(clone):
    assert clone(0) == 0
    assert clone(CLONE_NEWUSER) == errno.EPERM
    assert clone(CLONE_NEWUSER, seccomp="none") == 0


def test_harmless_ways_of_the_same_calls_are_allowed(calls):
    files_alone = 0x400  # CLONE_FILES
    wanted = [
        ("unshare", files_alone), ("ioctl", 0, 0x5401, 0), ("personality", 0xFFFF_FFFF),
        ("personality", 0), ("socket", 1, 1, 0),
    ]  # fmt: skip
    assert calls(wanted) == [0, errno.ENOTTY, 0, 0, 0]


INT_80 = """
#include <stdio.h>
int main(void) {
    long pid = 20; /* getpid */
    __asm__ volatile("int $0x80" : "+a"(pid) : : "memory");
    printf("%ld\\n", pid);
    return 0;
}
"""
X32 = """
#include <stdio.h>
#include <unistd.h>
int main(void) { printf("%ld\\n", syscall(0x40000000 | 39)); return 0; }
"""


@on_x86_64
@pytest.mark.parametrize("source", [INT_80, X32], ids=["i386", "x32"])
@pytest.mark.parametrize("init", [True, False])
def test_a_call_of_another_abi_ends_the_program(source, init, tmp_path):
    program = compiled(source, tmp_path)
    assert run([program], init=init) == (-signal.SIGSYS, "")


@on_x86_64
def test_a_call_of_i386_would_work(tmp_path):
    program = compiled(INT_80, tmp_path)
    if subprocess.run([program], capture_output=True).returncode != 0:
        pytest.skip("this kernel has no 32-bit calls")
    status, output = run([program], seccomp="none")
    assert status == 0 and int(output) > 0


# ---- what runs under it --------------------------------------------------------------------


def test_process_1_and_the_program_are_both_filtered():
    code = "grep -h ^Seccomp: /proc/1/status /proc/self/status; head -c12 /proc/1/cmdline"
    status, output = run(["sh", "-c", code], init=True)
    assert (status, output) == (0, "Seccomp:\t2\nSeccomp:\t2\nclimits-init")
    assert run(["sh", "-c", code], init=True, seccomp="none")[1].startswith("Seccomp:\t0\n" * 2)


@pytest.mark.parametrize("drop", [[], ["ALL"]], ids=["default", "none-kept"])
@pytest.mark.parametrize("no_new_privs", [True, False])
@pytest.mark.parametrize("init", [True, False])
def test_it_does_not_matter_what_else_is_given_up(no_new_privs, drop, init):
    code = "grep -e ^NoNewPrivs -e ^Seccomp: /proc/self/status"
    status, output = run(["sh", "-c", code], init=init, no_new_privs=no_new_privs, cap_drop=drop)
    assert (status, output) == (0, f"NoNewPrivs:\t{int(no_new_privs)}\nSeccomp:\t2\n")


def test_shells_run():
    status, output = run(["sh", "-c", "echo b a | tr ' ' '\\n' | sort | (cat; true & wait)"])
    assert (status, output) == (0, "a\nb\n")


def test_threads_and_processes_of_python_run():
    code = """if True:
        import subprocess, sys, threading, os
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(4) as pool:
            total = sum(pool.map(abs, range(-100, 0)))
        pid = os.fork()
        if not pid:
            os._exit(3)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        words = subprocess.run(["echo", "x"], capture_output=True, text=True).stdout
        print([total, status, words.strip() == "x"].__repr__().lower())
    """
    assert python(code) == [5050, 3, True]


def test_a_compiler_runs(tmp_path):
    compiled("int main(void) { return 0; }", tmp_path)  # or skip
    out = tmp_path / "inside"
    status, output = run(["gcc", "-o", str(out), str(tmp_path / "program.c")], memory="300M")
    assert (status, output) == (0, "")
    assert run([str(out)]) == (0, "")


def test_a_debugger_s_call_works(calls):
    assert calls([("ptrace", 0, 0, 0, 0)]) == [0]  # PTRACE_TRACEME


# ---- profiles ------------------------------------------------------------------------------


def test_a_profile_refuses_a_call(profile):
    file = profile({"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 30})
    status, output = run(["mkdir", "/tmp/climits-never"], seccomp=file)
    assert status == 1
    assert "Read-only file system" in output
    assert not os.path.exists("/tmp/climits-never")


@pytest.mark.parametrize("init", [True, False])
def test_a_profile_kills(profile, init):
    file = profile({"names": ["uname"], "action": "SCMP_ACT_KILL_PROCESS"})
    assert run(["uname"], seccomp=file, init=init) == (-signal.SIGSYS, "")
    assert run(["true"], seccomp=file, init=init) == (0, "")


def test_a_profile_replaces_the_default(profile, calls):
    file = profile({"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"})
    assert calls([("unshare", CLONE_NEWUSER)], seccomp=file) == [0]


def test_a_list_of_permissions_is_enough_for_a_program(tmp_path):
    names = """
        execve brk arch_prctl mmap munmap mprotect access faccessat faccessat2 openat read
        close fstat newfstatat pread64 set_tid_address set_robust_list rseq prlimit64 getrandom
        exit_group write futex statx readlinkat readlink rt_sigprocmask clone pipe2 fcntl kill
        rt_sigtimedwait wait4 prctl setpgid ioctl rt_sigaction exit getpid gettid
    """
    table = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [{"names": names.split(), "action": "SCMP_ACT_ALLOW"}],
    }
    file = tmp_path / "p.json"
    file.write_text(json.dumps(table))
    for init in (True, False):
        assert run(["echo", "here"], seccomp=str(file), init=init) == (0, "here\n")
        status, output = run(["ls", "/"], seccomp=str(file), init=init)  # getdents64 is not there
        assert status != 0 and "Operation not permitted" in output


def test_a_broken_profile_is_one_error_and_leaves_nothing(tmp_path):
    file = tmp_path / "p.json"
    file.write_text('{"defaultAction": "SCMP_ACT_ALOW"}')
    before = os.listdir("/proc/self/fd")
    with pytest.raises(InvalidValueError) as caught:
        climits.run(["true"], memory="20M", container=Container(seccomp=str(file)))
    assert str(caught.value) == f"seccomp: {file}: defaultAction: SCMP_ACT_ALOW: unknown"
    assert caught.value.hint == "did you mean SCMP_ACT_ALLOW?"
    assert os.listdir("/proc/self/fd") == before
