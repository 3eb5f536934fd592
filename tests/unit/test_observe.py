"""Looking, on directories and texts that stand in for the kernel's."""

import json
import os
from types import SimpleNamespace

import pytest

from climits.cgroup.layout import Hierarchy, Layout
from climits.cli import hierarchies as cli_hierarchies
from climits.cli import inspect as cli_inspect
from climits.cli import tree as cli_tree
from climits.errors import CgroupGoneError, InvalidValueError, UnsupportedError
from climits.linux import mounts, proc
from climits.linux.mounts import Mount, cgroup_mounts, controller_table
from climits.observe import csets, hierarchies, inspect, text, tree
from climits.observe.bounds import bounds, sees_the_root, way_up
from climits.observe.csets import CssSet, Link, Member, graph, touching
from climits.units import UNLIMITED

MIB = 1 << 20
V1_NONE = str(2**63 - 4096)


def make(top, files):
    """A directory with files: {"a/b/memory.max": "5"}."""
    for path, content in files.items():
        where = top / path
        where.parent.mkdir(parents=True, exist_ok=True)
        where.write_text(f"{content}\n")


def hierarchy(top, version, *controllers, root="/", name=None):
    kind = "cgroup" if version == 1 else "cgroup2"
    mount = Mount(f"1 0 0:1 {root} {top} rw,relatime - {kind} none rw")
    return Hierarchy(mount, version, controllers, name)


def layout_of(*found):
    layout = Layout([])
    layout.hierarchies = list(found)
    layout.unified = next((h for h in found if h.born_inside), None)
    return layout


# ---- /proc -----------------------------------------------------------------------------------


def test_the_summary_of_this_process():
    name, state, parent, threads, resident, of_kernel = proc.summary(os.getpid())
    assert (name, parent, of_kernel) == (proc.command_name(os.getpid()), os.getppid(), False)
    assert state in "RS" and threads >= 1 and MIB < resident < proc.memory_total()


def test_what_is_gone_has_no_facts():
    gone = 2**22 + 5
    assert proc.summary(gone) is None and proc.status(gone) == {} and proc.namespaces(gone) == {}
    assert proc.threads(gone) == proc.arguments(gone) == []
    assert inspect.process_facts(gone) is None
    with pytest.raises(CgroupGoneError, match=f"no such process: {gone}"):
        inspect.inspect_process(gone, Layout([]))


def test_the_lists_of_proc_know_this_process():
    pid = os.getpid()
    assert pid in proc.processes() and pid in proc.threads(pid)
    assert proc.arguments(pid)[0] and int(proc.status(pid)["Pid"]) == pid
    kinds = proc.namespaces()
    assert kinds["pid"] == proc.pid_namespace() and "pid_for_children" not in kinds


def test_the_lines_of_proc_pid_cgroup():
    data = b"9:name=a:b:/x:y\n1:cpu,cpuacct:/z\n0::/a/b (deleted)\n"
    assert proc.cgroup_entries(data) == [
        (9, "name=a", "b:/x:y"),
        (1, "cpu,cpuacct", "/z"),
        (0, "", "/a/b (deleted)"),
    ]


def test_the_table_of_controllers():
    data = "#subsys_name\thierarchy\tnum_cgroups\tenabled\ncpuset\t3\t7\t1\nmemory\t0\t1\t0\nx\n"
    assert controller_table(data) == [("cpuset", 3, 7, True), ("memory", 0, 1, False)]
    assert mounts.kernel_controllers(data) == {"cpuset": True, "memory": False}


def test_a_mount_has_a_source_and_flags():
    (mount,) = cgroup_mounts(r"1 0 0:1 / /x rw,nosuid - cgroup a\040b rw,name=n" + "\n")
    assert mount.source == "a b" and mount.flags == {"rw", "nosuid"}
    assert mount.options == {"rw", "name=n"}


# ---- limits on the way up --------------------------------------------------------------------


def only(found, kind):
    (bound,) = [bound for bound in found if bound.kind == kind]
    return bound


