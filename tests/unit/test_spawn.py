"""Launches without cgroups: no right is needed but where a test says so."""

import ctypes
import errno
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from climits.errors import CommandNotExecutableError, CommandNotFoundError, LaunchError
from climits.launch import spawn as module
from climits.launch._spawn import signalfd
from climits.launch._spawn import spawn as raw_spawn
from climits.launch.plan import NamedFd, Plan, candidates
from climits.launch.spawn import spawn

ROOT = os.geteuid() == 0
needs_root = pytest.mark.skipif(not ROOT, reason="changing the user needs root")


def plan_of(*argv, env=None, search="/usr/bin:/bin"):
    envp = [os.fsencode(f"{k}={v}") for k, v in (env or {}).items()]
    return Plan([os.fsencode(a) for a in argv], envp, candidates(os.fsdecode(argv[0]), search))


def finish(pid, pidfd):
    """Wait for the end; the returncode."""
    os.close(pidfd)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def run(plan):
    return finish(*spawn(plan))


def output(plan):
    """The returncode and what came out of standard output."""
    read, write = os.pipe()
    plan.stdio(None, write, None)
    started = spawn(plan)
    os.close(write)
    with open(read, "rb") as pipe:
        data = pipe.read()
    return finish(*started), data


def script(path, text, mode=0o755):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return str(path)


def no_zombie():
    """Whether every child that ended was waited for."""
    try:
        return os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None
    except ChildProcessError:
        return True


# ---- what the program gets -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "returncode"),
    [
        (["true"], 0),
        (["false"], 1),
        (["sh", "-c", "exit 42"], 42),
        (["sh", "-c", "kill -TERM $$"], -15),
        (["sh", "-c", "kill -KILL $$"], -9),
        (["/bin/true"], 0),
    ],
)
def test_returncode(argv, returncode):
    assert run(plan_of(*argv)) == returncode
    assert no_zombie()


def test_pid_and_pidfd_are_of_the_program():
    read, write = os.pipe()
    plan = plan_of("sh", "-c", "echo $$; read x")
    plan.stdio(read, None, None)
    out, out_write = os.pipe()
    plan.stdio(None, out_write, None)
    pid, pidfd = spawn(plan)
    try:
        assert os.read(out, 100) == b"%d\n" % pid
        assert not os.get_inheritable(pidfd)
        with open(f"/proc/self/fdinfo/{pidfd}") as info:
            assert f"Pid:\t{pid}\n" in info.read()
    finally:
        for fd in (read, write, out, out_write):
            os.close(fd)
        finish(pid, pidfd)


def test_argv_is_passed_byte_by_byte():
    argv = ["", "a b", "*", "\udcff\udcfe", "-n", "x\ny", "'"]
    returncode, data = output(plan_of("printf", "%s\\0", *argv))
    assert returncode == 0
    assert data == b"".join(os.fsencode(a) + b"\0" for a in argv)


def test_argv0_need_not_be_the_file():
    plan = Plan([b"other", b"-c", b"echo $0"], [], [b"/bin/sh"])
    assert output(plan) == (0, b"other\n")


@pytest.mark.parametrize("env", [{}, {"A": "1"}, {"A": "1", "B": "x y=z", "C": ""}])
def test_env_is_exactly_what_was_given(env):
    returncode, data = output(plan_of("env", env=env))
    assert returncode == 0
    assert sorted(data.decode().splitlines()) == sorted(f"{k}={v}" for k, v in env.items())


def test_cwd(tmp_path):
    plan = plan_of("pwd", "-P")
    plan.chdir(str(tmp_path))
    assert output(plan) == (0, os.fsencode(os.path.realpath(tmp_path)) + b"\n")
    assert os.getcwd() != str(tmp_path)


def test_a_relative_command_is_looked_up_in_the_new_directory(tmp_path):
    script(tmp_path / "app", "#!/bin/sh\necho here\n")
    plan = plan_of("./app")
    plan.chdir(str(tmp_path))
    assert output(plan) == (0, b"here\n")


