import io
import os
import shutil

import pytest

from climits.launch.plan import Plan
from climits.launch.spawn import spawn
from climits.linux import proc


@pytest.fixture
def files(monkeypatch):
    """Put texts in the place of files of /proc."""
    texts = {}

    def fake(path, mode="r", **options):
        if path not in texts:
            raise FileNotFoundError(2, "No such file or directory", path)
        data = texts[path].encode("utf-8", "surrogateescape")
        raw = io.BytesIO(data)
        if "b" in mode:
            return raw
        return io.TextIOWrapper(raw, encoding=options["encoding"], errors=options.get("errors"))

    monkeypatch.setattr(proc, "open", fake, raising=False)
    return texts


STAT = (
    "{pid} ({name}) {state} 1 2 3 0 -1 {flags} 1 2 3 4 5 6 7 8 20 0 1 0 {start} 1000 2 184467440 "
    "1 2 3 4 5 {pending} 0 0 0\n"
)
ALIVE = {"pid": 42, "name": "cat", "state": "S", "flags": 4194560, "start": 9, "pending": 0}


@pytest.mark.parametrize("name", ["cat", "a b", "a) S 1 2 (b", "((", ") R 1 2 3 4 5 6 7 8 9", ""])
def test_start_time_counts_from_the_last_parenthesis(files, name):
    files["/proc/42/stat"] = STAT.format(**ALIVE | {"name": name, "start": 987654})
    assert proc.start_time(42) == 987654


@pytest.mark.parametrize(
    ("change", "dying"),
    [
        ({}, False),
        ({"state": "R"}, False),
        ({"pending": 1 << 14}, False),  # SIGTERM
        ({"state": "Z"}, True),
        ({"state": "X"}, True),
        ({"flags": 4194560 | 4}, True),
        ({"pending": 1 << 8}, True),
    ],
)
def test_who_is_dying(files, change, dying):
    files["/proc/42/stat"] = STAT.format(**ALIVE | change)
    assert proc.is_dying(42) is dying
    assert proc.is_dying(43) is True


@pytest.mark.parametrize("state", ["Z", "X"])
def test_a_zombie_has_no_start_time(files, state):
    files["/proc/42/stat"] = STAT.format(**ALIVE | {"state": state})
    assert proc.start_time(42) is None


def test_start_time_of_nobody(files):
    assert proc.start_time(43) is None
    files["/proc/44/stat"] = ""
    assert proc.start_time(44) is None


def test_start_time_of_this_process():
    ours = proc.start_time()
    assert ours == proc.start_time("self") == proc.start_time(os.getpid())
    now = os.sysconf("SC_CLK_TCK") * float(open("/proc/uptime").read().split()[0])
    assert 0 < ours <= now + 1


def test_start_time_of_a_program_with_a_nasty_name(tmp_path):
    program = tmp_path / "a) R 1 (b"
    shutil.copy("/bin/cat", program)
    read, write = os.pipe()
    plan = Plan([b"x"], [], [os.fsencode(program)])
    plan.stdio(read, None, None)
    pid, pidfd = spawn(plan)
    try:
        assert proc.start_time() <= proc.start_time(pid)
        assert proc.command_name(pid) == "a) R 1 (b"
    finally:
        os.close(write)
        os.close(read)
        os.waitpid(pid, 0)
        os.close(pidfd)
    assert proc.start_time(pid) is None
    assert proc.command_name(pid) is None


def test_cgroup_paths(files):
    files["/proc/self/cgroup"] = (
        "9:name=systemd:/user.slice\n"
        "4:cpu,cpuacct:/jobs:odd\n"
        "3:memory:/climits/w\udcffb\n"
        "0::/unified\n"
    )
    assert proc.cgroup_paths() == {
        "name=systemd": "/user.slice",
        "cpu": "/jobs:odd",
        "cpuacct": "/jobs:odd",
        "memory": "/climits/w\udcffb",
        "": "/unified",
    }


def test_a_carriage_return_in_a_cgroups_name_is_part_of_it(files):
    files["/proc/self/cgroup"] = "0::/a\rb\n"
    assert proc.cgroup_paths() == {"": "/a\rb"}


def test_cgroup_paths_of_this_process():
    paths = proc.cgroup_paths()
    assert paths and all(path.startswith("/") for path in paths.values())
    assert proc.cgroup_paths(os.getpid()) == paths


def test_memory_total(files):
    files["/proc/meminfo"] = "MemTotal:        4029528 kB\nMemFree:  1 kB\n"
    assert proc.memory_total() == 4029528 * 1024


def test_memory_total_of_this_machine():
    assert proc.memory_total() > 16 * 1024**2


@pytest.mark.parametrize(
    ("text", "active"),
    [
        ("Filename\tType\tSize\tUsed\tPriority\n", False),
        ("Filename\tType\tSize\tUsed\tPriority\n/dev/vdb partition 1 0 -2\n", True),
        ("", False),
    ],
)
def test_swap_is_active(files, text, active):
    files["/proc/swaps"] = text
    assert proc.swap_is_active() is active


def test_a_kernel_without_swap_has_none_active(files):
    assert proc.swap_is_active() is False


def test_pid_namespace():
    assert proc.pid_namespace() == os.stat("/proc/self/ns/pid").st_ino > 0


def test_a_hidden_pid_namespace_is_zero(monkeypatch):
    def hidden(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(proc.os, "stat", hidden)
    assert proc.pid_namespace() == 0
