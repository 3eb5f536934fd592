"""The table of cgroup files against this kernel, and `climits explain` on real cgroups."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from support import PATIENCE

from climits.cgroup.files import Directory
from climits.cgroup.find import cgroup_of
from climits.cgroup.group import Cgroup
from climits.cgroup.layout import current
from climits.cli.main import dispatch
from climits.errors import CgroupError, CgroupGoneError, InvalidValueError
from climits.linux.kernel_config import read_config
from climits.observe.catalog import catalog, version_of

KERNEL = os.uname().release
CONFIG = read_config(KERNEL)[0]
#: What the table promises to have all of.
OURS = ("memory.", "cpuset.", "freezer.", "pids.", "cpu.", "cpuacct.", "cgroup.")
PAGE = (Path(__file__).parents[2] / "docs/reference/files.md").read_text()
HIERARCHIES = [h.label for h in current().hierarchies]
MIB = 1 << 20


def files_of(directory):
    """The kernel's files in a cgroup, those of other controllers left out: name: mode."""
    return {
        entry.name: entry.stat().st_mode
        for entry in os.scandir(directory)
        if entry.is_file()
        and (entry.name.startswith(OURS) or "." not in entry.name or ".pressure" in entry.name)
    }


@pytest.fixture(scope="module")
def everything():
    """A cgroup that has every controller of this host that is ours."""
    layout = current()
    wanted = {"pids": 100, "cpus": 1.0, "cpuset": "0"}
    held = {"pids": "pids", "cpus": "cpu", "cpuset": "cpuset"}
    limits = {name: value for name, value in wanted.items() if layout.find(held[name])}
    with Cgroup.create("climits-table", memory=60 * MIB, **limits) as group:
        yield group


@pytest.fixture(scope="module")
def pairs(everything):
    """(hierarchy, files of its root cgroup, files of a cgroup in it) of each hierarchy."""
    found = []
    for hierarchy in current().hierarchies:
        child = f"{hierarchy.mount_point}/climits-files"
        os.mkdir(child)  # in the root, which has handed every controller down for `everything`
        try:
            found.append((hierarchy, files_of(hierarchy.mount_point), files_of(child)))
        finally:
            os.rmdir(child)
    return found


def entries(hierarchy):
    """What the table says of a hierarchy."""
    return {
        file.name: file
        for file in catalog()
        if file.version == hierarchy.version_name
        and (file.controller == "core" or file.controller in hierarchy.controllers)
    }


# ---- the table and the kernel --------------------------------------------------------------


@pytest.mark.parametrize("number", range(len(HIERARCHIES)), ids=HIERARCHIES)
def test_the_table_has_every_file_of_this_kernel(pairs, number):
    hierarchy, root, child = pairs[number]
    known = entries(hierarchy)
    assert sorted(set(root) | set(child)) == sorted((set(root) | set(child)) & set(known))
    for name in root:
        assert known[name].where in ("all", "root"), name
    for name in child:
        assert known[name].where in ("all", "child"), name
    for name in (*root, *child):
        assert known[name].exists_on(KERNEL), name


@pytest.mark.parametrize("number", range(len(HIERARCHIES)), ids=HIERARCHIES)
def test_this_kernel_has_every_file_that_the_table_promises(pairs, number):
    hierarchy, root, child = pairs[number]
    for name, file in entries(hierarchy).items():
        if file.vendor or not file.exists_on(KERNEL):
            continue
        if file.needs and (CONFIG is None or any(CONFIG.get(o) != "y" for o in file.needs)):
            continue  # it may be missing, but then it does so in both
        assert (name in root) == (file.where != "child"), name
        assert (name in child) == (file.where != "root"), name


@pytest.mark.parametrize("number", range(len(HIERARCHIES)), ids=HIERARCHIES)
def test_what_can_be_read_and_written_is_what_the_table_says(pairs, number):
    hierarchy, root, child = pairs[number]
    known = entries(hierarchy)
    for name, mode in (root | child).items():
        if name == "memory.pressure_level" and not mode & 0o777:
            continue  # a handle only; 6.1 gives it no permissions
        assert bool(mode & 0o222) == known[name].is_writable_on(KERNEL), name
        assert bool(mode & 0o444) == ("r" in known[name].access), name