def test_stdin_stdout_and_stderr_can_be_swapped(tmp_path):
    files = [tmp_path / name for name in ("in", "out", "err")]
    files[0].write_text("given")
    fds = [os.open(f, os.O_RDWR | os.O_CREAT) for f in files]
    plan = plan_of("sh", "-c", "cat; echo problem >&2")
    plan.stdio(*fds)
    assert run(plan) == 0
    assert (files[1].read_text(), files[2].read_text()) == ("given", "problem\n")
    plan = plan_of("sh", "-c", "echo out; echo err >&2")
    plan.stdio(None, fds[2], fds[1])
    plan.stdio(None, 2, 1)  # and back again
    assert run(plan) == 0
    assert (files[1].read_text(), files[2].read_text()) == ("givenout\n", "problem\nerr\n")
    for fd in fds:
        os.close(fd)


def test_only_the_descriptors_that_were_kept_are_open():
    fds = [os.open(os.devnull, os.O_RDWR) for _ in range(4)]
    os.set_inheritable(fds[0], True)
    os.set_inheritable(fds[1], True)
    read, write = os.pipe()
    plan = plan_of("sh", "-c", "ls -1 /proc/$$/fd")
    plan.stdio(None, write, None)
    plan.close_others([fds[1], fds[3]])
    started = spawn(plan)
    os.close(write)
    with open(read, "rb") as pipe:
        open_fds = {int(n) for n in pipe.read().split()}
    assert finish(*started) == 0
    assert open_fds == {0, 1, 2, fds[1], fds[3]}
    assert not os.get_inheritable(fds[3])
    for fd in fds:
        os.close(fd)


def test_session_group_and_nice():
    plan = plan_of("sh", "-c", "cut -d' ' -f 5,6,19 /proc/$$/stat; echo $$")
    plan.call("setsid", purpose="start a session")
    plan.nice(os.nice(0) + 1)
    returncode, data = output(plan)
    group, session, nice, pid = data.split()
    assert returncode == 0 and group == session == pid
    assert int(nice) == os.nice(0) + 1


def test_oom_score_adj_is_the_childs_own():
    before = open("/proc/self/oom_score_adj").read()
    plan = plan_of("cat", "/proc/self/oom_score_adj")
    plan.oom_score_adj(777)
    assert output(plan) == (0, b"777\n")
    assert open("/proc/self/oom_score_adj").read() == before


# ---- signals -------------------------------------------------------------------------------


def signal_masks(plan):
    """{SigBlk: ..., SigIgn: ..., SigCgt: ...} of a child, as sets of numbers."""
    returncode, data = output(plan)
    assert returncode == 0
    masks = {}
    for line in data.decode().splitlines():
        name, _, mask = line.partition(":\t")
        if name in ("SigBlk", "SigIgn", "SigCgt"):
            masks[name] = {n for n in range(1, 65) if int(mask, 16) >> (n - 1) & 1}
    return masks


def status():
    return plan_of("cat", "/proc/self/status")


@pytest.fixture
def handlers():
    """Put the handlers of some signals back."""
    numbers = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP, signal.SIGTERM)
    before = {n: signal.getsignal(n) for n in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def blocked():
    old = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGRTMIN])
    yield {signal.SIGUSR2, signal.SIGRTMIN}
    signal.pthread_sigmask(signal.SIG_SETMASK, old)


def test_caught_signals_and_those_that_python_ignores_get_their_default(handlers):
    signal.signal(signal.SIGUSR1, lambda *args: None)
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
    masks = signal_masks(status())
    assert masks["SigCgt"] == set()
    assert not masks["SigIgn"] & {signal.SIGPIPE, signal.SIGXFSZ, signal.SIGUSR1, signal.SIGINT}
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
    assert callable(signal.getsignal(signal.SIGUSR1))


def test_a_program_dies_of_sigpipe():
    read, write = os.pipe()
    os.close(read)
    plan = plan_of("yes")
    plan.stdio(None, write, None)
    assert run(plan) == -signal.SIGPIPE
    os.close(write)


def test_what_was_ignored_stays_ignored(handlers):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    assert signal_masks(status())["SigIgn"] >= {signal.SIGHUP, signal.SIGUSR2}


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (-1, {signal.SIGUSR2, signal.SIGRTMIN}),
        (0, set()),
        (1 << (signal.SIGTERM - 1), {signal.SIGTERM}),
    ],
)
def test_the_mask_of_the_program(blocked, mask, expected):
    plan = status()
    plan.sigmask = mask
    assert signal_masks(plan)["SigBlk"] == expected


