"""The commands that work on cgroups, on whatever layout this is."""

import os
import pwd
import signal
import subprocess
import sys
import threading

import pytest
from support import IN_VM, PATIENCE, gone, until

import climits
from climits.cgroup import params, placement
from climits.cgroup.find import find_cgroup
from climits.cgroup.layout import current
from climits.cgroup.removal import pids_below
from climits.cli.main import dispatch
from climits.linux.proc import swap_is_active

MIB = 1 << 20
MEMORY_V1 = current().holding("memory").version_name == "v1"
LAYOUT = current()
EXEC = "import sys; from climits.cli.main import dispatch; dispatch(['exec', *sys.argv[1:]])"


def has(controller):
    return LAYOUT.find(controller) is not None


def needs(controller):
    return pytest.mark.skipif(not has(controller), reason=f"no {controller} controller here")


@pytest.fixture
def made(ctl):
    """Make a cgroup by the command, with options; it is killed and removed at the end."""
    paths = []

    def make(*options, name="climits-box"):
        status, path = ctl("create", name, *options)
        assert status == 0
        paths.append(path)
        return path

    yield make
    for path in reversed(paths):
        try:
            group = climits.Cgroup.open(path)
        except climits.CgroupGoneError:
            continue
        group.kill()
        group.remove()
    placement.release_parents()


@pytest.fixture
def inside(hog):
    """Start a hog inside a cgroup; ended with the test."""
    started = []

    def start(path, *words):
        words = [str(word) for word in words] or ["hold", "60000"]
        child = subprocess.Popen(
            [sys.executable, "-c", EXEC, path, hog, *words], stdout=subprocess.PIPE, text=True
        )
        started.append(child)
        until(lambda: os.readlink(f"/proc/{child.pid}/exe") == os.path.realpath(hog))
        return child

    yield start
    for child in started:
        child.kill()
        child.wait()
        child.stdout.close()


# ---- create --------------------------------------------------------------------------------


def test_create_makes_a_cgroup_that_stays(ctl, made):
    path = made("--memory", "64M", "--pids", "50")
    assert path == "/climits/climits-box"
    assert ctl("get", path, "memory.max") == (0, str(64 * MIB))
    assert ctl("get", path, "pids.max") == (0, "50")
    if not IN_VM or has("memory"):
        assert ctl("get", "climits-box", "swap.max")[1] in ("0", "max")  # max: no swap accounting
    assert ctl("gc")[0] == 0
    assert ctl("get", path, "memory.max") == (0, str(64 * MIB))


def test_create_in_a_parent_of_its_own(ctl, made):
    path = made("--memory", "32M", name="/climits-top/inner")
    assert path == "/climits-top/inner"
    assert ctl("get", path, "memory.max") == (0, str(32 * MIB))
    assert ctl("delete", path) == (0, "")
    assert ctl("delete", "/climits-top") == (0, "")


def test_create_for_controllers_to_be_set_later(ctl, made):
    path = made("--controllers", "pids")
    assert ctl("set", path, "pids.max=7") == (0, "")
    assert ctl("get", path, "pids.max") == (0, "7")


@needs("cpuset")
def test_create_with_a_cpuset(ctl, made):
    path = made("--cpuset", "0")
    assert ctl("get", path, "cpuset.cpus") == (0, "0")
    assert ctl("get", path, "cpuset.cpus.effective") == (0, "0")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "no name was given"),
        (["climits-x", "climits-y"], "create takes one name: climits-y"),
        (["/climits/../x"], "not a cgroup path"),
        ([".."], "name: '..': not a name"),
        (["climits-x", "--memory", "10MB"], "MB can mean powers of 1000 or of 1024"),
        (["climits-x", "--owner", "nobody-of-that-name"], "no such user"),
        (["climits-x", "--tasks-owner", ":nogroup-of-that-name"], "no such group"),
    ],
)
def test_create_refuses(words, text):
    with pytest.raises(climits.InvalidValueError, match=text.replace("'", ".")):
        dispatch(["create", *words])
    with pytest.raises(climits.CgroupGoneError):
        climits.Cgroup.open("/climits/climits-x")


