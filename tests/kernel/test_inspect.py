"""Looking at real processes and cgroups: inspect, tree and hierarchies."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from support import IN_VM, PATIENCE, until

from climits.cgroup import files
from climits.cli.main import dispatch
from climits.errors import CgroupGoneError, UnsupportedError
from climits.linux import proc
from climits.linux.mounts import cgroup_mounts
from climits.observe.bounds import bounds
from climits.observe.csets import css_sets
from climits.observe.inspect import inspect
from climits.observe.tree import process_tree, read_tree
from climits.units import UNLIMITED

MIB = 1 << 20
pytestmark = pytest.mark.timeout(60 * PATIENCE)


@pytest.fixture
def start():
    """start(group, *words) starts a program that is then moved into a cgroup, and its children."""
    started = []

    def run(group, *words):
        child = subprocess.Popen(
            ["sh", "-c", 'read go; exec "$@"', "sh", *map(str, words)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        started.append(child)
        if group is not None:
            group.attach(child.pid)
        child.stdin.write(b"\n")
        child.stdin.close()
        until(lambda: proc.command_name(child.pid) != "sh")
        return child

    yield run
    for child in started:
        child.kill()
        child.wait()
        child.stdout.close()


def out_of(capfd, *argv):
    assert dispatch(list(map(str, argv))) == 0
    out, err = capfd.readouterr()
    assert err == ""
    return out


def limit_of(facts, kind):
    return next((limit for limit in facts.limits if limit.kind == kind), None)


# ---- the limit that binds --------------------------------------------------------------------


def test_the_tightest_limit_on_the_way_up_is_the_effective_one(
    groups, start, capfd, controller, memory_v1
):
    controller("pids")
    groups("climits-up", memory="48M", swap="max", pids=40)
    middle = groups("climits-up/middle", memory="32M", pids=50)
    inner = groups("climits-up/middle/inner", memory="64M", swap="max", pids=30)
    child = start(inner, "sleep", 1000)
    facts = inspect(str(child.pid))
    memory, pids = limit_of(facts, "memory"), limit_of(facts, "pids")
    assert (memory.limit, memory.path) == (32 * MIB, middle.path)
    assert (pids.limit, pids.path) == (30, inner.path)
    assert [level.path for level in memory.levels] == [
        inner.path, middle.path, "/climits/climits-up", "/climits", "/",
    ]  # fmt: skip
    assert [level.limit for level in memory.levels[:4]] == [
        64 * MIB, 32 * MIB, 48 * MIB, UNLIMITED,
    ]  # fmt: skip
    # It is still starting: what it uses moves between the two looks.
    assert pids.usage == 1 and abs(memory.usage - middle.memory.current()) < MIB
    out = out_of(capfd, "inspect", child.pid)
    assert f"effective limit 32M, set at {middle.path} (" in out
    assert f"effective limit 30, set at {inner.path} (1 in use there)" in out
    assert all(len(line) <= 100 for line in out.splitlines())
    if memory_v1:  # where the kernel says the same of itself
        stat = inner.memory.directory.read("memory.stat")
        assert files.pick(stat, b"hierarchical_memory_limit ") == memory.limit
        total = files.pick(stat, b"hierarchical_memsw_limit ")
        if total is not None:
            assert limit_of(facts, "memory+swap").limit == total
    else:
        assert limit_of(facts, "swap").limit == 0  # of middle: a memory limit brings it along


def test_a_fuller_cgroup_above_is_named(groups, start, hog, capfd):
    outer = groups("climits-full", memory="48M")
    inner = groups("climits-full/inner", memory="32M")
    beside = groups("climits-full/beside", memory="max")
    start(beside, hog, "alloc", 36, "say", "ready", "hold", 10**6)
    child = start(inner, "sleep", 1000)
    until(lambda: outer.memory.current() > 30 * MIB)
    memory = limit_of(inspect(str(child.pid)), "memory")
    assert (memory.limit, memory.path) == (32 * MIB, inner.path)
    assert memory.closest == outer.path and 0 <= memory.left <= 18 * MIB
    assert f"first to bind now: {outer.path}, with " in out_of(capfd, "inspect", inner.path)


def test_cpus_and_bandwidth(groups, start, controller):
    controller("cpu")
    controller("cpuset")
    outer = groups("climits-cpus", cpus=0.5, cpuset="0")
    inner = groups("climits-cpus/inner", cpus=0.25, cpuset="0")
    child = start(inner, "sleep", 1000)
    facts = inspect(f"pid:{child.pid}")
    cpu, cpuset = limit_of(facts, "cpu"), limit_of(facts, "cpuset")
    assert (cpu.limit, cpu.path) == (0.25, inner.path)
    assert [level.limit for level in cpu.levels[:2]] == [0.25, 0.5]
    assert (cpuset.limit, cpuset.path) == ("0", outer.path)  # inner narrows it no further


def test_without_limits_nothing_binds(layout):
    hierarchy = layout.holding("memory")
    for bound in bounds([(hierarchy, "/")]):
        assert bound.path is None and bound.closest is None


# ---- a process and a cgroup ------------------------------------------------------------------


def test_the_facts_of_a_process(groups, start, hog, capfd, layout):
    group = groups("climits-facts", memory="64M")
    child = start(group, hog, "alloc", 20, "say", "ready", "hold", 10**6)
    child.stdout.readline()
    data = json.loads(out_of(capfd, "inspect", child.pid, "--json"))
    process = data["process"]
    assert (process["pid"], process["name"], process["parent"]) == (child.pid, "hog", os.getpid())
    assert process["arguments"][0] == hog and process["threads"] == 1 and process["uid"] == 0
    assert 20 * MIB <= process["anon"] <= process["resident"] < 40 * MIB
    assert data["cgroup"] == group.path and data["usage"]["anon"] >= 19 * MIB
    # Every hierarchy, with the id and the path that the kernel gives.
    known = {number: path for number, _, path in proc.cgroup_entries(proc.cgroup_text(child.pid))}
    assert {h["id"]: h["cgroup"] for h in data["hierarchies"]} == known
    mounted = {h["mount_point"]: h for h in data["hierarchies"] if "mount_point" in h}
    for hierarchy in layout.hierarchies:
        facts = mounted[hierarchy.mount_point]
        assert set(facts["controllers"]) == hierarchy.controllers
        assert facts["version"] == hierarchy.version_name and "rw" in facts["options"]
        assert facts["sees_root"] is True and "removed" not in facts
    namespaces = {n["kind"]: n for n in data["namespaces"]}
    assert namespaces["pid"]["inode"] == proc.pid_namespace() and namespaces["pid"]["ours"] is True
    text = out_of(capfd, "inspect", child.pid)
    assert text.startswith(f"process {child.pid}: {hog} alloc 20")
    assert f"usage of {group.path}" in text and f"hog({child.pid})" in text


def test_the_facts_of_a_cgroup(groups, start, capfd, layout):
    group = groups("climits-facts", memory="64M")
    data = json.loads(out_of(capfd, "inspect", "climits-facts", "--json"))
    assert "process" not in data and data["css_sets"] == [] and data["namespaces"] == []
    assert "no task is in this cgroup itself" in out_of(capfd, "inspect", group.path)
    child = start(group, "sleep", 1000)
    data = json.loads(out_of(capfd, "inspect", group.path, "--json"))
    (only,) = data["css_sets"]
    assert [member["pid"] for member in only["members"]] == [child.pid]
    having = {h["mount_point"] for h in data["hierarchies"] if h.get("cgroup") == group.path}
    assert having == {part.hierarchy.mount_point for part in group.parts}
    assert f"sleep({child.pid})" in out_of(capfd, "inspect", group.path)


def test_a_namespace_of_its_own_is_told(groups, start, capfd):
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    group = groups("climits-apart", memory="64M")
    child = start(group, "unshare", "--net", "sleep", 1000)
    until(lambda: proc.command_name(child.pid) == "sleep")
    found = {n.kind: n for n in inspect(str(child.pid)).namespaces}
    assert found["net"].ours is False and found["mnt"].ours is True
    start(group, "sleep", 1000)
    found = [n for n in inspect(group.path).namespaces if n.kind == "net"]
    assert sorted((n.ours, n.processes) for n in found) == [(False, 1), (True, 1)]
    assert "another one" in out_of(capfd, "inspect", child.pid)


def inside_a_namespace(group, climits, script):
    """What `climits inspect` prints in a cgroup namespace whose root is the group."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed")
    words = ["unshare", "--cgroup", "--mount", "sh", "-ec", script.format(climits=climits)]
    with subprocess.Popen(
        ["sh", "-c", 'read go; exec "$@"', "sh", *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    ) as child:  # fmt: skip
        group.attach(child.pid)
        out, _ = child.communicate(b"\n")
    assert child.returncode == 0
    return out.decode()


def test_in_a_cgroup_namespace_only_is_nothing_mistaken(groups, climits, layout):
    group = groups("climits-inside", memory="64M")
    out = inside_a_namespace(group, climits, "{climits} inspect $$ --json; {climits} inspect $$")
    data, _, text = out.partition("\n")
    places = {h["mount_point"]: h for h in json.loads(data)["hierarchies"] if "mount_point" in h}
    for part in group.parts:
        place = places[part.hierarchy.mount_point]
        assert place["cgroup"] == "/" and place["sees_root"] is False
    # The mounts are of outside, where / is another cgroup: none of its limits may be shown.
    kinds = {limit["kind"] for limit in json.loads(data)["limits"]}
    assert not kinds & {"memory", "high", "swap", "memory+swap"}
    assert "is not the root (a container, or a bind mount)" in text


@pytest.mark.vm_only
def test_in_a_container_the_visible_limits_are_told(groups, climits, layout):
    if layout.mode != "unified":
        pytest.skip("needs cgroup v2 alone")
    group = groups("climits-inside", memory="64M")
    script = (
        "mount --make-rprivate /; umount /sys/fs/cgroup; "
        "mount -t cgroup2 cgroup2 /sys/fs/cgroup; {climits} inspect $$; {climits} tree"
    )
    out = inside_a_namespace(group, climits, script)
    assert "effective limit 64M, set at / (" in out
    assert "is not the root (a container, or a bind mount)" in out
    assert out.splitlines()[-1].endswith("/max  /") or out.splitlines()[-1].endswith("-  /")


@pytest.mark.parametrize("word", ["pid:4194311", "4194311", "/climits/climits-nowhere", "nowhere"])
def test_what_is_not_there(word):
    with pytest.raises(CgroupGoneError, match="no such"):
        dispatch(["inspect", word])


def test_a_zombie_whose_cgroup_was_removed(groups, start, capfd, layout):
    if layout.unified is None:
        pytest.skip("only v2 tells of a removed cgroup")
    group = groups("climits-zombie", memory="64M")
    child = start(group, "true")
    until(lambda: proc.summary(child.pid)[1] == "Z")
    group.remove()
    facts = inspect(str(child.pid))
    (v2,) = [place for place in facts.hierarchies if place.version == "v2"]
    assert (v2.cgroup, v2.removed) == (group.path, True)
    text = out_of(capfd, "inspect", child.pid)
    assert f"{group.path} (removed)" in text and "the process has left its cgroups" in text


# ---- css_sets --------------------------------------------------------------------------------


def test_who_shares_exactly_this_set(groups, start, capfd):
    one, two = groups("climits-set1", memory="64M"), groups("climits-set2", memory="64M")
    pair = {start(one, "sleep", 1000).pid, start(one, "sleep", 1000).pid}
    alone = start(two, "sleep", 1000).pid
    facts = inspect(str(min(pair)))
    (own,) = facts.css_sets
    assert {member.pid for member in own.members} == pair and own.tasks == 2
    assert facts.related == []
    other = next(s for s in css_sets() if any(m.pid == alone for m in s.members))
    assert other.cgroups != own.cgroups and other.tasks == 1
    text = out_of(capfd, "inspect", min(pair))
    assert "2 tasks" in text and all(f"sleep({pid})" in text for pid in pair)
    assert f"sleep({alone})" not in text


def test_a_thread_elsewhere_has_a_css_set_of_its_own(groups, start, on_v1, capfd):
    group = groups("climits-threads", memory="64M")
    elsewhere = groups("climits-threads/elsewhere", memory="64M")
    code = "import threading, time; threading.Thread(target=time.sleep, args=(9**6,)).start()"
    child = start(group, sys.executable, "-c", code)
    until(lambda: len(proc.threads(child.pid)) == 2)
    thread = max(proc.threads(child.pid))
    elsewhere.part("memory").directory.write("tasks", str(thread))
    facts = inspect(str(child.pid))
    (own,) = facts.css_sets
    assert [(m.pid, m.tasks) for m in own.members] == [(child.pid, [child.pid])]
    # On a hybrid host the thread is still in the process's other cgroup.
    if any(k.path == group.path and not k.controllers for k in own.cgroups):
        (other,) = facts.related
        assert [(m.pid, m.tasks) for m in other.members] == [(child.pid, [thread])]
        assert "other sets with a cgroup in common" in out_of(capfd, "inspect", child.pid)
    dot = out_of(capfd, "inspect", elsewhere.path, "--graph", "dot")
    assert f'[label="memory:{elsewhere.path}"]' in dot and "css_set" in dot


@pytest.mark.parametrize("form", ["dot", "mermaid"])
def test_the_graph_has_each_cgroup_of_the_process(groups, start, capfd, form):
    child = start(groups("climits-graph", memory="64M"), "sleep", 1000)
    graph = out_of(capfd, "inspect", child.pid, "--graph", form)
    entries = proc.cgroup_entries(proc.cgroup_text(child.pid))
    for _, controllers, path in entries:
        assert f'"{controllers or "unified"}:{path}"' in graph
    assert graph.count(" -- " if form == "dot" else " --- ") == len(entries)
    assert f"sleep({child.pid})" in graph
    if form == "dot" and shutil.which("dot"):
        subprocess.run(["dot", "-Tsvg"], input=graph.encode(), capture_output=True, check=True)


# ---- the kernel's own structures -------------------------------------------------------------


def need_kernel():
    pytest.importorskip("drgn", reason="needs drgn: pip install climits[kernel]")
    if not os.path.exists("/proc/kcore"):
        pytest.skip("needs /proc/kcore, which this kernel does not have")


def test_the_kernel_has_the_same_picture(groups, start, capfd):
    need_kernel()
    group = groups("climits-kernel", memory="64M")
    pids = sorted((start(group, "sleep", 1000).pid, start(group, "sleep", 1000).pid))
    facts = json.loads(out_of(capfd, "inspect", pids[0], "--kernel", "--json"))
    kernel = facts["kernel"]
    assert kernel["differences"] == [] and kernel["tasks"] == 2
    memory = next(s for s in kernel["subsystems"] if s["name"] == "memory")
    assert memory["path"] == group.path
    told = {h["id"]: h["cgroup"] for h in facts["hierarchies"]}
    links = {link["hierarchy"]: link for link in kernel["links"]}
    assert told.items() <= {n: link["path"] for n, link in links.items()}.items()
    for subsystem in kernel["subsystems"]:
        assert subsystem["hierarchy"] in links
    # And back: our css_set is the one that its cgroup points to.
    (back,) = links[memory["hierarchy"]]["css_sets"]
    assert (back["address"], back["pids"]) == (kernel["css_set"], pids)
    text = out_of(capfd, "inspect", group.path, "--kernel")
    assert "the same as /proc/PID/cgroup tells" in text and kernel["css_set"] in text


def test_the_kernel_and_a_named_hierarchy(groups, start, capfd, named):
    need_kernel()
    made = named("climits-test")
    inside = f"{made['mount_points'][0]}/climits-box"
    files.make(inside)
    try:
        child = start(None, "sleep", 1000)
        files.Directory(inside).write("cgroup.procs", str(child.pid))
        facts = json.loads(out_of(capfd, "inspect", child.pid, "--kernel", "--json"))
        (link,) = [k for k in facts["kernel"]["links"] if k.get("name") == "climits-test"]
        assert (link["hierarchy"], link["path"]) == (made["id"], "/climits-box")
        assert facts["kernel"]["differences"] == []
        child.kill()
        child.wait()
    finally:
        until(lambda: files.remove(inside))


def test_without_the_kernels_memory_the_rest_is_told(capfd):
    if os.path.exists("/proc/kcore"):
        pytest.skip("this kernel shows its memory")
    with pytest.raises(UnsupportedError, match="the kernel's own structures cannot be read"):
        dispatch(["inspect", str(os.getpid()), "--kernel"])
    assert capfd.readouterr().out.startswith(f"process {os.getpid()}: ")


# ---- trees -----------------------------------------------------------------------------------


def test_the_figures_of_a_tree(groups, start, capfd, controller):
    controller("pids")
    top = groups("climits-tree", memory="64M", pids=50)
    inner = groups("climits-tree/inner", memory="32M", pids=20)
    pids = [start(inner, "sleep", 1000).pid, start(inner, "sleep", 1000).pid]
    found = json.loads(out_of(capfd, "tree", "climits-tree", "--json", "--pids", "--controllers"))
    assert [node["path"] for node in found] == [top.path, inner.path]
    assert found[0]["memory_max"] == 64 * MIB and found[1]["memory_max"] == 32 * MIB
    assert found[0]["pids_max"] == 50 and found[0]["pids_current"] == 2
    assert [p["pid"] for p in found[1]["pids"]] == sorted(pids)
    assert found[1]["pids"][0]["name"] == "sleep" and found[1]["pids"][0]["resident"] > 0
    assert found[1]["processes"] == 2 and found[0]["processes"] == 0
    assert any("memory" in name for name in found[1]["controllers"])
    lines = out_of(capfd, "tree", "climits-tree").splitlines()
    assert len(lines) == 3 and lines[1].endswith(f"64M     0      2/50  {top.path}")
    assert lines[2].endswith("└─ inner") and " 32M " in lines[2]
    assert len(out_of(capfd, "tree", "climits-tree", "--depth", "0").splitlines()) == 2
    whole = out_of(capfd, "tree")
    assert "├─ climits" in whole or "└─ climits" in whole


def test_processes_in_a_tree(groups, start, capfd):
    group = groups("climits-tree", memory="64M")
    shell = start(group, "bash", "-c", "sleep 1000 & wait")
    until(lambda: len(group.pids()) == 2)
    (child,) = set(group.pids()) - {shell.pid}
    until(lambda: proc.command_name(child) == "sleep")
    lines = out_of(capfd, "tree", "climits-tree", "--pids").splitlines()
    assert lines[1].endswith(group.path) and " 64M " in lines[1]
    assert lines[2].endswith(f"└─ bash({shell.pid})") and " 1  " in lines[2]
    assert lines[3].endswith(f"   └─ sleep({child})")
    os.kill(child, 9)


def test_kernel_threads_are_left_out():
    if proc.command_name(2) != "kthreadd":
        pytest.skip("kernel threads cannot be seen here")
    assert process_tree([2]) == []


def test_a_tree_while_everything_changes(layout):
    """Cgroups and processes come and go under its hands, in two threads."""
    end = threading.Event()
    hierarchy = layout.holding("memory")
    home = hierarchy.directory_path("/climits-storm")
    files.make(home)

    def storm():
        number = 0
        while not end.is_set():
            number += 1
            path = f"{home}/climits-{number}"
            files.make(path)
            files.make(f"{path}/below")
            child = subprocess.Popen(["true"])
            try:
                files.Directory(path).write("cgroup.procs", str(child.pid))
            except OSError:
                pass  # it was faster
            child.wait()
            while not (files.remove(f"{path}/below") and files.remove(path)):
                time.sleep(0.001)

    thread = threading.Thread(target=storm)
    thread.start()
    try:
        for _ in range(5 if IN_VM else 60):
            nodes = [node for node, _ in read_tree(layout, "/climits-storm").walk()]
            assert nodes[0].path == "/climits-storm"
            for node in nodes:
                process_tree(node.pids or [])
            css_sets()
            for node in nodes[1:]:
                try:
                    assert inspect(node.path).cgroup == node.path
                except CgroupGoneError:
                    pass
    finally:
        end.set()
        thread.join()
        until(lambda: files.remove(home))


# ---- hierarchies -----------------------------------------------------------------------------


def test_every_controller_and_hierarchy_is_told(capfd, layout):
    data = json.loads(out_of(capfd, "hierarchies", "--json"))
    found = {h["mount_points"][0]: h for h in data["hierarchies"] if h["mount_points"]}
    for hierarchy in layout.hierarchies:
        facts = found[hierarchy.mount_point]
        assert facts["version"] == hierarchy.version_name and facts["cgroups"] >= 1
        assert set(facts["controllers"]) == hierarchy.controllers and facts["mounted_by"]
        if hierarchy.born_inside:
            assert facts["events_file"] == "cgroup.events" and facts["id"] == 0
        else:
            assert facts["notify_on_release"] in (True, False) and "release_agent" in facts
    controllers = {c["name"]: c for c in data["controllers"]}
    for hierarchy in layout.hierarchies:
        for name in hierarchy.controllers:
            assert controllers[name]["mount_point"] == hierarchy.mount_point
            assert controllers[name]["enabled"] is True and controllers[name]["purpose"]
    text = out_of(capfd, "hierarchies")
    assert all(name in text for name in controllers)
    assert all(len(line) <= 100 for line in text.splitlines())


def test_the_number_of_cgroups_counts(groups, capfd, layout):
    def cgroups():
        data = json.loads(out_of(capfd, "hierarchies", "--json"))
        return next(c["cgroups"] for c in data["controllers"] if c["name"] == "memory")

    group = groups("climits-counted", memory="64M")
    before = cgroups()
    groups("climits-counted/inner", memory="32M")
    # Others may make some beside us on a shared machine; in the VM nobody does.
    assert cgroups() == before + 1 if IN_VM else cgroups() > 1
    assert group.part("memory")


@pytest.fixture
def named(capfd, layout):
    """named(NAME, ...) makes a named hierarchy, which is unmounted at the end."""
    if not IN_VM:
        pytest.skip("mounts a hierarchy: runs in the VM only")
    if layout.mode == "unified":
        pytest.skip("named hierarchies are of v1")
    points = []

    def make(name, *argv):
        made = json.loads(out_of(capfd, "hierarchies", "--track", name, "--json", *argv))
        points.append(made["mount_points"][0])
        return made

    yield make
    for point in dict.fromkeys(points):
        subprocess.run(["umount", point], check=True)
        os.rmdir(point)


def test_a_named_hierarchy_is_made_once(named, capfd):
    made = named("climits-test")
    assert made["label"] == "name=climits-test" and made["controllers"] == []
    assert made["version"] == "v1" and made["mounted_by"] == "climits hierarchies --track"
    assert made["notify_on_release"] is False and made["release_agent"] == ""
    point = made["mount_points"][0]
    assert os.path.exists(f"{point}/tasks")
    assert named("climits-test") == made
    (mount,) = [m for m in cgroup_mounts() if m.point == point]
    assert "name=climits-test" in mount.options and mount.source == "climits"
    text = out_of(capfd, "hierarchies")
    assert "only to keep track of processes: name=climits-test" in text
    data = json.loads(out_of(capfd, "hierarchies", "--json"))
    assert made in data["hierarchies"]


def test_the_release_agent_runs_when_a_cgroup_becomes_empty(named, start, tmp_path, capfd):
    log, agent = tmp_path / "log", tmp_path / "agent"
    agent.write_text(f'#!/bin/sh\necho "$@" >> {log}\n')
    agent.chmod(0o755)
    made = named("climits-test", "--release-agent", agent)
    point = Path(made["mount_points"][0])
    assert made["release_agent"] == str(agent) and made["notify_on_release"] is True
    assert f"the kernel runs {agent}" in " ".join(out_of(capfd, "hierarchies").split())
    box = point / "climits-box"
    files.make(str(box))
    assert (box / "notify_on_release").read_text() == "1\n"  # taken over from the root
    child = start(None, "sleep", 1000)
    files.Directory(str(box)).write("cgroup.procs", str(child.pid))
    assert not log.exists()
    child.kill()
    child.wait()
    until(log.exists)
    until(lambda: log.read_text() == "/climits-box\n")
    until(lambda: files.remove(str(box)))
    # And no more.
    made = named("climits-test", "--release-agent", "")
    assert made["release_agent"] == "" and made["notify_on_release"] is False
    assert (point / "release_agent").read_text().strip() == ""


def test_on_v2_alone_no_hierarchy_is_made(layout, capfd):
    if layout.mode != "unified":
        pytest.skip("needs cgroup v2 alone")
    before = list(map(vars_of, cgroup_mounts()))
    with pytest.raises(UnsupportedError, match=r"cgroup\.events"):
        dispatch(["hierarchies", "--track", "climits-test"])
    assert list(map(vars_of, cgroup_mounts())) == before
    assert "cgroup.events" in " ".join(out_of(capfd, "hierarchies").split())


def vars_of(mount):
    return mount.point, mount.fstype, mount.options


def test_v2_tells_in_cgroup_events_when_a_cgroup_becomes_empty(groups, start, on_v2):
    """What takes the place of the release agent."""
    group = groups("climits-empty", memory="64M")
    directory = group.part("memory").directory
    child = start(group, "sleep", 1000)
    assert b"populated 1" in directory.read("cgroup.events")
    child.kill()
    child.wait()
    until(lambda: b"populated 0" in directory.read("cgroup.events"))