@pytest.fixture
def v2(tmp_path):
    make(
        tmp_path,
        {
            "cgroup.procs": "",
            "a/cgroup.type": "domain",
            "a/memory.max": 64 * MIB,
            "a/memory.current": 60 * MIB,
            "a/memory.high": 50 * MIB,
            "a/memory.swap.max": "max",
            "a/memory.swap.current": 0,
            "a/pids.max": 10,
            "a/pids.current": 10,
            "a/cpu.max": "150000 100000",
            "a/cpuset.cpus": "0-1",
            "a/cpuset.cpus.effective": "0-1",
            "cpuset.cpus.effective": "0-3",
            "a/b/memory.max": 32 * MIB,
            "a/b/memory.current": 1 * MIB,
            "a/b/memory.high": "max",
            "a/b/memory.swap.max": "max",
            "a/b/memory.swap.current": 0,
            "a/b/pids.max": 10,
            "a/b/pids.current": 2,
            "a/b/cpu.max": "max 100000",
            "a/b/cpuset.cpus": "",
            "a/b/cpuset.cpus.effective": "0-1",
        },
    )
    return hierarchy(tmp_path, 2, "memory", "pids", "cpu", "cpuset")


def test_the_tightest_limit_binds_and_the_fullest_cgroup_is_named(v2):
    found = bounds([(v2, "/a/b")])
    kinds = ["memory", "high", "swap", "pids", "cpu", "cpuset"]
    assert [bound.kind for bound in found] == kinds
    memory = only(found, "memory")
    assert (memory.limit, memory.path, memory.usage) == (32 * MIB, "/a/b", MIB)
    assert (memory.closest, memory.left) == ("/a", 4 * MIB)
    assert [level.path for level in memory.levels] == ["/a/b", "/a", "/"]
    assert [level.limit for level in memory.levels] == [32 * MIB, 64 * MIB, None]
    high = only(found, "high")
    assert (high.limit, high.path, high.left) == (50 * MIB, "/a", -10 * MIB)
    swap = only(found, "swap")
    assert (swap.limit, swap.path, swap.closest) == (UNLIMITED, None, None)


def test_of_equal_limits_the_lowest_binds(v2):
    pids = only(bounds([(v2, "/a/b")]), "pids")
    assert (pids.limit, pids.path, pids.closest, pids.left) == (10, "/a/b", "/a", 0)


def test_cpu_and_cpuset(v2):
    found = bounds([(v2, "/a/b")])
    cpu, cpuset = only(found, "cpu"), only(found, "cpuset")
    assert (cpu.limit, cpu.path) == (1.5, "/a")
    assert (cpuset.limit, cpuset.path) == ("0-1", "/a")
    assert [level.limit for level in cpuset.levels] == [None, "0-1", None]


def test_at_the_root_nothing_binds(v2):
    found = bounds([(v2, "/")])
    assert all(bound.path is None for bound in found)
    assert only(found, "cpuset").limit == "0-3"
    assert {bound.kind for bound in found} == {"cpu", "cpuset"}  # it has no other files


def test_v1_has_memory_and_swap_together(tmp_path):
    make(
        tmp_path,
        {
            "memory.limit_in_bytes": V1_NONE,
            "memory.usage_in_bytes": 900 * MIB,
            "memory.memsw.limit_in_bytes": V1_NONE,
            "memory.memsw.usage_in_bytes": 900 * MIB,
            "memory.use_hierarchy": 1,
            "a/memory.limit_in_bytes": 32 * MIB,
            "a/memory.usage_in_bytes": 5 * MIB,
            "a/memory.memsw.limit_in_bytes": 48 * MIB,
            "a/memory.memsw.usage_in_bytes": 6 * MIB,
            "a/memory.use_hierarchy": 1,
        },
    )
    found = bounds([(hierarchy(tmp_path, 1, "memory"), "/a")])
    assert [bound.kind for bound in found] == ["memory", "memory+swap"]
    assert (found[0].limit, found[0].left) == (32 * MIB, 27 * MIB)
    assert (found[1].limit, found[1].path, found[1].usage) == (48 * MIB, "/a", 6 * MIB)
    assert found[0].levels[1].limit == UNLIMITED


def test_a_parent_outside_the_account_does_not_bind(tmp_path):
    for use, path in ((0, "/a/b"), (1, "/a")):
        make(
            tmp_path,
            {
                "a/memory.limit_in_bytes": 1 * MIB,
                "a/memory.use_hierarchy": use,
                "a/b/memory.limit_in_bytes": 2 * MIB,
                "a/b/memory.use_hierarchy": use,
            },
        )
        assert only(bounds([(hierarchy(tmp_path, 1, "memory"), "/a/b")]), "memory").path == path