def test_create_of_a_controller_that_is_not_there():
    with pytest.raises(climits.UnsupportedError, match="nonsense controller is not available"):
        dispatch(["create", "climits-x", "--controllers", "nonsense"])


def test_create_twice_is_refused(made):
    made()
    with pytest.raises(climits.CgroupExistsError, match="exists already"):
        dispatch(["create", "climits-box"])


def as_user(words, uid):
    """Run a command as an ordinary user; the exit status."""
    return subprocess.run(
        words, user=uid, group=uid, extra_groups=[], capture_output=True
    ).returncode


def test_an_owner_can_make_cgroups_in_it_but_not_raise_its_limit(ctl, made):
    uid = pwd.getpwnam("nobody").pw_uid
    path = made("--memory", "64M", "--owner", "nobody")
    hierarchy = LAYOUT.holding("memory")
    directory = hierarchy.directory_path(path)
    assert as_user(["mkdir", f"{directory}/climits-theirs"], uid) == 0
    assert as_user(["rmdir", f"{directory}/climits-theirs"], uid) == 0
    limit = "memory.limit_in_bytes" if MEMORY_V1 else "memory.max"
    assert as_user(["sh", "-c", f"echo 99M > {directory}/{limit}"], uid) != 0
    assert ctl("get", path, "memory.max") == (0, str(64 * MIB))


@pytest.fixture
def theirs(hog):
    """A program of an ordinary user's, ended with the test."""
    uid = pwd.getpwnam("nobody").pw_uid
    child = subprocess.Popen([hog, "hold", "60000"], user=uid, group=uid, extra_groups=[])
    yield child
    child.kill()
    child.wait()


def may_do_nothing_more(path, directory, uid):
    assert os.stat(directory).st_uid == 0
    assert as_user(["mkdir", f"{directory}/climits-theirs"], uid) != 0
    limit = "memory.limit_in_bytes" if MEMORY_V1 else "memory.max"
    assert as_user(["sh", "-c", f"echo 99M > {directory}/{limit}"], uid) != 0
    assert as_user(["sh", "-c", f"echo {os.getpid()} > {directory}/cgroup.procs"], uid) != 0


def test_an_owner_of_tasks_can_join_and_nothing_more(made, theirs, on_v1):
    uid = pwd.getpwnam("nobody").pw_uid
    path = made("--memory", "64M", "--tasks-owner", "nobody")
    directory = LAYOUT.holding("memory").directory_path(path)
    assert as_user(["sh", "-c", f"echo {theirs.pid} > {directory}/cgroup.procs"], uid) == 0
    assert climits.Cgroup.open(path).memory.directory.pids() == [theirs.pid]
    may_do_nothing_more(path, directory, uid)


