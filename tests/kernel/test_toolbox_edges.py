"""Where the commands on cgroups could do harm: the wrong cgroup, half a move, odd names."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import gone

import climits
from climits.cgroup import files, find, freezer, leftovers, ownership, placement
from climits.cgroup.files import Directory
from climits.cgroup.layout import Layout, current
from climits.cgroup.moving import Move
from climits.cgroup.placement import Part
from climits.cgroup.removal import pids_below, refuse_own
from climits.cli.create import owner_ids
from climits.cli.main import dispatch
from climits.linux.mounts import cgroup_mounts
from climits.linux.proc import arguments, cgroup_paths

LAYOUT = current()
UNIFIED = LAYOUT.unified
MEMORY = LAYOUT.holding("memory")
SPLIT = len({MEMORY, *LAYOUT.trackers()}) > 1
needs_split = pytest.mark.skipif(not SPLIT, reason="one hierarchy holds all here")
needs_v2 = pytest.mark.skipif(UNIFIED is None, reason="no cgroup v2 here")
all_on_v2 = pytest.mark.skipif(not MEMORY.delegates, reason="memory is on v1 here")


@pytest.fixture
def clean():
    """Cgroup paths that are killed and removed at the end, wherever they are."""
    paths = []
    yield paths.append
    for path in reversed(paths):
        try:
            group = climits.Cgroup.open(path)
        except climits.CgroupGoneError:
            continue
        group.kill()
        group.remove()
    placement.release_parents()


@pytest.fixture
def made(ctl, clean):
    """Make a cgroup by the command."""

    def make(*options, name="climits-box"):
        status, path = ctl("create", name, *options)
        assert status == 0
        clean(path)
        return path

    return make


@pytest.fixture
def by_hand(clean):
    """Make a cgroup as a person would, with mkdir; it has no mark of ours."""

    def make(path, hierarchies=None):
        clean(path)
        for hierarchy in hierarchies or {MEMORY: None, **dict.fromkeys(LAYOUT.trackers())}:
            Path(hierarchy.directory_path(path)).mkdir(parents=True)
        return path

    return make


@pytest.fixture
def hold(hog):
    """Start programs that wait; ended with the test."""
    started = []

    def start():
        started.append(subprocess.Popen([hog, "hold", "60000"]))
        return started[-1]

    yield start
    for child in started:
        child.kill()
        child.wait()


def refused(*words):
    """The error of a command that is refused."""
    with pytest.raises(climits.ClimitsError) as caught:
        dispatch([str(word) for word in words])
    return caught.value


def file_in(path, name, hierarchy=MEMORY):
    return Path(hierarchy.directory_path(path), name)


# ---- which cgroup is meant -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("root", "path"),
    [("/", "/../../.."), ("/", "/../other"), ("/jobs/a", "/"), ("/jobs/a", "/jobs/b"),
     ("/..", "/")],
)  # fmt: skip
def test_a_process_in_what_cannot_be_seen_is_refused(monkeypatch, tmp_path, root, path):
    line = f"32 31 0:29 {root} {tmp_path} rw - cgroup cgroup rw,memory"
    monkeypatch.setattr(find, "cgroup_paths", lambda pid: {"memory": path})
    with pytest.raises(climits.CgroupError, match="outside of what can be seen from here"):
        find.cgroup_of(1, Layout(cgroup_mounts(line)))


def test_a_cgroup_namespace_does_not_make_the_root_of_our_own(ctl, made, command):
    path = made()
    code = (
        "import os, sys; from climits.cgroup.find import find_cgroup\n"
        "try: print(find_cgroup(f'pid:{os.getpid()}').parts)\n"
        "except Exception as e: print(e)"
    )
    done = subprocess.run(
        [command, "exec", path, "--", "unshare", "-C", sys.executable, "-c", code],
        capture_output=True, text=True,
    )  # fmt: skip
    assert "outside of what can be seen from here" in done.stdout, done


@pytest.mark.parametrize("name", ["5", "0005", "pid:5", "pid:web"])
def test_a_name_that_stands_for_a_process_is_refused(name):
    assert "stands for a process" in str(refused("create", name))
    with pytest.raises(climits.InvalidValueError, match="stands for a process"):
        climits.run(["true"], name=name)


def test_a_path_may_end_with_a_number(made):
    assert made(name="/climits-top/5") == "/climits-top/5"
    assert dispatch(["delete", "/climits-top", "-r"]) == 0


@needs_split
def test_a_directory_means_its_hierarchy_alone(ctl, made, hold):
    path = made()
    tracker = LAYOUT.trackers()[0]
    child = hold()
    file_in(path, "cgroup.procs").write_text(str(child.pid))
    assert ctl("delete", tracker.directory_path(path)) == (0, "")
    assert not os.path.exists(tracker.directory_path(path))
    assert file_in(path, "cgroup.procs").read_text() == f"{child.pid}\n"
    for command in ("delete", "kill", "freeze", "get", "inspect"):  # it is not there any more
        assert isinstance(refused(command, tracker.directory_path(path)), climits.CgroupGoneError)
    assert not gone(child.pid)
    assert ctl("kill", MEMORY.directory_path(path)) == (0, "1 killed")


@needs_split
def test_ls_of_a_directory_tells_of_its_hierarchy(ctl, made):
    path = made()
    _, out = ctl("ls", MEMORY.directory_path("/climits"))
    row = next(line.split() for line in out.splitlines() if line.startswith(path))
    assert row[4:] == [MEMORY.label]


def test_a_directory_beside_the_mounts_is_no_name():
    above = os.path.dirname(MEMORY.mount_point)
    if any(above.startswith(h.mount_point) for h in LAYOUT.hierarchies):
        pytest.skip("the hierarchies are mounted in each other")
    error = refused("create", f"{above}/climits-x")
    assert "a directory in no hierarchy" in str(error)
    assert not os.path.exists(MEMORY.directory_path(f"{above}/climits-x"))


def test_ls_takes_what_the_others_take(ctl, made):
    made(name="/climits/climits-box/inner")
    _, out = ctl("ls", "climits-box")
    assert [line.split()[0] for line in out.splitlines()] == [
        "CGROUP",
        "/climits/climits-box/inner",
    ]
    assert isinstance(refused("ls", "climits-none"), climits.CgroupGoneError)
    assert ctl("ls", f"pid:{os.getpid()}")[0] == 0
    assert ctl("delete", "climits-box", "-r") == (0, "")


def test_a_slash_at_the_end_changes_nothing(ctl, made):
    assert made(name="climits-box/") == "/climits/climits-box"
    assert ctl("ls", "climits-box/")[0] == 0
    assert ctl("delete", "climits-box/") == (0, "")


@pytest.mark.parametrize("command", ["get", "inspect", "ls", "kill"])
@pytest.mark.parametrize("word", ["9" * 5000, "pid:" + "9" * 5000, "pid:\u00b2", "x" * 4500])
def test_overlong_words_are_refused_shortly(command, word):
    assert len(str(refused(command, word))) < 400


def test_a_name_that_cannot_be_shown():
    assert "characters that cannot be shown" in str(refused("create", "climits-\udcff"))


# ---- what is somebody else's ---------------------------------------------------------------


def test_what_a_person_made_is_not_made_anew(by_hand, monkeypatch):
    monkeypatch.setattr(leftovers, "_START_TAKES", -1.0)
    path = by_hand("/climits-admin")
    before = os.stat(MEMORY.directory_path(path)).st_ino
    for _ in range(2):
        error = refused("create", path, "--memory", "64M")
        assert isinstance(error, climits.CgroupExistsError)
        assert str(error) == f"the cgroup exists already: {path}"
        assert f"climits set {path}" in error.hint
    assert os.stat(MEMORY.directory_path(path)).st_ino == before


@pytest.mark.parametrize("name", ["climits-a", "climits-{pid}-1"])
def test_what_was_being_made_by_a_dead_climits_is(by_hand, ctl, monkeypatch, name):
    monkeypatch.setattr(leftovers, "_START_TAKES", -1.0)
    dead = subprocess.Popen(["/bin/true"])
    dead.wait()
    name = name.format(pid=dead.pid)
    path = by_hand(f"/climits-top/{name}")
    if "-1" not in name:
        for hierarchy in {MEMORY: None, **dict.fromkeys(LAYOUT.trackers())}:
            mark = b"%d 5 %d %s" % (dead.pid, ownership.pid_namespace(), name.encode())
            top = Directory(hierarchy.directory_path("/climits-top"))
            if not top.set_mark(f"{ownership.ANNOUNCED}{dead.pid}.1", mark):
                ctl("delete", "/climits-top", "-r")
                pytest.skip("this kernel keeps no marks on cgroups")
    before = os.stat(MEMORY.directory_path(path)).st_ino
    assert ctl("create", path) == (0, path)
    assert os.stat(MEMORY.directory_path(path)).st_ino != before
    assert ctl("delete", "/climits-top", "-r") == (0, "")


def test_create_twice_says_what_changes_it(made):
    path = made()
    error = refused("create", "climits-box")
    assert str(error) == f"the cgroup exists already: {path}"
    assert f"climits set {path} changes it" in error.hint


@needs_v2
def test_processes_of_another_pid_namespace_are_not_ours_to_move(made, hold, command):
    path, other = made("--memory", "64M"), made(name="climits-other")
    child = hold()
    climits.Cgroup.open(path).attach(child.pid)
    before = cgroup_paths(child.pid)

    def inside(*words):
        return subprocess.run(
            ["unshare", "--pid", "--fork", "--mount-proc", command, *words],
            capture_output=True, text=True,
        )  # fmt: skip

    done = inside("delete", path, "--move-to", other)
    assert done.returncode == 125 and "some are of another pid namespace" in done.stderr
    done = inside("delete", path)
    assert done.returncode == 125 and "processes of another pid namespace in it" in done.stderr
    assert cgroup_paths(child.pid) == before
    assert pids_below(climits.Cgroup.open(other)) == set()
    if UNIFIED and os.path.exists(f"{UNIFIED.directory_path(path)}/cgroup.kill"):
        done = inside("kill", path)
        assert "and those of another pid namespace" in done.stdout, done
        assert child.wait() == -signal.SIGKILL


@needs_v2
def test_our_own_threaded_cgroup_is_seen_as_our_own(by_hand):
    by_hand("/climits-thr/t", [UNIFIED])
    top = UNIFIED.directory_path("/climits-thr")
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            Path(top, "cgroup.procs").write_text("0")
            Path(top, "t/cgroup.type").write_text("threaded")
            Path(top, "t/cgroup.procs").write_text("0")
            refuse_own(climits.Cgroup.open("/climits-thr/t"), "kill")
            os.write(write, b"let through")
        except Exception as e:
            os.write(write, str(e).encode())
        os._exit(0)
    os.close(write)
    with open(read) as pipe:
        told = pipe.read()
    os.waitpid(pid, 0)
    climits.Cgroup.open("/climits-thr/t").remove()
    climits.Cgroup.open("/climits-thr").remove()
    assert told == "kill would reach this command too: it runs in /climits-thr/t"


# ---- freeze --------------------------------------------------------------------------------


@needs_split
def test_freeze_fails_when_a_process_is_not_where_it_is_frozen(ctl, made, hold):
    path = made()
    child, other = hold(), hold()
    climits.Cgroup.open(path).attach(other.pid)
    file_in(path, "cgroup.procs").write_text(str(child.pid))
    error = refused("freeze", path)
    assert f"and so not stopped: {child.pid}" in str(error)
    assert str(other.pid) not in str(error)
    assert ctl("get", path, "cgroup.freeze") == (0, "0")
    climits.Cgroup.open(path).attach(child.pid)
    assert ctl("freeze", path) == (0, "")
    assert ctl("get", path, "cgroup.freeze") == (0, "1")
    assert ctl("thaw", path) == (0, "")  # the v1 freezer holds even what was killed


def test_freeze_that_took_too_long_is_taken_back(ctl, made, hold, monkeypatch):
    path = made()
    child = hold()
    climits.Cgroup.open(path).attach(child.pid)
    for kind in (freezer.FreezerV1, freezer.FreezerV2):
        monkeypatch.setattr(kind, "is_frozen", lambda self: False)
    error = refused("freeze", path, "--timeout", "0s")
    assert isinstance(error, climits.CgroupTimeoutError) and "thawed again" in error.hint
    monkeypatch.undo()
    assert ctl("get", path, "cgroup.freeze") == (0, "0")


def test_freeze_of_what_no_hierarchy_freezes(by_hand):
    others = [h for h in LAYOUT.hierarchies if not h.born_inside and "freezer" not in h.controllers]
    if not others:
        pytest.skip("every hierarchy freezes here")
    path = by_hand("/climits-plain", others[:1])
    error = refused("freeze", path)
    assert "in no hierarchy that can freeze" in str(error)
    assert "climits classify" in error.hint


@needs_split
def test_from_python_nobody_is_passed_over(made, hold):
    """What lives in one part of a cgroup alone is not left running, nor said to have stopped."""
    group = climits.Cgroup.open(made())
    child, other = hold(), hold()
    group.attach(other.pid)
    file_in(group.path, "cgroup.procs").write_text(str(child.pid))
    with pytest.raises(climits.CgroupError, match=f"and so not stopped: {child.pid}$"):
        group.freeze()
    assert group.get("cgroup.freeze") == "0"
    assert group.kill() == 2
    assert (child.wait(), other.wait()) == (-signal.SIGKILL, -signal.SIGKILL)


def test_from_python_what_the_v1_freezer_alone_holds(by_hand, hold):
    hierarchy = LAYOUT.find("freezer")
    if hierarchy is None:
        pytest.skip("needs the freezer on v1")
    path = by_hand("/climits-plain", [hierarchy])
    other = by_hand("/climits-other", [MEMORY])
    climits.Cgroup.open(other).attach((child := hold()).pid)
    file_in(path, "cgroup.procs", hierarchy).write_text(str(child.pid))
    group = climits.Cgroup.open(path)
    group.freeze()
    assert file_in(path, "freezer.state", hierarchy).read_text() == "FROZEN\n"
    group.thaw()
    assert file_in(path, "freezer.state", hierarchy).read_text() == "THAWED\n"
    group.freeze()
    assert group.kill() == 1
    assert child.wait() == -signal.SIGKILL


def test_from_python_our_own_is_refused():
    for what in ("freeze", "kill"):
        with pytest.raises(climits.InvalidValueError, match=f"{what} would reach"):
            getattr(find.find_cgroup(str(os.getpid())), what)()


def test_a_program_in_an_existing_cgroup_is_killed_alone(made, hold, hog):
    path = made("--memory", "64M")
    climits.Cgroup.open(path).attach((other := hold()).pid)
    with climits.Process([hog, "hold", "60000"], root=path) as p:
        p.kill()
    assert p.result.verdict == "stopped"
    assert not gone(other.pid)
    assert climits.Cgroup.open(path).kill() == 1


def test_run_in_a_directory_of_one_hierarchy(by_hand, hog, command):
    """There it is in that cgroup; elsewhere, and for the limits of elsewhere, in one of its own."""
    hierarchy = LAYOUT.find("pids")
    if hierarchy is None or hierarchy is MEMORY:
        pytest.skip("needs the pids controller in another hierarchy than memory")
    path = by_hand("/climits-plain", [hierarchy])
    file_in(path, "pids.max", hierarchy).write_text("5")
    root = hierarchy.directory_path(path)
    code = ["cat", "/proc/self/cgroup"]
    result = climits.run(code, root=root, memory="50M", capture_output=True, text=True)
    entries = (line.split(":", 2) for line in result.stdout.splitlines())
    own = {name: where for _, names, where in entries for name in names.split(",")}
    assert own["pids"] == path
    assert MEMORY.path_among(own) == result.cgroup and result.cgroup.startswith("/climits/cat-")
    assert (result.memory_max, result.verdict) == (50 << 20, "exited")
    assert result.memory_peak > 0
    assert not os.path.exists(MEMORY.directory_path(result.cgroup))
    result = climits.run([hog, "alloc", "80"], root=root, memory="50M")
    assert (result.verdict, result.oom_kill) == ("oom-killed", 1)
    climits.run(["true"], root=root, memory="50M", pids=7)
    assert file_in(path, "pids.max", hierarchy).read_text() == "7\n"
    assert file_in(path, "cgroup.procs", hierarchy).read_text() == ""
    words = [command, "run", "--explain", "--root", root, "--memory", "50M", "true"]
    told = subprocess.run(words, capture_output=True, text=True).stdout
    assert f"  {root} (" in told and f"{MEMORY.mount_point}/climits/true-" in told
    # A path means every hierarchy that holds a limit, as before.
    with pytest.raises(climits.CgroupGoneError):
        climits.run(["true"], root=path, memory="50M")


def test_run_in_a_directory_of_the_memory_hierarchy(made, hog):
    path = made("--memory", "30M")
    root = MEMORY.directory_path(path)
    result = climits.run([hog, "alloc", "60"], root=root)
    assert (result.verdict, result.cgroup) == ("oom-killed", path)
    others = [h for h in LAYOUT.hierarchies if "pids" in h.controllers and h is not MEMORY]
    if others:  # a limit of another hierarchy is held by a cgroup of its own there
        result = climits.run([hog, "forks", "50"], root=root, pids=10, stdout=-1, text=True)
        assert 0 < int(result.stdout) < 10
        assert not os.path.exists(others[0].directory_path(path))


# ---- moves ---------------------------------------------------------------------------------


class Refusing:
    """A directory that takes nothing."""

    path = "/nowhere"

    def write(self, name, value):
        raise climits.CgroupError("no", errno=16)


class LastHierarchy:
    born_inside = delegates = False

    def cgroup_path(self, directory):
        return None

    def path_among(self, paths):
        return None


def test_a_move_that_fails_half_way_is_taken_back(made, hold):
    group = climits.Cgroup.open(made())
    child = hold()
    before = cgroup_paths(child.pid)
    refusing = Part(LastHierarchy(), Refusing(), made=False)
    with pytest.raises(climits.CgroupError) as caught:
        Move().move(child.pid, [*group.parts, refusing])
    assert "processes live in leaves" in caught.value.hint
    assert cgroup_paths(child.pid) == before
    group.attach(child.pid)
    assert cgroup_paths(child.pid) != before


def test_attach_looks_at_an_empty_cpuset_before_anything_is_moved(made, hold):
    hierarchy = LAYOUT.find("cpuset")
    if hierarchy is None or hierarchy.delegates:
        pytest.skip("needs the cpuset controller on v1")
    path = made("--controllers", "cpuset")
    file_in(path, "cpuset.cpus", hierarchy).write_text("\n")
    child = hold()
    before = cgroup_paths(child.pid)
    with pytest.raises(climits.CgroupError, match=r"its cpuset\.cpus is empty") as caught:
        climits.Cgroup.open(path).attach(child.pid)
    assert "set cpuset.cpus" in caught.value.hint
    assert cgroup_paths(child.pid) == before


@pytest.mark.parametrize("words", [[], ["--thread"]])
def test_attach_and_classify_say_the_same(made, capfd, words):
    """The library knows why, and the command adds nothing of its own."""
    path = made()
    group = climits.Cgroup.open(path)
    (dead := subprocess.Popen(["true"])).wait()
    for number, cause in ((dead.pid, "no such process"), (2, "it is a thread of the kernel's")):
        if number == 2 and arguments(2):
            continue  # in a container of somebody's
        with pytest.raises(climits.CgroupError) as caught:
            (group.attach_thread if words else group.attach)(number)
        assert str(caught.value) == f"cannot move {number} to {path}: {cause}"
        assert dispatch(["classify", path, str(number), *words]) == 125
        assert capfd.readouterr().err == f"climits: {caught.value}\n"


@all_on_v2
def test_a_cgroup_above_others_takes_no_process(made, hold, capfd):
    made(name="/climits-top")
    made("--memory", "64M", name="/climits-top/inner")
    child = hold()
    with pytest.raises(climits.CgroupError) as caught:
        climits.Cgroup.open("/climits-top").attach(child.pid)
    assert dispatch(["classify", "/climits-top", str(child.pid)]) == 125
    told = capfd.readouterr().err
    assert told == f"climits: {caught.value}; hint: {caught.value.hint}\n"
    assert told.count("processes live in leaves") == 1


def test_delete_moves_all_or_nothing(made, hold):
    hierarchy = LAYOUT.find("pids")
    if hierarchy is None or hierarchy is MEMORY or hierarchy in LAYOUT.trackers():
        pytest.skip("needs the pids controller in a hierarchy of its own")
    path, other = made("--pids", "20"), made(name="climits-other")
    children = [hold(), hold()]
    for child in children:
        climits.Cgroup.open(path).attach(child.pid)
    before = [cgroup_paths(child.pid) for child in children]
    error = refused("delete", path, "--move-to", other)
    assert "pids has no such cgroup" in str(error)
    assert [cgroup_paths(child.pid) for child in children] == before


def test_a_failed_delete_moves_back_what_was_moved(made, hold, monkeypatch):
    path, other = made(), made(name="climits-other")
    children = sorted((hold(), hold()), key=lambda child: child.pid)
    for child in children:
        climits.Cgroup.open(path).attach(child.pid)
    before = [cgroup_paths(child.pid) for child in children]
    move = Move.move

    def once(self, pid, parts):
        if pid == children[1].pid:
            assert cgroup_paths(children[0].pid) != before[0]
            raise climits.CgroupError("no", errno=13)
        move(self, pid, parts)

    monkeypatch.setattr(Move, "move", once)
    refused("delete", path, "--move-to", other)
    assert [cgroup_paths(child.pid) for child in children] == before


@pytest.mark.parametrize("target", ["climits-box", "/climits/climits-box/inner"])
def test_delete_does_not_move_to_what_it_removes(made, hold, target):
    path = made()
    made(name="/climits/climits-box/inner")
    error = refused("delete", path, "-r", "--move-to", target)
    assert isinstance(error, climits.InvalidValueError) and "it is to be removed" in str(error)
    assert os.path.exists(MEMORY.directory_path(f"{path}/inner"))


@all_on_v2
def test_delete_tells_of_a_parent_that_takes_no_process(made, hold):
    made(name="/climits-top")
    path = made("--memory", "64M", name="/climits-top/inner")
    child = hold()
    climits.Cgroup.open(path).attach(child.pid)
    error = refused("delete", path, "--move-to", "/climits-top")
    assert "processes live in leaves" in error.hint
    assert child.pid in pids_below(climits.Cgroup.open(path))


# ---- many and deep -------------------------------------------------------------------------


@pytest.fixture
def few_descriptors():
    """Twenty more than are open."""
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(int(fd) for fd in os.listdir("/proc/self/fd"))
    resource.setrlimit(resource.RLIMIT_NOFILE, (most + 20, old[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, old)


def test_many_children_need_few_descriptors(ctl, made, few_descriptors):
    path = made()
    for part in climits.Cgroup.open(path).parts:
        for number in range(60):
            files.make(f"{part.directory.path}/{number}")
    assert ctl("freeze", path) == (0, "")
    assert ctl("thaw", path) == (0, "")
    assert ctl("kill", path) == (0, "0 killed")
    assert len(ctl("ls", path, "-r")[1].splitlines()) == 61
    assert ctl("delete", path, "-r") == (0, "")


def test_listing_without_a_descriptor_left_is_no_fault(tmp_path):
    directory = Directory(str(tmp_path))
    old = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, old[1]))
    try:
        for ask in (directory.children, directory.files):
            with pytest.raises(climits.CgroupError, match="too many open files"):
                ask()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, old)


def test_deep_ones_need_no_deep_stack(ctl, made):
    path = made()
    levels, old = 150, sys.getrecursionlimit()
    for part in climits.Cgroup.open(path).parts:
        deep = part.directory.path
        for _ in range(levels):
            deep += "/d"
            files.make(deep)
    depth, frame = 0, sys._getframe()
    while frame:
        depth, frame = depth + 1, frame.f_back
    sys.setrecursionlimit(depth + 100)
    try:
        assert len(ctl("ls", path, "-r")[1].splitlines()) == levels + 1
        assert ctl("freeze", path) == (0, "")
        assert ctl("kill", path) == (0, "0 killed")
        assert ctl("delete", path, "-r") == (0, "")
    finally:
        sys.setrecursionlimit(old)


# ---- owners --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ids"),
    [("0", (0, -1)), ("1000:1000", (1000, 1000)), (":5", (-1, 5)), ("root:root", (0, 0)),
     ("4294967294", (4294967294, -1))],
)  # fmt: skip
def test_owners(text, ids):
    assert owner_ids(text) == ids


@pytest.mark.parametrize(
    "text",
    ["\u00b2", ":\u00b2", "4294967295", ":4294967295", "99999999999999", "-1", "9" * 5000, "a\0b",
     "", ":", "no-such-user-here"],
)  # fmt: skip
def test_what_is_no_owner(text):
    with pytest.raises(climits.InvalidValueError, match=r"^owner: ") as caught:
        owner_ids(text)
    assert len(str(caught.value)) < 400 and caught.value.hint


@all_on_v2
@pytest.mark.parametrize("who", ["nobody", ":nogroup", "nobody:nogroup"])
def test_tasks_owner_is_refused_where_it_does_nothing(made, who):
    error = refused("create", "climits-x", "--tasks-owner", who)
    assert f"--tasks-owner {who}: no cgroup above /climits/climits-x is theirs" in str(error)
    assert "--owner USER" in error.hint
    assert not os.path.exists(MEMORY.directory_path("/climits/climits-x"))
    made("--owner", "daemon", name="/climits-top")  # somebody else's
    error = refused("create", "/climits-top/x", "--tasks-owner", who)
    assert "no cgroup above /climits-top/x is theirs" in str(error)


# ---- output --------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii:strict", "utf-8:strict"])
def test_any_name_can_be_listed(by_hand, command, encoding):
    path = by_hand("/climits-top")
    names = [b"climits-\xff", "climits-\u00e9".encode(), b"climits-\x1b[31mred"]
    for name in names:
        os.mkdir(os.path.join(os.fsencode(MEMORY.directory_path(path)), name))
    env = {**os.environ, "PYTHONIOENCODING": encoding}

    def run(*words):
        return subprocess.run([command, *words], capture_output=True, env=env)

    done = run("ls", path)
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"\x1b" not in done.stdout and b"\\x1b[31mred" in done.stdout
    assert b"climits-\\udcff" in done.stdout
    for name in names[:2]:
        word = os.fsdecode(os.path.join(os.fsencode(path), name))
        for words in (["inspect", word], ["explain", "cgroup.procs", word]):
            done = run(*words)
            assert b"Error" not in done.stderr and b"fault" not in done.stderr, done
    done = run("create", "/climits-top/climits-\u00fc")
    assert done.returncode == 0, done
    assert done.stdout.strip().endswith(b"\\xfc" if "ascii" in encoding else b"\xc3\xbc")
    assert dispatch(["delete", path, "-r"]) == 0


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", [["ls"], ["create", "climits-full"], ["--help"]])
def test_a_full_device_is_told_plainly(command, words, unbuffered):
    env = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [command, *words], stdout=full, stderr=subprocess.PIPE, text=True, env=env
        )
    assert done.returncode == 125
    assert done.stderr == "climits: cannot write to standard output: no space left on device\n"
    assert not os.path.exists(MEMORY.directory_path("/climits/climits-full"))


def test_an_error_is_one_short_line(command):
    done = subprocess.run([command, "get", "x" * 4500, "y" * 4500], stderr=subprocess.PIPE)
    assert done.returncode == 125
    assert len(done.stderr) < 1000 and done.stderr.count(b"\n") == 1