def test_v1_quota_and_cpus(tmp_path):
    make(
        tmp_path,
        {
            "cpu.cfs_quota_us": -1,
            "cpu.cfs_period_us": 100000,
            "cpuset.cpus": "0-3",
            "cpuset.effective_cpus": "0-3",
            "a/cpu.cfs_quota_us": 25000,
            "a/cpu.cfs_period_us": 50000,
            "a/cpuset.cpus": "2",
            "a/cpuset.effective_cpus": "2",
        },
    )
    found = bounds([(hierarchy(tmp_path, 1, "cpu", "cpuset"), "/a")])
    assert (only(found, "cpu").limit, only(found, "cpu").path) == (0.5, "/a")
    assert (only(found, "cpuset").limit, only(found, "cpuset").path) == ("2", "/a")


def test_a_cgroup_that_vanishes_on_the_way_is_left_out(v2, tmp_path):
    for file in (tmp_path / "a/b").iterdir():
        file.unlink()
    (tmp_path / "a/b").rmdir()
    assert only(bounds([(v2, "/a/b")]), "memory").path == "/a"
    assert [path for path, _ in way_up(v2, "/a/b")] == ["/a", "/"]


def test_a_bind_mount_ends_the_way_up(tmp_path):
    make(tmp_path, {"memory.max": 5 * MIB, "cgroup.type": "domain", "x/memory.max": "max"})
    mounted = hierarchy(tmp_path, 2, "memory", root="/docker/1")
    bound = only(bounds([(mounted, "/docker/1/x")]), "memory")
    assert (bound.limit, bound.path) == (5 * MIB, "/docker/1")
    assert [level.path for level in bound.levels] == ["/docker/1/x", "/docker/1"]


@pytest.mark.parametrize(
    ("root", "path"), [("/", "/../x"), ("/", "/.."), ("/..", "/x"), ("/../a", "/")]
)
def test_what_lies_in_another_cgroup_namespace_is_not_mistaken(tmp_path, root, path):
    make(tmp_path, {"h/memory.max": 5, "x/memory.max": 6, "h/x/memory.max": 7})
    mounted = hierarchy(tmp_path / "h", 2, "memory", "cpu", "cpuset", root=root)
    assert way_up(mounted, path) == [] and bounds([(mounted, path)]) == []


@pytest.mark.parametrize(
    ("files", "root"),
    [
        (["cgroup.procs", "cgroup.controllers"], True),
        (["cgroup.procs", "cgroup.type"], False),
        (["notify_on_release", "release_agent"], True),
        (["notify_on_release"], False),
    ],
)
def test_what_seems_to_be_the_root_may_not_be(tmp_path, files, root):
    make(tmp_path, dict.fromkeys(files, ""))
    ((_, top),) = way_up(hierarchy(tmp_path, 2), "/")
    assert sees_the_root(top) is root


# ---- css_sets --------------------------------------------------------------------------------


def test_threads_apart_make_css_sets_of_their_own(monkeypatch):
    texts = {
        "1/task/1": b"0::/\n",
        "5/task/5": b"0::/a\n",
        "5/task/6": b"0::/b\n",
        "5/task/7": b"0::/a\n",
        "8/task/8": b"0::/b\n",
    }

    def text_of(task):
        if task not in texts:
            raise ProcessLookupError
        return texts[task]

    monkeypatch.setattr(proc, "processes", lambda: [1, 5, 8, 9, 10, 11])
    # 9 is a zombie, 10 and 11 end at different moments.
    states = {1: "S", 5: "S", 8: "S", 9: "Z", 10: "S"}
    monkeypatch.setattr(
        proc, "summary", lambda p: (f"p{p}", states[p], 0, 1, 0, False) if p in states else None
    )
    monkeypatch.setattr(proc, "threads", lambda p: [5, 6, 7] if p == 5 else [p])
    monkeypatch.setattr(proc, "cgroup_text", text_of)
    found = csets.css_sets()
    assert [[k.path for k in s.cgroups] for s in found] == [["/"], ["/a"], ["/b"]]
    assert [s.tasks for s in found] == [1, 2, 2]
    assert found[1].members == [Member(pid=5, name="p5", tasks=[5, 7])]
    assert [m.pid for m in found[2].members] == [5, 8]


def css_set(number, members=("sh",), **cgroups):
    links = [Link(hierarchy=n, controllers=c, path=p) for n, (c, p) in enumerate(cgroups.items())]
    people = [Member(pid=10 * number + i, name=name, tasks=[1]) for i, name in enumerate(members)]
    return CssSet(number=number, cgroups=links, members=people, tasks=len(people))