def test_an_owner_of_tasks_can_join_from_below_what_is_theirs(made, theirs, on_v2):
    uid = pwd.getpwnam("nobody").pw_uid
    made("--owner", "nobody:nogroup", name="/climits-top")
    first = made("--memory", "64M", "--tasks-owner", "nobody", name="/climits-top/first")
    path = made("--memory", "64M", "--tasks-owner", "nobody:nogroup", name="/climits-top/second")
    directory = LAYOUT.holding("memory").directory_path(path)
    move = ["sh", "-c", f"echo {theirs.pid} > {directory}/cgroup.procs"]
    assert as_user(move, uid) != 0  # from outside: there the kernel asks for more
    climits.Cgroup.open(first).attach(theirs.pid)
    assert as_user(move, uid) == 0
    assert climits.Cgroup.open(path).pids() == [theirs.pid]
    may_do_nothing_more(path, directory, uid)
    prefix = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", sys.executable, "-c"]
    if subprocess.run([*prefix, "pass"], capture_output=True).returncode == 0:
        code = EXEC.replace("exec", "classify")
        words = [*prefix, code, first, str(theirs.pid)]
        done = subprocess.run(words, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
        assert climits.Cgroup.open(first).pids() == [theirs.pid]


def test_an_owner_of_tasks_can_be_a_group(made):
    gid = pwd.getpwnam("nobody").pw_gid
    if not MEMORY_V1:
        made("--owner", ":nogroup", name="/climits-top")
    path = made("--tasks-owner", ":nogroup", name="climits-box" if MEMORY_V1 else "/climits-top/in")
    facts = os.stat(f"{LAYOUT.holding('memory').directory_path(path)}/cgroup.procs")
    assert (facts.st_uid, facts.st_gid, facts.st_mode & 0o777) == (0, gid, 0o664)


# ---- set and get ---------------------------------------------------------------------------


def test_limits_by_their_unified_names(ctl, made):
    path = made("--memory", "64M", "--controllers", "pids,cpu")
    words = ("memory.max=90M", "memory.low=8M", "pids.max=20", "cpu.weight=200")
    assert ctl("set", path, *words, "cpu.max=50000 100000") == (0, "")
    group = climits.Cgroup.open(path)
    assert (group.memory.max, group.memory.low) == (90 * MIB, 8 * MIB)
    for name, value in [
        ("memory.max", 90 * MIB), ("memory.low", 8 * MIB), ("pids.max", 20), ("cpu.weight", 200),
        ("cpu.max", "50000 100000"), ("pids.current", 0), ("memory.swap.current", 0),
    ]:  # fmt: skip
        if name != "memory.swap.current" or MEMORY_V1:
            assert ctl("get", path, name) == (0, str(value))
            assert group.get(name) == str(value)


@pytest.mark.parametrize("word", ["max", "-1", "unlimited"])
def test_no_limit_has_three_spellings(ctl, made, word):
    path = made("--memory", "64M", "--pids", "5", "--controllers", "cpu")
    assert ctl("set", path, f"memory.max={word}", f"swap.max={word}", f"pids.max={word}")[0] == 0
    assert ctl("get", path, "memory.max") == (0, "max")
    assert ctl("get", path, "pids.max") == (0, "max")


def test_a_percentage_is_of_what_is_above(ctl, made):
    made("--memory", "64M", name="/climits-top")
    path = made(name="/climits-top/inner")
    assert ctl("set", path, "memory.max=50%") == (0, "")
    assert ctl("get", path, "memory.max") == (0, str(32 * MIB))
    assert ctl("delete", "/climits-top", "-r") == (0, "")


@pytest.mark.skipif(not MEMORY_V1, reason="these files are cgroup v1's")
def test_raw_names_reach_the_kernel_as_they_are(ctl, made):
    path = made()
    assert ctl("set", path, "memory.limit_in_bytes=64M", "memory.oom_control=1") == (0, "")
    assert ctl("get", path, "memory.limit_in_bytes") == (0, str(64 * MIB))
    assert "oom_kill_disable 1" in ctl("get", path, "memory.oom_control")[1]
    assert ctl("set", path, "memory.kmem.tcp.limit_in_bytes=1M") == (0, "")
    assert ctl("get", path, "memory.kmem.tcp.limit_in_bytes") == (0, str(MIB))


@pytest.mark.skipif(MEMORY_V1, reason="these files are cgroup v2's")
def test_v2_files_reach_the_kernel_as_they_are(ctl, made):
    path = made()
    assert ctl("set", path, "memory.oom.group=1", "memory.high=32M") == (0, "")
    assert ctl("get", path, "memory.oom.group") == (0, "1")
    assert ctl("get", path, "memory.high") == (0, str(32 * MIB))


def test_get_without_names_shows_what_there_is(ctl, made):
    path = made("--memory", "64M")
    status, out = ctl("get", path)
    rows = dict(line.split() for line in out.splitlines() if len(line.split()) == 2)
    assert status == 0
    assert rows["memory.max"] == str(64 * MIB)
    assert rows["cgroup.freeze"] == "0"
    assert {"memory.current", "memory.low", "memory.max"} <= rows.keys()
    import json

    assert json.loads(ctl("get", path, "--json")[1])["memory.max"] == str(64 * MIB)


def test_get_all_shows_each_file_of_the_kernels(ctl, made):
    path = made()
    _, out = ctl("get", path, "--all")
    names = {line.split()[0] for line in out.splitlines() if line[:1].strip()}
    directory = LAYOUT.holding("memory").directory_path(path)
    readable = {e.name for e in os.scandir(directory) if e.is_file() and e.stat().st_mode & 0o400}
    assert {n for n in readable if n.startswith("memory.") and "pressure" not in n} <= names


def test_get_of_a_process(ctl, made, inside):
    path = made("--memory", "64M")
    child = inside(path)
    assert ctl("get", f"pid:{child.pid}", "memory.max") == (0, str(64 * MIB))
    assert ctl("get", child.pid, "memory.max") == (0, str(64 * MIB))
    assert find_cgroup(f"pid:{child.pid}").path == path


def test_a_limit_below_usage_is_refused_with_the_figures(ctl, made, inside):
    path = made("--memory", "64M")
    child = inside(path, "alloc", 30, "say", "ready", "hold", 60000)
    assert child.stdout.readline() == "ready\n"
    with pytest.raises(climits.LimitTooLowError, match=r"to 10.0M: 3\d\.\dM is in use"):
        ctl("set", path, "memory.max=10M")
    assert ctl("get", path, "memory.max") == (0, str(64 * MIB))
    assert child.poll() is None
    if MEMORY_V1:
        if not swap_is_active():  # or the kernel makes room by swapping out
            with pytest.raises(climits.LimitTooLowError, match=r"to 10M: 3\d\.\dM is in use"):
                ctl("set", path, "memory.limit_in_bytes=10M")
        with pytest.raises(climits.LimitTooLowError):
            ctl("set", path, "memory.max=10M", "--force")
    else:
        assert ctl("set", path, "memory.max=10M", "--force") == (0, "")
        assert child.wait() == -signal.SIGKILL


@pytest.mark.parametrize(
    ("word", "text", "hint"),
    [
        ("memory.mxa=5M", "no such parameter in /climits/climits-box: memory.mxa", "memory.max?"),
        ("memory.max", "not PARAMETER=VALUE: memory.max", "memory.max=64M"),
        ("memory.max=10MB", "memory.max: 10MB: MB can mean", "10MiB"),
        ("memory.max=", "memory.max: empty", "behind the ="),
        ("memory.high=1.5X", "unknown unit|not a size", "60M"),
        ("../x=1", "not a parameter", "memory.max"),
        ("pids.max=99999999999999999999", "more than the kernel can hold", "max"),
        ("pids.max=a\nb", "control characters may not stand in a value", ""),
        ("memory.current=5", "only be read|cannot write", ""),
    ],
)
def test_set_refuses(made, word, text, hint):
    path = made("--memory", "64M", "--controllers", "pids")
    with pytest.raises(climits.ClimitsError, match=text) as caught:
        dispatch(["set", path, word])
    assert hint in (caught.value.hint or "")
    assert climits.Cgroup.open(path).memory.max == 64 * MIB


def test_set_writes_nothing_when_a_name_is_wrong(made):
    path = made("--memory", "64M")
    with pytest.raises(climits.InvalidValueError):
        dispatch(["set", path, "memory.max=32M", "memory.mxa=1"])
    assert climits.Cgroup.open(path).memory.max == 64 * MIB


def test_a_controller_the_cgroup_is_not_in_is_named(made):
    path = made(name="/climits-fresh/box")  # what was handed down once stays so in /climits
    with pytest.raises(
        climits.UnsupportedError, match=r"pids\.max: .*(hierarchy of pids|handed down)"
    ):
        dispatch(["set", path, "pids.max=5"])


@pytest.mark.parametrize("word", ["memory.oom_control=7", "pids.max=x", "cgroup.freeze=9"])
def test_what_the_kernel_refuses_has_its_likely_cause(made, word):
    path = made("--controllers", "pids")
    if word.startswith("memory") and not MEMORY_V1:
        pytest.skip("the file is cgroup v1's")
    with pytest.raises(climits.ClimitsError) as caught:
        dispatch(["set", path, word])
    assert caught.value.hint


@needs("cpuset")
def test_a_cpuset_outside_the_one_above_says_which_there_are(made):
    path = made("--cpuset", "0")
    with pytest.raises(climits.CgroupError) as caught:
        dispatch(["set", path, "cpuset.cpus=4000"])
    assert "0" in caught.value.hint


def test_set_lets_a_program_go_on_that_was_paused_at_its_limit(ctl, hog):
    words = [hog, "alloc", "50", "say", "through", "exit", "3"]
    with climits.Process(words, memory="40M", on_oom="pause", name="climits-paused") as p:
        waits = threading.Thread(target=p.wait)
        waits.start()
        try:
            until(lambda: p.paused)
            assert ctl("set", "climits-paused", "memory.max=90M")[0] == 0
            waits.join(120)
            assert not waits.is_alive()
        finally:
            p.kill()
            waits.join()
    assert (p.result.verdict, p.result.returncode) == ("exited", 3)


@pytest.mark.parametrize(
    "word",
    [
        "pids.max=", "cpu.weight=", "memory.low=16E", "pids.max=\u00b2", "cpu.weight=\u0663",
        "cpu.max=\u00b2", "cpu.max=-50000", "cpu.max=999 100000", "cpu.max=50000 1",
        "cpu.max=50000 2000000", "cpu.weight=0", "cpu.weight=10001", "cgroup.freeze=2",
        "cgroup.procs=1", "tasks=1", "pids.max=-5", "pids.max=9E",
    ],
)  # fmt: skip
def test_a_value_that_means_nothing_changes_nothing(ctl, made, word):
    path = made("--memory", "64M", "--pids", "5", "--controllers", "cpu")
    assert ctl("set", path, "cpu.max=50000 100000", "cpu.weight=200")[0] == 0
    before = ctl("get", path, "memory.max", "pids.max", "cpu.max", "cpu.weight", "cgroup.freeze")
    with pytest.raises(climits.ClimitsError) as caught:
        ctl("set", path, "memory.max=32M", word)
    assert "fault" not in str(caught.value) and caught.value.hint
    assert before == ctl(
        "get", path, "memory.max", "pids.max", "cpu.max", "cpu.weight", "cgroup.freeze"
    )


@needs("cpuset")
def test_what_the_kernel_refuses_takes_the_others_back(ctl, made):
    path = made("--memory", "64M", "--pids", "5", "--cpuset", "0")
    with pytest.raises(climits.CgroupError):
        ctl("set", path, "memory.max=32M", "pids.max=9", "cpuset.cpus=4000")
    assert ctl("get", path, "memory.max")[1] == str(64 * MIB)
    assert ctl("get", path, "pids.max")[1] == "5"
    assert ctl("get", path, "cpuset.cpus")[1] == "0"


@pytest.mark.skipif(not MEMORY_V1, reason="one of the names is cgroup v1's")
def test_two_names_of_one_limit(made):
    path = made("--memory", "64M")
    with pytest.raises(climits.InvalidValueError, match="are the same"):
        dispatch(["set", path, "memory.max=32M", "memory.limit_in_bytes=16M"])
    with pytest.raises(climits.UnsupportedError, match=r"has no effect since Linux 5\.16"):
        dispatch(["set", path, "memory.kmem.limit_in_bytes=5M"])


@pytest.mark.parametrize("word", ["unlimited", "-1", "infinity", "max"])
def test_bandwidth_without_a_limit(ctl, made, word):
    path = made("--controllers", "cpu")
    assert ctl("set", path, "cpu.max=50000 100000")[0] == 0
    assert ctl("set", path, f"cpu.max={word}")[0] == 0
    assert ctl("get", path, "cpu.max") == (0, "max 100000")


def test_from_python_numbers_count_as_text(made):
    group = climits.Cgroup.open(made("--memory", "64M"))
    group.set({"memory.max": 32 * MIB})
    assert group.get("memory.max") == str(32 * MIB)
    for name in ("a\0b", "", "x" * 5000):
        with pytest.raises(climits.InvalidValueError):
            group.get(name)


def paused_hog(hog, name):
    """A program that pauses at 40M, waited for by a thread; (process, thread)."""
    words = [hog, "alloc", "60", "say", "through", "exit", "3"]
    p = climits.Process(words, memory="40M", on_oom="pause", name=name)
    waits = threading.Thread(target=p.wait)
    waits.start()
    until(lambda: p.paused)
    return p, waits


def ended(p, waits):
    waits.join(60 * PATIENCE)
    alive = waits.is_alive()
    if alive:
        p.kill()
        waits.join()
    return not alive


def test_thawing_what_is_paused_pauses_it_again(ctl, hog):
    p, waits = paused_hog(hog, "climits-paused")
    try:
        told = []
        p.on_pause = lambda: told.append(1)
        if not p.cgroup.memory.can_pause_on_oom:
            assert ctl("thaw", "climits-paused")[0] == 0
            until(lambda: told)
        assert p.returncode is None
        assert ctl("set", "climits-paused", "memory.max=120M")[0] == 0
    finally:
        done = ended(p, waits)
    assert done and (p.result.verdict, p.result.returncode) == ("exited", 3)


def test_no_limit_lets_what_is_paused_go_on(ctl, hog):
    p, waits = paused_hog(hog, "climits-paused")
    try:
        assert ctl("set", "climits-paused", "memory.max=max", "swap.max=max")[0] == 0
    finally:
        done = ended(p, waits)
    assert done and (p.result.verdict, p.result.returncode) == ("exited", 3)


def test_a_program_of_one_s_own_goes_on_where_no_mark_can_be_set(hog, monkeypatch):
    from climits.cgroup.files import Directory

    monkeypatch.setattr(Directory, "set_mark", lambda *a: False)
    p, waits = paused_hog(hog, None)
    try:
        p.set_limits(memory="120M")
    finally:
        done = ended(p, waits)
    assert done and p.result.returncode == 3


# ---- exec and classify ---------------------------------------------------------------------


def test_exec_is_born_in_every_part(made, inside):
    path = made("--memory", "64M", "--pids", "5")
    child = inside(path)
    for part in climits.Cgroup.open(path).parts:
        assert child.pid in part.directory.pids()


def test_exec_is_held_to_the_limit(made, hog):
    path = made("--memory", "30M")
    done = subprocess.run([sys.executable, "-c", EXEC, path, hog, "alloc", "60"])
    assert done.returncode == -signal.SIGKILL
    assert climits.Cgroup.open(path).memory.events().oom_kill == 1


def test_exec_of_a_command_that_is_not_there(command, made):
    path = made()
    done = subprocess.run(
        [command, "exec", path, "--", "no-such-command"], capture_output=True, text=True
    )
    assert done.returncode == 127
    assert done.stderr == (
        "climits: cannot start no-such-command: command not found; "
        "hint: check the spelling and PATH\n"
    )


def test_classify_moves_a_process_into_every_part(ctl, made, hog):
    path = made("--memory", "64M", "--pids", "5")
    child = subprocess.Popen([hog, "hold", "60000"])
    try:
        assert ctl("classify", path, child.pid) == (0, "")
        for part in climits.Cgroup.open(path).parts:
            assert child.pid in part.directory.pids()
    finally:
        child.kill()
        child.wait()


def test_classify_of_one_that_died_moves_the_others(ctl, made, hog, capfd):
    path = made()
    child = subprocess.Popen([hog, "hold", "60000"])
    dead = subprocess.Popen(["/bin/true"])
    dead.wait()
    try:
        assert dispatch(["classify", path, str(dead.pid), str(child.pid)]) == 125
        err = capfd.readouterr().err
        assert err == f"climits: cannot move {dead.pid} to {path}: no such process\n"
        assert pids_below(climits.Cgroup.open(path)) == {child.pid}
    finally:
        child.kill()
        child.wait()


def test_classify_of_a_thread(ctl, made, capfd):
    path = made()
    code = (
        "import threading, time; t = threading.Thread(target=time.sleep, args=(60,), daemon=True);"
        "t.start(); print(t.native_id, flush=True); time.sleep(60)"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        tid = int(child.stdout.readline())
        status = dispatch(["classify", path, str(tid), "--thread"])
        err = capfd.readouterr().err
        group = climits.Cgroup.open(path)
        if all(not part.hierarchy.born_inside for part in group.parts):
            assert status == 0
            tasks = group.memory.directory.read("tasks").split()
            assert tasks == [str(tid).encode()]
        else:  # v2 moves threads within a threaded subtree only
            assert status == 125
            assert "cannot move" in err and "threaded" in err
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


# ---- freeze, thaw, kill, reclaim -----------------------------------------------------------


def state_of(pid):
    with open(f"/proc/{pid}/wchan") as file:
        return file.read()


def test_freeze_waits_until_all_have_stopped(ctl, made, inside):
    path = made()
    child = inside(path, "burn", 600000)
    assert ctl("freeze", path) == (0, "")
    assert ctl("get", path, "cgroup.freeze") == (0, "1")
    before = cpu_ticks(child.pid)
    subprocess.run(["sleep", "0.3"], check=True)
    assert cpu_ticks(child.pid) == before
    assert ctl("thaw", path) == (0, "")
    assert ctl("get", path, "cgroup.freeze") == (0, "0")
    until(lambda: cpu_ticks(child.pid) > before)


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_kill_ends_what_is_frozen_and_what_is_below(ctl, made, inside):
    path = made()
    child, other = inside(path), inside(path)
    assert ctl("freeze", path)[0] == 0
    status, out = ctl("kill", path)
    assert status == 0 and out.endswith("killed")
    assert child.wait() == other.wait() == -signal.SIGKILL
    assert ctl("kill", path) == (0, "0 killed")
    assert ctl("get", path, "cgroup.freeze")[0] == 0  # it is still there


@pytest.mark.parametrize("command", ["kill", "freeze"])
def test_what_would_hit_everybody_is_refused(command):
    with pytest.raises(climits.InvalidValueError, match="would reach"):
        dispatch([command, "/"])
    with pytest.raises(climits.InvalidValueError, match="would reach"):
        dispatch([command, f"pid:{os.getpid()}"])


def test_reclaim_drops_page_cache(ctl, made, inside, tmp_path):
    if IN_VM:
        pytest.skip("the VM's files are tmpfs: there is no page cache to drop")
    path = made("--memory", "64M")
    child = inside(path, "file", tmp_path / "data", 20, "say", "ready", "hold", 60000)
    assert child.stdout.readline() == "ready\n"
    subprocess.run(["sync", str(tmp_path / "data")], check=True)
    before = climits.Cgroup.open(path).memory.current()
    status, out = ctl("reclaim", path, "10M")
    assert status == 0 and "reclaimed" in out
    assert climits.Cgroup.open(path).memory.current() <= before - 9 * MIB


def test_reclaim_tells_when_there_is_too_little(ctl, made, inside):
    path = made("--memory", "64M")
    child = inside(path, "alloc", 30, "say", "ready", "hold", 60000)
    assert child.stdout.readline() == "ready\n"
    status, out = ctl("reclaim", path, "25M")  # anonymous memory: it can only be swapped out
    assert status == (0 if MEMORY_V1 and swap_is_active() else 1)
    assert "reclaimed" in out
    assert child.poll() is None


# ---- delete --------------------------------------------------------------------------------


def test_delete_refuses_what_is_in_use(ctl, made, inside):
    path = made()
    child = inside(path)
    with pytest.raises(climits.CgroupError, match=f"1 process in it: {child.pid}"):
        ctl("delete", path)
    assert ctl("delete", path, "--kill") == (0, "")
    assert child.wait() == -signal.SIGKILL
    with pytest.raises(climits.CgroupGoneError):
        climits.Cgroup.open(path)


def test_delete_with_children(ctl, made):
    path = made(name="/climits-top")
    made(name="/climits-top/a")
    made(name="/climits-top/b")
    with pytest.raises(climits.CgroupError, match="it has children: a, b"):
        ctl("delete", path)
    assert ctl("delete", path, "-r") == (0, "")
    with pytest.raises(climits.CgroupGoneError):
        climits.Cgroup.open(path)


def test_delete_can_move_what_is_in_it(ctl, made, inside):
    path, other = made(), made(name="climits-other")
    child = inside(path)
    assert ctl("delete", path, "--move-to", "climits-other") == (0, "")
    assert pids_below(climits.Cgroup.open(other)) == {child.pid}
    assert not gone(child.pid)


def test_delete_of_what_is_not_there_or_everything():
    with pytest.raises(climits.CgroupGoneError, match="no such cgroup: /climits/climits-none"):
        dispatch(["delete", "climits-none"])
    with pytest.raises(climits.InvalidValueError, match="root cgroup cannot be removed"):
        dispatch(["delete", "/"])
    with pytest.raises(climits.InvalidValueError, match="do not go together"):
        dispatch(["delete", "climits-none", "--kill", "--move-to", "/"])


# ---- ls ------------------------------------------------------------------------------------


def test_ls_lists_with_figures(ctl, made, inside):
    path = made("--memory", "64M")
    inside(path)
    status, out = ctl("ls", "/climits")
    assert status == 0
    row = next(line.split() for line in out.splitlines() if line.startswith(path))
    assert row[1] == "1" and row[3] == "64.0M"
    assert LAYOUT.holding("memory").label in row[4:]
    import json

    _, out = ctl("ls", "/climits", "--json")
    facts = [json.loads(line) for line in out.splitlines()]
    mine = next(f for f in facts if f["path"] == path)
    assert (mine["processes"], mine["memory_max"]) == (1, 64 * MIB)
    with pytest.raises(climits.CgroupGoneError):
        ctl("ls", "/climits-none")


def test_ls_recursive(ctl, made):
    made(name="/climits-top/a")
    _, out = ctl("ls", "-r")
    assert "/climits-top/a" in [line.split()[0] for line in out.splitlines()]
    _, out = ctl("ls")
    assert "/climits-top" in [line.split()[0] for line in out.splitlines()]
    assert "/climits-top/a" not in [line.split()[0] for line in out.splitlines()]
    assert ctl("delete", "/climits-top", "-r") == (0, "")


def test_every_summary_name_is_known(made):
    group = climits.Cgroup.open(made("--memory", "64M", "--controllers", "pids,cpu"))
    known = params.read_known(group, params.SUMMARY)
    assert {"memory.current", "memory.max", "pids.max", "cpu.max", "cpu.weight"} <= known.keys()