def test_the_mask_of_the_parent_is_put_back(blocked):
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    assert before >= blocked
    plan = plan_of("true")
    plan.sigmask = 0
    run(plan)
    with pytest.raises(CommandNotFoundError):
        run(plan_of("/no/such"))
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_signalfd_tells_of_a_signal(blocked):
    fd = signalfd(1 << (signal.SIGUSR2 - 1))
    try:
        assert not os.get_inheritable(fd)
        with pytest.raises(BlockingIOError):
            os.read(fd, 128)
        # To this thread: libraries that are loaded may have others, which do not block it.
        signal.pthread_kill(threading.get_ident(), signal.SIGUSR2)
        assert int.from_bytes(os.read(fd, 128)[:4], sys.byteorder) == signal.SIGUSR2
    finally:
        os.close(fd)


# ---- what goes wrong -----------------------------------------------------------------------


def refused(kind, plan):
    """The error of a launch; no child and no descriptor may be left."""
    before = os.listdir("/proc/self/fd")
    with pytest.raises(kind) as caught:
        spawn(plan)
    assert type(caught.value) is kind
    assert os.listdir("/proc/self/fd") == before
    assert no_zombie()
    return caught.value


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("climits-no-such-command", "check the spelling and PATH"),
        ("./no-such", "check the path; it is looked up in the working directory"),
        ("/no/such", "check the path; it is looked up in the working directory"),
        ("/bin/true/x", "check the path; it is looked up in the working directory"),
    ],
)
def test_a_missing_command(command, hint):
    error = refused(CommandNotFoundError, plan_of(command))
    assert str(error) == f"cannot start {command}: command not found"
    assert (error.path, error.errno, error.hint) == (command, errno.ENOENT, hint)


def test_an_empty_search_path_has_no_commands():
    refused(CommandNotFoundError, plan_of("true", search="/no/such:/neither"))


def test_a_dangling_link_is_a_missing_command(tmp_path):
    link = tmp_path / "link"
    link.symlink_to("nowhere")
    refused(CommandNotFoundError, plan_of(str(link)))


def test_a_directory(tmp_path):
    error = refused(CommandNotExecutableError, plan_of(str(tmp_path)))
    assert str(error) == f"cannot start {tmp_path}: it is a directory"
    assert (error.errno, error.hint) == (errno.EACCES, "name the program inside it")


def test_a_file_without_the_right_to_execute(tmp_path):
    file = script(tmp_path / "app", "#!/bin/sh\n", 0o644)
    error = refused(CommandNotExecutableError, plan_of(file))
    assert str(error) == f"cannot start {file}: permission denied"
    assert error.errno == errno.EACCES and error.hint.startswith("chmod +x it")


@pytest.mark.parametrize("content", ["", "echo no first line\n", b"\x7fELF", b"\x00" * 64])
def test_neither_binary_nor_script(tmp_path, content):
    file = script(tmp_path / "app", content)
    error = refused(CommandNotExecutableError, plan_of(file))
    assert str(error) == f"cannot start {file}: neither a binary for this machine nor a #! script"
    assert error.errno == errno.ENOEXEC
    assert error.hint == "for a script, write its interpreter in the first line: #!/bin/sh"


@pytest.mark.parametrize(
    ("first_line", "interpreter"),
    [
        ("#!/no/such/interpreter", "/no/such/interpreter"),
        ("#! /no/such -x", "/no/such"),
        ("#!\t/no/such", "/no/such"),
        ("#!/no/such\r", "/no/such\\r"),
        ("#!/bin/sh\r", "/bin/sh\\r"),
        ("#!/bin/sh -e\r", None),
        ("#!relative", "relative"),
        ("#!/no/s\udcff", "/no/s\\udcff"),
    ],
)
def test_a_broken_interpreter_is_named(tmp_path, first_line, interpreter):
    file = script(tmp_path / "app", os.fsencode(first_line) + b"\nexit 0\n")
    if interpreter is None:  # the kernel finds it; what it does with "-e\r" is its own affair
        run(plan_of(file))
        return
    error = refused(CommandNotExecutableError, plan_of(file))
    assert str(error) == f"cannot start {file}: no such interpreter: {interpreter}"
    assert error.hint == "install it, or correct the first line of the script"