def test_sets_that_touch_a_cgroup():
    sets = [css_set(1, memory="/a", pids="/"), css_set(2, memory="/b", pids="/x")]
    assert touching(sets, [Link(hierarchy=0, controllers="memory", path="/a")]) == sets[:1]
    assert touching(sets, [Link(hierarchy=0, controllers="pids", path="/a")]) == []
    assert touching(sets, sets[0].cgroups[1:] + sets[1].cgroups[:1]) == sets


def test_a_graph_for_graphviz():
    sets = [css_set(1, memory="/a", pids="/"), css_set(2, ['"q\\'], memory="/b\n", pids="/")]
    assert graph(sets, "dot", {1}).splitlines() == [
        "graph css_sets {",
        "  rankdir=LR;",
        "  node [shape=box];",
        r'  set1 [label="css_set 1: 1 task\nsh(10)", shape=ellipse, style=bold];',
        r'  set2 [label="css_set 2: 1 task\n\"q\\(20)", shape=ellipse];',
        '  cg1 [label="memory:/a"];',
        r'  cg2 [label="memory:/b\\n"];',
        '  cg3 [label="pids:/"];',
        "  set1 -- cg1;",
        "  set1 -- cg3;",
        "  set2 -- cg2;",
        "  set2 -- cg3;",
        "}",
    ]


def test_a_graph_for_mermaid():
    sets = [css_set(1, ["<b>", '"#'] + ["x"] * 4, memory="/a")]
    assert graph(sets, "mermaid", {1}).splitlines() == [
        "graph LR",
        '  set1(["css_set 1: 6 tasks<br/>#lt;b#gt;(10), #quot;#35;(11), x(12), x(13), '
        '... 2 more"]):::own',
        '  cg1["memory:/a"]',
        "  set1 --- cg1",
        "  classDef own stroke-width:3px",
    ]
    assert "classDef" not in graph(sets, "mermaid")


# ---- trees -----------------------------------------------------------------------------------


@pytest.fixture
def two_hierarchies(tmp_path):
    make(
        tmp_path,
        {
            "m/memory.usage_in_bytes": 9 * MIB,
            "m/memory.limit_in_bytes": V1_NONE,
            "m/cgroup.procs": "0",
            "m/web/memory.usage_in_bytes": 3 * MIB,
            "m/web/memory.limit_in_bytes": 512 * MIB,
            "m/web/cgroup.procs": f"{os.getpid()}",
            "m/web/a/cgroup.procs": "",
            "m/web/b/cgroup.procs": "",
            "p/web/pids.current": 7,
            "p/web/pids.max": "max",
            "p/web/cgroup.procs": "1",
            "p/zoo/pids.current": 1,
            "p/zoo/pids.max": 20,
            "p/zoo/cgroup.procs": "3\n4",
        },
    )
    return layout_of(hierarchy(tmp_path / "p", 1, "pids"), hierarchy(tmp_path / "m", 1, "memory"))


def test_one_path_in_two_hierarchies_is_one_node(two_hierarchies):
    top = tree.read_tree(two_hierarchies, controllers=True)
    nodes = {node.path: node for node, _ in top.walk()}
    assert list(nodes) == ["/", "/web", "/web/a", "/web/b", "/zoo"]
    web = nodes["/web"]
    assert (web.memory_current, web.memory_max) == (3 * MIB, 512 * MIB)
    assert (web.pids_current, web.pids_max) == (7, UNLIMITED)
    assert web.pids == [os.getpid()] and web.controllers == ["memory", "pids"]
    assert nodes["/"].pids == [] and nodes["/"].memory_max == UNLIMITED
    assert nodes["/zoo"].memory_current is None and nodes["/zoo"].pids == [3, 4]
    assert nodes["/zoo"].as_dict() == {
        "path": "/zoo", "pids_current": 1, "pids_max": 20, "controllers": ["pids"]
    }  # fmt: skip
    assert [lasts for _, lasts in top.walk()] == [
        (), (False,), (False, False), (False, True), (True,)
    ]  # fmt: skip


def test_the_depth_of_a_tree(two_hierarchies):
    assert [n.path for n, _ in tree.read_tree(two_hierarchies, depth=0).walk()] == ["/"]
    paths = [n.path for n, _ in tree.read_tree(two_hierarchies, depth=1).walk()]
    assert paths == ["/", "/web", "/zoo"]
    paths = [n.path for n, _ in tree.read_tree(two_hierarchies, "/web", depth=1).walk()]
    assert paths == ["/web", "/web/a", "/web/b"]


