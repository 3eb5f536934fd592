"""The table of cgroup files, and how values are told."""

import re

import pytest

from climits.cgroup.layout import Layout
from climits.errors import InvalidValueError
from climits.linux.mounts import Mount
from climits.observe.catalog import (
    CgroupFile,
    catalog,
    counterparts,
    find_files,
    on_this_host,
    version_of,
)
from climits.observe.values import UNITS, describe_value

FILES = catalog()
IDS = [f"{file.version}-{file.name}" for file in FILES]
each = pytest.mark.parametrize("file", FILES, ids=IDS)
#: No kernel of ours is newer.
NEWEST = (6, 18)
VERSION = re.compile(r"2\.6\.\d+|[3-6]\.\d+")


def one(name, version):
    (file,) = (f for f in FILES if (f.name, f.version) == (name, version))
    return file


# ---- the table -----------------------------------------------------------------------------


@each
def test_each_entry_is_well_formed(file):
    assert file.version in ("v1", "v2")
    assert file.controller in ("memory", "cpuset", "freezer", "pids", "cpu", "cpuacct", "core")
    assert file.access in ("r", "rw", "w")
    assert file.where in ("all", "child", "root")
    assert file.unit in UNITS
    assert bool(file.counts) <= (file.unit == "bytes by key")
    for text in (file.meaning, file.note):
        assert text is None or (text == text.strip() and text[0] not in "a " and text[-1] == ".")
    assert len(file.meaning) < 260


@each
def test_the_kernels_of_each_entry_are_in_order(file):
    for version in (file.since, file.until, file.deprecated, file.writable_since):
        assert version is None or VERSION.fullmatch(version)
        assert version is None or version_of(version) <= NEWEST
    since = version_of(file.since)
    if file.version == "v2":
        assert since >= (4, 5)  # when v2 became official
    for later in (file.until, file.deprecated, file.writable_since):
        assert later is None or version_of(later) >= since
    assert file.writable_since is None or "w" not in file.access


@each
def test_counterparts_are_files_of_the_other_version(file):
    found = counterparts(file)
    assert [other.name for other in found] == file.counterpart
    assert all(other.version != file.version for other in found)


def test_no_file_is_there_twice():
    assert len({(file.name, file.version) for file in FILES}) == len(FILES)


def test_the_controllers_of_the_table_are_complete():
    held = {(file.version, file.controller) for file in FILES}
    v1 = {("v1", c) for c in ("memory", "cpuset", "freezer", "pids", "cpu", "cpuacct", "core")}
    assert held == v1 | {("v2", c) for c in ("memory", "cpuset", "pids", "cpu", "core")}


@pytest.mark.parametrize(
    ("name", "version", "kernel", "works"),
    [
        ("memory.kmem.limit_in_bytes", "v1", "5.10.0-30-amd64", True),
        ("memory.kmem.limit_in_bytes", "v1", "5.16.0", False),
        ("memory.kmem.limit_in_bytes", "v1", "6.18.44", False),
        ("memory.move_charge_at_immigrate", "v1", "6.1.0-56-amd64", True),
        ("memory.move_charge_at_immigrate", "v1", "6.13", False),
        ("memory.limit_in_bytes", "v1", "6.18.44", True),
    ],
)
def test_what_has_lost_its_effect(name, version, kernel, works):
    assert one(name, version).works_on(kernel) is works


def test_memory_peak_can_be_written_since_6_12():
    peak = one("memory.peak", "v2")
    assert [peak.access_on(k) for k in ("6.1.0-56-amd64", "6.12.1")] == ["read", "read and write"]
    assert one("cgroup.kill", "v2").access_on("6.12") == "write"
    assert (peak.exists_on("5.18.9"), peak.exists_on("5.19-rc1")) == (False, True)


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.1.0-56-amd64", (6, 1)),
        ("6.12.117+deb12-amd64", (6, 12)),
        ("6.18", (6, 18)),
        ("5.19-rc1", (5, 19)),
        ("2.6.32-754.el6", (2, 6, 32)),
        ("2.6.25", (2, 6, 25)),
    ],
)
def test_version_of(release, version):
    assert version_of(release) == version


# ---- finding -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("memory.max", [("memory.max", "v2")]),
        ("memory.stat", [("memory.stat", "v1"), ("memory.stat", "v2")]),
        ("limit_in_bytes", [("memory.limit_in_bytes", "v1")]),
        ("kmem.tcp.limit_in_bytes", [("memory.kmem.tcp.limit_in_bytes", "v1")]),
        ("swap.max", [("memory.swap.max", "v2")]),
        ("procs", [("cgroup.procs", "v1"), ("cgroup.procs", "v2")]),
        ("tasks", [("tasks", "v1")]),
        ("/sys/fs/cgroup/a/memory.oom_control", [("memory.oom_control", "v1")]),
    ],
)
def test_a_file_is_found_by_its_name_or_the_end_of_it(word, found):
    assert [(file.name, file.version) for file in find_files(word)] == found