def test_a_missing_dynamic_loader(tmp_path):
    program = tmp_path / "app"
    shutil.copy(os.path.realpath("/bin/true"), program)
    data = program.read_bytes()
    at = data.find(b"/ld-linux")
    if at < 0:
        pytest.skip("/bin/true here has no dynamic loader")
    program.write_bytes(data[:at] + b"/xx-linux" + data[at + 9 :])
    error = refused(CommandNotExecutableError, plan_of(str(program)))
    assert str(error) == f"cannot start {program}: its dynamic loader is not there"
    assert error.hint == "it was built for another system or C library"


def test_the_search_goes_on_past_what_cannot_be_executed(tmp_path):
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    script(tmp_path / "a" / "app", "#!/bin/sh\necho a\n", 0o644)
    (tmp_path / "b" / "app").mkdir()
    plan = plan_of("app", search=f"/no/such:{tmp_path}/a:{tmp_path}/b:{tmp_path}/c")
    error = refused(CommandNotExecutableError, plan)
    assert error.errno == errno.EACCES
    script(tmp_path / "c" / "app", "#!/bin/sh\necho c\n")
    assert output(plan) == (0, b"c\n")


def test_the_search_stops_at_a_file_that_is_no_program(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    script(tmp_path / "a" / "app", "no program")
    script(tmp_path / "b" / "app", "#!/bin/sh\n")
    error = refused(CommandNotExecutableError, plan_of("app", search=f"{tmp_path}/a:{tmp_path}/b"))
    assert error.errno == errno.ENOEXEC


def test_a_loop_of_links(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to("loop")
    error = refused(LaunchError, plan_of(str(loop)))
    assert str(error) == f"cannot start {loop}: {os.strerror(errno.ELOOP).lower()}"


def test_an_argument_list_that_is_too_long():
    error = refused(LaunchError, plan_of("true", "x" * 3_000_000))
    assert str(error) == "cannot start true: argument list too long"
    assert error.errno == errno.E2BIG


@pytest.mark.parametrize(
    ("compose", "text", "number"),
    [
        (lambda p: p.chdir("/no/such"), "change to /no/such: no such file or directory", 2),
        (lambda p: p.chdir("/bin/true"), "change to /bin/true: not a directory", 20),
        (lambda p: p.inherit([987]), "pass descriptor 987 on: bad file descriptor", 9),
        (lambda p: p.stdio(987, None, None), "set up standard input and output: ", 9),
        (
            lambda p: p.open_and_write(NamedFd(-1, "memory:/x"), "tasks", "0", "join the cgroup"),
            "join the cgroup memory:/x: bad file descriptor",
            9,
        ),
        (lambda p: p.call("setpgid", 0, -1, purpose="join the process group"), "join the", 22),
    ],
)
def test_the_step_that_failed_is_named(compose, text, number):
    plan = plan_of("true")
    plan.call("getppid", purpose="harmless")
    compose(plan)
    plan.call("setsid", purpose="harmless too")
    error = refused(LaunchError, plan)
    assert str(error).startswith(f"cannot start true: {text}")
    assert (error.path, error.errno) == ("true", number)
    assert error.hint == ("name a directory that exists" if "change to" in text else None)


def test_a_write_that_failed_names_the_cgroup_too():
    devices = os.open("/dev", os.O_RDONLY)
    plan = plan_of("true")
    plan.join_cgroup(NamedFd(devices, "memory:/x"), "full")
    error = refused(LaunchError, plan)
    os.close(devices)
    assert str(error) == "cannot start true: join the cgroup memory:/x: no space left on device"


def test_a_right_that_is_missing_is_hinted_at():
    plan = plan_of("true")
    if ROOT:
        plan.become(65534, None, None)
    plan.become(0, None, None)
    error = refused(LaunchError, plan)
    assert str(error) == "cannot start true: become user 0: operation not permitted"
    assert error.hint == "this needs root, or the capability for it"


def test_nothing_runs_after_a_step_that_failed(tmp_path):
    file = tmp_path / "made"
    plan = plan_of("true")
    plan.chdir("/no/such")
    plan.call("openat", -100, os.fsencode(file), os.O_CREAT | os.O_WRONLY, 0o600)
    refused(LaunchError, plan)
    assert not file.exists()


def test_a_parent_that_ended_meanwhile():
    plan = plan_of("true")
    plan.die_with_parent(os.getpid() + 1)
    error = refused(LaunchError, plan)
    assert str(error) == "cannot start true: die with climits: climits was killed meanwhile"
    plan = plan_of("true")
    plan.die_with_parent(os.getpid())
    assert run(plan) == 0


@pytest.mark.parametrize(
    ("steps", "kind"),
    [
        ((("fork", (), None),), ValueError),
        ((("", (), None),), ValueError),
        ((("setsid\0", (), None),), ValueError),
        ((("prctl", (1, 2, 3, 4, 5, 6), None),), ValueError),
        ((("close", (1.5,), None),), TypeError),
        ((("close", ("3",), None),), TypeError),
        ((("close", ((0,),), None),), TypeError),
        ((("close", ((1,),), None), ("setsid", (), None)), TypeError),
        ((("close", ((-1,),), None),), TypeError),
        ((("close", ((0, 0),), None),), TypeError),
        ((("close", (("x",),), None),), TypeError),
        ((("getppid", (), "x"),), TypeError),
        ((("getppid", (), 2**70),), OverflowError),
        ((("close", [3], None),), TypeError),
        ((("close", (3,)),), TypeError),
        (("close",), TypeError),
        ((None,), TypeError),
        ([], TypeError),
    ],
)
def test_a_table_that_means_nothing_is_refused(steps, kind):
    with pytest.raises(kind):
        raw_spawn(steps, (b"/bin/true",), (b"true",), (), 0, -1, -1)
    assert no_zombie()


@pytest.mark.parametrize(
    ("paths", "argv", "envp", "kind"),
    [
        ((b"/bin/true\0x",), (b"true",), (), ValueError),
        ((b"/bin/true",), (b"true", b"a\0b"), (), ValueError),
        ((b"/bin/true",), (b"true",), (b"A=\0",), ValueError),
        (("/bin/true",), (b"true",), (), TypeError),
        ((b"/bin/true",), ("true",), (), TypeError),
        ((b"/bin/true",), (None,), (), TypeError),
        ((b"/bin/true",), [b"true"], (), TypeError),
    ],
)
def test_strings_that_cannot_be_passed_are_refused(paths, argv, envp, kind):
    with pytest.raises(kind):
        raw_spawn((), paths, argv, envp, 0, -1, -1)
    assert no_zombie()


def test_the_extension_tells_the_step():
    for paths, step in (((b"/bin/true",), 1), ((), 1)):
        steps = (("getppid", (), None), ("chdir", (b"/no/such",), None))
        with pytest.raises(OSError) as caught:
            raw_spawn(steps[: len(steps) if paths else 1], paths, (b"x",), (), 0, -1, -1)
        assert (caught.value.step, caught.value.errno) == (step, errno.ENOENT)


# ---- clone ---------------------------------------------------------------------------------


@pytest.fixture
def extension(monkeypatch):
    """Record the calls of the extension; the first of them fails as told."""
    calls = []

    def install(number, *, step=-1):
        def fake(*args):
            calls.append(args)
            if len(calls) == 1:
                error = OSError(number, os.strerror(number))
                error.step = step
                raise error
            return raw_spawn(*args[:5], -1, args[6])

        monkeypatch.setattr(module, "_spawn", fake)
        return calls

    return install


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EINVAL, errno.E2BIG, errno.EPERM])
def test_without_clone3_the_child_moves_itself(extension, number, tmp_path):
    calls = extension(number)
    (tmp_path / "cgroup.procs").touch()
    fd = os.open(tmp_path, os.O_RDONLY)
    plan = plan_of("true")
    plan.cgroup = NamedFd(fd, "unified:/x")
    plan.sigmask = 0
    plan.oom_score_adj(500)
    plan.call("getppid", expect=os.getpid())
    assert run(plan) == 0
    os.close(fd)
    assert (tmp_path / "cgroup.procs").read_text() == "0"
    first, second = calls
    assert (first[5], second[5]) == (fd, -1)
    assert second[6] == 0 and second[1:5] == first[1:5]
    assert [s[0] for s in second[0]] == ["openat", "write", "close"] * 2 + ["getppid"]
    assert second[0][3][1][0] == -100 and second[0][4][1][0] == (3,)
    assert second[0][6][:3] == ("getppid", (), os.getpid())
    assert len(plan.steps) == 4  # the plan itself is as it was


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.EAGAIN, "a limit on the number of processes was reached (ulimit -u, pids.max)"),
        (errno.ENOMEM, None),
        (errno.EBADF, None),
    ],
)
def test_a_clone_that_failed_for_another_reason_is_not_tried_again(extension, number, hint):
    calls = extension(number)
    plan = plan_of("true")
    plan.cgroup = NamedFd(99, "unified:/x")
    error = refused(LaunchError, plan)
    assert str(error) == f"cannot start true: clone: {os.strerror(number).lower()}"
    assert error.hint == hint and len(calls) == 1