def test_no_such_tree(two_hierarchies):
    with pytest.raises(CgroupGoneError, match="no such cgroup: /nowhere"):
        tree.read_tree(two_hierarchies, "/nowhere")


def test_a_tree_deeper_than_python_can_call(tmp_path):
    path, depth = tmp_path, 1100
    os.chdir(tmp_path)
    for _ in range(depth):
        os.mkdir("d")
        os.chdir("d")
    os.chdir("/")
    nodes = [n for n, _ in tree.read_tree(layout_of(hierarchy(path, 2, "memory"))).walk()]
    # What is longer than PATH_MAX cannot be opened and is left out.
    assert len(nodes) == depth + 1 and nodes[-1].path == "/d" * depth
    lines = list(cli_tree._figures(nodes[0]))
    assert len(lines) == depth + 2
    os.chdir(tmp_path)
    for _ in range(depth - 1):
        os.chdir("d")
    for _ in range(depth):
        os.rmdir("d")
        os.chdir("..")


def test_what_the_tree_looks_like(two_hierarchies):
    lines = list(cli_tree._figures(tree.read_tree(two_hierarchies)))
    assert lines == [
        "  MEMORY    LIMIT PROCS      PIDS  CGROUP",
        "      9M      max     0         -  /",
        "      3M     512M     1     7/max  ├─ web",
        "       -        -     0         -  │  ├─ a",
        "       -        -     0         -  │  └─ b",
        "       -        -     2      1/20  └─ zoo",
    ]
    assert cli_tree._in_ascii("│  ├─ a\n└─ é") == "|  |- a\n`- \\xe9"


def test_controllers_stand_beside_or_below(two_hierarchies):
    top = tree.read_tree(two_hierarchies, controllers=True)
    lines = list(cli_tree._figures(top))
    assert lines[1].endswith("  /  [memory pids]") and lines[-1].endswith("zoo  [pids]")
    top.controllers = [f"controller{n}" for n in range(12)]
    lines = list(cli_tree._figures(top))
    assert lines[1].endswith("  /") and lines[2].strip().startswith("[controller0 controller1 ")
    assert all(len(line) <= 100 for line in lines)
    assert sum(line.count("controller") for line in lines) == 12


def test_processes_are_a_tree_too(monkeypatch):
    #         pid: name, state, parent, threads, resident, of the kernel
    facts = {
        2: ("kthreadd", "S", 0, 1, 0, True),
        10: ("sh", "S", 1, 1, 4096, False),
        11: ("make", "S", 10, 2, 8192, False),
        12: ("cc", "R", 11, 1, MIB, False),
        13: ("sleep", "S", 10, 1, 4096, False),
        20: ("odd\n", "S", 99, 1, 4096, False),
    }
    monkeypatch.setattr(proc, "summary", facts.get)
    shown = [
        (process.pid, text.branch(lasts)) for process, lasts in tree.process_tree([2, 77, *facts])
    ]
    assert shown == [
        (10, "├─ "), (11, "│  ├─ "), (12, "│  │  └─ "), (13, "│  └─ "), (20, "└─ ")
    ]  # fmt: skip
    top = tree.Node("/web")
    top.pids, top.memory_current = list(facts), 2 * MIB
    top.children["a"] = tree.Node("/web/a")
    assert list(cli_tree._with_processes(top)) == [
        "  MEMORY    LIMIT      RSS THREADS  CGROUP, PROCESS(PID)",
        "      2M        -       1M       6  /web",
        "                        4K       1  ├─ sh(10)",
        "                        8K       2  │  ├─ make(11)",
        "                        1M       1  │  │  └─ cc(12)",
        "                        4K       1  │  └─ sleep(13)",
        "                        4K       1  ├─ odd\\n(20)",
        "       -        -                   └─ a",
    ]


# ---- words -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"), (0, "0"), (512 * MIB, "512M"), (1 << 40, "1T"), (int(1.5 * MIB), "1.5M"),
        (10 * MIB, "10M"), (UNLIMITED, "max"), (1000, "1000"),
    ],
)  # fmt: skip
def test_round_sizes_are_short(value, shown):
    assert text.size(value) == shown