def test_what_the_table_calls_without_effect_has_none(everything, memory_v1):
    if not memory_v1:
        pytest.skip("the files that lost their effect are v1's")
    memory = everything.part("memory").directory
    of = {file.name: file for file in catalog() if file.version == "v1"}
    limit = "memory.kmem.limit_in_bytes"
    before = memory.read(limit)
    assert not of[limit].works_on(KERNEL)
    memory.write(limit, "1000000")
    assert memory.read(limit) == before
    move = "memory.move_charge_at_immigrate"
    if of[move].works_on(KERNEL):
        assert memory.write(move, "1", read_back=True) == b"1\n"
        memory.write(move, "0")
    else:
        assert version_of(KERNEL) >= (6, 13)
        with pytest.raises(CgroupError, match="refuses the value"):
            memory.write(move, "1")
    with pytest.raises(CgroupError, match="refuses the value"):
        memory.write("memory.use_hierarchy", "0")
    assert memory.read("memory.use_hierarchy") == b"1\n"
    assert memory.read("memory.kmem.slabinfo") == b""


# ---- the command ---------------------------------------------------------------------------


def told(capfd, *words):
    assert dispatch(["explain", *words]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    return out


def test_a_file_that_this_host_has_is_told_with_its_value(capfd, everything, memory_v1):
    name = "memory.limit_in_bytes" if memory_v1 else "memory.max"
    out = told(capfd, name, everything.path)
    path = f"{everything.part('memory').directory.path}/{name}"
    assert out.startswith(f"{name}  (memory controller, cgroup {'v1' if memory_v1 else 'v2'})\n")
    assert re.search(rf"^  value +60\.0M \(62914560\)\n +\({re.escape(path)}\)$", out, re.M)
    assert "  here        yes, below " in out
    assert all(len(line) <= 100 for line in out.splitlines() if path not in line)


def test_a_file_of_the_other_version_is_translated(capfd, everything, memory_v1):
    asked, used = ("memory.max", "memory.limit_in_bytes")
    if not memory_v1:
        asked, used = used, asked
    version = "v1" if memory_v1 else "v2"
    out = told(capfd, asked, everything.path)
    assert f"no: the memory controller is on cgroup {version}; use {used}" in out
    assert (
        f"60.0M (62914560)\n              ({everything.part('memory').directory.path}/{used})"
        in out
    )


def test_it_is_told_for_programs(capfd, everything, memory_v1):
    (v1,) = json.loads(told(capfd, "limit_in_bytes", everything.path, "--json"))
    used = "memory.limit_in_bytes" if memory_v1 else "memory.max"
    assert (v1["name"], v1["version"]) == ("memory.limit_in_bytes", "v1")
    assert (v1["here"], v1["works_here"], v1["use"]) == (memory_v1, memory_v1, [used])
    (value,) = v1["values"]
    assert (value["name"], value["value"], value["text"]) == (
        used,
        "62914560",
        ["60.0M (62914560)"],
    )
    assert Path(value["path"]).read_text() == "62914560\n"


def test_a_name_of_both_versions_is_told_of_both_and_valued_once(capfd, everything, memory_v1):
    stats = json.loads(told(capfd, "memory.stat", everything.path, "--json"))
    assert [s["version"] for s in stats] == (["v1", "v2"] if memory_v1 else ["v2", "v1"])
    assert [len(s["values"]) for s in stats] == [1, 0]


def test_a_file_without_effect_says_so(capfd):
    layout = current()
    out = " ".join(told(capfd, "kmem.limit_in_bytes").split())
    assert "without effect after 5.15" in out
    on_v1 = layout.holding("memory").version_name == "v1"
    assert (f"without effect on this kernel ({KERNEL})" in out) == on_v1


def test_a_process_may_be_named(capfd):
    out = told(capfd, "cgroup.procs", f"pid:{os.getpid()}")
    assert re.search(rf"\b{os.getpid()}\b", out) or "..., ..." in out or ", ..." in out
    paths = [part.directory.path for part in cgroup_of(os.getpid()).parts]
    assert any(f"{path}/cgroup.procs" in out for path in paths)


def test_every_file_of_this_host_can_be_told(capfd, everything):
    names = dict.fromkeys(file.name for file in catalog())
    part = everything.tracker.directory
    for name in names:
        for entry in json.loads(told(capfd, name, everything.path, "--json")):
            for value in entry["values"]:
                assert ("value" in value) != ("reason" in value)
    assert told(capfd, "cgroup.kill", "/").count("only be written") == part.has("cgroup.kill")


def test_the_list_tells_what_is_here(capfd):
    here, _, rest = told(capfd).partition("not on this host:\n")
    listed = {(line.split()[1], line.split()[0]) for line in here.splitlines()[1:]}
    listed |= {(line.split()[1], line.split()[0]) for line in rest.splitlines()}
    assert listed == {(file.name, file.version) for file in catalog()}
    assert len(here.splitlines()) + len(rest.splitlines()) == len(catalog()) + 1
    plain = json.loads(told(capfd, "--json"))
    assert sorted((f["name"], f["version"]) for f in plain if f["here"]) == sorted(
        (line.split()[1], line.split()[0]) for line in here.splitlines()[1:]
    )


def test_the_root_cgroup_has_no_limit_file_on_v2(capfd, memory_v1):
    if memory_v1:
        pytest.skip("on v1 the root cgroup has the file")
    assert "memory.max: the root cgroup has none" in told(capfd, "memory.max", "/")


@pytest.mark.parametrize(
    ("words", "error", "text", "hint"),
    [
        (["memory.maxx"], InvalidValueError, "no such cgroup file", "did you mean memory.max"),
        (["max"], InvalidValueError, "several files", "climits explain memory.max"),
        (["memory.max", "climits-none"], CgroupGoneError, "no such cgroup", "starts with /"),
        (["memory.max", "a", "b"], InvalidValueError, "explain takes a file", "--help"),
        (["memory.max", "pid:x"], InvalidValueError, "not a process", "pid:1234"),
    ],
)
def test_bad_words_are_refused(words, error, text, hint):
    with pytest.raises(error) as caught:
        dispatch(["explain", *words])
    assert text in str(caught.value) and hint in caught.value.hint


def test_a_cgroup_that_is_not_in_the_hierarchy_says_so(capfd):
    layout = current()
    if len(layout.hierarchies) < 2 or not layout.find("cpuset"):
        pytest.skip("one hierarchy only")
    with Cgroup.create("climits-alone", memory=60 * MIB) as group:
        if group.part("cpuset"):
            pytest.skip("cpuset is in the hierarchy of memory")
        assert "not in that hierarchy" in told(capfd, "cpuset.cpus", group.path)


# ---- the page ------------------------------------------------------------------------------


@pytest.mark.parametrize("block", re.findall(r"^```sh\n(.*?)^```", PAGE, re.M | re.S))
def test_the_commands_of_the_page(block, climits, tmp_path):
    (tmp_path / "climits").symlink_to(climits)
    done = subprocess.run(
        ["bash", "-ec", block], capture_output=True, text=True, timeout=30 * PATIENCE, check=False,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "memory.oom_control  (memory controller, cgroup v1)" in done.stdout
    assert "not on this host:" in done.stdout


def test_an_open_directory_is_not_left(everything, capfd):
    before = len(os.listdir("/proc/self/fd"))
    told(capfd, "memory.max", everything.path)
    told(capfd, "memory.stat", "/")
    assert len(os.listdir("/proc/self/fd")) == before
    assert Directory(everything.parts[0].directory.path).fd >= 0