def test_a_step_that_says_enosys_is_not_taken_for_clone3(extension):
    calls = extension(errno.ENOSYS, step=0)
    plan = plan_of("true")
    plan.cgroup = NamedFd(99, "unified:/x")
    plan.close_others([])
    error = refused(LaunchError, plan)
    assert str(error) == "cannot start true: close descriptors: function not implemented"
    assert len(calls) == 1


# ---- the parent is left as it was ----------------------------------------------------------


def test_fifty_launches_leave_no_descriptor_and_no_child():
    before = os.listdir("/proc/self/fd")
    for _ in range(50):
        assert run(plan_of("true")) == 0
    assert os.listdir("/proc/self/fd") == before
    assert no_zombie()


def test_eight_threads_may_launch_at_once():
    returncodes = []

    def work(number):
        for _ in range(20):
            returncodes.append((number, run(plan_of("sh", "-c", f"exit {number}"))))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(returncodes) == 160
    assert all(number == code for number, code in returncodes)
    assert no_zombie()


def test_other_python_threads_run_while_a_step_blocks(tmp_path):
    # In a process of its own: with the GIL held it would never end.
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    code = textwrap.dedent(f"""
        import os, threading
        from climits.launch.plan import AT_FDCWD, Plan
        from climits.launch.spawn import spawn

        plan = Plan([b"true"], [], [b"/bin/true"])
        plan.call("openat", AT_FDCWD, {os.fsencode(fifo)!r}, os.O_RDONLY)
        writer = threading.Thread(target=os.open, args=({os.fspath(fifo)!r}, os.O_WRONLY))
        writer.start()
        pid, _ = spawn(plan)
        writer.join()
        raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """)
    assert subprocess.run([sys.executable, "-c", code], timeout=30).returncode == 0


def dumpable():
    return ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)


@needs_root
def test_becoming_another_user_leaves_the_parent_dumpable():
    assert dumpable() == 1
    plan = plan_of("id", "-u")
    plan.become(65534, 65534, [])
    assert output(plan) == (0, b"65534\n")
    assert dumpable() == 1
    plan = plan_of("/no/such")
    plan.become(65534, 65534, [])
    refused(CommandNotFoundError, plan)
    assert dumpable() == 1
    assert os.getuid() == 0


@needs_root
def test_user_group_and_supplementary_groups():
    plan = plan_of("sh", "-c", "id -u; id -g; id -G")
    plan.become(65534, 12345, [12346, 12347])
    assert output(plan) == (0, b"65534\n12345\n12345 12346 12347\n")
    assert os.getgid() == 0


@needs_root
def test_a_file_that_the_new_user_may_not_execute(tmp_path):
    file = script(tmp_path / "app", "#!/bin/sh\n", 0o700)
    plan = plan_of(file)
    plan.become(65534, 65534, [])
    error = refused(CommandNotExecutableError, plan)
    assert str(error) == f"cannot start {file}: permission denied"