def test_small_words():
    assert text.count(None) == "-" and text.count(UNLIMITED) == "max" and text.count(7) == "7"
    assert text.printable("a\x1b[2J\udcff") == "a\\x1b[2J\\udcff"
    assert text.by_id([3, 1, 2, None, 7]) == "hierarchies 1-3,7"
    assert text.by_id([4]) == "hierarchy 4" and text.by_id([4, 5]) == "hierarchies 4-5"


def test_a_table_wraps_its_last_column():
    rows = [("N", "WORDS"), ("10", " ".join(["word"] * 40)), ("9", "-")]
    lines = text.table(rows, right="N")
    assert lines[0] == "   N  WORDS" and lines[-1] == "   9  -"
    assert lines[1].startswith("  10  word word") and lines[2].startswith("      word")
    assert all(len(line) <= 100 for line in lines) and len(lines) == 5


# ---- hierarchies -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "first", "expected"),
    [
        ("/ /sys/fs/cgroup/x rw,nosuid,nodev,noexec - cgroup cgroup rw", "systemd", "systemd"),
        ("/ /sys/fs/cgroup rw,nosuid,nodev,noexec - cgroup2 cgroup2 rw", "systemd", "systemd"),
        ("/ /sys/fs/cgroup/x rw - cgroup cgroup rw", "systemd", "(pid 1) or a script"),
        ("/ /sys/fs/cgroup/x rw - cgroup cgroup rw", "init", "init (pid 1) or a script"),
        ("/docker/7 /sys/fs/cgroup/x ro - cgroup cgroup rw", "sh", "container runtime"),
        ("/ /mnt rw - cgroup cgroup rw", "init", "by hand"),
        ("/ /sys/fs/cgroup/x rw - cgroup climits rw", "init", "--track"),
    ],
)
def test_who_mounted_it_is_a_guess(monkeypatch, line, first, expected):
    monkeypatch.setattr(hierarchies, "command_name", lambda pid: first)
    assert expected in hierarchies._mounted_by(Mount(f"1 0 0:1 {line}"))


@pytest.fixture
def pretend(monkeypatch, tmp_path):
    """pretend(mountinfo, /proc/cgroups, /proc/self/cgroup)."""

    def install(mountinfo, table, own):
        found = list(cgroup_mounts(mountinfo))
        monkeypatch.setattr(hierarchies, "cgroup_mounts", lambda: found)
        monkeypatch.setattr(hierarchies, "controller_table", lambda: controller_table(table))
        monkeypatch.setattr(proc, "cgroup_text", lambda task="self": own)

    return install


def test_every_hierarchy_and_controller_is_told(pretend, tmp_path):
    make(
        tmp_path,
        {
            "v2/cgroup.controllers": "io dmem",
            "v2/cgroup.stat": "nr_descendants 4\nnr_dying_descendants 1",
            "v1/notify_on_release": 1,
            "v1/release_agent": "/bin/agent",
            "n/notify_on_release": 0,
            "n/release_agent": "",
            "n/a/b/tasks": "",
        },
    )
    (tmp_path / "n/release_agent").write_bytes(b"\n")
    pretend(
        f"1 0 0:1 / {tmp_path}/v2 rw - cgroup2 cgroup2 rw\n"
        f"2 0 0:2 / {tmp_path}/v1 rw - cgroup cgroup rw,cpu,cpuacct\n"
        f"2 0 0:2 / /again rw - cgroup cgroup rw,cpu,cpuacct\n"
        f"3 0 0:3 / {tmp_path}/n rw - cgroup none rw,name=track\n",
        "cpu\t2\t5\t1\ncpuacct\t2\t5\t1\nblkio\t0\t1\t1\nmemory\t0\t1\t0\nperf_event\t0\t9\t1\n"
        "pids\t7\t3\t1\n",
        b"7:pids:/\n3:name=track:/\n2:cpu,cpuacct:/\n0::/\n",
    )
    found, controllers = hierarchies.hierarchies()
    assert [(h.id, h.label, h.version, h.cgroups) for h in found] == [
        (0, "unified", "v2", 5),
        (2, "cpu,cpuacct", "v1", 5),
        (3, "name=track", "v1", 3),
        (7, "pids", "v1", 3),
    ]
    v2, v1, named, pids = found
    assert (v2.events_file, v2.release_agent, v2.notify_on_release) == ("cgroup.events", None, None)
    assert (v1.release_agent, v1.notify_on_release) == ("/bin/agent", True)
    assert v1.mount_points == [f"{tmp_path}/v1", "/again"]
    assert (named.name, named.controllers, named.release_agent) == ("track", [], "")
    assert pids.mount_points == [] and pids.mounted_by is None
    by_name = {c.name: (c.hierarchy, c.version, c.cgroups, c.enabled) for c in controllers}
    assert by_name == {
        "blkio": (None, None, 1, True),
        "cpu": (2, "v1", 5, True),
        "cpuacct": (2, "v1", 5, True),
        "dmem": (0, "v2", 5, True),  # not in /proc/cgroups
        "io": (0, "v2", 5, True),
        "memory": (None, None, 1, False),
        "perf_event": (0, "v2", 5, True),
        "pids": (7, "v1", 3, True),
    }
    lines = cli_hierarchies._controllers(controllers)
    assert lines[-2:] == [
        "switched off at boot (cgroup_disable=): memory", "in no hierarchy: blkio"
    ]  # fmt: skip
    notes = "\n".join(cli_hierarchies._notes(found))
    assert "only to keep track of processes: name=track" in notes
    assert "cpu,cpuacct: the kernel runs /bin/agent for cgroups" in notes
    assert "hierarchy 0 (v2) has no release_agent: the file cgroup.events" in notes