@pytest.mark.parametrize(
    ("word", "text", "hint"),
    [
        ("memroy.max", "no such cgroup file: 'memroy.max'", "did you mean memory.max "),
        ("memory.limit", "no such cgroup file: 'memory.limit'", "memory.limit_in_bytes"),
        ("limit_in_byte", "no such cgroup file", "did you mean memory.limit_in_bytes"),
        ("oom_kontrol", "no such cgroup file", "did you mean memory.oom_control?"),
        ("xyzzy", "no such cgroup file", "climits explain without a name lists them all"),
        ("", "no such cgroup file: ''", "climits explain without a name lists them all"),
        ("max", "several files are called max: memory.max, pids.max, cpu.max", "climits explain"),
        ("\n", "no such cgroup file: '\\n'", "climits explain without a name lists them all"),
    ],
)
def test_an_unknown_file_is_refused_with_the_nearest(word, text, hint):
    with pytest.raises(InvalidValueError) as caught:
        find_files(word)
    assert text in str(caught.value) and hint in caught.value.hint


LEGACY = [Mount("1 1 0:1 / /nowhere/memory rw - cgroup cgroup rw,memory")]


def test_what_is_on_this_host_is_looked_at_where_that_can_be():
    layout = Layout(LEGACY)
    child = CgroupFile(name="memory.x", version="v1", controller="memory", meaning="", unit="bytes",
                       access="r", where="child", since="6.5")  # fmt: skip
    assert on_this_host([child], layout, "6.5.1") == [child]
    assert on_this_host([child], layout, "6.4.9") == []
    other = child.replace(version="v2")
    assert on_this_host([other], layout, "6.5.1") == []
    assert on_this_host([child.replace(controller="cpu")], layout, "6.5.1") == []


# ---- values --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "version", "data", "lines"),
    [
        ("memory.limit_in_bytes", "v1", b"62914560\n", ["60.0M (62914560)"]),
        ("memory.limit_in_bytes", "v1", b"9223372036854771712\n", ["no limit"]),
        ("memory.max", "v2", b"max\n", ["no limit"]),
        ("memory.max", "v2", b"0\n", ["0 bytes"]),
        ("memory.max", "v2", b"new form\n", ["new form"]),
        ("memory.stat", "v1", b"rss 8192\npgfault 31\n", ["rss      8.0K (8192)", "pgfault  31"]),
        ("memory.stat", "v2", b"anon 0\npgscan 4096\n", ["anon    0 bytes", "pgscan  4096"]),
        ("memory.events", "v2", b"low 0\noom_kill 2\n", ["low       0", "oom_kill  2"]),
        ("memory.oom.group", "v2", b"1\n", ["1 (yes)"]),
        ("memory.numa_stat", "v1", b"total=3 N0=2 N1=1\n", ["total  3 pages  N0 2  N1 1"]),
        ("memory.numa_stat", "v2", b"anon N0=4096\nworkingset_x N0=7\n",
         ["anon          N0 4.0K (4096)", "workingset_x  N0 7"]),
        ("memory.force_empty", "v1", b"", ["(empty)"]),
        ("cgroup.procs", "v2", b"1\n", ["1 process: 1"]),
        ("cgroup.procs", "v2", b"1\n22\n", ["2 processes: 1, 22"]),
        ("tasks", "v1", b"".join(b"%d\n" % i for i in range(11)),
         ["11 threads: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ..."]),
        ("tasks", "v1", b"5\n", ["1 thread: 5"]),
        ("cpu.max", "v2", b"150000 100000\n", ["1.5 CPUs' worth (150000 100000)"]),
        ("cpu.max", "v2", b"max 100000\n", ["no limit"]),
        ("cpu.cfs_quota_us", "v1", b"-1\n", ["no limit"]),
        ("cpu.cfs_period_us", "v1", b"100000\n", ["100ms (100000 microseconds)"]),
        ("cpu.stat", "v1", b"nr_periods 3\nthrottled_time 2000000000\n",
         ["nr_periods      3", "throttled_time  2.0s"]),
        ("cpu.stat", "v2", b"usage_usec 1500000\nnr_periods 3\n",
         ["usage_usec  1.5s", "nr_periods  3"]),
        ("cpu.uclamp.max", "v2", b"max\n", ["no limit"]),
        ("cpu.uclamp.min", "v2", b"12.50\n", ["12.5%"]),
        ("cpuacct.usage", "v1", b"90000000000\n", ["1m30s"]),
        ("cpuacct.usage_percpu", "v1", b"1000000000 5000000 \n", ["1.0s  5ms"]),
        ("cpuacct.stat", "v1", b"user 150\nsystem 5\n", ["user    1.5s", "system  50ms"]),
        ("pids.max", "v2", b"max\n", ["no limit"]),
        ("pids.max", "v2", b"20\n", ["20"]),
        ("cpuset.cpus", "v1", b"0-1,3\n", ["0-1,3"]),
        ("memory.pressure", "v2", b"some avg10=1.50 avg60=0.20 avg300=0.00 total=2500000\n",
         ["some  1.50% of 10s  0.20% of 60s  0.00% of 300s  2.5s in all"]),
        ("cpuset.cpus.partition", "v2", b"member\n", ["member"]),
    ],
)  # fmt: skip
def test_values_are_told_in_units_for_people(name, version, data, lines):
    assert describe_value(one(name, version), data) == lines


@each
def test_a_value_of_any_form_is_told_somehow(file):
    for data in (b"", b"\n", b"x", b"max", b"-1", b"a b c\n1 2\n", b"\xff\n", b"key x\n", b"="):
        lines = describe_value(file, data)
        assert lines and all(isinstance(line, str) for line in lines)