def test_each_controller_has_a_purpose_that_fits_a_line():
    from climits.cgroup.layout import KERNEL_PREFIXES

    assert hierarchies.PURPOSES.keys() == KERNEL_PREFIXES - {"cgroup"}
    assert all(0 < len(purpose) <= 50 for purpose in hierarchies.PURPOSES.values())


@pytest.mark.parametrize(
    ("name", "agent", "error"),
    [
        ("a/b", None, "a slash may not stand"),
        ("", None, "empty"),
        ("..", None, "not a name"),
        ("a b", None, "not a name of a hierarchy"),
        ("a,cpu", None, "not a name of a hierarchy"),
        ("é", None, "not a name of a hierarchy"),
        ("x" * 64, None, "not a name of a hierarchy"),
        ("x", "agent", "not an absolute path"),
        ("x", "/no/such/agent", "no such program"),
        ("x", "/etc/passwd", "no such program, or it cannot be executed"),
    ],
)
def test_what_cannot_be_tracked_is_refused(monkeypatch, name, agent, error):
    monkeypatch.setattr(hierarchies, "mount_named_hierarchy", pytest.fail)
    monkeypatch.setattr(hierarchies, "cgroup_mounts", list)
    with pytest.raises(InvalidValueError, match=error):
        hierarchies.track(name, agent)


def test_on_v2_alone_cgroup_events_does_it(monkeypatch, tmp_path):
    make(tmp_path, {"cgroup.controllers": "memory"})
    mount = Mount(f"1 0 0:1 / {tmp_path} rw - cgroup2 cgroup2 rw")
    monkeypatch.setattr(hierarchies, "mount_named_hierarchy", pytest.fail)
    monkeypatch.setattr(hierarchies, "cgroup_mounts", lambda: [mount])
    with pytest.raises(UnsupportedError, match=r"cgroup\.events") as caught:
        hierarchies.track("builds")
    assert "climits watch NAME --empty" in caught.value.hint


# ---- the commands ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("module", "values", "words", "error"),
    [
        (cli_tree, {}, ["a", "b"], "tree takes one cgroup: b"),
        (cli_tree, {"depth": -1}, [], "depth: -1: negative"),
        (cli_inspect, {}, [], "no process or cgroup was given"),
        (cli_inspect, {}, ["1", "2"], "inspect takes one process or cgroup: 2"),
        (cli_inspect, {"graph": "svg"}, ["1"], "graph: svg: not a form"),
        (cli_inspect, {}, ["pid:x"], "not a process"),
        (cli_hierarchies, {}, ["x"], "hierarchies takes no arguments: x"),
        (cli_hierarchies, {"release_agent": "/bin/true"}, [], "release-agent goes with --track"),
    ],
)
def test_wrong_words_are_refused(module, values, words, error):
    with pytest.raises(InvalidValueError, match=error) as caught:
        module.main(values, words)
    assert caught.value.hint


def test_the_sentences_of_a_bound(v2):
    sentences = {b.kind: cli_inspect._sentences(b) for b in bounds([(v2, "/a/b")])}
    assert sentences == {
        "memory": [
            "effective limit 32M, set at /a/b (1.0M in use there)",
            "first to bind now: /a, with 4.0M left",
        ],
        "high": ["effective limit 50M, set at /a (60.0M in use there)"],
        "swap": ["no limit"],
        "pids": [
            "effective limit 10, set at /a/b (2 in use there)",
            "first to bind now: /a, with 0 left",
        ],
        "cpu": ["effective limit 1.5 CPUs, set at /a"],
        "cpuset": ["effective limit CPUs 0-1, set at /a"],
    }
    table = cli_inspect._way_up(bounds([(v2, "/a/b")]))
    assert [line.split() for line in table] == [
        ["CGROUP", "USED", "MEMORY", "HIGH", "SWAP", "PIDS", "CPU", "CPUSET"],
        ["/a/b", "1M", "32M*", "max", "max", "10*", "max", "-"],
        ["/a", "60M", "64M", "50M*", "max", "10", "1.5*", "0-1*"],
        ["/", "-", "-", "-", "-", "-", "-", "-"],
    ]


def test_an_inspection_is_plain_data_for_json(v2):
    (memory, *_) = bounds([(v2, "/a/b")])
    facts = inspect.Inspection(
        cgroup="/a", hierarchies=[], limits=[memory], css_sets=[css_set(1, memory="/")],
        related=[], namespaces=[],
    )  # fmt: skip
    data = json.loads(json.dumps(facts.as_dict()))
    assert data["limits"][0]["levels"][2] == {"path": "/"}  # what is not told is absent
    assert data["css_sets"][0]["members"][0] == {"pid": 10, "name": "sh", "tasks": [1]}
    assert "process" not in data and "usage" not in data


# ---- the kernel's own, without drgn ----------------------------------------------------------


@pytest.fixture
def kernel():
    from climits.observe import kernel

    return kernel


def test_without_drgn_it_is_said_how_to_get_it(kernel, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "drgn", None)
    with pytest.raises(UnsupportedError, match="drgn cannot be imported") as caught:
        kernel.look(SimpleNamespace())
    assert caught.value.hint == "pip install 'climits[kernel]'"


@pytest.fixture
def fake_drgn(monkeypatch):
    class Program:
        def set_kernel(self):
            pass

        def load_default_debug_info(self):
            raise module.MissingDebugInfoError

    module = SimpleNamespace(
        __version__="9", Program=Program, MissingDebugInfoError=type("E", (Exception,), {})
    )
    monkeypatch.setitem(__import__("sys").modules, "drgn", module)
    return module


def test_each_thing_that_is_missing_is_named(kernel, monkeypatch, tmp_path, fake_drgn):
    def missing():
        with pytest.raises(UnsupportedError) as caught:
            kernel.open_kernel()
        return f"{caught.value}; {caught.value.hint}"

    monkeypatch.setattr(kernel, "_KCORE", str(tmp_path / "kcore"))
    monkeypatch.setattr(kernel, "_BTF", str(tmp_path / "btf"))
    assert "there is no" in missing() and "CONFIG_PROC_KCORE=y" in missing()
    make(tmp_path, {"kcore": ""})
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "no right to read" in missing() and "run as root" in missing()
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "nor DWARF" in missing() and "CONFIG_DEBUG_INFO_BTF=y" in missing()


def test_where_userspace_tells_another_thing(kernel, monkeypatch):
    links = [
        kernel.KernelLink(hierarchy=n, address="0x1", path=p, css_sets=[])
        for n, p in ((0, "/a"), (4, "/x"), (5, "/only-in-the-kernel"))
    ]
    told = [
        Link(hierarchy=0, controllers="", path="/a (deleted)"),
        Link(hierarchy=4, controllers="memory", path="/y"),
    ]
    assert kernel._paths_apart(links, told) == ["hierarchy 4: /x in the kernel, /y there"]
    now = {5: b"0::/a\n", 6: b"0::/a\n", 7: b"0::/b\n", 8: b"0::/b\n"}

    def text_of(tid):
        if tid not in now:
            raise ProcessLookupError
        return now[tid]

    monkeypatch.setattr(kernel, "cgroup_text", text_of)
    one = CssSet(
        number=1,
        cgroups=[Link(hierarchy=0, controllers="", path="/a")],
        members=[Member(pid=5, name="x", tasks=[5, 8, 9])],
        tasks=3,
    )
    # 6 has come and 8 has left meanwhile, 9 has ended; 7 is an error.
    assert kernel._tasks_apart({5, 6, 7}, [one]) == ["task 7 is only in the kernel's css_set"]
    now[8] = b"0::/a\n"
    assert kernel._tasks_apart({5, 6}, [one]) == ["task 8 is only in /proc"]
